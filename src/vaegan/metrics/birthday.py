"""Duplicates among samples: how many different images a generator has."""

import torch
from torch import Tensor

from vaegan.metrics.statistics import NORMAL, wilson_interval


def pair_distances(features: Tensor) -> Tensor:
    """Distances of all pairs of different items, float64 [n (n - 1) / 2]."""
    return torch.pdist(features.double())


def duplicate_threshold(real: Tensor, share: float = 1e-4, fewest: int = 5) -> float:
    """The distance under which only this share of pairs of real images lies, and at least `fewest` pairs do."""
    distances = pair_distances(real)
    at = min(len(distances), max(fewest, round(share * len(distances))))
    return float(distances.kthvalue(at).values)


def duplicate_ratio(alike: Tensor, usual: Tensor) -> tuple[float, tuple[float, float]]:
    """How many times as frequent near-duplicates are among samples as among real images, and the 95 % interval.

    Both are counts of rare events. Where these are as likely a pair on both sides, each is one of the samples' with a probability
    that the numbers of pairs give: the interval is Wilson's for a share of counts, for as many as would vary as much if
    they were independent; a count of 0 has an upper end, too.

    Args:
        alike: how many others are near each sample, [sample].
        usual: how many others are near each real image, [image]; not all 0.
    """
    ours, theirs = float(alike.sum()) / 2, float(usual.sum()) / 2
    pairs = [len(one) * (len(one) - 1) / 2 for one in (alike, usual)]
    share = ours / (ours + theirs)
    independent = (ours + theirs) / ((1 - share) * _dispersion(alike) + share * _dispersion(usual))
    value, low, high = (one / max(1 - one, 1e-12) * pairs[1] / pairs[0] for one in (share, *wilson_interval(share, independent)))
    return value, (low, high)


def support_interval(alike: Tensor) -> tuple[float, float] | None:
    """The 95 % interval of `support_size`; None without a pair, where it is a bound and no estimate.

    Pairs are counts of rare events, but pairs that share a sample come together. So it is the score interval of a Poisson count,
    for as many pairs as would vary as much if they were independent: their number over their index of dispersion.

    Args:
        alike: how many others each sample is nearly identical to, [count].
    """
    pairs, count = float(alike.sum()) / 2, len(alike)
    if pairs == 0:
        return None
    dispersion = _dispersion(alike)
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


def _dispersion(alike: Tensor) -> float:
    """Index of dispersion of a number of pairs, of which those that share an item come together: 1 if they do not."""
    pairs = float(alike.sum()) / 2
    return max(1.0, float((alike - alike.double().mean()).square().sum()) / pairs - 1) if pairs else 1.0
