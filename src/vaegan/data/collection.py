"""Images that a person names one by one: prepared like the training images, or refused with the reason."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaegan.config import DataConfig
from vaegan.data.building import TRAIN
from vaegan.data.dataset import ImageDataset, open_dataset
from vaegan.data.decoding import Skipped, content_keys, decode, quiet_pillow
from vaegan.data.pixels import binarized, to_tensor
from vaegan.data.source import read_bounded
from vaegan.errors import DataError, RequestError
from vaegan.types import ProgressCallback

_MOST_FILES = 10_000


def open_images(places: Sequence[str | Path], config: DataConfig, progress: ProgressCallback | None = None) -> ImageDataset:
    """One folder, archive, array file or the word faces; or some image files. A single image is enough.

    `config.channels` must be 1 or 3.

    Raises:
        DataError: a file is missing or cannot be used, or no image is found.
        RequestError: nothing was given, or files and folders were mixed.
    """
    if not places:
        raise RequestError("Which images? Give image files, or one folder.")
    if len(places) == 1 and not _is_image_file(Path(places[0])):
        return open_dataset(places[0], config, progress=progress, for_training=False)
    if len(places) > _MOST_FILES:
        raise RequestError(f"{len(places):,} files are too many to name one by one; give the folder that they lie in.")
    folders = [place for place in places if Path(place).is_dir()]
    if folders:
        raise RequestError(f"{folders[0]} is a folder: give image files, or one folder alone.")
    pixels, contents = _read_images([Path(place) for place in places], config)
    return ImageDataset(
        images=pixels,
        sides=np.full(len(pixels), TRAIN, np.uint8),
        contents=contents,
        names=[str(place) for place in places],
        source=", ".join(map(str, places[:3])),
        config=config,
    )


def _is_image_file(path: Path) -> bool:
    return not path.is_dir() and path.suffix.lower() in Image.registered_extensions()


def load_images(paths: Sequence[Path], config: DataConfig) -> Tensor:
    """Image files as float32 [n, channel, size, size] in [-1, 1].

    `config.channels` must be 1 or 3. With `binarize="dynamic"` each image is drawn once and for all, keyed by the file's
    content, as in a data set that holds the file.

    Raises:
        DataError: naming the first file that cannot be used, and why.
    """
    return _to_tensor(*_read_images(paths, config), config)


def image_from_bytes(name: str, data: bytes, config: DataConfig) -> Tensor:
    """One image file's bytes as float32 [1, channel, size, size] in [-1, 1], prepared as `load_images` does.

    Raises:
        DataError: saying why `name` cannot be used.
    """
    with quiet_pillow():
        pixels, content = _prepared(name, data, config)
    return _to_tensor(np.stack([pixels]), content_keys([content]), config)  # Pillow's own memory cannot be written


def _read_images(paths: Sequence[Path], config: DataConfig) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Image files as uint8 [n, size, size, channel], not yet binarised, and a hash of each file's content, uint64 [n]."""
    with quiet_pillow():
        prepared = [_prepared(str(path), _content(path), config) for path in paths]
    return np.stack([pixels for pixels, _ in prepared]), content_keys([content for _, content in prepared])


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file() and not path.is_dir():  # reading a pipe may wait for ever
        raise DataError(f"{path} cannot be used: not a regular file.")
    try:
        with path.open("rb") as file:
            return read_bounded(file)
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder: give its images one by one, as {path}/*.png.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error


def _prepared(name: str, data: bytes, config: DataConfig) -> tuple[NDArray[np.uint8], bytes]:
    result = decode(name, data, config)
    if isinstance(result, Skipped):
        raise DataError(f"{name} cannot be used: {result.reason}.")
    grey = result.pixels.ndim == 2
    pixels = np.repeat(result.pixels[..., None], int(config.channels), 2) if grey else result.pixels
    return pixels, result.content


def _to_tensor(pixels: NDArray[np.uint8], contents: NDArray[np.uint64], config: DataConfig) -> Tensor:
    return to_tensor(binarized(pixels, contents) if config.binarize == "dynamic" else pixels)
