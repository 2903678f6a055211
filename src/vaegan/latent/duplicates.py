"""Images that are nearly the same: neighbours in latent space, confirmed in pixels."""

from dataclasses import dataclass

import numpy as np
import torch

from vaegan.data import ImageDataset
from vaegan.latent.nearest import nearest
from vaegan.types import Latents, ProgressCallback

NEIGHBOURS = 8
"""Nearest in latent space that are compared in pixels, for each image."""
BLOCK = 512


@dataclass(frozen=True)
class Duplicates:
    """Images that show the same: their positions, ascending, and the largest pixel difference of a confirmed pair."""

    members: tuple[int, ...]
    difference: float
    """Root mean square over pixel values, on [0, 255]."""


def find_duplicates(
    latents: Latents, dataset: ImageDataset, tolerance: float = 15.0, progress: ProgressCallback | None = None
) -> list[Duplicates]:
    """Groups of images that are the same but for recompression, scaling or slight changes.

    The latent distance only proposes: each image's 8 nearest are compared in pixels, so that no threshold on latents is needed.
    Two images belong together when they differ by at most `tolerance`, or when a chain of such pairs joins them.

    Args:
        latents: of all images of the data set, [n, latent].
        dataset: the images.
        tolerance: root mean square difference of pixel values [levels of 255].
        progress: called as images are compared.

    Returns:
        The groups, the largest first.
    """
    parents = list(range(len(latents)))
    differences: dict[int, float] = {}

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for start in range(0, len(latents), BLOCK):
        block = torch.arange(start, min(start + BLOCK, len(latents)))
        candidates = nearest(latents, latents[block], NEIGHBOURS + 1).indices
        for index, others in zip(block.tolist(), candidates.tolist(), strict=True):
            own = dataset.images[index].astype(np.float32)
            for other in others:
                if other == index:
                    continue
                difference = float(np.sqrt(np.square(dataset.images[other] - own).mean()))
                if difference <= tolerance:
                    first, second = sorted((root(index), root(other)))
                    parents[second] = first
                    differences[first] = max(difference, differences.get(first, 0.0), differences.get(second, 0.0))
        if progress:
            progress("comparing images", int(block[-1]) + 1, len(latents))
    groups: dict[int, list[int]] = {}
    for index in range(len(latents)):
        groups.setdefault(root(index), []).append(index)
    found = [Duplicates(tuple(members), differences[first]) for first, members in groups.items() if len(members) > 1]
    return sorted(found, key=lambda group: (-len(group.members), group.members))
