"""Images that a Python program hands over, as arrays or tensors: checked, and made what a model takes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaegan.data.pixels import to_tensor
from vaegan.errors import RequestError
from vaegan.shapes import Shape
from vaegan.types import Images

_SLACK = 0.01  # over 1, for rounding
_WANTED = "this model wants numbers in [-1, 1], or a NumPy array of uint8 [n, h, w, c]"


def given_images(images: Any, channels: int, shape: Shape) -> Images:
    """Images for a model of so many channels and such a shape, as float [n, channels, height, width] in [-1, 1].

    A float tensor is returned as it is, and a NumPy array converted: uint8 [n, h, w, c] or [n, h, w], exactly; or floats in
    [-1, 1], [n, c, h, w], [n, h, w, c] or [n, h, w].

    Raises:
        RequestError: for anything else, for another shape, and for values that are not finite or outside [-1, 1].
    """
    found = _as_tensor(images, channels) if isinstance(images, np.ndarray) else images
    if not isinstance(found, Tensor):
        raise RequestError(f"A {type(images).__name__} is no batch of images; {_WANTED}. For files: vaegan.data.load_images.")
    if not found.is_floating_point():
        raise RequestError(f"Images of {images.dtype} do not fit; {_WANTED} (vaegan.data.to_tensor).")
    wanted = (channels, *shape)
    if found.ndim != 4 or tuple(found.shape[1:]) != wanted:
        raise RequestError(f"Images of shape {list(images.shape)} do not fit; this model wants [n, {str(list(wanted))[1:]}.")
    if found.numel():
        _check_range(*(float(end) for end in found.aminmax()))
    return found


def _as_tensor(images: Any, channels: int) -> Tensor:
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype == np.uint8 and images.ndim == 4:
        return to_tensor(images)
    if images.dtype.kind != "f":
        raise RequestError(f"Images of {images.dtype} {list(images.shape)} do not fit; {_WANTED}.")
    last = images.ndim == 4 and images.shape[3] == channels
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, 3, 1) if last else images, np.float32))


def _check_range(low: float, high: float) -> None:
    if low != low:
        raise RequestError("These images hold values that are not numbers (NaN); this model wants numbers in [-1, 1].")
    if max(-low, high) == float("inf"):
        raise RequestError("These images hold infinite values; this model wants numbers in [-1, 1].")
    if max(-low, high) > 1 + _SLACK:
        raise RequestError(
            f"These images hold values from {low:.4g} to {high:.4g}; this model wants -1 (black) to 1 (white). Pixels of 0 to "
            "255 become that by vaegan.data.to_tensor, or as a NumPy array of uint8."
        )
