"""Encoder and critic: the same trunk under two heads."""

from typing import NamedTuple

from torch import Tensor, nn

from vaegan.config import NetworkConfig
from vaegan.networks.blocks import initialise, start_residuals_as_identity
from vaegan.networks.trunk import build_trunk
from vaegan.types import Images, Latents, PerImage


class Gaussian(NamedTuple):
    """A diagonal Gaussian for each image."""

    mean: Latents
    log_var: Latents


class Encoder(nn.Module):
    """q(z|x): images to the mean and log-variance of their latent (Kingma & Welling 2014)."""

    def __init__(self, config: NetworkConfig, size: int, channels: int) -> None:
        """Args: config: the networks' settings; size: of the square images [pixels]; channels: 1 or 3."""
        super().__init__()
        self.trunk = build_trunk(config, size, channels)
        self.head = nn.Linear(self.trunk.out_features, 2 * config.latent_dim)
        initialise(self)
        start_residuals_as_identity(self)
        # Small first posteriors: log-variances near 0 and means near 0, whatever the trunk's scale.
        nn.init.normal_(self.head.weight, std=0.3 * self.trunk.out_features**-0.5)

    def forward(self, images: Images) -> Gaussian:
        """Mean and log-variance, [batch, latent] each; in float32 also under autocast."""
        return self.posterior(self.trunk(images))

    def posterior(self, features: list[Tensor]) -> Gaussian:
        """The same from the trunk's features."""
        mean, log_var = self.head(features[-1].flatten(1)).float().chunk(2, dim=1)
        return Gaussian(mean, log_var)


class Critic(nn.Module):
    """D(x): images to one logit each, high for real."""

    def __init__(self, config: NetworkConfig, size: int, channels: int) -> None:
        """Args: config: the networks' settings; size: of the square images [pixels]; channels: 1 or 3."""
        super().__init__()
        self.trunk = build_trunk(config, size, channels)
        self.head = nn.Linear(self.trunk.out_features, 1)
        initialise(self)
        start_residuals_as_identity(self)
        nn.init.normal_(self.head.weight, std=0.01)  # starts near indifference

    def forward(self, images: Images) -> PerImage:
        """Logits [batch], in float32 also under autocast."""
        logits: Tensor = self.head(self.trunk(images)[-1].flatten(1)).float()
        return logits.squeeze(1)
