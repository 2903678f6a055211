"""What nearest neighbours say: precision, recall, density, coverage, and leave-one-out accuracy."""

from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 5


class Manifold(NamedTuple):
    """One value an image: precision and density of each fake, recall and coverage of each real image."""

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def manifold_scores(real: Tensor, fake: Tensor, k: int = NEIGHBOURS) -> Manifold:
    """Precision and recall (Kynkaanniemi et al. 2019, Eq. 1-2), density and coverage (Naeem et al. 2020, Eq. 3-4).

    A cloud's manifold is the union of balls around its images that reach to their k-th neighbour.

    Args:
        real: features [real, dimension].
        fake: features [fake, dimension].
        k: neighbours.

    Returns:
        float64 values an image; their means are the scores.
    """
    real, fake = real.double(), fake.double()
    real_radius, fake_radius = (_distances(cloud, cloud).kthvalue(k + 1, 1).values for cloud in (real, fake))
    between = _distances(real, fake)
    inside = between < real_radius[:, None]
    return Manifold(
        precision=inside.any(0).double(),
        recall=(between < fake_radius[None]).any(1).double(),
        density=inside.double().sum(0) / k,
        coverage=inside.any(1).double(),
    )


def nearest_neighbour_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Whether the nearest other image of each image is of its own kind; the mean is 1/2 when the kinds cannot be told apart.

    Leave-one-out 1-NN accuracy (Lopez-Paz & Oquab 2017; Xu et al. 2018). Equal counts, or the larger kind is favoured.

    Returns:
        float64 [real + fake] of 0 and 1.
    """
    both = torch.cat([real, fake]).double()
    distances = _distances(both, both).fill_diagonal_(torch.inf)
    kind = torch.arange(len(both), device=both.device) < len(real)
    return (kind[distances.argmin(1)] == kind).double()


def nearest(queries: Tensor, pool: Tensor, block: int = 4096) -> tuple[Tensor, Tensor]:
    """Distance and position of each query's nearest item of the pool, computed in blocks so that the pool may be large."""
    best = torch.full((len(queries),), torch.inf, device=queries.device)
    place = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    for start in range(0, len(pool), block):
        distance, index = torch.cdist(queries, pool[start : start + block]).min(1)
        closer = distance < best
        best, place = torch.where(closer, distance, best), torch.where(closer, index + start, place)
    return best, place


def _distances(first: Tensor, second: Tensor) -> Tensor:
    return torch.cdist(first, second)
