"""Single image files that a person names: prepared like the training images, or refused with the reason."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaegan.config import DataConfig
from vaegan.data.decoding import Skipped, content_keys, decode, quiet_pillow
from vaegan.data.image_files import read_bounded
from vaegan.data.tensors import binarized, to_tensor
from vaegan.errors import DataError


def load_images(paths: Sequence[Path], config: DataConfig) -> Tensor:
    """Image files as float32 [n, channel, size, size] in [-1, 1].

    Args:
        paths: of the files.
        config: how they are prepared; `channels` must be 1 or 3. With `binarize="dynamic"` each image is drawn once and for all,
            keyed by the file's content, as in a data set that holds the file.

    Raises:
        DataError: naming the first file that cannot be used, and why.
    """
    return _to_tensor(*read_images(paths, config), config)


def read_images(paths: Sequence[Path], config: DataConfig) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Image files as uint8 [n, size, size, channel], not yet binarised, and a hash of each file's content, uint64 [n].

    Args:
        paths: of the files.
        config: how they are prepared; `channels` must be 1 or 3.

    Raises:
        DataError: naming the first file that cannot be used, and why.
    """
    pixels: list[NDArray[np.uint8]] = []
    hashes: list[bytes] = []
    with quiet_pillow():
        for path in paths:
            if path.exists() and not path.is_file() and not path.is_dir():  # a pipe, of which reading may wait for ever
                raise DataError(f"{path} cannot be used: not a regular file.")
            try:
                with path.open("rb") as file:
                    data = read_bounded(file)
            except IsADirectoryError as error:
                raise DataError(f"{path} is a folder: give its images one by one, as {path}/*.png.") from error
            except OSError as error:
                raise DataError(f"Cannot read {path}: {error.strerror}.") from error
            prepared, content = _prepared(str(path), data, config)
            pixels.append(prepared)
            hashes.append(content)
    return np.stack(pixels), content_keys(hashes)


def image_from_bytes(name: str, data: bytes, config: DataConfig) -> Tensor:
    """One image file's bytes as float32 [1, channel, size, size] in [-1, 1], under the guards of training data.

    Args:
        name: what to call it in an error.
        data: the file's content; over `decoding.MAX_FILE_BYTES` it is refused.
        config: how it is prepared, as for `load_images`.

    Raises:
        DataError: saying why it cannot be used.
    """
    with quiet_pillow():
        pixels, content = _prepared(name, data, config)
    return _to_tensor(np.stack([pixels]), content_keys([content]), config)  # Pillow's own memory cannot be written


def _to_tensor(pixels: NDArray[np.uint8], contents: NDArray[np.uint64], config: DataConfig) -> Tensor:
    return to_tensor(binarized(pixels, contents) if config.binarize == "dynamic" else pixels)


def _prepared(name: str, data: bytes, config: DataConfig) -> tuple[NDArray[np.uint8], bytes]:
    result = decode(name, data, config)
    if isinstance(result, Skipped):
        raise DataError(f"{name} cannot be used: {result.reason}.")
    grey = result.pixels.ndim == 2
    pixels = np.repeat(result.pixels[..., None], int(config.channels), 2) if grey else result.pixels
    return pixels, result.content
