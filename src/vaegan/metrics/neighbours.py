"""What nearest neighbours say: precision, recall, density, coverage, and leave-one-out accuracy."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from vaegan.metrics.statistics import reach_by_halves

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
    return Distances.of(real, fake).manifold(k)


def nearest_neighbour_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Whether the nearest other image of each image is of its own kind; the mean is 1/2 when the kinds cannot be told apart.

    Leave-one-out 1-NN accuracy (Lopez-Paz & Oquab 2017; Xu et al. 2018). Equal counts, or the larger kind is favoured.

    Returns:
        float64 [real + fake] of 0 and 1.
    """
    return Distances.of(real, fake).alike()


def nearest(queries: Tensor, pool: Tensor, block: int = 4096) -> tuple[Tensor, Tensor]:
    """Distance and position of each query's nearest item of the pool, computed in blocks so that the pool may be large."""
    best = torch.full((len(queries),), torch.inf, device=queries.device)
    place = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    for start in range(0, len(pool), block):
        distance, index = torch.cdist(queries, pool[start : start + block]).min(1)
        closer = distance < best
        best, place = torch.where(closer, distance, best), torch.where(closer, index + start, place)
    return best, place


def neighbour_scores(real: Tensor, fake: Tensor, seed: int = 0) -> dict[str, tuple[float, tuple[float, float]]]:
    """The means of `manifold_scores` and of `nearest_neighbour_accuracy` and their 95 % intervals.

    What neighbours say of one image hangs on the others, so redrawing the values an image gives would be too sure of itself:
    the intervals are by halves.

    Args:
        real: features [real, dimension].
        fake: features [fake, dimension].
        seed: of the halves.
    """
    whole = Distances.of(real, fake)
    reach = reach_by_halves(lambda *halves: whole.part(*halves).means(), (len(real), len(fake)), seed)
    names = (*Manifold._fields, "nearest_neighbour_accuracy")
    most = torch.tensor([torch.inf if name == "density" else 1.0 for name in names], dtype=torch.float64)
    value = whole.means()
    low, high = (value - reach).clamp_min(0), torch.minimum(value + reach, most)
    return {name: (float(value[at]), (float(low[at]), float(high[at]))) for at, name in enumerate(names)}


class Distances(NamedTuple):
    """Distances, float64, between real and generated images; an image's distance to itself is infinite."""

    real: Tensor
    fake: Tensor
    between: Tensor

    @classmethod
    def of(cls, real: Tensor, fake: Tensor) -> Self:
        """Of features [count, dimension]."""
        real, fake = real.double(), fake.double()
        first, second = (torch.cdist(cloud, cloud).fill_diagonal_(torch.inf) for cloud in (real, fake))
        return cls(first, second, torch.cdist(real, fake))

    def part(self, real: Tensor, fake: Tensor) -> Self:
        """Those between the images at these positions."""
        return type(self)(self.real[real][:, real], self.fake[fake][:, fake], self.between[real][:, fake])

    def manifold(self, k: int = NEIGHBOURS) -> Manifold:
        """As `manifold_scores`."""
        real_radius, fake_radius = (own.kthvalue(k, 1).values for own in (self.real, self.fake))
        inside = self.between < real_radius[:, None]
        return Manifold(
            precision=inside.any(0).double(),
            recall=(self.between < fake_radius[None]).any(1).double(),
            density=inside.double().sum(0) / k,
            coverage=inside.any(1).double(),
        )

    def alike(self) -> Tensor:
        """As `nearest_neighbour_accuracy`; of two that are as near the real one counts."""
        real = self.real.amin(1) <= self.between.amin(1)
        return torch.cat([real, self.fake.amin(1) < self.between.amin(0)]).double()

    def means(self) -> Tensor:
        """Of precision, recall, density, coverage and accuracy."""
        return torch.stack([values.mean() for values in (*self.manifold(), self.alike())])
