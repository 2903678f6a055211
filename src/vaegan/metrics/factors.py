"""Latents against known factors: MIG, DCI, and how much of the mix of attributes samples show."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.metrics.statistics import Interval, clipped, interval, resampling_weights
from vaegan.types import Latents

PENALTY = 0.6  # of the lasso, in deviations that a weight has by chance
BINS = 20  # Chen et al. 2018, Appendix; Locatello et al. 2019


def in_bins(values: Tensor, bins: int = BINS) -> Tensor:
    """Codes 0 .. bins - 1 of equally many values each, int64 as `values` [count] or [count, columns]; ties share a bin."""
    edges = torch.quantile(values.double(), torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1], dim=0)
    return (values.double()[None] > edges.reshape(bins - 1, *([1] if values.ndim == 1 else [1, -1]))).sum(0)


def mutual_information(first: Tensor, second: Tensor) -> float:
    """Mutual information of two columns of codes [nats], from their joint counts."""
    joint = torch.zeros(int(first.max()) + 1, int(second.max()) + 1, dtype=torch.float64)
    joint.index_put_((first, second), torch.ones(len(first), dtype=torch.float64), accumulate=True)
    joint /= len(first)
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float(torch.where(joint > 0, joint * (joint / independent.clamp_min(1e-300)).log(), 0.0).sum())


def mutual_information_gap(latents: Latents, factors: dict[str, Tensor]) -> float:
    """MIG: mean over factors of (largest - second largest I(z_j; factor)) / H(factor) (Chen et al. 2018, Eq. 6)."""
    codes = in_bins(latents)
    gaps: list[float] = []
    for factor in factors.values():
        entropy = mutual_information(factor, factor)
        if entropy > 0:
            shared = sorted(mutual_information(codes[:, j], factor) for j in range(codes.shape[1]))
            gaps.append((shared[-1] - (shared[-2] if len(shared) > 1 else 0.0)) / entropy)
    return sum(gaps) / len(gaps) if gaps else 0.0


class Disentanglement(NamedTuple):
    """DCI of an importance matrix, each in 0 .. 1."""

    disentanglement: float
    completeness: float


def disentanglement(importance: Tensor) -> Disentanglement:
    """D and C of Eastwood & Williams 2018, Section 2, from R [latent, factor] >= 0: how important each latent is to each factor.

    1 - entropy of a row in units of log K, and of a column, each weighted by how much it matters.
    """
    importance = importance.double()
    total = importance.sum().clamp_min(1e-300)

    def evenness(shares: Tensor) -> Tensor:
        count = shares.shape[1]
        shares = shares / shares.sum(1, keepdim=True).clamp_min(1e-300)
        entropy = -torch.where(shares > 0, shares * shares.clamp_min(1e-300).log(), 0.0).sum(1)
        return 1 - entropy / math.log(max(2, count))

    rows, columns = evenness(importance), evenness(importance.T)
    weights_rows, weights_columns = importance.sum(1) / total, importance.sum(0) / total
    return Disentanglement(float((weights_rows * rows).sum()), float((weights_columns * columns).sum()))


def lasso(inputs: Tensor, targets: Tensor, penalty: float, steps: int = 500) -> Tensor:
    """Weights [dimension, targets] minimising |y - x w|^2 / (2 count) + penalty |w|_1, by FISTA (Beck & Teboulle 2009)."""
    count = len(inputs)
    gram, cross = inputs.T @ inputs / count, inputs.T @ targets / count
    rate = 1 / torch.linalg.eigvalsh(gram)[-1].clamp_min(1e-12)
    weights = torch.zeros_like(cross)
    ahead, momentum = weights, 1.0
    for _ in range(steps):
        moved = ahead - rate * (gram @ ahead - cross)
        following = moved.sign() * (moved.abs() - rate * penalty).clamp_min(0)
        faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = following + (momentum - 1) / faster * (following - weights)
        weights, momentum = following, faster
    return weights


def importance(latents: Latents, targets: Tensor) -> Tensor:
    """Absolute lasso weights [latent] for a factor's targets [count, columns] of deviation 1, averaged over the columns."""
    targets = targets.double() - targets.double().mean(0)
    targets = targets / targets.std(0).clamp_min(1e-9) * (targets.std(0) > 0)
    # The penalty shrinks as chance in a weight does, so that with more images both vanish.
    return lasso(latents, targets, penalty=PENALTY / len(latents) ** 0.5).abs().mean(1)


def shared_mix(real: Tensor, fake: Tensor, classes: int) -> float:
    """Sum over the classes of the smaller of both shares: 1 for equal mixes, less the more kinds are missing or too rare."""
    one, two = (torch.bincount(codes, minlength=classes).double() / len(codes) for codes in (real, fake))
    return float(torch.minimum(one, two).sum())


def shared_mix_with_interval(pairs: Sequence[tuple[Tensor, Tensor, int]], seed: int = 0) -> tuple[float, Interval]:
    """`shared_mix` averaged over factors, each as (real codes, fake codes, classes), and its bootstrap interval."""
    weights = [resampling_weights(len(codes), 100, seed) / len(codes) for codes in pairs[0][:2]]
    replicates = torch.zeros(100, dtype=torch.float64)
    for *codes, classes in pairs:
        drawn = [weight @ F.one_hot(kind, classes).double() for weight, kind in zip(weights, codes, strict=True)]
        replicates += torch.minimum(*drawn).sum(1)
    value = sum(shared_mix(*pair) for pair in pairs) / len(pairs)
    return value, clipped(interval(value, replicates / len(pairs)), 1.0)
