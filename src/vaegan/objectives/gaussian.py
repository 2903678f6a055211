"""The VAE's objective: squared error, calibrated Gaussian likelihood, KL divergence. One value an image each."""

import math

import torch
from torch import Tensor

from vaegan.types import Images, Latents, PerImage


def squared_error(images: Images, reconstructions: Images) -> PerImage:
    """Squared error summed over an image's values."""
    return (images - reconstructions).square().flatten(1).sum(1)


def kl_to_standard_normal(mean: Latents, log_var: Latents) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, I)) for each latent dimension, [batch, latent] [nats].

    Kingma & Welling 2014, Appendix B; sum over the dimensions for an image's KL.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def calibrated_variance(error_per_value: Tensor, floor: float = math.exp(-10)) -> Tensor:
    """The decoder's variance that maximises the likelihood: the batch's mean squared error a value, floored.

    sigma-VAE (Rybkin et al. 2021, Section 4.2), optimal sigma. The caller detaches and averages it over processes, which leaves
    the gradient that of (D/2) ln MSE. The floor is log sigma >= -5.
    """
    return error_per_value.clamp_min(floor)


def gaussian_loss(error: PerImage, values: int, variance: Tensor) -> PerImage:
    """-log N(x; x_hat, variance I) up to the constant (values/2) ln 2 pi [nats], from a squared error over so many `values`."""
    return error / (2 * variance) + 0.5 * values * torch.log(variance)


def effective_beta(reconstruction_weight: float, kl_weight: float) -> float:
    """The beta of 1/2 SE + beta KL that `reconstruction_weight * SE + kl_weight * KL` amounts to.

    For an error averaged over D values pass reconstruction_weight = a/D: beta = b D / (2 a). The calibrated loss has
    reconstruction_weight = 1/(2 sigma^2), so its beta is sigma^2, the current MSE.
    """
    return kl_weight / (2 * reconstruction_weight)
