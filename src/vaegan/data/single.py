"""Single image files that a person names: prepared like the training images, or refused with the reason."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaegan.config import DataConfig
from vaegan.data.decoding import Skipped, decode, quiet_pillow
from vaegan.data.image_files import read_bounded
from vaegan.data.tensors import to_tensor
from vaegan.errors import DataError


def load_images(paths: Sequence[Path], config: DataConfig) -> Tensor:
    """Image files as float32 [n, channel, size, size] in [-1, 1].

    Args:
        paths: of the files.
        config: how they are prepared; `channels` must be 1 or 3.

    Raises:
        DataError: naming the first file that cannot be used, and why.
    """
    pixels: list[NDArray[np.uint8]] = []
    with quiet_pillow():
        for path in paths:
            try:
                with path.open("rb") as file:
                    data = read_bounded(file)
            except IsADirectoryError as error:
                raise DataError(f"{path} is a folder: give its images one by one, as {path}/*.png.") from error
            except OSError as error:
                raise DataError(f"Cannot read {path}: {error.strerror}.") from error
            pixels.append(_prepared(str(path), data, config))
    return to_tensor(np.stack(pixels))


def image_from_bytes(name: str, data: bytes, config: DataConfig) -> Tensor:
    """One image file's bytes as float32 [1, channel, size, size] in [-1, 1], under the guards of training data.

    Args:
        name: what to call it in an error.
        data: the file's content; over `decoding.MAX_FILE_BYTES` it is refused.
        config: how it is prepared; `channels` must be 1 or 3.

    Raises:
        DataError: saying why it cannot be used.
    """
    with quiet_pillow():
        return to_tensor(_prepared(name, data, config)[None])


def _prepared(name: str, data: bytes, config: DataConfig) -> NDArray[np.uint8]:
    result = decode(name, data, config)
    if isinstance(result, Skipped):
        raise DataError(f"{name} cannot be used: {result.reason}.")
    grey = result.pixels.ndim == 2
    return np.repeat(result.pixels[..., None], int(config.channels), 2) if grey else result.pixels
