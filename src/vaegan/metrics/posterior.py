"""What a VAE's posterior says: KL a dimension, active units, and how far all posteriors together are from the prior."""

import torch
from torch import Tensor

from vaegan.types import Latents


def kl_per_dimension(mean: Latents, log_var: Latents) -> Tensor:
    """KL(q(z_j|x) || N(0, 1)) averaged over the images, [latent] [nats] (Kingma & Welling 2014, Appendix B)."""
    mean, log_var = mean.double(), log_var.double()
    return (0.5 * (mean.square() + log_var.exp() - 1 - log_var)).mean(0)


def active_units(mean: Latents, threshold: float = 0.01) -> int:
    """Dimensions whose posterior mean varies over the images by more than 0.01 (Burda et al. 2016, Section 4.2)."""
    return int((mean.double().var(0) > threshold).sum())


def aggregate_gap(mean: Latents, log_var: Latents) -> float:
    """KL(N(m, C) || N(0, I)) [nats] of the Gaussian with the aggregated posterior's mean m and covariance C.

    C = Cov(mu) + diag(mean variance). A lower bound on nothing and an upper bound on nothing, but 0 exactly when the first
    two moments are the prior's; after re-whitening they are.
    """
    mean, log_var = mean.double(), log_var.double()
    covariance = torch.cov(mean.T).reshape(mean.shape[1], mean.shape[1]) + log_var.exp().mean(0).diag()
    middle = mean.mean(0)
    return float(0.5 * (covariance.trace() + middle @ middle - len(middle) - torch.logdet(covariance)))


def bits_per_dimension(log_likelihood: Tensor, values: int) -> Tensor:
    """Bits to store one of `values` 8-bit values, from log densities [nats] on [-1, 1] of dequantised images.

    A step of 1/127.5 on [-1, 1] is one of 256 levels: -log p / (D ln 2) + log2(127.5) (Theis et al. 2016, Section 3.1).
    """
    return -log_likelihood / (values * torch.tensor(2.0).log()) + torch.tensor(127.5).log2()
