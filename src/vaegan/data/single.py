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
            except OSError as error:
                raise DataError(f"Cannot read {path}: {error.strerror}.") from error
            result = decode(path.name, data, config)
            if isinstance(result, Skipped):
                raise DataError(f"{path} cannot be used: {result.reason}.")
            grey = result.pixels.ndim == 2
            pixels.append(np.repeat(result.pixels[..., None], int(config.channels), 2) if grey else result.pixels)
    return to_tensor(np.stack(pixels))
