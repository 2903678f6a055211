"""Exact nearest neighbours among up to some million latents, in blocks of bounded memory."""

from typing import NamedTuple

import torch
from torch import Tensor

from vaegan.types import Latents

PAIRS_AT_A_TIME = 2**22
"""Distances held at once [pairs], and numbers of latents."""


class Neighbours(NamedTuple):
    """Euclidean distances [query, k], ascending, and the positions [query, k] they belong to."""

    distances: Tensor
    indices: Tensor


@torch.inference_mode()
def nearest(latents: Latents, query: Latents, k: int) -> Neighbours:
    """The `k` latents nearest to each query, by Euclidean distance; all of them where there are fewer.

    Found with |a|^2 - 2ab + |b|^2 in float64, whose rounding is a hundred-millionth of a latent's length; the distances that are
    returned are computed from differences.

    Args:
        latents: [count, latent], on the CPU; a million of 64 numbers are 256 MB, and little is added to that.
        query: [query, latent].
        k: how many for each query.
    """
    query = query.cpu().double()
    rows = max(1, PAIRS_AT_A_TIME // max(1, len(query), query.shape[1]))
    best = Neighbours(torch.zeros(len(query), 0, dtype=torch.double), torch.zeros(len(query), 0, dtype=torch.long))
    for start in range(0, len(latents), rows):
        block = latents[start : start + rows].cpu().double()
        squares = block.square().sum(1) - 2 * query @ block.T  # but for |query|^2, which orders nothing
        kept = squares.topk(min(k, len(block)), largest=False)
        joined = torch.cat([best.distances, kept.values], 1), torch.cat([best.indices, kept.indices + start], 1)
        order = joined[0].argsort(dim=1, stable=True)[:, :k]
        best = Neighbours(joined[0].gather(1, order), joined[1].gather(1, order))
    distances = (latents[best.indices].cpu().double() - query[:, None]).norm(dim=2)
    order = distances.argsort(dim=1, stable=True)
    return Neighbours(distances.gather(1, order).float(), best.indices.gather(1, order))
