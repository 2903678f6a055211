"""Feature vectors that need no download and no fit, and distances between two clouds of features."""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.metrics.statistics import FEW_SPLITS, Interval, Moments, clipped, interval, reach_by_halves, resampling_weights
from vaegan.transparency import over_grey
from vaegan.types import Images

RANDOM_FEATURES = "random-conv-1"
LAYOUT_FEATURES = "layout-dct-1"
SMALL = 16  # [pixels] the side of small images
_BLOCK = 128
FRECHET_REPLICATES = 40
Shards = Sequence[Moments]  # moments of parts of a collection of images


@torch.no_grad()
def random_features(images: Images) -> Tensor:
    """Pooled activations of a small convolutional network with fixed random weights, float32 [count, 176].

    Means and deviations over the picture of 24 channels at half and 64 at a quarter of the resolution. Random convolutions see
    edges, colours and textures (Saxe et al. 2011), depend on no data set, and cost a hundredth of Inception.
    """
    weights = [weight.to(images.device) for weight in _random_weights()]
    return torch.cat([_pooled(block, weights) for block in images.split(_BLOCK)])


def _pooled(images: Images, weights: list[Tensor]) -> Tensor:
    colour = over_grey(images.float()).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    fine = F.relu(F.conv2d(colour, weights[0], stride=2, padding=1))
    coarse = F.relu(F.conv2d(F.relu(F.conv2d(fine, weights[1], stride=2, padding=1)), weights[2], padding=1))
    return torch.cat([pool for layer in (fine, coarse) for pool in (layer.mean((2, 3)), layer.std((2, 3)))], 1)


def _random_weights() -> list[Tensor]:
    generator = Generator().manual_seed(1503)
    shapes = ((24, 3, 4, 4), (48, 24, 4, 4), (64, 48, 3, 3))
    scales = [(2 / (shape[1] * shape[2] * shape[3])) ** 0.5 for shape in shapes]
    return [torch.randn(shape, generator=generator) * scale for shape, scale in zip(shapes, scales, strict=True)]


@torch.no_grad()
def small_images(images: Images, side: int = SMALL) -> Tensor:
    """Images averaged down to `side` x `side`, one row an image: where distances mean layout and colour, not texture."""
    return F.adaptive_avg_pool2d(over_grey(images.float()), side).flatten(1)


class Standardise:
    """Subtracts the real features' mean and divides by their deviation, so that no unit of measure decides."""

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        self.mean, self.deviation = mean, deviation.clamp_min(1e-6)

    @classmethod
    def of(cls, real: Tensor) -> Self:
        """A standardisation by the features [count, dimension] of all real images."""
        return cls(real.mean(0), real.std(0))

    def __call__(self, features: Tensor) -> Tensor:
        """The features in units of the real deviation."""
        return (features - self.mean) / self.deviation


@torch.no_grad()
def layout_features(small: Tensor) -> Tensor:
    """The lowest two-dimensional cosine coefficients of `small_images`: 21 a channel of colour images, 66 of grey ones.

    Distances are those between images without what is smaller than some 3 pixels of 16. They are fitted to no images: principal
    components of one of two sets hold that set's own chance, and the other set looks narrower than it is.
    """
    channels = small.shape[1] // SMALL**2
    basis = _cosines(6 if channels == 3 else 11).to(small)
    return (small.reshape(len(small), channels, SMALL**2) @ basis.T).flatten(1)


def _cosines(diagonals: int) -> Tensor:
    """The orthonormal cosines of a 16x16 picture whose two frequencies sum to less than `diagonals`: [cosine, value]."""
    place = torch.arange(SMALL, dtype=torch.float64)
    lines = torch.cos(torch.pi / SMALL * place[:, None] * (place[None] + 0.5)) * (2 / SMALL) ** 0.5
    lines[0] /= 2**0.5
    pairs = [(down, across) for down in range(diagonals) for across in range(diagonals - down)]
    return torch.stack([torch.outer(lines[down], lines[across]).flatten() for down, across in pairs])


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2) (Dowson & Landau 1982; Heusel et al. 2017, Eq. 6).

    It falls with the number of images, because the covariances are estimated: compare at equal counts only.
    """
    gap = first.mean - second.mean
    one, two = first.covariance, second.covariance
    # Rounding makes eigenvalues of a covariance negative, which count as 0.
    values, vectors = torch.linalg.eigh(one)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    crossed = torch.linalg.eigvalsh(root @ two @ root).clamp_min(0).sqrt().sum()
    return float(gap @ gap + one.trace() + two.trace() - 2 * crossed)


def frechet_with_interval(real: Shards, fake: Shards, seed: int = 0) -> tuple[float, Interval | None]:
    """The distance of two clouds, and its interval by redrawing shards, which costs no new pass; None without shards."""
    shards = [[part for part in cloud if part.count] for cloud in (real, fake)]
    value = frechet_distance(*(_weighted_moments(parts, torch.ones(len(parts))) for parts in shards))
    if len(real) == 1:
        return value, None
    drawn = [resampling_weights(len(parts), FRECHET_REPLICATES, seed + side) for side, parts in enumerate(shards)]
    pairs = zip(*drawn, strict=True)
    return value, interval(value, [frechet_distance(*map(_weighted_moments, shards, pair)) for pair in pairs])


def frechet_interval_by_halves(value: float, real: Tensor, fake: Tensor, seed: int = 0) -> Interval:
    """The interval of a distance `value` of two clouds of features, where there are too many dimensions for the bootstrap."""

    def distance(reals: Tensor, fakes: Tensor) -> Tensor:
        return torch.tensor(frechet_distance(Moments.of(real[reals]), Moments.of(fake[fakes])))

    reach = float(reach_by_halves(distance, (len(real), len(fake)), seed, FEW_SPLITS))
    return clipped((value - reach, value + reach))


def _weighted_moments(shards: Shards, weights: Tensor) -> Moments:
    pairs = [(float(weight), shard) for weight, shard in zip(weights, shards, strict=True) if weight > 0]
    count = round(sum(weight * shard.count for weight, shard in pairs))
    total = sum((weight * shard.total for weight, shard in pairs), start=torch.zeros_like(shards[0].total))
    outer = sum((weight * shard.outer for weight, shard in pairs), start=torch.zeros_like(shards[0].outer))
    return Moments(count, total, outer)


def polynomial_kernel(first: Tensor, second: Tensor) -> Tensor:
    """(x.y / d + 1)^3 for all pairs, float64 [first, second] (Binkowski et al. 2018, Section 3)."""
    return (first.double() @ second.double().T / first.shape[1] + 1) ** 3


def kernel_distance_with_interval(real: Tensor, fake: Tensor, seed: int = 0) -> tuple[float, Interval]:
    """The squared maximum mean discrepancy of features [count, dimension] as a U-statistic, and its bootstrap interval.

    Gretton et al. 2012, Lemma 6 (unequal counts); in Inception features the KID of Binkowski et al. 2018, here over the full
    sets. Unbiased: its mean over equal distributions is 0, and it may be negative.
    """
    kernels = polynomial_kernel(real, real), polynomial_kernel(fake, fake), polynomial_kernel(real, fake)
    ones = (torch.ones(1, len(real), dtype=torch.float64), torch.ones(1, len(fake), dtype=torch.float64))
    weights = resampling_weights(len(real), seed=seed), resampling_weights(len(fake), seed=seed + 1)
    value = float(_u_statistic(*kernels, *ones))
    return value, interval(value, _u_statistic(*kernels, *weights))


def _u_statistic(real: Tensor, fake: Tensor, cross: Tensor, of_real: Tensor, of_fake: Tensor) -> Tensor:
    """The discrepancy for each row of weights [replicates, count]: pairs of one image with itself never count."""

    def within(kernel: Tensor, weights: Tensor) -> Tensor:
        both = ((weights @ kernel) * weights).sum(1) - weights.square() @ kernel.diagonal()
        return both / (weights.sum(1).square() - weights.square().sum(1))

    between = ((of_real @ cross) * of_fake).sum(1) / (of_real.sum(1) * of_fake.sum(1))
    return within(real, of_real) + within(fake, of_fake) - 2 * between
