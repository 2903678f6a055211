"""What nearest neighbours say: precision, recall, density, coverage, leave-one-out accuracy, and whether samples are copies."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from vaegan.metrics.features import small_images
from vaegan.metrics.statistics import Interval, clipped, interval, reach_by_halves, resampling_weights, wilson_interval
from vaegan.types import Images

NEIGHBOURS = 5
Nearest = tuple[Tensor, Tensor]  # distance and position of each image's nearest image of a pool


class Manifold(NamedTuple):
    """One value an image: precision and density of each fake, recall and coverage of each real image."""

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


NEIGHBOUR_SCORES = (*Manifold._fields, "nearest_neighbour_accuracy")


class Distances(NamedTuple):
    """Distances, float64, between real and generated images; an image's distance to itself is infinite."""

    real: Tensor
    fake: Tensor
    between: Tensor

    @classmethod
    def of(cls, real: Tensor, fake: Tensor) -> Self:
        """Distances between features [count, dimension]."""
        real, fake = real.double(), fake.double()
        first, second = (torch.cdist(cloud, cloud).fill_diagonal_(torch.inf) for cloud in (real, fake))
        return cls(first, second, torch.cdist(real, fake))

    def part(self, real: Tensor, fake: Tensor) -> Self:
        """Distances between the images at these positions."""
        return type(self)(self.real[real][:, real], self.fake[fake][:, fake], self.between[real][:, fake])

    def manifold(self, k: int = NEIGHBOURS) -> Manifold:
        """Precision and recall (Kynkaanniemi et al. 2019, Eq. 1-2), density and coverage (Naeem et al. 2020, Eq. 3-4)."""
        real_radius, fake_radius = (own.kthvalue(k, 1).values for own in (self.real, self.fake))
        inside = self.between < real_radius[:, None]
        return Manifold(
            precision=inside.any(0).double(),
            recall=(self.between < fake_radius[None]).any(1).double(),
            density=inside.double().sum(0) / k,
            coverage=inside.any(1).double(),
        )

    def alike(self) -> Tensor:
        """Whether the nearest other image of each image is of its own kind, [real + fake]; of two as near the real one counts.

        Leave-one-out 1-NN accuracy (Lopez-Paz & Oquab 2017; Xu et al. 2018). Unequal counts favour the larger kind.
        """
        real = self.real.amin(1) <= self.between.amin(1)
        return torch.cat([real, self.fake.amin(1) < self.between.amin(0)]).double()

    def means(self) -> Tensor:
        """Means of precision, recall, density, coverage and accuracy."""
        return torch.stack([values.mean() for values in (*self.manifold(), self.alike())])


def neighbour_scores(real: Tensor, fake: Tensor, seed: int = 0) -> dict[str, tuple[float, Interval]]:
    """All neighbour scores of features [count, dimension], and their 95 % intervals by halves: images depend on each other."""
    distances = Distances.of(real, fake)
    value = distances.means()
    reach = reach_by_halves(lambda *halves: distances.part(*halves).means(), (len(real), len(fake)), seed)
    ends = zip(NEIGHBOUR_SCORES, value.tolist(), (value - reach).tolist(), (value + reach).tolist(), strict=True)
    return {name: (one, clipped((low, high), torch.inf if name == "density" else 1.0)) for name, one, low, high in ends}


def nearest(queries: Tensor, pool: Tensor, block: int = 4096) -> Nearest:
    """Each query's nearest item of the pool, computed in blocks so that the pool may be large."""
    best = torch.full((len(queries),), torch.inf, dtype=queries.dtype, device=queries.device)
    place = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    for start in range(0, len(pool), block):
        distance, index = torch.cdist(queries, pool[start : start + block]).min(1)
        closer = distance < best
        best, place = torch.where(closer, distance, best), torch.where(closer, index + start, place)
    return best, place


def nearest_of_both(queries: Tensor, mirrored: Tensor, pool: Tensor) -> Nearest:
    """The nearest item of the pool to each query or its mirror image, whichever is nearer."""
    (one, first), (two, second) = nearest(queries, pool), nearest(mirrored, pool)
    return torch.minimum(one, two), torch.where(one <= two, first, second)


def own_source_share(images: Images, sources: Images, shrink: int = 4) -> float:
    """Share of images whose nearest source is their own, by squared error at a `shrink`-th of the side; chance is 1/n."""
    small, original = (small_images(one.cpu(), min(one.shape[-2:]) // shrink).double() for one in (images, sources))
    return float((nearest(small, original)[1] == torch.arange(len(images))).double().mean())


def copying_share(in_train: Nearest, in_heldout: Nearest, train_count: int, heldout_count: int) -> tuple[float, Interval]:
    """P[a sample is nearer to the training set than to as many held-out images]: 0.5 is right, towards 1 it copies.

    The question of Meehan et al. 2020, with all N training and M held-out images: of one distribution a sample's nearest image is
    held out with probability M / (N + M), so the odds found are divided by N / M. Only M training images would show only M of N
    copies.

    Samples that share a nearest image are one piece of evidence. So the 95 % interval is Wilson's (1927) for their number over
    the index of dispersion of how many samples each image attracts (McCullagh & Nelder 1989, Section 6.2.3).
    """
    nearer = (in_train[0] < in_heldout[0]).double() + 0.5 * (in_train[0] == in_heldout[0]).double()

    def share(of_train: float, of_heldout: float) -> float:
        return of_train / train_count / (of_train / train_count + of_heldout / heldout_count)

    # Half a sample on both sides together keeps the odds finite when all fall on one.
    half, everything = 0.5 / (train_count + heldout_count), train_count + heldout_count
    known, unknown = float(nearer.sum()), float((1 - nearer).sum())
    value = share(known + half * train_count, unknown + half * heldout_count)
    # How many samples each image is nearest to.
    attracted = in_train[1].bincount(nearer, train_count), in_heldout[1].bincount(1 - nearer, heldout_count)
    spread = sum(float((one - one.mean()).square().sum() / one.mean()) for one in attracted if one.any())
    low, high = wilson_interval(known / len(nearer), len(nearer) / max(1.0, spread / max(1, everything - 2)))
    return value, (min(value, share(low, 1 - low)), max(value, share(high, 1 - high)))


def median_ratio(of_samples: Tensor, of_heldout: Tensor, seed: int = 0) -> tuple[float, Interval]:
    """Median distance of samples over that of held-out images, and its interval; the bootstrap redraws both."""
    value = float(of_samples.median() / of_heldout.median())
    drawn = [
        [one.repeat_interleave(row.long()).median() for row in resampling_weights(len(one), 100, seed + at)]
        for at, one in enumerate((of_samples, of_heldout))
    ]
    return value, clipped(interval(value, torch.stack(drawn[0]) / torch.stack(drawn[1])))


def most_suspicious(to_train: Tensor, to_heldout: Tensor, count: int = 8) -> Tensor:
    """Positions of the samples whose training neighbour is nearest compared with their held-out neighbour, worst first."""
    return (to_train / to_heldout.clamp_min(1e-9)).argsort(stable=True)[:count]
