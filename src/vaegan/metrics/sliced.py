"""Sliced Wasserstein distance between two clouds of images."""

import torch

from vaegan.types import Images


@torch.no_grad()
def sliced_wasserstein(first: Images, second: Images, directions: int = 256) -> float:
    """Mean distance of the sorted projections of two equally large clouds on random unit directions.

    Rabin et al. 2011; the same fixed directions at every call.

    Args:
        first: [count, channel, height, width].
        second: the same shape.
        directions: number of projections.
    """
    a, b = first.flatten(1), second.flatten(1)
    axes = torch.randn(a.shape[1], directions, generator=torch.Generator().manual_seed(0)).to(a)
    axes = axes / axes.norm(dim=0)
    return float(((a @ axes).sort(0).values - (b @ axes).sort(0).values).abs().mean())
