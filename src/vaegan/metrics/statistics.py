"""Moments of feature vectors as exact sums in float64, so that they can be collected in shards, and bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor

from vaegan.randomness import keyed_seed

REPLICATES = 200


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of outer products. Sums, never means: shards of any size merge without a weighting to get wrong."""

    count: int
    total: Tensor
    outer: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """The moments of [count, dimension] features, in float64 on the CPU."""
        features = features.detach().cpu().double()
        return cls(len(features), features.sum(0), features.T @ features)

    def merge(self, other: Self) -> Self:
        """The moments of both collections together."""
        return type(self)(self.count + other.count, self.total + other.total, self.outer + other.outer)

    @property
    def mean(self) -> Tensor:
        """[dimension]."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Unbiased, [dimension, dimension]."""
        mean = self.mean
        return (self.outer - self.count * torch.outer(mean, mean)) / (self.count - 1)


def resampling_weights(count: int, replicates: int = REPLICATES, seed: int = 0) -> Tensor:
    """How often each of `count` items is drawn in each bootstrap replicate, float64 [replicates, count]; rows sum to count.

    Efron 1979. The weights are keyed by their size and seed alone, so that a repeated evaluation has the same intervals.
    """
    generator = Generator().manual_seed(keyed_seed("bootstrap", seed, count))
    drawn = torch.randint(count, (replicates, count), generator=generator)
    weights = torch.zeros(replicates, count, dtype=torch.float64)
    return weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))


def interval(value: float, replicates: Tensor | Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """A bootstrap interval around `value` [same unit].

    The replicates are moved so that their mean is the value: a distance between samples grows when items repeat, and a plain
    percentile interval of such a statistic may not even contain it.
    """
    drawn = torch.as_tensor(replicates, dtype=torch.float64)
    drawn = drawn[drawn.isfinite()]
    if len(drawn) < 2:
        return value, value
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = (value + torch.quantile(drawn, tails) - drawn.mean()).tolist()
    return min(low, value), max(high, value)


def mean_with_interval(values: Tensor, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """The mean of one value an item, and its bootstrap interval."""
    values = values.detach().cpu().double()
    value = float(values.mean())
    return value, interval(value, resampling_weights(len(values), seed=seed) @ values / len(values))


def ratio_with_interval(above: Tensor, below: Tensor, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """The mean of `above` over the mean of `below`, whose items are other ones, and its bootstrap interval."""
    above, below = above.detach().cpu().double(), below.detach().cpu().double()
    below_mean = below.mean().clamp_min(1e-300)
    value = float(above.mean() / below_mean)
    tops = resampling_weights(len(above), seed=seed) @ above / len(above)
    bottoms = resampling_weights(len(below), seed=seed + 1) @ below / len(below)
    return value, interval(value, tops / bottoms.clamp_min(1e-300))
