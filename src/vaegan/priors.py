"""Priors: one map each from standard normal noise to latents, the same in Python, in exported graphs and in the browser.

A mixture of Gaussians over encoded images stands in where a VAE's posterior and prior disagree (Ghosh et al. 2020). A GAN that
has grown out of a VAE draws its latents from it, and so does a VAE once it is trained.
"""

import math
from copy import deepcopy
from typing import Self

import torch
from torch import Generator, Tensor, nn

from vaegan.config import PriorName
from vaegan.types import Latents

COMPONENTS = 10  # Ghosh et al. 2020, Section 5: ten are enough on every data set they tried
IMAGES_A_COMPONENT = 20  # fewest
STRENGTH = 4
"""Images a latent dimension that each component is given on top, with the mean covariance of all: 64 numbers have 2,080
covariances. 752 anime faces held out are 0.7 nats likelier for it under ten components."""


class Prior(nn.Module):
    """A distribution of latents, as a map from standard normal noise."""

    words = "what the graph named prior makes of N(0, I)"
    """What latents are drawn from, in an exported model's own words."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = self.noise_dim = latent_dim

    def forward(self, noise: Tensor) -> Latents:
        """The latents [batch, latent] that standard normal noise [batch, noise_dim] stands for."""
        raise NotImplementedError

    def log_density(self, latents: Latents) -> Tensor:
        """Log p(z) of latents [batch, latent], with its gradient [nats]."""
        raise NotImplementedError

    def sample(self, count: int, generator: Generator) -> Latents:
        """Draws [count, latent] on the CPU."""
        return self(torch.randn(count, self.noise_dim, generator=generator))

    def tempered(self, temperature: float) -> "Prior":
        """A prior whose draws are `temperature` times as wide (Kingma & Dhariwal 2018, Section 6)."""
        return self if temperature == 1 else Scaled(self, temperature)


class Normal(Prior):
    """N(0, I): noise is the latent."""

    words = "N(0, I)"

    def forward(self, noise: Tensor) -> Latents:
        """Returns the noise."""
        return noise

    def log_density(self, latents: Latents) -> Tensor:
        """Log N(z; 0, I)."""
        return -0.5 * (latents.square() + math.log(2 * math.pi)).sum(1)


class Uniform(Prior):
    """Uniform on [-1, 1]: 2 Phi(noise) - 1, with Phi the normal distribution function."""

    words = f"uniform on [-1, 1]: {Prior.words}"

    def forward(self, noise: Tensor) -> Latents:
        """Returns erf(noise / sqrt 2)."""
        return torch.erf(noise.float() / math.sqrt(2))


class Scaled(Prior):
    """Another prior's draws, times a factor."""

    def __init__(self, prior: Prior, factor: float) -> None:
        super().__init__(prior.latent_dim)
        self.prior, self.factor, self.noise_dim = prior, factor, prior.noise_dim

    def forward(self, noise: Tensor) -> Latents:
        """Returns the scaled draw."""
        return self.factor * self.prior(noise)


class Mixture(Prior):
    """A mixture of Gaussians: weights [components], means [components, latent], factors of the covariances [.., latent, latent].

    `ends` [components - 1]: where a standard normal number passes from one component to the next. It is stored beside the weights
    that it follows from, because not every device knows the inverse normal distribution.
    """

    weights: Tensor
    ends: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, latent_dim: int) -> None:
        """All weights are 0 until it is fitted; so are those of unused components after."""
        super().__init__(latent_dim)
        self.noise_dim = latent_dim + 1
        self.register_buffer("weights", torch.zeros(COMPONENTS))
        self.register_buffer("ends", torch.full((COMPONENTS - 1,), torch.inf))
        self.register_buffer("means", torch.zeros(COMPONENTS, latent_dim))
        self.register_buffer("factors", torch.zeros(COMPONENTS, latent_dim, latent_dim))

    @classmethod
    def of(cls, weights: Tensor, means: Tensor, factors: Tensor) -> Self:
        """The mixture of at most ten components."""
        mixture = cls(means.shape[1])
        for stored, given in zip((mixture.weights, mixture.means, mixture.factors), (weights, means, factors), strict=True):
            stored[: len(given)] = given
        cumulative = mixture.weights.double().cumsum(0)[:-1]
        # What rounding leaves over after the last used component is no room for another.
        mixture.ends.copy_(torch.special.ndtri(torch.where(cumulative > 1 - 1e-6, 1.0, cumulative)))
        return mixture

    @property
    def is_fitted(self) -> bool:
        """Whether there is anything to draw from."""
        return float(self.weights.sum()) > 0

    def forward(self, noise: Tensor) -> Latents:
        """Chooses the component by the last number of the noise, and moves the others by its mean and factor."""
        chosen = (noise[:, -1:] > self.ends).sum(1)
        with torch.autocast(noise.device.type, enabled=False):  # latents are never rounded to bfloat16
            # By every component, of which one is chosen: a copy of a factor for each image would need far more memory.
            moved = torch.einsum("kij,bj->bki", self.factors, noise[:, :-1].float())
            return self.means[chosen] + moved.gather(1, chosen[:, None, None].expand(-1, 1, moved.shape[2]))[:, 0]

    def log_density(self, latents: Latents) -> Tensor:
        """The logarithm of the sum of the components' densities."""
        used = self.weights > 0
        parts = zip(self.weights[used], self.means[used], self.factors[used], strict=True)
        return torch.stack([_log_density(latents, *part) for part in parts], 1).logsumexp(1)

    def tempered(self, temperature: float) -> Self:
        """A copy whose components are `temperature` times as wide."""
        tempered = deepcopy(self)
        tempered.factors.mul_(temperature)
        return tempered


PRIORS: dict[PriorName, type[Prior]] = {"normal": Normal, "uniform": Uniform, "mixture": Mixture}


@torch.no_grad()
def fit_mixture(latents: Latents, components: int = COMPONENTS, steps: int = 60, seed: int = 0) -> Mixture:
    """Expectation-maximisation with full covariances (Bishop 2006, 9.2.2), kept near their mean (Fraley and Raftery 2007).

    Fewer Gaussians are fitted when there are under 20 images for each; it stops when a step gains less than 1e-4 nats an image.
    """
    x = latents.cpu().double()
    count, dimension = x.shape
    components = max(1, min(components, count // IMAGES_A_COMPONENT))
    generator = Generator().manual_seed(seed)
    means = x[torch.randperm(count, generator=generator)[:components]].clone()
    # The floor keeps latents that never vary from having no width at all.
    floor = 1e-3 * torch.eye(dimension, dtype=x.dtype)
    covariance = torch.cov(x.T).reshape(dimension, dimension) if count > 1 else torch.eye(dimension, dtype=x.dtype)
    covariances = (covariance + floor).repeat(components, 1, 1)
    weights = torch.full((components,), 1 / components, dtype=x.dtype)
    previous = -torch.inf
    for _ in range(steps):
        joint = torch.stack(
            [_log_density(x, *part) for part in zip(weights, means, torch.linalg.cholesky(covariances), strict=True)], 1
        )
        evidence = joint.logsumexp(1, keepdim=True)
        likelihood = float(evidence.mean())
        if likelihood - previous < 1e-4:
            break
        previous = likelihood
        responsibility = (joint - evidence).exp()
        mass = responsibility.sum(0)
        enough = mass >= min(IMAGES_A_COMPONENT, float(mass.max()))
        if not enough.all():  # the images of a component that has too few go to the others
            responsibility = responsibility[:, enough] / responsibility[:, enough].sum(1, keepdim=True).clamp_min(1e-9)
            mass, previous = responsibility.sum(0), -torch.inf
        weights = mass / mass.sum()
        means = responsibility.T @ x / mass[:, None]
        parts = ((x - mean, share[:, None]) for mean, share in zip(means, responsibility.T, strict=True))
        scatter = torch.stack([(centred * share).T @ centred for centred, share in parts])
        extra = STRENGTH * dimension * scatter.sum(0) / count
        covariances = (scatter + extra) / (mass + STRENGTH * dimension)[:, None, None] + floor
    factors = torch.linalg.cholesky(covariances)
    return Mixture.of(weights.float(), means.float(), factors.float())


def _log_density(x: Tensor, weight: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """log(weight N(x; mean, factor factor')) of each row of `x`."""
    standard = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
    log_volume = factor.diagonal().log().sum() + 0.5 * x.shape[1] * math.log(2 * math.pi)
    return weight.log() - 0.5 * standard.square().sum(0) - log_volume
