"""A score of samples that is cheap enough to be taken while training."""

from typing import NamedTuple

import torch
from torch import Tensor

from vaegan.metrics.features import Standardise, random_features
from vaegan.metrics.kernel import polynomial_kernel
from vaegan.metrics.spectrum import detail_energy, power_spectrum, texture_power
from vaegan.types import Images


class RealStatistics(NamedTuple):
    """What `cheap_score` needs of the real images, measured once."""

    standardise: Standardise
    features: Tensor
    within: float
    sharpness: float
    texture: tuple[float, float]


@torch.no_grad()
def real_statistics(images: Images) -> RealStatistics:
    """Measures real images (some hundred validation images) once, for `cheap_score`."""
    features = random_features(images)
    standardise = Standardise(features)
    features = standardise(features)
    power = power_spectrum(images)
    return RealStatistics(
        standardise,
        features,
        _mean_of_pairs(features),
        float(detail_energy(images).mean()),
        (float(texture_power(power, 2).mean()), float(texture_power(power, 4).mean())),
    )


@torch.no_grad()
def cheap_score(real: RealStatistics, samples: Images) -> dict[str, float]:
    """A few numbers on samples: under 2 s for 512 of 64x64 on one core. `kernel_distance` is the one to minimise.

    Args:
        real: of `real_statistics`.
        samples: [count, channel, height, width], 512 are enough.

    Returns:
        kernel_distance: unbiased, in random features; lower is better, 0 is perfect, chance may make it negative.
        sharpness: energy of the highest octave, samples over real; 1 is right.
        texture_2, texture_4: power at periods of 2 and 4 pixels, samples over real; far above 1 is an upsampling grid.
    """
    features = real.standardise(random_features(samples))
    cross = float(polynomial_kernel(real.features, features).mean())
    power = power_spectrum(samples)
    return {
        "kernel_distance": real.within + _mean_of_pairs(features) - 2 * cross,
        "sharpness": float(detail_energy(samples).mean()) / real.sharpness,
        "texture_2": float(texture_power(power, 2).mean()) / real.texture[0],
        "texture_4": float(texture_power(power, 4).mean()) / real.texture[1],
    }


def _mean_of_pairs(features: Tensor) -> float:
    """The kernel's mean over all pairs of different images."""
    kernel = polynomial_kernel(features, features)
    count = len(features)
    return float((kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1)))
