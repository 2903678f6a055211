"""Sub-pixel convolution (Shi et al. 2016) in coordinates in which pictures are: a block's mean, its slopes, and colour apart.

Adam moves every weight about equally far, whatever it is for. A convolution that makes the four pixels of a block directly
therefore makes grain as strong in the finest colours as in brightness, where pictures have twenty to eighty times less: samples
of a GAN were full of coloured specks, and averaging the weights against them made long runs soft. Here a step changes each
coordinate in proportion to what pictures have of it. It is a change of coordinates: what can be learned stays the same.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))
"""Mean, slope across, slope down, and checker of a 2x2 block, read row by row."""
COLOUR = ((1, 1, 1), (1, -1, 0), (1, 1, -2))
"""Brightness and two differences."""
SCALES = ((1, 0.25, 0.25, 0.12), (0.35, 0.05, 0.05, 0.02), (0.35, 0.05, 0.05, 0.02))
"""Of each colour's block coordinates. Measured deviations, brightness's mean as 1: slopes 0.08-0.25, checker 0.05-0.12,
colours 0.2-0.5, their slopes 0.012-0.05, their checkers 0.003-0.02 (anime faces, landscapes, drawn faces; 64 pixels)."""


def picture_coordinates(channels: int) -> Tensor:
    """What one of each coordinate adds to the pixels of a block, [4 channels, 4 channels], rows in `nn.PixelShuffle`'s order.

    The first is the mean of brightness and adds 1 to every pixel. One channel is brightness alone.
    """
    block, colour, scales = (torch.tensor(rows, dtype=torch.float32) for rows in (BLOCK, COLOUR, SCALES))
    if channels == 1:
        colour, scales = torch.ones(1, 1), scales[:1]
    colour = colour / colour.norm(dim=1, keepdim=True) * math.sqrt(channels)
    return torch.einsum("kp,cd,ck->dpck", block, colour, scales).reshape(4 * channels, 4 * channels).contiguous()


class SubPixel(nn.Conv2d):
    """Features at half the side to an image: a 3x3 convolution onto the coordinates of 2x2 blocks, which become pixels."""

    coordinates: Tensor

    def __init__(self, features: int, channels: int) -> None:
        """Args: features: channels that come in; channels: of the image, 1 or 3."""
        super().__init__(features, 4 * channels, 3, padding=1)
        self.register_buffer("coordinates", picture_coordinates(channels))  # saved: without them the weights mean nothing

    def forward(self, input: Tensor) -> Tensor:
        """[batch, features, height, width] to [batch, channels, 2 height, 2 width]."""
        # The coordinates change the few weights, not the many pixels.
        weight = (self.coordinates @ self.weight.flatten(1)).view_as(self.weight)
        bias = None if self.bias is None else self.coordinates @ self.bias
        weight = weight.contiguous(memory_format=torch.channels_last)
        return F.pixel_shuffle(F.conv2d(input, weight, bias, padding=1), 2)
