"""Numbers for data with known factors: what the latent says of them, and how much of their mix the samples show."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.evaluation.reference import WITHOUT_LABELS, Condition, RealImages, References
from vaegan.evaluation.samples import Described
from vaegan.evaluation.tally import MOST_RECORDED, Findings
from vaegan.metrics.classifier import LogisticClassifier
from vaegan.metrics.factors import disentanglement, importance, in_bins, mutual_information_gap, shared_mix_with_interval
from vaegan.metrics.features import RANDOM_FEATURES, Standardise, layout_features, random_features, small_images
from vaegan.metrics.statistics import FEW_SPLITS, clipped, interval, reach_by_halves, resampling_weights
from vaegan.model import Model
from vaegan.randomness import keyed_seed

MOST_CLASSES = 40  # more are names, not kinds
MOST_FACTORS = 24
CONTINUOUS_BINS = 5
FEWEST_TRAIN, FEWEST_HELD_OUT = 300, 50
READABLE = 0.15  # [share of the way from guessing to certainty] below it an attribute cannot be seen by the classifier
FEATURES = f"{RANDOM_FEATURES}+layout"
LATENT_NUMBERS = ("mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "attribute_accuracy")


@dataclass(frozen=True)
class Factor:
    """One known factor as codes; a continuous one in five bins of equally many training images."""

    name: str
    classes: int
    train: Tensor
    heldout: Tensor
    continuous: bool
    train_values: Tensor
    heldout_values: Tensor

    @property
    def targets(self) -> Tensor:
        """What is read of training images: the value, or one column a class, [count, columns]."""
        return self.train_values[:, None] if self.continuous else F.one_hot(self.train, self.classes)


def factors_of(train: RealImages, heldout: RealImages) -> list[Factor]:
    """The usable labels: at least two kinds and at most 40, or continuous; constant ones and names are left out."""
    found: list[Factor] = []
    for name in train.dataset.labels:
        if name not in heldout.dataset.labels:
            continue
        known, unknown = (torch.from_numpy(part.dataset.labels[name][part.indices]).double() for part in (train, heldout))
        if not (known.isfinite().all() and unknown.isfinite().all()) or known.unique().numel() < 2:
            continue
        words, theirs = (part.dataset.label_words.get(name) for part in (train, heldout))
        if words is not None and theirs is not None:  # each data set numbers its own words
            if not set(theirs) <= set(words):
                continue
            unknown = torch.tensor([words.index(word) for word in theirs], dtype=torch.float64)[unknown.long()]
        coded = bool((known == known.round()).all()) and float(known.min()) >= 0 and known.unique().numel() <= MOST_CLASSES
        if words is not None or coded:
            classes = int(max(known.max(), unknown.max())) + 1
            if classes <= MOST_CLASSES:
                found.append(Factor(name, classes, known.long(), unknown.long(), False, known, unknown))
        else:
            edges = torch.quantile(known, torch.linspace(0, 1, CONTINUOUS_BINS + 1, dtype=torch.float64)[1:-1])
            codes = [torch.bucketize(values, edges) for values in (known, unknown)]
            found.append(Factor(name, CONTINUOUS_BINS, codes[0], codes[1], True, known, unknown))
    return found[:MOST_FACTORS]


class KnownFactors:
    """Known factors of training and held-out images, and classifiers that read them from pictures."""

    def __init__(self, references: References, count: int) -> None:
        """Takes at most `count` and at most `MOST_RECORDED` of both kinds of real images."""
        assert references.train is not None
        self.train, self.heldout = (part.first(min(count, MOST_RECORDED)) for part in (references.train, references.heldout))
        self.factors = factors_of(self.train, self.heldout)

    @cached_property
    def _described(self) -> tuple[Standardise, Tensor, Tensor]:
        known, unknown = (
            torch.cat(
                [layout_features(part.features("small-16", small_images)), part.features(RANDOM_FEATURES, random_features)], 1
            )
            for part in (self.train, self.heldout)
        )
        standardise = Standardise.of(known)
        return standardise, standardise(known), standardise(unknown)

    @cached_property
    def _readers(self) -> list[tuple[Factor, LogisticClassifier]]:
        """Classifiers of those attributes that can be seen: clearly better than guessing on held-out images."""
        _, known, unknown = self._described
        readers: list[tuple[Factor, LogisticClassifier]] = []
        for factor in self.factors:
            reader = LogisticClassifier(known, factor.train, factor.classes, penalty=20.0)
            right = float((reader(unknown).argmax(1) == factor.heldout).double().mean())
            guess = float(torch.bincount(factor.heldout).max()) / len(factor.heldout)
            if guess < 1 and (right - guess) / (1 - guess) > READABLE:
                readers.append((factor, reader))
        return readers

    def _lacks(self, found: Findings, names: str | tuple[str, ...]) -> bool:
        few_train = found.lacks(names, FEWEST_TRAIN, len(self.train), "labelled training images")
        return few_train or found.lacks(names, FEWEST_HELD_OUT, len(self.heldout))

    def mix(self, given: Described, found: Findings, seed: int) -> None:
        """How much of the real mix of each readable attribute these images show, as one classifier sees both."""
        if self._lacks(found, "mode_coverage"):
            return
        if not self._readers:
            found.left_out["mode_coverage"] = "no attribute can be read from the pictures"
            return
        standardise, _, unknown = self._described
        described = standardise(torch.cat([given.layout, given.random], 1))
        pairs = [(reader(unknown).argmax(1), reader(described).argmax(1), factor.classes) for factor, reader in self._readers]
        found.add("mode_coverage", *shared_mix_with_interval(pairs, seed), len(described), FEATURES, len(unknown))

    def latent(self, model: Model, condition: Condition, found: Findings, seed: int) -> None:
        """MIG, DCI and the accuracy of reading attributes, from the latents of labelled images."""
        if self._lacks(found, LATENT_NUMBERS):
            return
        if condition.lacks(self.train) or condition.lacks(self.heldout):
            found.leave_out(LATENT_NUMBERS, WITHOUT_LABELS)
            return
        known, unknown = (condition.encode(model, part) for part in (self.train, self.heldout))
        standardise = Standardise.of(known)
        known, unknown = standardise(known).double(), standardise(unknown).double()
        # By chance: each training image has the latent of another one.
        others = known[torch.randperm(len(known), generator=Generator().manual_seed(keyed_seed("others", seed)))]
        self._separation(known, others, found, seed)
        # The readers stay as they are: a row of equal weights, and those of the bootstrap over the images that are read.
        weights = torch.cat([torch.ones(1, len(unknown)), resampling_weights(len(unknown), seed=seed)]) / len(unknown)
        read = [_read(known, unknown, factor, weights) for factor in self.factors]
        chance = [_read(others, unknown, factor, weights[:1]) for factor in self.factors]
        categories = [at for at, factor in enumerate(self.factors) if not factor.continuous]
        for name, some in (("dci_informativeness", range(len(read))), ("attribute_accuracy", categories)):
            if some:
                value, *drawn = torch.stack([read[at] for at in some]).mean(0).tolist()
                by_chance = float(torch.stack([chance[at] for at in some]).mean())
                found.add(name, value, clipped(interval(value, drawn), 1.0), len(unknown), chance=by_chance)

    def _separation(self, latents: Tensor, others: Tensor, found: Findings, seed: int) -> None:
        """Adds MIG and DCI of standardised latents of the training images, and by chance with those of others."""
        codes = {factor.name: in_bins(factor.train_values) if factor.continuous else factor.train for factor in self.factors}

        def measured(chosen: Tensor, latents: Tensor = latents) -> Tensor:
            weights = torch.stack([importance(latents[chosen], factor.targets[chosen]) for factor in self.factors], 1)
            gap = mutual_information_gap(latents[chosen], {name: code[chosen] for name, code in codes.items()})
            return torch.tensor([gap, *disentanglement(weights)], dtype=torch.float64)

        everything = torch.arange(len(latents))
        values, chance = measured(everything), measured(everything, others).tolist()
        reach = reach_by_halves(measured, (len(latents),), seed, FEW_SPLITS)
        columns = values.tolist(), (values - reach).tolist(), (values + reach).tolist(), chance
        for name, value, low, high, by_chance in zip(LATENT_NUMBERS[:3], *columns, strict=True):
            if name == "dci_disentanglement" and len(self.factors) == 1:
                found.left_out[name] = "needs two labels: a latent number cannot mix a single one with others"
            else:
                found.add(name, value, clipped((low, high), 1.0), len(latents), chance=by_chance)


def _read(known: Tensor, unknown: Tensor, factor: Factor, weights: Tensor) -> Tensor:
    """How well a factor is read from the latents of held-out images, for each row of their weights [row, image]: [row].

    The accuracy of a logistic regression; for a continuous factor R^2 of a ridge regression, at least 0.
    """
    if not factor.continuous:
        reader = LogisticClassifier(known, factor.train, factor.classes, penalty=5.0)
        return weights @ (reader(unknown).argmax(1) == factor.heldout).double()
    middle, target = factor.train_values.mean(), factor.train_values - factor.train_values.mean()
    gram = known.T @ known + 1e-2 * len(known) * torch.eye(known.shape[1], dtype=known.dtype)
    slope = torch.linalg.solve(gram, known.T @ target)
    residual, values = factor.heldout_values - middle - unknown @ slope, factor.heldout_values - middle
    variance = (weights @ values.square() - (weights @ values).square()) * len(values) / (len(values) - 1)
    return (1 - (weights @ residual.square()) / variance.clamp_min(1e-12)).clamp_min(0)
