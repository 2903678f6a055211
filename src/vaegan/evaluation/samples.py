"""Numbers that compare images with held-out real ones: a stage's samples, and real images as the floor."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.evaluation.tally import Findings, Tally
from vaegan.metrics import diversity
from vaegan.metrics.classifier import two_sample_accuracy
from vaegan.metrics.features import (
    LAYOUT_FEATURES,
    RANDOM_FEATURES,
    Standardise,
    frechet_interval_by_halves,
    frechet_with_interval,
    kernel_distance_with_interval,
    layout_features,
    random_features,
    small_images,
)
from vaegan.metrics.neighbours import NEIGHBOUR_SCORES, neighbour_scores
from vaegan.metrics.sliced import Places, laplacian_pyramid, patch_places, sliced_distance, take_patches
from vaegan.metrics.spectrum import detail_energy, finest_octave, flat_share, power_spectrum, radial_spectrum, texture_power
from vaegan.metrics.statistics import SHARDS, Moments, ratio_with_interval, with_interval_by_halves
from vaegan.types import Images

INCEPTION = "inception-2015"
NETWORK = "network"  # the user's feature network, in a tally
MOST_RESAMPLED = 512  # [dimensions]
Network = Callable[[Images], Tensor]
OCTAVES = ("swd_full", "swd_half", "swd_quarter")
FEWEST_FOR_MEANS, FEWEST_FOR_PAIRS, FEWEST_FOR_COVARIANCES = 10, 100, 200
"""Held-out images below which metrics of these kinds say nothing."""
RECORDED_DETAILS = 128
"""Images whose finest octave is recorded, 100 MB at 256x256, for 8,128 pairs: the likeness of these is known to about 5 %."""
FAINT = 0.01  # deviation of details, of values in [-1, 1], under which most real images have none: the likeness would be chance
WITHOUT_TRAIN = "the training images are not at hand"
LEAST_FLAT = 0.01  # share of a real image's pixels that must be flat on average, for the ratio to mean anything


@dataclass(frozen=True)
class Described:
    """A set of images as what was recorded of them while they passed by."""

    count: int  # images of the set
    tally: Tally

    @cached_property
    def random(self) -> Tensor:
        """Random features of at most `MOST_RECORDED` images."""
        return self.tally.rows("random")

    @cached_property
    def layout(self) -> Tensor:
        """`layout_features` of at most `MOST_RECORDED` images."""
        return layout_features(self.tally.rows("small"))


def describe(
    tally: Tally, first: int, images: Images, count: int, seed: int, given: bool, network: Network | None = None
) -> None:
    """Records what all sample metrics need of one block, of which the first image has position `first` in a set of `count`.

    `given` sets are compared with real images: their patches are at other places, drawn by `seed`.
    """
    random, small = random_features(images), small_images(images)
    tally.add_moments("random", first, random)
    tally.record_first("random", first, random)
    tally.record_first("small", first, small)
    tally.add("small", first, torch.cat([small, small.square().sum(1, keepdim=True)], 1))
    tally.add("sharpness", first, detail_energy(images))
    tally.add("flatness", first, flat_share(images))
    if first < RECORDED_DETAILS:
        tally.record_first("details", first, finest_octave(images[: RECORDED_DETAILS - first]).flatten(1), RECORDED_DETAILS)
    for period in (2, 4):
        tally.add(f"texture_{period}", first, texture_power(images, period))
    tally.add("spectrum", first, radial_spectrum(power_spectrum(images)))
    for name, octave in zip(OCTAVES, laplacian_pyramid(images), strict=False):
        places = patch_places(octave, count, seed, given)
        here = torch.nonzero((places.image >= first) & (places.image < first + len(images)))[:, 0]
        mine = Places(places.image[here] - first, places.top[here], places.left[here])
        tally.record(name, here, take_patches(octave, mine))
        tally.record(f"{name}-image", here, places.image[here])
    if network is not None:
        features = network(images)
        tally.record_first(NETWORK, first, features)
        # Replicates of 2,048 dimensions would take longer than everything else together.
        tally.add_moments(NETWORK, first, features, SHARDS if features.shape[1] <= MOST_RESAMPLED else 1)


@dataclass(frozen=True)
class Yardstick:
    """Held-out real images and what is derived from them once, for all sets of images that are compared with them."""

    real: Described
    train: Described | None  # training images, if they are at hand
    seed: int
    network: str | None = None  # the user's feature network, if all sets are described by it

    @cached_property
    def standardise(self) -> Standardise:
        """Random features in units of the real deviation."""
        moments = reduce(Moments.merge, self.real.tally.moments("random"))
        return Standardise(moments.mean.float(), moments.covariance.diagonal().clamp_min(0).sqrt().float())


def log_spectrum(described: Described) -> list[float]:
    """log10 of the mean radial power, one number a radius."""
    return [round(float(value), 5) for value in described.tally.sums("spectrum").mean.clamp_min(1e-12).log10()]


def compare(yard: Yardstick, given: Described, found: Findings) -> None:
    """Adds all sample metrics of `given` to `found`."""
    _distances(yard, given, found)
    _appearance(yard, given, found)
    _neighbours(yard, given, found)
    _variety(yard, given, found)
    if yard.network is not None:
        _network_distances(yard.network, yard, given, found)


def _distances(yard: Yardstick, given: Described, found: Findings) -> None:
    there, seed = yard.real.count, yard.seed
    real, fake = yard.standardise(yard.real.random), yard.standardise(given.random)
    if not found.lacks("kernel_distance", FEWEST_FOR_MEANS, there):
        found.add("kernel_distance", *kernel_distance_with_interval(real, fake, seed), len(fake), RANDOM_FEATURES, len(real))
    if not found.lacks("frechet_distance", FEWEST_FOR_COVARIANCES, there):
        unit = yard.standardise.deviation.double()
        one, two = ([part.scaled(unit) for part in cloud.tally.moments("random")] for cloud in (yard.real, given))
        found.add("frechet_distance", *frechet_with_interval(one, two, seed), given.count, RANDOM_FEATURES, there)
    if not found.lacks(OCTAVES, FEWEST_FOR_MEANS, there):
        for name in OCTAVES:
            if f"rows/{name}/rows" not in yard.real.tally.state:
                found.left_out[name] = "the images are too small for this octave"
                continue
            patches = [one.tally.rows(rows) for one in (yard.real, given) for rows in (name, f"{name}-image")]
            found.add(name, *sliced_distance(*patches, seed=seed, replicates=30), given.count, None, there)
    if not found.lacks("two_sample_accuracy", FEWEST_FOR_PAIRS, min(there, given.count)):
        equal = min(len(real), len(fake))
        accuracy = two_sample_accuracy(real[:equal], fake[:equal], seed)
        found.add("two_sample_accuracy", *accuracy, equal, RANDOM_FEATURES, equal)


def _network_distances(name: str, yard: Yardstick, given: Described, found: Findings) -> None:
    """Adds distances in the features of the user's network; only Inception's are called FID and KID."""
    frechet, kernel = ("fid", "kid") if name == INCEPTION else ("feature_frechet_distance", "feature_kernel_distance")
    real, seed, one, two = yard.real, yard.seed, yard.real.tally.rows(NETWORK), given.tally.rows(NETWORK)
    if not found.lacks(kernel, FEWEST_FOR_MEANS, real.count):
        found.add(kernel, *kernel_distance_with_interval(one, two, seed), len(two), name, len(one))
    if not found.lacks(frechet, FEWEST_FOR_COVARIANCES, real.count):
        value, between = frechet_with_interval(real.tally.moments(NETWORK), given.tally.moments(NETWORK), seed)
        between = between or frechet_interval_by_halves(value, one, two, seed)
        found.add(frechet, value, between, given.count, name, real.count)


def _appearance(yard: Yardstick, given: Described, found: Findings) -> None:
    names = ("sharpness", "flatness", "texture_2", "texture_4")
    if not found.lacks(names, FEWEST_FOR_MEANS, yard.real.count):
        for name in names:
            fake, real = given.tally.sums(name), yard.real.tally.sums(name)
            if name == "flatness" and float(real.mean) < LEAST_FLAT:
                found.left_out[name] = "the real images have no flat areas"
                continue
            found.add(name, *ratio_with_interval(fake, real, yard.seed), given.count, None, yard.real.count)
    if not found.lacks("detail_likeness", FEWEST_FOR_MEANS, min(yard.real.count, given.count)):
        _details(yard, given, found)


def _details(yard: Yardstick, given: Described, found: Findings) -> None:
    rows = given.tally.rows("details"), yard.real.tally.rows("details")
    if float(rows[1].square().mean(1).median()) < FAINT**2:  # not the mean: one image with details is like no other
        found.left_out["detail_likeness"] = "the real images have no fine details"
        return
    fake, real = (F.normalize(details) @ F.normalize(details).T for details in rows)

    def ratio(mine: Tensor, others: Tensor) -> Tensor:
        return _likeness(fake[mine][:, mine]) / _likeness(real[others][:, others])

    number = with_interval_by_halves(ratio, (len(fake), len(real)), yard.seed)
    found.add("detail_likeness", *number, len(fake), None, len(real))


def _likeness(cosines: Tensor) -> Tensor:
    """Root mean square of the cosines of pairs, [image, image]."""
    return ((cosines.square().sum() - cosines.diagonal().square().sum()) / (len(cosines) * (len(cosines) - 1))).sqrt()


def _neighbours(yard: Yardstick, given: Described, found: Findings) -> None:
    # Equal counts: with many more samples than real images every real one would be covered.
    equal = min(len(yard.real.layout), len(given.layout))
    if found.lacks(NEIGHBOUR_SCORES, FEWEST_FOR_PAIRS, equal):
        return
    real, fake = (one.layout[:equal] for one in (yard.real, given))
    for name, (value, between) in neighbour_scores(real, fake, yard.seed).items():
        found.add(name, value, between, equal, LAYOUT_FEATURES, equal)


def _variety(yard: Yardstick, given: Described, found: Findings) -> None:
    real, fake = yard.real.layout, given.layout
    there = min(len(real), len(fake))
    if not found.lacks("variety", FEWEST_FOR_MEANS, there):
        # The mean squared distance of pairs is twice the summed variance; behind an image's values stands their squared length.
        small = given.tally.sums("small"), yard.real.tally.sums("small")
        ratio = ratio_with_interval(*small, yard.seed, of=lambda mean: mean[..., -1] - mean[..., :-1].square().sum(-1))
        found.add("variety", *ratio, given.count, "small-16", yard.real.count)
    if not found.lacks("duplicates", FEWEST_FOR_PAIRS, there):
        duplicates(real, fake, found)


def duplicates(real: Tensor, fake: Tensor, found: Findings) -> None:
    """Adds near-duplicates, judged by features [count, dimension]."""
    # Exact distances, as the threshold's are: by products of matrices equal images are not 0 apart.
    apart, distances = (
        torch.cdist(one.double(), one.double(), compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
        for one in (real, fake)
    )
    threshold = diversity.duplicate_threshold(real)
    close = [(one <= threshold).sum(1) for one in (distances, apart)]
    found.add("duplicates", *diversity.duplicate_ratio(*close), len(fake), LAYOUT_FEATURES, len(real))
