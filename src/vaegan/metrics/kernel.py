"""Kernel distance between two feature clouds: unbiased, and so the first choice when images are few."""

import torch
from torch import Tensor

from vaegan.metrics.statistics import interval, resampling_weights


def polynomial_kernel(first: Tensor, second: Tensor) -> Tensor:
    """(x.y / d + 1)^3 for all pairs, float64 [first, second] (Binkowski et al. 2018, Section 3)."""
    return (first.double() @ second.double().T / first.shape[1] + 1) ** 3


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """The squared maximum mean discrepancy as a U-statistic, over all pairs of different images.

    Gretton et al. 2012, Lemma 6 (unequal counts); with Inception features it is the KID of Binkowski et al. 2018, here over
    the whole sets instead of averaged over subsets. Unbiased: its mean over equal distributions is 0, and it may be negative.

    Args:
        real: features [count, dimension].
        fake: features [count, dimension].
    """
    ones = (torch.ones(1, len(real), dtype=torch.float64), torch.ones(1, len(fake), dtype=torch.float64))
    return float(_weighted(polynomial_kernel(real, real), polynomial_kernel(fake, fake), polynomial_kernel(real, fake), *ones))


def kernel_distance_with_interval(real: Tensor, fake: Tensor, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """The distance and its bootstrap interval; a replicate leaves out the pairs of an image with itself, as the value does."""
    kernels = polynomial_kernel(real, real), polynomial_kernel(fake, fake), polynomial_kernel(real, fake)
    ones = (torch.ones(1, len(real), dtype=torch.float64), torch.ones(1, len(fake), dtype=torch.float64))
    weights = resampling_weights(len(real), seed=seed), resampling_weights(len(fake), seed=seed + 1)
    value = float(_weighted(*kernels, *ones))
    return value, interval(value, _weighted(*kernels, *weights))


def _weighted(real: Tensor, fake: Tensor, cross: Tensor, of_real: Tensor, of_fake: Tensor) -> Tensor:
    """The U-statistic for each row of weights [replicates, count]: pairs of one image with itself never count."""

    def within(kernel: Tensor, weights: Tensor) -> Tensor:
        both = ((weights @ kernel) * weights).sum(1) - weights.square() @ kernel.diagonal()
        return both / (weights.sum(1).square() - weights.square().sum(1))

    between = ((of_real @ cross) * of_fake).sum(1) / (of_real.sum(1) * of_fake.sum(1))
    return within(real, of_real) + within(fake, of_fake) - 2 * between
