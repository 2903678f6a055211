"""Exact sums in float64 over any number of images, and 95 % intervals by the bootstrap or by halves."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Generator, Tensor

from vaegan.randomness import keyed_seed

Interval = tuple[float, float]
REPLICATES = 200
NORMAL = 1.960  # of a 95 % interval
GROUPS, SHARDS = 200, 25  # of images, by their position: values are small, outer products are not
SPLITS, FEW_SPLITS = 20, 4
TAILS = (1 - 0.95) / 2, (1 + 0.95) / 2
STUDENT = {SPLITS: 2.093, FEW_SPLITS: 3.182}  # of a 95 % interval, for the spread of so many values


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

    def scaled(self, unit: Tensor) -> Self:
        """The moments of these features in other units [dimension]."""
        return type(self)(self.count, self.total / unit, self.outer / torch.outer(unit, unit))

    @property
    def mean(self) -> Tensor:
        """[dimension]."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Unbiased, [dimension, dimension]."""
        mean = self.mean
        return (self.outer - self.count * torch.outer(mean, mean)) / (self.count - 1)


@dataclass(frozen=True)
class Grouped:
    """Sums of values over groups of images (position modulo `GROUPS`): their mean and its bootstrap, which redraws groups."""

    count: Tensor  # [group]
    total: Tensor  # [group, ...]

    @classmethod
    def of(cls, values: Tensor, first: int = 0) -> Self:
        """Groups values [image, ...] of images at the positions from `first` on."""
        values = values.detach().cpu().double()
        group = torch.arange(first, first + len(values)) % GROUPS
        empty = torch.zeros(GROUPS, *values.shape[1:], dtype=torch.float64)
        return cls(torch.bincount(group, minlength=GROUPS).double(), empty.index_add_(0, group, values))

    @property
    def mean(self) -> Tensor:
        """Mean of the values, [...]."""
        return self.total.sum(0) / self.count.sum()

    def redrawn(self, seed: int) -> Tensor:
        """Means of bootstrap replicates, [replicate, ...]."""
        filled = self.count > 0
        weights = resampling_weights(int(filled.sum()), seed=seed)
        count, total = weights @ self.count[filled], weights @ self.total[filled].reshape(weights.shape[1], -1)
        return (total / count[:, None]).view(-1, *self.total.shape[1:])

    def mean_with_interval(self, seed: int = 0) -> tuple[float, Interval]:
        """The mean of one value an image, and its bootstrap interval."""
        value = float(self.mean)
        return value, interval(value, self.redrawn(seed))


def resampling_weights(count: int, replicates: int = REPLICATES, seed: int = 0) -> Tensor:
    """How often each of `count` items is drawn in each bootstrap replicate (Efron 1979), float64 [replicates, count]."""
    generator = Generator().manual_seed(keyed_seed("bootstrap", seed, count))
    drawn = torch.randint(count, (replicates, count), generator=generator)
    weights = torch.zeros(replicates, count, dtype=torch.float64)
    return weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))


def interval(value: float, replicates: Tensor | Sequence[float]) -> Interval:
    """A 95 % bootstrap interval around `value`; replicates are centred on it, as a distance grows when items repeat."""
    drawn = torch.as_tensor(replicates, dtype=torch.float64)
    drawn = drawn[drawn.isfinite()]
    if len(drawn) < 2:
        return value, value
    low, high = (value + torch.quantile(drawn, torch.tensor(TAILS, dtype=torch.float64)) - drawn.mean()).tolist()
    return min(low, value), max(high, value)


def clipped(ends: Interval, most: float = math.inf) -> Interval:
    """An interval's part from 0 to `most`, for numbers that cannot lie elsewhere."""
    return max(0.0, ends[0]), min(most, ends[1])


def reach_by_halves(of: Callable[..., Tensor], counts: Sequence[int], seed: int = 0, splits: Literal[4, 20] = SPLITS) -> Tensor:
    """Half the width of the 95 % interval of a number `of` the positions in each collection, where a bootstrap is wrong.

    Every collection is cut into halves at random, `splits` times. Two halves share no image, so that half the difference of their
    numbers has the spread of the number of all (random half-samples, McCarthy 1969). A bias by the count cancels out.
    """
    generator, gaps = Generator().manual_seed(seed), []
    for _ in range(splits):
        halves = [torch.randperm(count, generator=generator).tensor_split(2) for count in counts]
        one, two = (of(*parts) for parts in zip(*halves, strict=True))
        gaps.append(one - two)
    return STUDENT[splits] * torch.stack(gaps).square().mean(0).sqrt() / 2


def with_interval_by_halves(
    of: Callable[..., Tensor], counts: Sequence[int], seed: int = 0, splits: Literal[4, 20] = SPLITS, most: float = math.inf
) -> tuple[float, Interval]:
    """The number `of` the collections, which lies between 0 and `most`, and its interval; see `reach_by_halves`."""
    value, reach = float(of(*map(torch.arange, counts))), float(reach_by_halves(of, counts, seed, splits))
    return value, clipped((value - reach, value + reach), most)


def mean_with_interval(values: Tensor, seed: int = 0) -> tuple[float, Interval]:
    """The mean of one value an item, and its bootstrap interval."""
    values = values.detach().cpu().double()
    value = float(values.mean())
    return value, interval(value, resampling_weights(len(values), seed=seed) @ values / len(values))


def ratio_with_interval(
    above: Grouped, below: Grouped, seed: int = 0, of: Callable[[Tensor], Tensor] = lambda mean: mean
) -> tuple[float, Interval]:
    """The mean of `above` over the mean of `below`, of other images, and its bootstrap interval; or the ratio `of` the means."""
    value = float(of(above.mean) / of(below.mean).clamp_min(1e-300))
    return value, interval(value, of(above.redrawn(seed)) / of(below.redrawn(seed + 1)).clamp_min(1e-300))


def wilson_interval(share: float, count: float) -> Interval:
    """Wilson's 95 % interval (1927) for a probability of which `share` was found in `count` independent trials."""
    centre = (share + NORMAL**2 / 2 / count) / (1 + NORMAL**2 / count)
    reach = NORMAL / (1 + NORMAL**2 / count) * ((share * (1 - share) + NORMAL**2 / 4 / count) / count) ** 0.5
    return clipped((centre - reach, centre + reach), 1.0)
