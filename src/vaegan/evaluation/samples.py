"""Every number that compares a set of images with held-out real ones: for a stage's samples, and for real images as the floor."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vaegan.evaluation.numbers import Findings
from vaegan.evaluation.reference import References
from vaegan.metrics.bins import compare_bins, fill_bins, find_bins
from vaegan.metrics.birthday import duplicate_rate, duplicate_threshold, pair_distances, support_size
from vaegan.metrics.classifier import two_sample_correct
from vaegan.metrics.diversity import effective_rank
from vaegan.metrics.features import (
    LAYOUT_FEATURES,
    RANDOM_FEATURES,
    LayoutFeatures,
    Standardise,
    random_features,
    small_images,
)
from vaegan.metrics.frechet import frechet_with_interval
from vaegan.metrics.kernel import kernel_distance_with_interval
from vaegan.metrics.neighbours import manifold_scores, nearest_neighbour_accuracy
from vaegan.metrics.sliced import laplacian_pyramid, sliced_distance_of_octave
from vaegan.metrics.spectrum import detail_energy, power_spectrum, radial_spectrum, texture_power
from vaegan.metrics.statistics import Moments, interval, mean_with_interval, ratio_with_interval, resampling_weights
from vaegan.randomness import keyed_seed
from vaegan.types import Images

MOST_IN_PAIRS = 4_000  # images that all pairs are looked at of: 16 M distances, 128 MB
OCTAVES = ("swd_full", "swd_half", "swd_quarter")
FEW = {"kernel": 10, "patches": 10, "power": 10, "frechet": 200, "neighbours": 100, "classifier": 100, "bins": 200, "pairs": 100}
"""Held-out images below which a metric says nothing [images]."""


@dataclass(frozen=True)
class Pictures:
    """A set of images with the two descriptions that all sample metrics use."""

    images: Images
    random: Tensor
    small: Tensor

    @classmethod
    def of(cls, images: Images) -> "Pictures":
        """Describes generated images."""
        return cls(images, random_features(images), small_images(images))

    def first(self, count: int) -> "Pictures":
        """The first `count` of them."""
        return Pictures(self.images[:count], self.random[:count], self.small[:count])

    def __len__(self) -> int:
        """[images]."""
        return len(self.images)


class Yardstick:
    """Held-out real images and what is derived from them once, for all sets of images that are compared with them."""

    def __init__(self, references: References, count: int, seed: int) -> None:
        """Args: references: real images; count: at most so many of them; seed: of everything random."""
        self.seed = seed
        heldout = references.heldout.first(count)
        self.real = Pictures(
            heldout.images(), heldout.features(RANDOM_FEATURES, random_features), heldout.features("small-16", small_images)
        )
        self.train: Pictures | None = None
        if references.train is not None:
            train = references.train.first(count)
            self.train = Pictures(
                train.images(), train.features(RANDOM_FEATURES, random_features), train.features("small-16", small_images)
            )

    @cached_property
    def standardise(self) -> Standardise:
        """To units of the real deviation."""
        return Standardise(self.real.random)

    @cached_property
    def layout(self) -> LayoutFeatures:
        """Principal components of the held-out images."""
        return LayoutFeatures(self.real.small)

    @cached_property
    def octaves(self) -> list[Images]:
        """Of the held-out images."""
        return laplacian_pyramid(self.real.images)

    @cached_property
    def power(self) -> Tensor:
        """Spectra of the held-out images."""
        return power_spectrum(self.real.images)

    @cached_property
    def bins(self) -> Tensor | None:
        """Centres found among training images, so that held-out images are judged by bins that were not made from them."""
        if self.train is None:
            return None
        count = max(2, min(100, len(self.real) // 10, len(self.train) // 10))
        return find_bins(self.layout(self.train.small), count, self.seed)

    @cached_property
    def spectrum(self) -> list[float]:
        """log10 of the radial power of the held-out images."""
        return log_spectrum(self.power)


def log_spectrum(power: Tensor) -> list[float]:
    """log10 of the mean radial power, one number a radius."""
    return [round(float(value), 5) for value in radial_spectrum(power).mean(0).clamp_min(1e-12).log10()]


def compare(yard: Yardstick, given: Pictures, found: Findings) -> list[float]:
    """Puts all sample metrics of `given` into `found` and returns the spectrum of its images."""
    _distances(yard, given, found)
    power = _appearance(yard, given, found)
    _neighbours(yard, given, found)
    _variety(yard, given, found)
    return log_spectrum(power)


def _distances(yard: Yardstick, given: Pictures, found: Findings) -> None:
    count, there, seed = len(given), len(yard.real), yard.seed
    real, fake = yard.standardise(yard.real.random), yard.standardise(given.random)
    if not found.lacks("kernel_distance", FEW["kernel"], there):
        value, between = kernel_distance_with_interval(real[:MOST_IN_PAIRS], fake[:MOST_IN_PAIRS], seed)
        found.add("kernel_distance", value, between, min(count, MOST_IN_PAIRS), RANDOM_FEATURES)
    if not found.lacks("frechet_distance", FEW["frechet"], there):
        value, between = frechet_with_interval(real, fake, seed)
        found.add("frechet_distance", value, between, count, RANDOM_FEATURES)
    if not found.lacks(OCTAVES, FEW["patches"], there):
        pairs = zip(OCTAVES, yard.octaves, laplacian_pyramid(given.images), strict=False)
        for name, one, two in pairs:
            found.add(name, *sliced_distance_of_octave(one, two, seed, replicates=30), count)
        for name in OCTAVES[len(yard.octaves) :]:
            found.left_out[name] = "the images are too small for this octave"
    if not found.lacks("two_sample_accuracy", FEW["classifier"], min(there, count)):
        equal = min(there, count, MOST_IN_PAIRS)
        correct = two_sample_correct(real[:equal], fake[:equal], seed)
        found.add("two_sample_accuracy", *mean_with_interval(correct, seed), equal, RANDOM_FEATURES)


def _appearance(yard: Yardstick, given: Pictures, found: Findings) -> Tensor:
    power = power_spectrum(given.images)
    names = ("sharpness", "texture_2", "texture_4")
    if not found.lacks(names, FEW["power"], len(yard.real)):
        pairs = [(detail_energy(given.images), detail_energy(yard.real.images))]
        pairs += [(texture_power(power, period), texture_power(yard.power, period)) for period in (2, 4)]
        for name, (above, below) in zip(names, pairs, strict=True):
            found.add(name, *ratio_with_interval(above, below, yard.seed), len(given))
    return power


def _neighbours(yard: Yardstick, given: Pictures, found: Findings) -> None:
    there = min(len(yard.real), len(given))
    if found.lacks(("precision", "recall", "density", "coverage", "nearest_neighbour_accuracy"), FEW["neighbours"], there):
        return
    # Equal counts: with many more samples than real images every real one would be covered.
    equal = min(there, MOST_IN_PAIRS)
    real, fake = (yard.layout(set_.small)[:equal] for set_ in (yard.real, given))
    scores = manifold_scores(real, fake)
    for name, values in scores._asdict().items():
        found.add(name, *mean_with_interval(values, yard.seed), len(fake), LAYOUT_FEATURES)
    alike = nearest_neighbour_accuracy(real, fake)
    found.add("nearest_neighbour_accuracy", *mean_with_interval(alike, yard.seed), equal, LAYOUT_FEATURES)


def _variety(yard: Yardstick, given: Pictures, found: Findings) -> None:
    there, seed = min(len(yard.real), len(given)), yard.seed
    real, fake = yard.layout(yard.real.small), yard.layout(given.small)
    if yard.bins is None:
        for name in ("different_bins", "bins_divergence"):
            found.left_out[name] = "the training images are not at hand"
    elif not found.lacks(("different_bins", "bins_divergence"), FEW["bins"], there):
        _bins(real, fake, yard.bins, found, seed)
    if not found.lacks("variety", FEW["power"], there):
        # The mean squared distance of pairs is twice the summed variance; one value an image, so that it has an interval.
        spread, usual = ((small - small.mean(0)).square().sum(1) for small in (given.small, yard.real.small))
        found.add("variety", *ratio_with_interval(spread, usual, seed), len(given), "small-16")
    if found.lacks(("duplicates", "support", "effective_rank"), FEW["pairs"], there):
        return
    _duplicates(real[:MOST_IN_PAIRS], fake[:MOST_IN_PAIRS], found, seed)
    # The rank of a covariance rises with the number of images: equal counts on both sides.
    ranks = [effective_rank(Moments.of(yard.standardise(set_.random[:there]))) for set_ in (given, yard.real)]
    drawn = [_rank_of_redrawn(yard.standardise(given.random[:there]), k, seed) / ranks[1] for k in range(20)]
    value = ranks[0] / ranks[1]
    found.add("effective_rank", value, interval(value, drawn), there, RANDOM_FEATURES)


def _bins(real: Tensor, fake: Tensor, centres: Tensor, found: Findings, seed: int) -> None:
    first, second = fill_bins(real, centres), fill_bins(fake, centres)
    filling = compare_bins(first, second, len(centres))
    redrawn = (second[torch.randint(len(second), (len(second),), generator=_generator(seed, k))] for k in range(50))
    drawn = [compare_bins(first, member, len(centres)) for member in redrawn]
    for name, value, replicates in (
        ("different_bins", filling.different, [one.different for one in drawn]),
        ("bins_divergence", filling.divergence, [one.divergence for one in drawn]),
    ):
        found.add(name, value, interval(value, replicates), len(fake), LAYOUT_FEATURES)


def _rank_of_redrawn(features: Tensor, replicate: int, seed: int) -> float:
    drawn = torch.randint(len(features), (len(features),), generator=_generator(seed, replicate))
    return effective_rank(Moments.of(features[drawn]))


def _duplicates(real: Tensor, fake: Tensor, found: Findings, seed: int) -> None:
    threshold = duplicate_threshold(real)
    usual = duplicate_rate(real, threshold)
    close = (torch.cdist(fake.double(), fake.double()) <= threshold).double().fill_diagonal_(0)
    weights = resampling_weights(len(fake), seed=seed)
    pairs = len(fake) * (len(fake) - 1)
    value = float(close.sum()) / pairs / usual
    found.add(
        "duplicates", value, interval(value, ((weights @ close) * weights).sum(1) / pairs / usual), len(fake), LAYOUT_FEATURES
    )
    # Nearly identical: four times as near as a real image's nearest neighbour usually is.
    apart = torch.cdist(real.double(), real.double()).fill_diagonal_(torch.inf).min(1).values.median()
    identical = int((pair_distances(fake) < apart / 4).sum())
    found.add("support", support_size(identical, len(fake)), None, len(fake), LAYOUT_FEATURES)


def _generator(seed: int, replicate: int) -> torch.Generator:
    return torch.Generator().manual_seed(keyed_seed("replicate", seed, replicate))
