"""Sharpness, flat areas, the radial power spectrum, and the textures that upsampling leaves."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.types import Images, PerImage

FLOOR = 1e-6  # [power] uint8 images carry about 3e-6 of rounding noise a value; it keeps a ratio of two empty spectra near 1
FLAT = 8 / 127.5  # 8 of 255 levels: a quarter of the pixels of anime faces are under it, JPEG's noise included; grain is over it


@torch.no_grad()
def detail_energy(images: Images) -> PerImage:
    """Mean square of what is lost when an image is halved and enlarged again: the highest octave."""
    return finest_octave(images).square().flatten(1).mean(1)


@torch.no_grad()
def finest_octave(images: Images) -> Images:
    """What is lost when an image is halved and enlarged again; of an odd side without the last row or column."""
    images = whole_blocks(images, 2)
    return images - F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="bilinear", align_corners=False)


@torch.no_grad()
def flat_share(images: Images) -> PerImage:
    """Share of pixels that differ from the next one, to the right and below, by less than `FLAT` in every channel."""
    right, below = (images.diff(dim=along).abs().amax(1) for along in (3, 2))
    return (torch.maximum(right[:, :-1], below[..., :-1]) < FLAT).float().flatten(1).mean(1)


def whole_blocks(images: Images, side: int) -> Images:
    """Images without the last rows and columns that do not fill a block."""
    height, width = (length // side * side for length in images.shape[-2:])
    return images[..., :height, :width]


@torch.no_grad()
def power_spectrum(images: Images) -> Tensor:
    """Mean power of the channels, less each image's mean, at every spatial frequency [count, height, width], by value."""
    centred = images - images.mean((2, 3), keepdim=True)
    return torch.fft.fft2(centred).abs().square().mean(1) / images[0, 0].numel()


def radial_spectrum(power: Tensor) -> Tensor:
    """Mean power of spectra [..., height, width] at each radius 1 .. side/2 (Durall et al. 2020, Eq. 3).

    Radii are cycles along the shorter side of the picture.
    """
    side = min(power.shape[-2:])
    rows, columns = (torch.fft.fftfreq(length).abs() * side for length in power.shape[-2:])
    radius = (rows[:, None].square() + columns[None].square()).sqrt().round().long().flatten()
    inside = radius <= side // 2
    sums = torch.zeros(*power.shape[:-2], side // 2 + 1, dtype=power.dtype)
    counts = torch.zeros(side // 2 + 1, dtype=power.dtype)
    sums.index_add_(-1, radius[inside], power.flatten(-2)[..., inside])
    counts.index_add_(0, radius[inside], torch.ones(int(inside.sum()), dtype=power.dtype))
    return (sums / counts)[..., 1:]


@torch.no_grad()
def texture_power(images: Images, period: int) -> PerImage:
    """Power at a spatial period of 2 or 4 pixels, across, down and along both diagonals (with 2 pixels they are one).

    Upsampling leaves its grid exactly there (Odena et al. 2016). It equals `power_spectrum` at these frequencies, because what
    repeats every 4 pixels is all in the sum of an image's blocks of 4x4.
    """
    images = whole_blocks(images, 4)
    height, width = images.shape[-2:]
    blocks = images.unflatten(3, (width // 4, 4)).unflatten(2, (height // 4, 4)).sum((2, 4))
    power = torch.fft.fft2(blocks).abs().square().mean(1) / (height * width)
    at = 4 // period
    diagonals = power[:, at, at], power[:, at, -at]
    ways = (power[:, at, 0], power[:, 0, at], *diagonals[: 1 if period == 2 else 2])
    return torch.stack(ways).mean(0) + FLOOR
