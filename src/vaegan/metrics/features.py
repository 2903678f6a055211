"""Feature vectors that need no download: a fixed random network, and principal components of small images."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.types import Images

RANDOM_FEATURES = "random-conv-1"
LAYOUT_FEATURES = "layout-pca-64"
_BLOCK = 128


@torch.no_grad()
def random_features(images: Images) -> Tensor:
    """Pooled activations of a small convolutional network with fixed random weights, float32 [count, 176].

    Means and deviations over the picture of 24 channels at half and 64 at a quarter of the resolution. Random convolutions see
    edges, colours and textures (Saxe et al. 2011), hang on no data set, and cost a hundredth of Inception. Pooling makes
    them blind to where something is: `LayoutFeatures` are for that.

    Args:
        images: [count, 1 or 3, height, width] in [-1, 1].
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
def small_images(images: Images, side: int = 16) -> Tensor:
    """Images averaged down to `side` x `side`, one row an image: where distances mean layout and colour, not texture."""
    return F.adaptive_avg_pool2d(images.float(), side).flatten(1)


class Standardise:
    """Subtracts the real features' mean and divides by their deviation, so that no unit of measure decides."""

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        """Args: mean, deviation: of the real features, [dimension]."""
        self.mean, self.deviation = mean, deviation.clamp_min(1e-6)

    @classmethod
    def of(cls, real: Tensor) -> Self:
        """By features [count, dimension] of all real images."""
        return cls(real.mean(0), real.std(0))

    def __call__(self, features: Tensor) -> Tensor:
        """The features in units of the real deviation."""
        return (features - self.mean) / self.deviation


class LayoutFeatures:
    """Coordinates of 16x16 images on the (at most 64) principal components of real ones."""

    def __init__(self, real_small: Tensor, components: int = 64) -> None:
        """Args: real_small: `small_images` of real images; components: at most so many."""
        self.mean = real_small.mean(0)
        centred = (real_small - self.mean).double()
        _, vectors = torch.linalg.eigh(centred.T @ centred)
        self.axes = vectors.flip(1)[:, : min(components, len(real_small) - 1)].to(real_small.dtype)

    def __call__(self, small: Tensor) -> Tensor:
        """Features [count, components] of `small_images`."""
        return (small - self.mean) @ self.axes
