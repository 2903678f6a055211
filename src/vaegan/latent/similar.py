"""Images that are alike: exact nearest neighbours in latent space, and duplicates, which are confirmed in pixels."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaegan.data import ImageDataset
from vaegan.types import Latents, ProgressCallback

PAIRS_AT_A_TIME = 2**22  # distances held at once [pairs], and numbers of latents
NEIGHBOURS = 8  # nearest in latent space that are compared in pixels, for each image
BLOCK = 512


class Neighbours(NamedTuple):
    """Euclidean distances [query, k], ascending, and the positions [query, k] they belong to."""

    distances: Tensor
    indices: Tensor


@torch.inference_mode()
def nearest(latents: Latents, query: Latents, k: int) -> Neighbours:
    """The `k` latents nearest to each query, by Euclidean distance; all of them where there are fewer.

    They are found with |a|^2 - 2ab + |b|^2 in float64, and their distances are then computed from differences.
    """
    query = query.cpu().double()
    rows = max(1, PAIRS_AT_A_TIME // max(1, len(query), query.shape[1]))
    best = Neighbours(torch.zeros(len(query), 0, dtype=torch.double), torch.zeros(len(query), 0, dtype=torch.long))
    for start in range(0, len(latents), rows):
        block = latents[start : start + rows].cpu().double()
        squares = block.square().sum(1) - 2 * query @ block.T  # but for |query|^2, which orders nothing
        few = squares.topk(min(k, len(block)), largest=False)
        joined = torch.cat([best.distances, few.values], 1), torch.cat([best.indices, few.indices + start], 1)
        order = joined[0].argsort(dim=1, stable=True)[:, :k]
        best = Neighbours(joined[0].gather(1, order), joined[1].gather(1, order))
    distances = (latents[best.indices].cpu().double() - query[:, None]).norm(dim=2)
    order = distances.argsort(dim=1, stable=True)
    return Neighbours(distances.gather(1, order).float(), best.indices.gather(1, order))


@dataclass(frozen=True)
class Duplicates:
    """Images that show the same: their positions, ascending, and the largest pixel difference of a confirmed pair."""

    members: tuple[int, ...]
    difference: float  # root mean square over pixel values, on [0, 255]


def find_duplicates(
    latents: Latents, dataset: ImageDataset, tolerance: float = 15.0, progress: ProgressCallback | None = None
) -> list[Duplicates]:
    """Groups of images that differ by at most `tolerance` (root mean square of 255 levels), or by chains of pairs; largest first.

    Each image's 8 nearest in latent space are compared in pixels.
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
