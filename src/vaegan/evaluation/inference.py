"""Numbers of what a model makes of held-out images: reconstructions, likelihood, and what is known of their factors."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.evaluation.reference import WITHOUT_LABELS, Condition, RealImages, References
from vaegan.evaluation.samples import Described
from vaegan.evaluation.tally import MOST_RECORDED, Findings, Tally
from vaegan.metrics import posterior
from vaegan.metrics.classifier import LogisticClassifier
from vaegan.metrics.features import RANDOM_FEATURES, Standardise, layout_features, random_features, small_images
from vaegan.metrics.statistics import FEW_SPLITS, clipped, interval, mean_with_interval, reach_by_halves, resampling_weights
from vaegan.model import Model
from vaegan.objectives.gaussian import kl_to_standard_normal
from vaegan.objectives.latent import importance_weighted_bound, log_ratio
from vaegan.objectives.likelihood import log_density
from vaegan.randomness import keyed_seed
from vaegan.types import Images, Labels, ProgressCallback

FEWEST_RECONSTRUCTIONS, FEWEST_POSTERIORS = 2, 20
ERRORS, BOUNDS = ("reconstruction_error", "psnr", "ssim"), ("elbo", "iwae", "bits_per_dimension")
POSTERIOR_NUMBERS = ("kl", "active_units", "aggregate_gap")
NO_POSTERIOR = "none of these stages has posteriors that were trained towards a prior"
MOST_CLASSES = 40  # more are names, not kinds
MOST_FACTORS = 24
CONTINUOUS_BINS = 5
FEWEST_TRAIN, FEWEST_HELD_OUT = 300, 50
READABLE = 0.15  # [share of the way from guessing to certainty] below it an attribute cannot be seen by the classifier
FEATURES = f"{RANDOM_FEATURES}+layout"
LATENT_NUMBERS = ("mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "attribute_accuracy")


def has_posteriors(model: Model) -> bool:
    """Whether the encoder was trained towards the prior by a KL divergence: in a VAE, alone or with its GAN."""
    return model.config.stage in ("vae", "joint")


def describe_inference(tally: Tally, first: int, model: Model, images: Images, labels: Labels | None) -> None:
    """Records errors of encoding and decoding one block of held-out images, and of a VAE what their posteriors are."""
    error = posterior.mean_squared_error(images, back := model.reconstruct(images, labels).cpu())
    tally.add("reconstruction_error", first, error)
    tally.add("psnr", first, posterior.peak_signal_to_noise(error))
    tally.add("ssim", first, posterior.structural_similarity(images, back))
    if has_posteriors(model):
        mean, log_var = (part.cpu().double() for part in model.posterior(images, labels))
        tally.add_moments("mean", first, mean, shards=1)
        tally.add("variance", first, log_var.exp())
        tally.record_first("posterior", first, torch.cat([mean, log_var.exp()], 1))
        kl = kl_to_standard_normal(mean, log_var)
        tally.add("kl_per_dimension", first, kl)
        tally.add("kl", first, kl.sum(1))


def reconstructions(tally: Tally, count: int, found: Findings, seed: int) -> None:
    """Adds errors of encoding and decoding `count` held-out images."""
    if not found.lacks(ERRORS, FEWEST_RECONSTRUCTIONS, count):
        for name in ERRORS:
            found.add(name, *tally.sums(name).mean_with_interval(seed), count)


def posteriors(tally: Tally, count: int, found: Findings, seed: int) -> list[float]:
    """Adds KL and the posterior's use of the latent, of `count` held-out images; returns the KL a dimension."""
    if found.lacks(POSTERIOR_NUMBERS, FEWEST_POSTERIORS, count):
        return []
    (means,) = tally.moments("mean")
    found.add("kl", *tally.sums("kl").mean_with_interval(seed), count)
    mean, variance = tally.rows("posterior").chunk(2, 1)
    active, ends = int((means.covariance.diagonal() > posterior.ACTIVE).sum()), posterior.active_units_interval(mean, seed)
    found.add("active_units", active, (min(active, ends[0]), max(active, ends[1])), count)
    gap, reach = posterior.aggregate_gap(means, tally.sums("variance").mean), posterior.aggregate_gap_reach(mean, variance, seed)
    found.add("aggregate_gap", gap, clipped((gap - reach, gap + reach)), count)
    return [round(float(value), 5) for value in tally.sums("kl_per_dimension").mean]


def likelihood(model: Model, heldout: RealImages, condition: Condition, found: Findings, seed: int, full: bool) -> None:
    """Adds ELBO, IWAE bound and bits of held-out, dequantised images: the first 100, with `full` the first 1,000."""
    if found.lacks(BOUNDS, FEWEST_POSTERIORS, len(heldout)):
        return
    if not model.has_observation_noise:
        found.leave_out(BOUNDS, "the model has no p(x|z)")
        return
    chosen, draws = (heldout.first(1000), 500) if full else (heldout.first(100), 50)
    images, count, kind = chosen.images(), len(chosen), model.config.likelihood
    if kind == "bernoulli" and not (images.abs() == 1).all():
        found.leave_out(BOUNDS, "the model's p(x|z) is for binary images, and these are grey")
        return
    weights = log_weights(model, images, draws, seed, lambda what, done, total: None, condition.labels(chosen)).double()
    bound = importance_weighted_bound(weights)
    found.add("elbo", *mean_with_interval(weights.mean(0), seed), count)
    found.add("iwae", *mean_with_interval(bound, seed), count)
    if kind == "bernoulli":
        found.left_out["bits_per_dimension"] = "the model's p(x|z) is for binary images"
    else:
        bits = posterior.bits_per_dimension(bound, images[0].numel(), kind)
        found.add("bits_per_dimension", *mean_with_interval(bits, seed), count)


@torch.inference_mode()
def log_weights(
    model: Model, images: Images, draws: int, seed: int, progress: ProgressCallback, labels: Labels | None = None
) -> Tensor:
    """Log p(x|z) + log p(z) - log q(z|x) of `draws` latents of each image's posterior, [draws, image]."""
    generator = Generator().manual_seed(keyed_seed(seed, "likelihood"))
    images = posterior.dequantised(images, model.config.likelihood, generator)
    mean, log_var = (part.cpu() for part in model.posterior(images, labels))
    variance = torch.tensor(model.config.variance or 1.0)
    rows: list[Tensor] = []
    for draw in range(draws):
        noise = torch.randn(mean.shape, generator=generator)
        latents = mean + torch.exp(log_var / 2) * noise
        raw = model.raw(latents, labels).cpu()
        density = log_density(model.config.likelihood, images, raw, variance)
        rows.append(density + log_ratio(latents, mean, log_var, noise))
        progress("likelihood", draw + 1, draws)
    return torch.stack(rows)


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
        found.add("mode_coverage", *posterior.shared_mix_with_interval(pairs, seed), len(described), FEATURES, len(unknown))

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
        codes = {one.name: posterior.in_bins(one.train_values) if one.continuous else one.train for one in self.factors}

        def measured(chosen: Tensor, latents: Tensor = latents) -> Tensor:
            weights = torch.stack([posterior.importance(latents[chosen], factor.targets[chosen]) for factor in self.factors], 1)
            gap = posterior.mutual_information_gap(latents[chosen], {name: code[chosen] for name, code in codes.items()})
            return torch.tensor([gap, *posterior.disentanglement(weights)], dtype=torch.float64)

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
