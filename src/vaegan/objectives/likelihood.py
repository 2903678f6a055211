"""How a decoder's raw output is held against an image: the likelihoods p(x|z), and the losses that training can choose.

The raw output is the reconstruction itself for Gaussian and Laplace, and the logit of every value for the Bernoulli kinds.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

from vaegan.objectives import bernoulli, gaussian, laplace
from vaegan.types import Images, PerImage

Likelihood = Literal["gaussian", "laplace", "bernoulli", "continuous-bernoulli"]


class Reconstruction(NamedTuple):
    """A reconstruction loss: an error of each image, what it weighs, and the likelihood that stands behind it."""

    likelihood: Likelihood
    error: Callable[[Images, Tensor], PerImage]
    """From images and the decoder's raw output to an error, summed over an image's values."""
    loss: Callable[[PerImage, int, Tensor], PerImage]
    """From that error, the number of values in an image and the variance of p(x|z) to a loss."""
    beta: Callable[[int, Tensor], Tensor] | None
    """Effective beta of loss + KL, from the values in an image and the variance; None where 1/2 SE + beta KL is not its form."""


def _as_it_is(error: PerImage, values: int, variance: Tensor) -> PerImage:
    return error


def _mean(error: PerImage, values: int, variance: Tensor) -> PerImage:
    return error / values


def _laplace(error: PerImage, values: int, variance: Tensor) -> PerImage:
    return laplace.laplace_loss(error, values, (variance / 2).sqrt())


def _calibrated_beta(values: int, variance: Tensor) -> Tensor:
    return variance


def _sum_beta(values: int, variance: Tensor) -> Tensor:
    return torch.full_like(variance, gaussian.effective_beta(1, 1))


def _mean_beta(values: int, variance: Tensor) -> Tensor:
    return torch.full_like(variance, gaussian.effective_beta(1 / values, 1))


RECONSTRUCTIONS: dict[str, Reconstruction] = {
    "calibrated": Reconstruction("gaussian", gaussian.squared_error, gaussian.gaussian_loss, _calibrated_beta),
    "squared-error": Reconstruction("gaussian", gaussian.squared_error, _as_it_is, _sum_beta),
    "mean-squared-error": Reconstruction("gaussian", gaussian.squared_error, _mean, _mean_beta),
    "laplace": Reconstruction("laplace", laplace.absolute_error, _laplace, None),
    "cross-entropy": Reconstruction("bernoulli", bernoulli.cross_entropy, _as_it_is, None),
    "continuous-bernoulli": Reconstruction("continuous-bernoulli", bernoulli.continuous_bernoulli, _as_it_is, None),
}


def variance_of(likelihood: Likelihood, error_per_value: Tensor) -> Tensor:
    """The variance of p(x|z) that makes the images most likely, from the batch's mean error a value, detached, all processes."""
    if likelihood == "laplace":
        return gaussian.calibrated_variance(2 * error_per_value.square())  # b is the mean absolute error, the variance 2 b^2
    return gaussian.calibrated_variance(error_per_value)


def log_density(likelihood: Likelihood, images: Images, raw: Tensor, variance: Tensor) -> PerImage:
    """Log p(x|z) of each image [nats]: a density on [-1, 1], or for bernoulli a probability of binary images.

    `raw` is the decoder's raw output for the images' latents; the Bernoulli kinds do not use the variance, a single number.
    """
    values = images[0].numel()
    if likelihood == "gaussian":
        error = gaussian.squared_error(images, raw)
        return -gaussian.gaussian_loss(error, values, variance) - 0.5 * values * math.log(2 * math.pi)
    if likelihood == "laplace":
        return -_laplace(laplace.absolute_error(images, raw), values, variance)
    if likelihood == "bernoulli":
        return -bernoulli.cross_entropy(images, raw)
    return -bernoulli.continuous_bernoulli(images, raw) - values * math.log(2)  # [0, 1] is half as long as [-1, 1]


def draw(likelihood: Likelihood, images: Images, raw: Tensor, variance: float, generator: Generator) -> Images:
    """One image from p(x|z) for each mean in `images`, which comes from a raw output; all on the CPU."""
    if likelihood == "gaussian":
        return images + math.sqrt(variance) * torch.randn(images.shape, generator=generator)
    uniform = torch.rand(images.shape, generator=generator)
    if likelihood == "laplace":
        signed = 2 * uniform - 1
        return images - math.sqrt(variance / 2) * signed.sign() * torch.log1p(-signed.abs())
    if likelihood == "bernoulli":
        return 2 * (uniform < torch.sigmoid(raw)).float() - 1
    # The inverse of the distribution function, log(1 + u (e^l - 1)) / l; at l = 0 it is u itself.
    logits = raw.double()
    safe = torch.where(logits.abs() < 1e-3, torch.ones_like(logits), logits)
    drawn = torch.where(logits.abs() < 1e-3, uniform.double(), torch.log1p(uniform.double() * torch.expm1(safe)) / safe)
    return (2 * drawn - 1).float()
