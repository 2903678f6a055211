"""Transparent images: four channels, whose colours are multiplied by the opacity that comes last (Porter & Duff 1984).

So what nothing shows of has one value, not any, and averages of pixels are averages of what is seen.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

TRANSPARENT = 4  # channels of such images
COLOURS = {1: "grey", 3: "colour", TRANSPARENT: "transparent colour"}
"""What images of so many channels are called."""
_CHECKERS = (200, 240)  # grey values of the board behind transparent pictures
_SQUARE = 8  # side of a square of that board [pixels]


def over_grey(images: Tensor) -> Tensor:
    """[batch, channel, height, width] in [-1, 1]: transparent images as they look on middle grey, others as they are."""
    if images.shape[1] != TRANSPARENT:
        return images
    colours, opacity = (images[:, :3] + 1) / 2, (images[:, 3:] + 1) / 2
    return 2 * colours - opacity  # 2 (c + (1 - a) / 2) - 1


def multiplied(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA [..., 4], as files hold it, with its colours multiplied by their opacity."""
    opacity = pixels[..., 3:].astype(np.uint16)
    return np.concatenate([((pixels[..., :3] * opacity + 127) // 255).astype(np.uint8), pixels[..., 3:]], -1)


def divided(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA [..., 4] as files hold it; undoes `multiplied` but for rounding. What is not seen at all is black."""
    opacity = pixels[..., 3:].astype(np.uint32)
    colours = (pixels[..., :3] * np.uint32(255) + opacity // 2) // opacity.clip(1)
    return np.concatenate([colours.clip(0, 255).astype(np.uint8), pixels[..., 3:]], -1)


def over_checkers(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures [..., height, width, channels] as a person is shown them: transparent ones on a grey checkered board, RGB."""
    if pixels.shape[-1] != TRANSPARENT:
        return pixels
    rows, columns = np.indices(pixels.shape[-3:-1]) // _SQUARE
    board = np.where((rows + columns) % 2, *_CHECKERS)[..., None]
    shown = pixels[..., :3] + (board * (255 - pixels[..., 3:].astype(np.int32)) + 127) // 255
    return shown.clip(0, 255).astype(np.uint8)
