"""What several studies measure on a model: reconstruction, rate, active units, and how near its samples come to real images."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vaegan.data import TRAIN, VALIDATION, ImageDataset
from vaegan.metrics.posterior import active_units, dequantised
from vaegan.metrics.sliced import sliced_wasserstein
from vaegan.metrics.watch import recall
from vaegan.model import Model
from vaegan.objectives.gaussian import kl_to_standard_normal, squared_error
from vaegan.objectives.likelihood import log_density
from vaegan.studies.study import Numbers
from vaegan.types import Images, PerImage


def heldout_images(dataset: ImageDataset, count: int) -> Images:
    """Validation images (training images when there are none), the first in the order of their contents."""
    return dataset.load(heldout_indices(dataset, count))


def heldout_indices(dataset: ImageDataset, count: int) -> NDArray[np.int64]:
    """Where the images of `heldout_images` stand in the data set."""
    return side_indices(dataset, VALIDATION if len(dataset.indices(VALIDATION)) else TRAIN, count)


def side_images(dataset: ImageDataset, side: int, count: int) -> Images:
    """The first images of a side in the order of their contents, a fair draw from all folders."""
    return dataset.load(side_indices(dataset, side, count))


def side_indices(dataset: ImageDataset, side: int, count: int) -> NDArray[np.int64]:
    """Where the images of `side_images` stand in the data set."""
    indices = dataset.indices(side)
    return indices[dataset.contents[indices].argsort(kind="stable")][:count]


@torch.no_grad()
def autoencoding(model: Model, images: Images) -> Numbers:
    """Rate, distortion and active units of a model with an encoder.

    Returns:
        error: squared error a value at the posterior mean; squared_error: its sum over an image; kl [nats];
        active_units; elbo [nats], as `evaluate` has it, when the model has a p(x|z); its variance when that has one.
    """
    posterior = model.posterior(images)
    values = images[0].numel()
    kl = kl_to_standard_normal(*posterior)
    at_mean = squared_error(images, model.reconstruct(images).cpu()).mean()
    found: Numbers = {
        "error": float(at_mean) / values,
        "squared_error": float(at_mean),
        "kl": float(kl.sum(1).mean()),
        "active_units": int(active_units(posterior.mean)),
    }
    if model.has_observation_noise:
        found["elbo"] = float(lower_bound(model, images).mean())
    if model.config.variance is not None:
        found["variance"] = model.config.variance
    return found


@torch.no_grad()
def lower_bound(model: Model, images: Images) -> PerImage:
    """ELBO on log p(x) of dequantised images with one posterior sample and the KL divergence in closed form [nats]."""
    generator, likelihood = torch.Generator().manual_seed(1), model.config.likelihood
    images = dequantised(images, likelihood, generator)
    mean, log_var = (part.cpu() for part in model.posterior(images))
    latents = mean + torch.exp(log_var / 2) * torch.randn(mean.shape, generator=generator)
    density = log_density(
        likelihood, images, model.raw(model.whitened(latents)).cpu(), torch.tensor(model.config.variance or 1.0)
    )
    return density - kl_to_standard_normal(mean, log_var).sum(1)


@torch.no_grad()
def sampling(model: Model, dataset: ImageDataset, count: int = 1000, seed: int = 0) -> Numbers:
    """How near samples come to held-out images, and how many of those they reach.

    Returns:
        distance: sliced Wasserstein distance in pixels, x1000; real_distance: that of as many training images, which is the
        floor; recall and coverage at 16x16 pixels; sharpness: energy of the highest octave over that of real images, 1 is ideal.
    """
    real = heldout_images(dataset, count)
    other = side_images(dataset, TRAIN, len(real))
    samples = model.sample(len(real), seed=seed)
    return {
        "distance": 1000 * sliced_wasserstein(samples, real),
        "real_distance": 1000 * sliced_wasserstein(other[: len(real)], real[: len(other)]),
        "recall": float(recall(real, samples)),
        "coverage": coverage(real, samples),
        "sharpness": float(highest_octave(samples) / highest_octave(real).clamp_min(1e-12)),
    }


def coverage(real: Images, generated: Images, neighbours: int = 5) -> float:
    """Share of real images that have a generated one nearer than their `neighbours`-th real one (Naeem et al. 2020, Eq. 4).

    In pixels at 16x16: what images show, not their texture.
    """
    first, second = (F.adaptive_avg_pool2d(images.float(), 16).flatten(1) for images in (real, generated))
    radius = torch.cdist(first, first).kthvalue(min(neighbours + 1, len(first)), 1).values
    return float((torch.cdist(first, second).amin(1) < radius).float().mean())


def highest_octave(images: Images) -> Tensor:
    """Mean square of what is lost when blocks of 2x2 pixels are averaged."""
    even = images[..., : images.shape[-2] // 2 * 2, : images.shape[-1] // 2 * 2]
    coarse = F.avg_pool2d(even, 2).repeat_interleave(2, -1).repeat_interleave(2, -2)
    return (even - coarse).square().mean()


def psnr(error_per_value: float) -> float:
    """Peak signal-to-noise ratio [dB] of an error on [-1, 1], whose peak-to-peak is 2."""
    return 10 * math.log10(4 / max(error_per_value, 1e-12))
