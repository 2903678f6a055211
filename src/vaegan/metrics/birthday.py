"""Duplicates among samples: how many different images a generator has."""

import torch
from torch import Tensor

from vaegan.metrics.statistics import NORMAL


def pair_distances(features: Tensor) -> Tensor:
    """Distances of all pairs of different items, float64 [n (n - 1) / 2]."""
    return torch.pdist(features.double())


def duplicate_threshold(real: Tensor, share: float = 1e-4, fewest: int = 5) -> float:
    """The distance under which only this share of pairs of real images lies, and at least `fewest` pairs do."""
    distances = pair_distances(real)
    at = min(len(distances), max(fewest, round(share * len(distances))))
    return float(distances.kthvalue(at).values)


def duplicate_rate(features: Tensor, threshold: float) -> float:
    """Share of pairs that are at most so far apart."""
    return float((pair_distances(features) <= threshold).double().mean())


def support_interval(alike: Tensor) -> tuple[float, float] | None:
    """The 95 % interval of `support_size`; None without a pair, where it is a bound and no estimate.

    Pairs are counts of rare events, but pairs that share a sample come together. So it is the score interval of a Poisson count,
    for as many pairs as would vary as much if they were independent: their number over their index of dispersion.

    Args:
        alike: how many others each sample is nearly identical to, [count].
    """
    alike, count = alike.double(), len(alike)
    pairs = float(alike.sum()) / 2
    if pairs == 0:
        return None
    dispersion = max(1.0, float((alike - alike.mean()).square().sum()) / pairs - 1)
    independent = pairs / dispersion
    centre, reach = independent + NORMAL**2 / 2, NORMAL * (independent + NORMAL**2 / 4) ** 0.5
    every = count * (count - 1) / 2
    return every / (dispersion * (centre + reach)), every / (dispersion * (centre - reach))


def support_size(pairs: int, count: int) -> float:
    """How many different images a generator makes, judged by `pairs` of duplicates among `count` samples.

    The birthday paradox (Arora et al. 2018): n (n - 1) / (2 pairs) estimates 1 / sum p^2. Without any pair it is at least
    n^2 / 6 at 95 %, and that bound is the answer.
    """
    return count * (count - 1) / (2 * pairs) if pairs else count**2 / 6
