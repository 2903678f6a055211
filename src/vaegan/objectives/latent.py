"""What a posterior costs beyond the plain KL divergence: free bits, and the importance-weighted bound."""

import math

import torch
from torch import Tensor

from vaegan.types import Latents, PerImage


def free_bits(kl: Latents, batch_mean: Tensor, least: float) -> PerImage:
    """sum_j max(least, mean KL_j), spread over the images: a dimension that costs less than `least` has no gradient.

    Kingma et al. 2016, Appendix C.8. `batch_mean` is the mean of `kl` over the whole batch on all processes, detached, [latent].
    """
    return torch.where(batch_mean > least, kl, torch.full_like(kl, least)).sum(1)


def log_ratio(latents: Latents, mean: Latents, log_var: Latents, noise: Latents) -> PerImage:
    """Log p(z) - log q(z|x) of z = mean + exp(log_var/2) noise, with p = N(0, I): minus the KL divergence in expectation."""
    return 0.5 * (noise.square() + log_var - latents.square()).sum(1)


def importance_weighted_bound(log_weights: Tensor) -> PerImage:
    """IWAE-k: log mean_i exp(log p(x|z_i) + log p(z_i) - log q(z_i|x)), a bound on log p(x) that rises with k.

    Burda et al. 2016, Eq. 8, of weights [k, batch]. k = 1 is the ELBO with one sample.
    """
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
