"""What an edit does beside what it is for: is the person still the same, and which other attributes move."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.latent.classifier import discriminant
from vaegan.latent.nearest import nearest
from vaegan.types import Images, Latents


def identity_kept(edited: Images, sources: Images) -> float:
    """Share of edited images whose nearest source, by squared error after averaging 4x4 pixels, is their own.

    Chance is 1/n: compare only figures of the same n.
    """
    small = [F.avg_pool2d(images.cpu(), 4).flatten(1) for images in (sources, edited)]
    found = nearest(small[0], small[1], 1).indices[:, 0]
    return float((found == torch.arange(len(edited))).double().mean())


def moves_along(direction: Tensor, others: Mapping[str, Tensor]) -> dict[str, float]:
    """How much of each other direction is added with strength 1 of this one, in strengths of the other."""
    return {name: float(direction @ other / other.square().sum()) for name, other in others.items()}


def words_kept(latents: Latents, codes: Tensor, moved: Latents) -> float:
    """Share of latents whose category, as a linear discriminant sees it, is the same after they are moved.

    Args:
        latents: [n, latent], to learn the categories from.
        codes: [n], category of each.
        moved: pairs of latents before and after, [2, m, latent].
    """
    _, dense = codes.unique(return_inverse=True)
    weights, biases = discriminant(latents, dense)
    before, after = ((points.cpu().double() @ weights.T + biases).argmax(1) for points in moved)
    return float((before == after).double().mean())
