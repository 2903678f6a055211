"""The last layer of a decoder (sub-pixel convolution, Shi et al. 2016) in the coordinates of pictures.

Adam moves every weight about equally far, whatever it is for. Suppose a convolution made the four pixels of a 2x2 block directly.
It would make grain as strong in the finest colours as in brightness, though pictures have twenty to eighty times less in colours.
It would also make regular grids, which pictures hardly have, as easily as edges. Samples of a GAN were full of both, and
averaging the weights against them made long runs soft.

Here the means of blocks are interpolated. Slopes and checkers are added, less most of their mean around, for brightness and
colours apart. So a step changes each of these in proportion to what pictures have of it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaegan.transparency import TRANSPARENT
from vaegan.types import Images

DETAILS = ((1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))
"""Slope across, slope down, and checker of a 2x2 block, read row by row."""
COLOURS = ((1, 1, 1), (1, -1, 0), (1, 1, -2))
"""Brightness and two differences."""
SCALES = ((1, 0.25, 0.25, 0.12), (0.35, 0.02, 0.02, 0.01), (0.35, 0.02, 0.02, 0.01))
"""Factors of each colour's mean, slopes and checker. Deviations measured on anime faces, landscapes and drawn faces, with
brightness's mean as 1 and means interpolated: slopes 0.06-0.23, checker 0.04-0.12, colours 0.2-0.5. In colours slopes have
0.004-0.036 and checkers 0.003-0.02."""
REACH = 5
"""Side of the window, in blocks, whose mean details lose. Means over 3 blocks a side have 0.2-0.3 of their deviation in pictures,
less than of white noise (0.33); in a GAN's grid 0.4-0.65."""
KEPT = 0.25
"""Share of that mean that is kept, so that an image with a regular grid can still be learned, four times as slowly."""


def picture_kernel(channels: int) -> Tensor:
    """The convolution from coordinates to pixels, [4 channels, 4 channels, REACH, REACH], in `nn.PixelShuffle`'s order.

    One channel is brightness alone; a fourth one, opacity, is as brightness is.
    """
    colours, scales = (torch.tensor(rows, dtype=torch.float32) for rows in (COLOURS, SCALES))
    if channels == 1:
        colours, scales = torch.ones(1, 1), scales[:1]
    colours = colours / colours.norm(dim=1, keepdim=True) * math.sqrt(colours.shape[1])
    if channels == TRANSPARENT:
        colours, scales = torch.block_diag(colours, torch.ones(1, 1)), torch.cat([scales, scales[:1]])
    # Half of a pixel's side is a quarter of a block's: pixels lie there beside the centre of their block.
    side = torch.zeros(2, REACH)
    side[0, REACH // 2 - 1 : REACH // 2 + 1] = torch.tensor((0.25, 0.75))
    side[1] = side[0].flip(0)
    means = torch.einsum("ai,bj->abij", side, side).reshape(4, 1, REACH, REACH)
    alone = torch.full((REACH, REACH), (KEPT - 1) / REACH**2)
    alone[REACH // 2, REACH // 2] += 1
    details = torch.einsum("kp,ij->pkij", torch.tensor(DETAILS, dtype=torch.float32), alone)
    kernel = torch.einsum("pkij,cd,ck->dpckij", torch.cat([means, details], dim=1), colours, scales)
    return kernel.reshape(4 * channels, 4 * channels, REACH, REACH).contiguous(memory_format=torch.channels_last)


class SubPixel(nn.Module):
    """Coordinates of 2x2 blocks to the pixels of an image; nothing in it is learned."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        with torch.device("cpu"):  # on "meta", which models are read into, torch would load its compiler: a second
            kernel = picture_kernel(channels)
        self.register_buffer("kernel", kernel)  # saved: without it a model's weights mean nothing

    def forward(self, blocks: Tensor) -> Images:
        """[batch, 4 channels, height, width] to [batch, channels, 2 height, 2 width]; borders are repeated outwards."""
        return F.pixel_shuffle(F.conv2d(F.pad(blocks, [REACH // 2] * 4, mode="replicate"), self.kernel), 2)
