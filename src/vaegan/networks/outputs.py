"""What a decoder ends in: from its last layer's raw numbers to the image that they stand for, always in [-1, 1] terms."""

import torch
from torch import Tensor, nn

from vaegan.types import Images


class Sigmoid(nn.Module):
    """Raw numbers as logits l of a Bernoulli distribution on black and white; the image is its mean, 2 s(l) - 1."""

    def forward(self, logits: Tensor) -> Images:
        """2 s(l) - 1 = tanh(l / 2)."""
        return torch.tanh(logits / 2)


class ContinuousBernoulli(nn.Module):
    """Raw numbers as logits of a continuous Bernoulli distribution on [0, 1]; the image is its mean, which is not s(l)."""

    def forward(self, logits: Tensor) -> Images:
        """Twice the mean less one: coth(l / 2) - 2 / l (Loaiza-Ganem & Cunningham 2019, Eq. 8, in logits)."""
        return langevin(logits / 2)


def langevin(x: Tensor) -> Tensor:
    """coth(x) - 1/x, by its series x/3 - x^3/45 + 2 x^5/945 - x^7/4725 near 0, where both terms are infinite."""
    near = x.abs() < 0.5
    safe = torch.where(near, torch.ones_like(x), x)
    square = x.square()
    return torch.where(
        near, x * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square / 4725))), 1 / torch.tanh(safe) - 1 / safe
    )


OUTPUTS = {"linear": nn.Identity, "tanh": nn.Tanh, "sigmoid": Sigmoid, "continuous-bernoulli": ContinuousBernoulli}
