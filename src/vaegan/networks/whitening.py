"""A fixed change of latent coordinates, kept beside an encoder because its posterior is not diagonal afterwards."""

from typing import Self

import torch
from torch import Tensor, nn

from vaegan.types import Latents


class Whitening(nn.Module):
    """z' = L^-1 (z - m) with L symmetric; the identity until told otherwise."""

    mean: Tensor
    root: Tensor
    inverse_root: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        # Not eye: without content, as a model is read into, torch loads its compiler for that, a second.
        self.register_buffer("root", torch.zeros(latent_dim, latent_dim).fill_diagonal_(1))
        self.register_buffer("inverse_root", self.root.clone())

    @classmethod
    def of(cls, means: Latents, log_vars: Latents) -> Self:
        """The whitening of the aggregated posterior: covariance of the means plus the mean posterior variance."""
        whitening = cls(means.shape[1])
        device, means, log_vars = means.device, means.cpu().double(), log_vars.cpu().double()
        covariance = torch.cov(means.T) + torch.diag(log_vars.exp().mean(0))
        values, vectors = torch.linalg.eigh(covariance)
        whitening.mean.copy_(means.mean(0))
        whitening.root.copy_(vectors * values.sqrt() @ vectors.T)
        whitening.inverse_root.copy_(vectors * values.rsqrt() @ vectors.T)
        return whitening.to(device)

    def forward(self, latents: Latents) -> Latents:
        """From the encoder's coordinates to the generator's."""
        with torch.autocast(latents.device.type, enabled=False):  # latents are never rounded to bfloat16
            return (latents.float() - self.mean) @ self.inverse_root

    def undo(self, latents: Latents) -> Latents:
        """From the generator's coordinates to the encoder's."""
        with torch.autocast(latents.device.type, enabled=False):
            return latents.float() @ self.root + self.mean
