"""What a decoder ends in: from its raw numbers, the likelihood's mean or logits, to the image they stand for, in [-1, 1]."""

import torch
from torch import Tensor, nn

from vaegan.types import Images


class Cut(nn.Module):
    """Raw numbers as values, cut at black and white: what a picture can hold, so a critic judges what the user will see.

    What is cut off has no gradient. A gradient that leads back inside only would turn a critic's noise into a pull towards grey
    (docs/experiments.md).
    """

    def forward(self, values: Tensor) -> Images:
        """min(max(v, -1), 1)."""
        return values.clamp(-1, 1)


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


OUTPUTS = {"linear": Cut, "tanh": Cut, "sigmoid": Sigmoid, "continuous-bernoulli": ContinuousBernoulli}
