"""Frechet distance between the Gaussians of two feature clouds."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaegan.metrics.statistics import FEW_SPLITS, Moments, interval, reach_by_halves, resampling_weights

REPLICATES = 40
Shards = Sequence[Moments]
"""Moments of parts of a collection of images."""


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2) (Dowson & Landau 1982; Heusel et al. 2017, Eq. 6).

    It falls with the number of images, because the covariances are estimated: compare at equal counts only.
    """
    gap = first.mean - second.mean
    one, two = first.covariance, second.covariance
    root = symmetric_root(one)
    crossed = torch.linalg.eigvalsh(root @ two @ root).clamp_min(0).sqrt().sum()
    return float(gap @ gap + one.trace() + two.trace() - 2 * crossed)


def symmetric_root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a covariance; eigenvalues that rounding made negative count as 0."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def frechet_with_interval(real: Shards, fake: Shards, seed: int = 0) -> tuple[float, tuple[float, float] | None]:
    """The distance of two feature clouds and its interval; None for clouds that are not in shards.

    The bootstrap redraws shards of images, not images: their moments are sums, so that a replicate costs no new pass.
    """
    shards = [[part for part in cloud if part.count] for cloud in (real, fake)]
    value = frechet_distance(*(_weighted(parts, torch.ones(len(parts))) for parts in shards))
    if len(real) == 1:
        return value, None
    drawn = [resampling_weights(len(parts), REPLICATES, seed + side) for side, parts in enumerate(shards)]
    pairs = zip(*drawn, strict=True)
    return value, interval(
        value, [frechet_distance(_weighted(shards[0], first), _weighted(shards[1], second)) for first, second in pairs]
    )


def frechet_interval_by_halves(value: float, real: Tensor, fake: Tensor, seed: int = 0) -> tuple[float, float]:
    """The interval of a distance `value`, for features of so many dimensions that 40 replicates would take too long.

    Args:
        value: of clouds of which these are images, all or as many as were kept; of fewer than all it is wider than it must be.
        real: features [real, dimension].
        fake: features [fake, dimension].
        seed: of the halves.
    """

    def distance(reals: Tensor, fakes: Tensor) -> Tensor:
        return torch.tensor(frechet_distance(Moments.of(real[reals]), Moments.of(fake[fakes])))

    reach = float(reach_by_halves(distance, (len(real), len(fake)), seed, FEW_SPLITS))
    return max(0.0, value - reach), value + reach


def _weighted(shards: Shards, weights: Tensor) -> Moments:
    pairs = [(float(weight), shard) for weight, shard in zip(weights, shards, strict=True) if weight > 0]
    count = round(sum(weight * shard.count for weight, shard in pairs))
    total = sum((weight * shard.total for weight, shard in pairs), start=torch.zeros_like(shards[0].total))
    outer = sum((weight * shard.outer for weight, shard in pairs), start=torch.zeros_like(shards[0].outer))
    return Moments(count, total, outer)
