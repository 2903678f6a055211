"""What several studies measure on a model: reconstruction, rate, active units, and how near its samples come to real images."""

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.data import TRAIN, VALIDATION, ImageDataset
from vaegan.metrics.features import small_images
from vaegan.metrics.neighbours import manifold_scores
from vaegan.metrics.posterior import active_units, dequantised
from vaegan.metrics.sliced import sliced_wasserstein
from vaegan.metrics.spectrum import detail_energy
from vaegan.model import Model
from vaegan.objectives.gaussian import kl_to_standard_normal, squared_error
from vaegan.objectives.likelihood import log_density
from vaegan.report.pictures import first_by_content
from vaegan.studies.study import Numbers, Subject
from vaegan.types import Images, PerImage

SCORES = {"distance": "distance of samples x1000", "recall": "recall", "coverage": "coverage", "sharpness": "sharpness, real = 1"}
"""What `sampling` measures, as headings of a table."""


def heldout_indices(dataset: ImageDataset, count: int) -> NDArray[np.int64]:
    """Where validation images stand in the data set (training images when there are none)."""
    return first_by_content(dataset, VALIDATION if len(dataset.indices(VALIDATION)) else TRAIN, count)


def heldout_images(dataset: ImageDataset, count: int) -> Images:
    """The images at `heldout_indices`."""
    return dataset.load(heldout_indices(dataset, count))


def training_images(dataset: ImageDataset, count: int) -> Images:
    """Training images, a fair draw from all folders."""
    return dataset.load(first_by_content(dataset, TRAIN, count))


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
    other = training_images(dataset, len(real))
    samples = model.sample(len(real), seed=seed)
    # In pixels at 16x16: what images show, not their texture.
    scores = manifold_scores(small_images(real), small_images(samples), max(1, min(5, len(real) - 1)))
    return {
        "distance": 1000 * sliced_wasserstein(samples, real),
        "real_distance": 1000 * sliced_wasserstein(other[: len(real)], real[: len(other)]),
        "recall": float(scores.recall.mean()),
        "coverage": float(scores.coverage.mean()),
        "sharpness": float(detail_energy(samples).mean() / detail_energy(real).mean().clamp_min(1e-12)),
    }


def sample_scores(subject: Subject) -> Numbers:
    """The measure of studies that ask for samples alone."""
    return sampling(subject.model, subject.dataset, seed=subject.seed)
