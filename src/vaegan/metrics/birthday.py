"""Duplicates among samples: how many different images a generator has."""

import torch
from torch import Tensor


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


def support_size(pairs: int, count: int) -> float:
    """How many different images a generator makes, judged by `pairs` of duplicates among `count` samples.

    The birthday paradox (Arora et al. 2018): n (n - 1) / (2 pairs) estimates 1 / sum p^2. Without any pair it is at least
    n^2 / 6 at 95 %, and that bound is the answer.
    """
    return count * (count - 1) / (2 * pairs) if pairs else count**2 / 6
