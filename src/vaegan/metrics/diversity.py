"""How varied a set of images is: near-duplicates, number of different images, groups that are too full or empty, rank."""

import math

import torch
from torch import Generator, Tensor

from vaegan.metrics.statistics import NORMAL, Interval, Moments, wilson_interval


def effective_rank(moments: Moments) -> float:
    """Exp of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli 2007): between 1 and the dimension."""
    values = torch.linalg.eigvalsh(moments.covariance).clamp_min(0)
    shares: Tensor = values / values.sum().clamp_min(1e-300)
    return float(torch.exp(-(shares * shares.clamp_min(1e-300).log()).sum()))


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


def support_size(pairs: int, count: int) -> float:
    """How many different images a generator makes, judged by `pairs` of duplicates among `count` samples.

    The birthday paradox (Arora et al. 2018): n (n - 1) / (2 pairs) estimates 1 / sum p^2; without a pair n^2 / 6 is a 95 % bound.
    """
    return count * (count - 1) / (2 * pairs) if pairs else count**2 / 6


def support_interval(alike: Tensor) -> Interval | None:
    """The 95 % score interval of `support_size`, from how many others each sample is nearly identical to; None without a pair."""
    pairs, count = float(alike.sum()) / 2, len(alike)
    if pairs == 0:
        return None
    dispersion = _dispersion(alike)
    independent = pairs / dispersion
    centre, reach = independent + NORMAL**2 / 2, NORMAL * (independent + NORMAL**2 / 4) ** 0.5
    every = count * (count - 1) / 2
    return every / (dispersion * (centre + reach)), every / (dispersion * (centre - reach))


def _dispersion(alike: Tensor) -> float:
    """Index of dispersion of a number of pairs, of which those that share an item come together: 1 if they do not."""
    pairs = float(alike.sum()) / 2
    return max(1.0, float((alike - alike.double().mean()).square().sum()) / pairs - 1) if pairs else 1.0


def find_bins(real: Tensor, count: int = 100, seed: int = 0, rounds: int = 20) -> Tensor:
    """Centres [count, dimension] of bins: k-means of real images (Lloyd 1982) from random ones of them."""
    real = real.double()
    centres = real[torch.randperm(len(real), generator=Generator().manual_seed(seed))[:count]].clone()
    for _ in range(rounds):
        member = torch.cdist(real, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, member, real)
        sizes = torch.bincount(member, minlength=len(centres)).double()
        filled = sizes > 0
        moved = torch.where(filled[:, None], sums / sizes.clamp_min(1)[:, None], centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def fill_bins(features: Tensor, centres: Tensor) -> Tensor:
    """The nearest bin of each image, int64 [count]."""
    return torch.cdist(features.double(), centres).argmin(1)


def compare_bins(real: Tensor, fake: Tensor, bins: int) -> tuple[float, float]:
    """NDB / K, the share of bins that differ by a z-test at 5 % (Richardson & Weiss 2018, Section 2), and JS [bits]."""
    one, two = (torch.bincount(member, minlength=bins).double() for member in (real, fake))
    p, q = one / len(real), two / len(fake)
    pooled = (one + two) / (len(real) + len(fake))
    error = (pooled * (1 - pooled) * (1 / len(real) + 1 / len(fake))).sqrt()
    different = ((p - q).abs() > 1.959964 * error).double().mean()
    middle = (p + q) / 2
    parts = [torch.where(share > 0, share * (share / middle.clamp_min(1e-300)).log(), 0.0).sum() for share in (p, q)]
    return float(different), float(sum(parts) / 2 / math.log(2))
