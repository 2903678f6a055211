"""Transposed convolutions that make no grid where there is nothing to draw.

A transposed convolution of kernel 4 and stride 2 makes each of the four pixels of a 2x2 block by taps of its own. Unless the taps
of all four have the same sum, an even map becomes a checkered one, the same in every image (Odena et al. 2016). Equal sums are
the condition of Sugawara et al. 2018. A decoder learns to hide that grid in its last layer, and a critic's first steps bring it
to light again.
"""

import torch
from torch import nn

ROUNDING = 1e-6
"""Differences of sums that are left, so that a weight which no step has moved stays the same to the bit."""


class EvenTransposed(nn.ConvTranspose2d):
    """Doubles the side (kernel 4, stride 2); an optimiser of `optimizer_of` keeps the four sums of its taps equal."""

    def __init__(self, channels: int, made: int) -> None:
        super().__init__(channels, made, 4, stride=2, padding=1)

    @torch.no_grad()
    def even_out(self) -> None:
        """Moves the weight, in place, to the nearest one whose four sums are equal."""
        taps = self.weight.unflatten(3, (2, 2)).unflatten(2, (2, 2))  # [channels, made, tap, pixel, tap, pixel]
        sums = taps.sum((2, 4), keepdim=True)
        excess = sums - sums.mean((3, 5), keepdim=True)
        taps -= excess.where(excess.abs() > ROUNDING, 0) / 4


def even_layers(network: nn.Module) -> list[EvenTransposed]:
    """The even transposed convolutions of a network."""
    return [layer for layer in network.modules() if isinstance(layer, EvenTransposed)]
