"""Feature vectors that need no download and no fit: a fixed random network, and the lowest frequencies of small images."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.types import Images

RANDOM_FEATURES = "random-conv-1"
LAYOUT_FEATURES = "layout-dct-1"
SMALL = 16  # [pixels] the side of small images
_BLOCK = 128


@torch.no_grad()
def random_features(images: Images) -> Tensor:
    """Pooled activations of a small convolutional network with fixed random weights, float32 [count, 176].

    Means and deviations over the picture of 24 channels at half and 64 at a quarter of the resolution. Random convolutions see
    edges, colours and textures (Saxe et al. 2011), depend on no data set, and cost a hundredth of Inception.
    """
    weights = [weight.to(images.device) for weight in _random_weights()]
    return torch.cat([_pooled(block, weights) for block in images.split(_BLOCK)])


def _pooled(images: Images, weights: list[Tensor]) -> Tensor:
    colour = images.float().expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
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
    return F.adaptive_avg_pool2d(images.float(), side).flatten(1)


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
