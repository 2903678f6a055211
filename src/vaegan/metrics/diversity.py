"""How varied a set of images is: near-duplicates among its images, over those among real ones."""

import torch
from torch import Tensor

from vaegan.metrics.statistics import Interval, wilson_interval


def duplicate_threshold(real: Tensor, share: float = 1e-4, fewest: int = 5) -> float:
    """The distance under which only this share of pairs of real images lies, and at least `fewest` pairs do."""
    distances = torch.pdist(real.double())
    at = min(len(distances), max(fewest, round(share * len(distances))))
    return float(distances.kthvalue(at).values)


def duplicate_ratio(of_samples: Tensor, of_real: Tensor) -> tuple[float, Interval]:
    """How many times as frequent near-duplicates are among samples as among real images, and the 95 % interval.

    The arguments say how many others are near each sample, and each real image (not all 0). If pairs were as likely on both
    sides, a found pair would be one of the samples' with a known probability. So the interval is Wilson's for a share of counts,
    for as many as would vary as much if they were independent.
    """
    ours, theirs = float(of_samples.sum()) / 2, float(of_real.sum()) / 2
    pairs = [len(one) * (len(one) - 1) / 2 for one in (of_samples, of_real)]
    share = ours / (ours + theirs)
    independent = (ours + theirs) / ((1 - share) * _dispersion(of_samples) + share * _dispersion(of_real))
    value, low, high = (one / max(1 - one, 1e-12) * pairs[1] / pairs[0] for one in (share, *wilson_interval(share, independent)))
    return value, (low, high)


def _dispersion(alike: Tensor) -> float:
    """Index of dispersion of a number of pairs, of which those that share an item come together: 1 if they do not."""
    pairs = float(alike.sum()) / 2
    return max(1.0, float((alike - alike.double().mean()).square().sum()) / pairs - 1) if pairs else 1.0
