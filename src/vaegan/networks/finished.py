"""The last layer of a kept decoder, set once at the end (`parts/equalise.py`): octaves scaled, and a steep floor.

A generator learns under a soft floor, which lets a gradient through. A kept one need not: its floor parts weak details from
strong ones better.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.networks.subpixel import DETAILS, REACH, WINDOWS, SubPixel, mean_around, picture_kernel

ALTERNATING, CONSTANT = (1, -2, 2, -2, 1), (1, 2, 2, 2, 1)
"""Taps of two filters, times eight. The first keeps what changes sign from block to block and nothing constant; the second keeps
what is constant and nothing that changes sign. A period of four blocks passes neither."""


class FinishedSubPixel(SubPixel):
    """A sub-pixel layer with scaled octaves, and a steep floor under the finest."""

    def __init__(self, channels: int, floor: float = 0.0, steep_floor: float = 0.0) -> None:
        """Args: channels: of the image; floor: soft, under the second octave; steep_floor: under the finest; 0: none."""
        super().__init__(channels, floor)
        self.steep_floor = steep_floor

    @property
    def has_floor(self) -> bool:
        """Whether anything is taken for noise."""
        return self.floor > 0 or self.steep_floor > 0

    def gain_of_details(self, power: Tensor) -> Tensor:
        """P^2 / (P^2 + floor^4): of half the floor's deviation a seventeenth is left, where the soft gain leaves a fifth."""
        if self.steep_floor == 0:
            return super().gain_of_details(power)
        around = mean_around(power, WINDOWS[1]).square()
        return around / (around + self.steep_floor**4)

    @torch.no_grad()
    def scale(self, finest: float, second: float, grid: float, coarse_grid: float) -> None:
        """Sets what the layer makes of its input, relative to what it made while it learned.

        Args:
            finest: factor of slopes and checkers.
            second: factor of how a block's mean differs from the mean around it, [1 2 1] / 4 both ways.
            grid: factor of what slopes and checkers share with the blocks around them, beside `finest`.
            coarse_grid: factor of what changes sign in every other block: a period of four pixels. Exact from two blocks inside
                the border on.
        """
        self.kernel.copy_(picture_kernel(self.kernel.shape[0] // 4))  # what was scaled before goes
        of_coordinates = self.kernel.unflatten(1, (-1, 1 + len(DETAILS)))
        means, details = of_coordinates[:, :, :1], of_coordinates[:, :, 1:]
        details -= (1 - grid) * details.mean((-2, -1), keepdim=True)
        details *= finest
        around = torch.tensor((0.25, 0.5, 0.25), device=self.kernel.device)
        blurred = F.conv2d(means.reshape(-1, 1, REACH, REACH), torch.outer(around, around)[None, None], padding=1)
        means += (second - 1) * (means - blurred.view_as(means))
        ones = torch.ones(REACH, device=self.kernel.device)
        signs = ones.clone()
        signs[1::2] = -1  # the middle one is +1
        alternating, constant = (
            (torch.tensor(taps, device=ones.device) / 8, of) for taps, of in ((ALTERNATING, signs), (CONSTANT, ones))
        )
        kernel = self.kernel.clone()
        for (rows, of_rows), (columns, of_columns) in (
            (constant, alternating),
            (alternating, constant),
            (alternating, alternating),
        ):
            response = (kernel * torch.outer(of_rows, of_columns)).sum((-2, -1), keepdim=True)
            self.kernel -= (1 - coarse_grid) * response * torch.outer(rows, columns)
