"""Distances between two clouds of features: Frechet, and the kernel distance, which is unbiased and so for few images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaegan.metrics.statistics import FEW_SPLITS, Interval, Moments, clipped, interval, reach_by_halves, resampling_weights

FRECHET_REPLICATES = 40
Shards = Sequence[Moments]
"""Moments of parts of a collection of images."""


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2) (Dowson & Landau 1982; Heusel et al. 2017, Eq. 6).

    It falls with the number of images, because the covariances are estimated: compare at equal counts only.
    """
    gap = first.mean - second.mean
    one, two = first.covariance, second.covariance
    # Rounding makes eigenvalues of a covariance negative, which count as 0.
    values, vectors = torch.linalg.eigh(one)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    crossed = torch.linalg.eigvalsh(root @ two @ root).clamp_min(0).sqrt().sum()
    return float(gap @ gap + one.trace() + two.trace() - 2 * crossed)


def frechet_with_interval(real: Shards, fake: Shards, seed: int = 0) -> tuple[float, Interval | None]:
    """The distance of two feature clouds and its interval; None for clouds that are not in shards.

    The bootstrap redraws shards, whose moments are sums, so that a replicate costs no new pass.
    """
    shards = [[part for part in cloud if part.count] for cloud in (real, fake)]
    value = frechet_distance(*(_weighted_moments(parts, torch.ones(len(parts))) for parts in shards))
    if len(real) == 1:
        return value, None
    drawn = [resampling_weights(len(parts), FRECHET_REPLICATES, seed + side) for side, parts in enumerate(shards)]
    pairs = zip(*drawn, strict=True)
    return value, interval(value, [frechet_distance(*map(_weighted_moments, shards, pair)) for pair in pairs])


def frechet_interval_by_halves(value: float, real: Tensor, fake: Tensor, seed: int = 0) -> Interval:
    """The interval of a distance `value` of two clouds of features, where there are too many dimensions for the bootstrap."""

    def distance(reals: Tensor, fakes: Tensor) -> Tensor:
        return torch.tensor(frechet_distance(Moments.of(real[reals]), Moments.of(fake[fakes])))

    reach = float(reach_by_halves(distance, (len(real), len(fake)), seed, FEW_SPLITS))
    return clipped((value - reach, value + reach))


def _weighted_moments(shards: Shards, weights: Tensor) -> Moments:
    pairs = [(float(weight), shard) for weight, shard in zip(weights, shards, strict=True) if weight > 0]
    count = round(sum(weight * shard.count for weight, shard in pairs))
    total = sum((weight * shard.total for weight, shard in pairs), start=torch.zeros_like(shards[0].total))
    outer = sum((weight * shard.outer for weight, shard in pairs), start=torch.zeros_like(shards[0].outer))
    return Moments(count, total, outer)


def polynomial_kernel(first: Tensor, second: Tensor) -> Tensor:
    """(x.y / d + 1)^3 for all pairs, float64 [first, second] (Binkowski et al. 2018, Section 3)."""
    return (first.double() @ second.double().T / first.shape[1] + 1) ** 3


def kernel_distance_with_interval(real: Tensor, fake: Tensor, seed: int = 0) -> tuple[float, Interval]:
    """The squared maximum mean discrepancy of features [count, dimension] as a U-statistic, and its bootstrap interval.

    Gretton et al. 2012, Lemma 6 (unequal counts); in Inception features the KID of Binkowski et al. 2018, here over the full
    sets. Unbiased: its mean over equal distributions is 0, and it may be negative.
    """
    kernels = polynomial_kernel(real, real), polynomial_kernel(fake, fake), polynomial_kernel(real, fake)
    ones = (torch.ones(1, len(real), dtype=torch.float64), torch.ones(1, len(fake), dtype=torch.float64))
    weights = resampling_weights(len(real), seed=seed), resampling_weights(len(fake), seed=seed + 1)
    value = float(_u_statistic(*kernels, *ones))
    return value, interval(value, _u_statistic(*kernels, *weights))


def _u_statistic(real: Tensor, fake: Tensor, cross: Tensor, of_real: Tensor, of_fake: Tensor) -> Tensor:
    """The discrepancy for each row of weights [replicates, count]: pairs of one image with itself never count."""

    def within(kernel: Tensor, weights: Tensor) -> Tensor:
        both = ((weights @ kernel) * weights).sum(1) - weights.square() @ kernel.diagonal()
        return both / (weights.sum(1).square() - weights.square().sum(1))

    between = ((of_real @ cross) * of_fake).sum(1) / (of_real.sum(1) * of_fake.sum(1))
    return within(real, of_real) + within(fake, of_fake) - 2 * between
