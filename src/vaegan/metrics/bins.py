"""Bins of real images and how differently others fill them: NDB and the Jensen-Shannon divergence."""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Filling(NamedTuple):
    """Share of bins that differ significantly, and the divergence of the two fillings [bits]."""

    different: float
    divergence: float


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


def compare_bins(real: Tensor, fake: Tensor, bins: int) -> Filling:
    """NDB / K: bins whose shares differ by a two-proportion z-test at 5 % (Richardson & Weiss 2018, Section 2); and JS in bits.

    Args:
        real: bin of each real image, of images that the bins were not found with.
        fake: bin of each of the others.
        bins: how many there are.
    """
    one, two = (torch.bincount(member, minlength=bins).double() for member in (real, fake))
    p, q = one / len(real), two / len(fake)
    pooled = (one + two) / (len(real) + len(fake))
    error = (pooled * (1 - pooled) * (1 / len(real) + 1 / len(fake))).sqrt()
    different = ((p - q).abs() > 1.959964 * error).double().mean()
    middle = (p + q) / 2
    parts = [torch.where(share > 0, share * (share / middle.clamp_min(1e-300)).log(), 0.0).sum() for share in (p, q)]
    return Filling(float(different), float(sum(parts) / 2 / math.log(2)))
