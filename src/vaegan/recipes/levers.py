"""Levers: the few numbers by which training's guards change what a recipe does while it runs."""

from dataclasses import astuple, dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Levers:
    """At these defaults everything is as configured. Part of a recipe's saved tensors, so that a resumed run goes on the same."""

    generator_rate: float = 1.0
    """Factor on the generator's learning rate, and on that of an autoencoder."""
    critic_rate: float = 1.0
    """Factor on the critic's."""
    critic_limit: float = 1.0
    """Pair accuracy of a batch above which the critic is not trained on it."""
    penalty: float = 1.0
    """Factor on the gradient penalty."""
    least_penalty: float = 0.0
    """What the gradient penalty is at least, before the factor: a factor cannot mend a penalty of 0."""
    augmentation: float = 0.0
    """Added to the probability of augmentation."""
    blur: float = 0.0
    """Blur of what the critic sees, at least [pixels]."""
    anchor: float = 1.0
    """Factor on the anchor."""
    kl_weight: float = 1.0
    """Factor on the KL divergence of a VAE."""
    free_bits: float = 0.0
    """KL divergence that each latent dimension has for nothing, at least [nats]."""
    kl_warmup: float = 0.0
    """Share of the stage over which the KL divergence is faded in, at least."""
    usual: float = 0.0
    """1: a GAN's players play by the default settings, whatever is configured (`GANConfig.usual`)."""

    def tensor(self) -> Tensor:
        """All of them, float64 on the processor, so that saving loses no bit."""
        return torch.tensor(astuple(self), dtype=torch.float64)

    @staticmethod
    def of(tensor: Tensor) -> "Levers":
        """Takes back what `tensor` gave."""
        return Levers(*tensor.tolist())
