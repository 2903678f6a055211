"""Numbers for data with known factors: what the latent says of them, and how much of their mix the samples show."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from vaegan.evaluation.numbers import Findings
from vaegan.evaluation.reference import RealImages, References
from vaegan.evaluation.samples import Described
from vaegan.evaluation.tally import KEPT
from vaegan.evaluation.telling import UNTOLD, Telling
from vaegan.metrics.classifier import LogisticClassifier
from vaegan.metrics.factors import disentanglement, in_bins, lasso, mutual_information_gap, shared_mix
from vaegan.metrics.features import RANDOM_FEATURES, Standardise, layout_features, random_features, small_images
from vaegan.metrics.statistics import FEW_SPLITS, interval, reach_by_halves, resampling_weights
from vaegan.model import Model
from vaegan.randomness import keyed_seed

MOST_CLASSES = 40  # more are names, not kinds
MOST_FACTORS = 24
CONTINUOUS_BINS = 5
FEW_TRAIN, FEW_HELDOUT = 300, 50
READABLE = 0.15  # [share of the way from guessing to certainty] below it an attribute cannot be seen by the classifier
PENALTY = 0.6  # of the lasso, in deviations that a weight has by chance
FEATURES = f"{RANDOM_FEATURES}+layout"


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
        whole = bool((known == known.round()).all()) and float(known.min()) >= 0 and known.unique().numel() <= MOST_CLASSES
        if words is not None or whole:
            classes = int(max(known.max(), unknown.max())) + 1
            if classes <= MOST_CLASSES:
                found.append(Factor(name, classes, known.long(), unknown.long(), False, known, unknown))
        else:
            edges = torch.quantile(known, torch.linspace(0, 1, CONTINUOUS_BINS + 1, dtype=torch.float64)[1:-1])
            codes = [torch.bucketize(values, edges) for values in (known, unknown)]
            found.append(Factor(name, CONTINUOUS_BINS, codes[0], codes[1], True, known, unknown))
    return found[:MOST_FACTORS]


class Labels:
    """Known factors of training and held-out images, and classifiers that read them from pictures."""

    def __init__(self, references: References, count: int) -> None:
        """Args: references: real images; count: at most so many of each kind, and at most `KEPT`."""
        assert references.train is not None
        self.train, self.heldout = (part.first(min(count, KEPT)) for part in (references.train, references.heldout))
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

    def mix(self, given: Described, found: Findings, seed: int) -> None:
        """How much of the real mix of each readable attribute these images show, as the same classifiers see both."""
        if found.lacks("mode_coverage", FEW_TRAIN, len(self.train), "labelled training images"):
            return
        if found.lacks("mode_coverage", FEW_HELDOUT, len(self.heldout)):
            return
        if not self._readers:
            found.left_out["mode_coverage"] = "no attribute can be read from the pictures"
            return
        standardise, _, unknown = self._described
        described = standardise(torch.cat([given.layout, given.random], 1))
        shares: list[float] = []
        replicates = torch.zeros(100, dtype=torch.float64)
        weights = [resampling_weights(len(one), 100, seed) / len(one) for one in (described, unknown)]
        for factor, reader in self._readers:
            real, fake = reader(unknown).argmax(1), reader(described).argmax(1)
            shares.append(shared_mix(real, fake, factor.classes))
            mixes = [torch.nn.functional.one_hot(codes, factor.classes).double() for codes in (fake, real)]
            replicates += torch.minimum(*(one @ mix for one, mix in zip(weights, mixes, strict=True))).sum(1)
        value = sum(shares) / len(shares)
        low, high = interval(value, replicates / len(shares))
        found.add("mode_coverage", value, (low, min(1.0, high)), len(described), FEATURES, len(unknown))

    def latent(self, model: Model, telling: Telling, found: Findings, seed: int) -> None:
        """MIG, DCI and the accuracy of reading attributes, from the latents of labelled images."""
        names = ("mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "attribute_accuracy")
        if found.lacks(names, FEW_TRAIN, len(self.train), "labelled training images") or found.lacks(
            names, FEW_HELDOUT, len(self.heldout)
        ):
            return
        if telling.lacks(self.train) or telling.lacks(self.heldout):
            found.left_out |= dict.fromkeys(names, UNTOLD)
            return
        known, unknown = (telling.encode(model, part) for part in (self.train, self.heldout))
        standardise = Standardise.of(known)
        known, unknown = standardise(known).double(), standardise(unknown).double()
        # By chance: each training image has the latent of another one.
        others = known[torch.randperm(len(known), generator=Generator().manual_seed(keyed_seed("others", seed)))]
        self._separation(known, others, found, seed)
        # Of the readers as they are: a row of equal weights, and those of the bootstrap over the images that are read.
        weights = torch.cat([torch.ones(1, len(unknown)), resampling_weights(len(unknown), seed=seed)]) / len(unknown)
        read = [_read(known, unknown, factor, weights) for factor in self.factors]
        chance = [_read(others, unknown, factor, weights[:1]) for factor in self.factors]
        categories = [at for at, factor in enumerate(self.factors) if not factor.continuous]
        for name, some in (("dci_informativeness", range(len(read))), ("attribute_accuracy", categories)):
            if some:
                value, *drawn = torch.stack([read[at] for at in some]).mean(0).tolist()
                low, high = interval(value, drawn)
                by_chance = float(torch.stack([chance[at] for at in some]).mean())
                found.add(name, value, (max(0.0, low), min(1.0, high)), len(unknown), chance=by_chance)

    def _separation(self, latents: Tensor, others: Tensor, found: Findings, seed: int) -> None:
        """Adds MIG and DCI of standardised latents of the training images, and by chance with those of others."""
        codes = {factor.name: in_bins(factor.train_values) if factor.continuous else factor.train for factor in self.factors}

        def measured(chosen: Tensor, latents: Tensor = latents) -> Tensor:
            importance = torch.stack([_importance(latents[chosen], factor, chosen) for factor in self.factors], 1)
            gap = mutual_information_gap(latents[chosen], {name: code[chosen] for name, code in codes.items()})
            return torch.tensor([gap, *disentanglement(importance)], dtype=torch.float64)

        everything = torch.arange(len(latents))
        values, chance = measured(everything), measured(everything, others).tolist()
        reach = reach_by_halves(measured, (len(latents),), seed, FEW_SPLITS)
        ends = (values - reach).clamp_min(0).tolist(), (values + reach).clamp_max(1).tolist()
        names = ("mig", "dci_disentanglement", "dci_completeness")
        for name, value, low, high, by_chance in zip(names, values.tolist(), *ends, chance, strict=True):
            if name == "dci_disentanglement" and len(self.factors) == 1:
                found.left_out[name] = "needs two labels: a latent number cannot mix a single one with others"
                continue
            found.add(name, value, (low, high), len(latents), chance=by_chance)


def _importance(latents: Tensor, factor: Factor, chosen: Tensor) -> Tensor:
    """Absolute lasso weights of each latent for a factor of these images, of a category the mean over its classes: [latent].

    Targets have deviation 1, so that weights of factors can be compared: what cannot be read weighs little.
    """
    codes, values = factor.train[chosen], factor.train_values[chosen]
    targets = values[:, None] if factor.continuous else torch.nn.functional.one_hot(codes, factor.classes)
    targets = targets.double() - targets.double().mean(0)
    targets = targets / targets.std(0).clamp_min(1e-9) * (targets.std(0) > 0)
    # The penalty shrinks as chance in a weight does, so that with more images both vanish.
    return lasso(latents, targets, penalty=PENALTY / len(latents) ** 0.5).abs().mean(1)


def _read(known: Tensor, unknown: Tensor, factor: Factor, weights: Tensor) -> Tensor:
    """How well a factor is read from the latents of held-out images, for each row of their weights [row, image]: [row].

    The accuracy of a logistic regression; of a continuous factor R^2 of a ridge regression, at least 0.
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
