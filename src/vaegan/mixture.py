"""A Gaussian mixture over encoded images: a sampler for where a VAE's posterior and prior disagree (Ghosh et al. 2020)."""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from vaegan.types import Latents

COMPONENTS = 10  # Ghosh et al. 2020, Section 5: ten are enough on every data set they tried


class Mixture(NamedTuple):
    """Weights [k], means [k, latent] and lower Cholesky factors [k, latent, latent] of the covariances."""

    weights: Tensor
    means: Tensor
    factors: Tensor

    def sample(self, count: int, generator: Generator) -> Latents:
        """Draws [count, latent] on the CPU."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator)
        return self.means[chosen] + torch.einsum("nij,nj->ni", self.factors[chosen], noise)


@torch.no_grad()
def fit_mixture(latents: Latents, components: int = COMPONENTS, steps: int = 60, seed: int = 0) -> Mixture:
    """Expectation-maximisation with full covariances (Bishop 2006, Section 9.2.2).

    Args:
        latents: [count, latent].
        components: number of Gaussians; fewer when there are under 20 images for each.
        steps: of EM, at most; it stops when the likelihood gains less than 1e-4 nats an image.
        seed: of the starting means.
    """
    x = latents.cpu().double()
    count, dimension = x.shape
    components = max(1, min(components, count // 20))
    generator = Generator().manual_seed(seed)
    means = x[torch.randperm(count, generator=generator)[:components]].clone()
    # The floor keeps a component on few images from shrinking to a point.
    floor = 1e-3 * torch.eye(dimension, dtype=x.dtype)
    covariance = torch.cov(x.T).reshape(dimension, dimension) if count > 1 else torch.eye(dimension, dtype=x.dtype)
    covariances = (covariance + floor).repeat(components, 1, 1)
    weights = torch.full((components,), 1 / components, dtype=x.dtype)
    previous = -torch.inf
    for _ in range(steps):
        joint = torch.stack([_log_density(x, *component) for component in zip(weights, means, covariances, strict=True)], 1)
        evidence = joint.logsumexp(1, keepdim=True)
        likelihood = float(evidence.mean())
        if likelihood - previous < 1e-4:
            break
        previous = likelihood
        responsibility = (joint - evidence).exp()
        mass = responsibility.sum(0) + 1e-9
        weights = mass / mass.sum()
        means = responsibility.T @ x / mass[:, None]
        for k, mean in enumerate(means):
            centred = x - mean
            covariances[k] = (centred * responsibility[:, k, None]).T @ centred / mass[k] + floor
    factors = torch.linalg.cholesky(covariances)
    return Mixture(weights.float(), means.float(), factors.float())


def _log_density(x: Tensor, weight: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """log(weight N(x; mean, covariance)) of each row of `x`."""
    factor = torch.linalg.cholesky(covariance)
    standard = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
    log_volume = factor.diagonal().log().sum() + 0.5 * x.shape[1] * math.log(2 * math.pi)
    return weight.log() - 0.5 * standard.square().sum(0) - log_volume
