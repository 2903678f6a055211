"""Sliced Wasserstein distance between two clouds of images, of all pixels or octave by octave."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.metrics.statistics import Interval, interval, resampling_weights
from vaegan.types import Images

PATCH = 7  # [pixels] Karras et al. 2018, Section 5
PATCHES = 8_192  # of each cloud and octave
DIRECTIONS = 128
REPLICATED = 32  # directions that a replicate looks along: the spread between images is the same along each
SMALLEST = 8  # [pixels] an octave below this has hardly any patches


@torch.no_grad()
def sliced_wasserstein(first: Images, second: Images, directions: int = 256) -> float:
    """Mean distance of the sorted projections of two equally large clouds on fixed random unit directions (Rabin et al. 2011)."""
    a, b = first.flatten(1), second.flatten(1)
    axes = torch.randn(a.shape[1], directions, generator=torch.Generator().manual_seed(0)).to(a)
    axes = axes / axes.norm(dim=0)
    return float(((a @ axes).sort(0).values - (b @ axes).sort(0).values).abs().mean())


@torch.no_grad()
def laplacian_pyramid(images: Images, levels: int = 3) -> list[Images]:
    """Octaves of at least 8 pixels, finest first: what each halving loses, and at last what is left (Burt & Adelson 1983)."""
    octaves: list[Images] = []
    while len(octaves) < levels - 1 and min(images.shape[-2:]) // 2 >= SMALLEST:
        small = F.avg_pool2d(images, 2)
        octaves.append(images - F.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False))
        images = small
    return [*octaves, images]


class Places(NamedTuple):
    """Where patches are taken: image, top and left corner of each, int64 [PATCHES]."""

    image: Tensor
    top: Tensor
    left: Tensor


def patch_places(octave: Images, count: int, seed: int = 0, given: bool = False) -> Places:
    """Random places of patches in an octave of `count` images, taken in turn; `given` images have other ones."""
    generator, patch = Generator().manual_seed(seed), min(PATCH, *octave.shape[-2:])
    shape = (*octave.shape[-2:], *octave.shape[-2:])
    drawn = [torch.randint(side - patch + 1, (PATCHES,), generator=generator) for side in shape]
    return Places(torch.arange(PATCHES) % count, *drawn[2:] if given else drawn[:2])


def take_patches(octave: Images, places: Places) -> Tensor:
    """The patches at these places of one octave, [patch, pixel, channel]; the octave's first image is image 0."""
    patch = min(PATCH, *octave.shape[-2:])
    rows, columns = places.top[:, None, None] + torch.arange(patch)[:, None], places.left[:, None, None] + torch.arange(patch)
    return octave.permute(0, 2, 3, 1)[places.image[:, None, None], rows, columns].flatten(1, 2)


@torch.no_grad()
def sliced_distance(
    one: Tensor, of_one: Tensor, two: Tensor, of_two: Tensor, seed: int = 0, replicates: int = 0
) -> tuple[float, Interval | None]:
    """SWD of 7x7 patches of an octave [1/1000 of the real deviation] (Karras et al. 2018, Section 5), and its bootstrap interval.

    The patches of real images come first; `of_one` and `of_two` say of which image each patch is. Both are normalised by the
    *real* mean and deviation a channel: normalising each by its own, as the paper does, hides errors of brightness and contrast.
    """
    mean, deviation = one.mean((0, 1)), one.std((0, 1)).clamp_min(1e-6)
    axes = torch.randn(one.shape[1] * one.shape[2], DIRECTIONS, generator=Generator().manual_seed(seed))
    axes = axes / axes.norm(dim=0)
    projected = torch.cat([(axes.T @ ((cloud - mean) / deviation).flatten(1).cpu().T) for cloud in (one, two)], 1)
    ordered, order = projected.sort(1)
    gaps = ordered.diff(dim=1)
    counts = int(of_one.max()) + 1, int(of_two.max()) + 1
    value = float(_transport(torch.ones(counts[0]), torch.ones(counts[1]), of_one, of_two, order, gaps))
    if not replicates:
        return value, None
    few, near = order[:REPLICATED], gaps[:REPLICATED]
    drawn = zip(*(resampling_weights(count, replicates, seed + side) for side, count in enumerate(counts)), strict=True)
    return value, interval(value, [float(_transport(a, b, of_one, of_two, few, near)) for a, b in drawn])


def _transport(weights_one: Tensor, weights_two: Tensor, of_one: Tensor, of_two: Tensor, order: Tensor, gaps: Tensor) -> Tensor:
    """1000 x the mean over directions of the integral of |F - G| between the weighted clouds of patches."""
    one, two = weights_one.float()[of_one], weights_two.float()[of_two]
    mass = torch.cat([one / one.sum(), -two / two.sum()])
    between = mass[order].cumsum(1)[:, :-1].abs()
    return 1000 * (between * gaps).sum(1).mean()
