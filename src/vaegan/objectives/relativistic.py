"""Relativistic pairing losses: each real image is compared with one generated image (R3GAN, Huang et al. 2024, Eq. 2)."""

import torch.nn.functional as F
from torch import Tensor

from vaegan.types import PerImage


def critic_loss(real_logits: PerImage, fake_logits: PerImage) -> PerImage:
    """softplus(-(D(x) - D(G(z)))): the critic wants the real image of each pair higher."""
    return F.softplus(fake_logits - real_logits)


def generator_loss(real_logits: PerImage, fake_logits: PerImage) -> PerImage:
    """softplus(-(D(G(z)) - D(x))): the generator wants its image of each pair higher."""
    return F.softplus(real_logits - fake_logits)


def pair_accuracy(real_logits: PerImage, fake_logits: PerImage) -> Tensor:
    """Share of all real-generated pairs, not only the given ones, that the critic orders rightly; 0.5 is chance."""
    difference = real_logits[:, None] - fake_logits[None]
    return 0.5 * (1 + difference.sign()).mean()  # a tie is half right
