"""Arrays of images in files, streamed in blocks, so that memory never depends on what a header claims."""

import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaegan.config import DataConfig
from vaegan.data.building import check_most_images
from vaegan.data.decoding import MAX_PIXELS, Prepared, Skipped, content_hash
from vaegan.data.pixels import own_side, prepare
from vaegan.data.source import Labels, Task, digest, file_stamp
from vaegan.errors import DataError

_BLOCK_BYTES = 8 * 2**20
_BLOCK_IMAGES = 512
READING_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, ValueError)
"""What reading a damaged file raises, packed or not."""


@dataclass(frozen=True)
class ArrayPart:
    """One array of images in one file."""

    name: str
    path: Path
    open: Callable[[], IO[bytes]]
    """Opens the file at the first pixel."""
    shape: tuple[int, ...]
    """[count, height, width] or [count, height, width, channels]."""
    classes: NDArray[np.int64] | None = None
    test: bool | None = None
    """Whether the data set itself says that this is its test side; None where it does not say."""


@dataclass(frozen=True)
class ArraySource:
    """Arrays of images, one after the other."""

    place: str
    files: tuple[Path, ...]
    parts: tuple[ArrayPart, ...]
    mirrored: bool

    def identity(self) -> bytes:
        """Where the files are, their sizes and when they were written."""
        return digest(*(file_stamp(path) for path in self.files)).encode()

    def count(self) -> int:
        """Images in all arrays [images]."""
        return sum(part.shape[0] for part in self.parts)

    @contextmanager
    def tasks(self, config: DataConfig) -> Generator[Iterator[Task]]:
        """Streams blocks in order; memory never depends on what a header claims."""
        yield (partial(_prepare_block, part, start, block, config) for part in self.parts for start, block in _blocks(part))

    def labels(self, names: list[str]) -> Labels:
        """The numbers that came with the images, as the category `class`."""
        known = [part.classes for part in self.parts if part.classes is not None]
        if len(known) < len(self.parts):
            return Labels()
        found, codes = np.unique(np.concatenate(known), return_inverse=True)
        words = tuple(str(number) for number in found)
        return Labels({"class": codes.astype(np.float32)}, {"class": words})


def _blocks(part: ArrayPart) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    image_bytes = math.prod(part.shape[1:])
    at_a_time = max(1, min(_BLOCK_IMAGES, _BLOCK_BYTES // image_bytes))
    try:
        with part.open() as stream:
            for start in range(0, part.shape[0], at_a_time):
                count = min(at_a_time, part.shape[0] - start)
                data = stream.read(count * image_bytes)
                if len(data) < count * image_bytes:
                    raise EOFError("it ends before the last image")
                yield start, np.frombuffer(data, np.uint8).reshape(count, *part.shape[1:])
    except READING_ERRORS as error:
        raise DataError(f"{part.path} is damaged ({error}): download or save it again.") from None


def _prepare_block(part: ArrayPart, start: int, block: NDArray[np.uint8], config: DataConfig) -> list[Prepared | Skipped]:
    if block.ndim == 4 and block.shape[3] == 1:
        block = block[..., 0]
    prepared: list[Prepared | Skipped] = []
    side = own_side(part.shape[2], part.shape[1], config)
    for index, image in enumerate(block, start):
        # Grey images of the right size are what training sees already; MNIST has 70,000 of them.
        ready = image.shape == (config.size, config.size)
        pixels, traits = (image, ()) if ready else prepare(Image.fromarray(image), config)
        hashed = content_hash(image.tobytes())
        prepared.append(Prepared(f"{part.name}[{index}]", hashed, pixels, side, traits, part.test))
    return prepared


def check_image_shape(path: Path, shape: tuple[int, ...]) -> None:
    """Refuses array shapes that are not images, before anything of that size is read.

    Raises:
        DataError: the shape is empty, has too many images, channels or pixels, or has its channels first.
    """
    shown = " x ".join(map(str, shape))
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise DataError(
            f"{path} holds an array of {shown}: needed is [count, height, width] or [count, height, width, channels]."
        )
    if len(shape) == 4 and shape[3] not in (1, 3, 4):
        first = shape[1] in (1, 3, 4)
        remedy = "move the channels to the end" if first else "1, 3 or 4 channels are needed"
        raise DataError(f"{path} holds an array of {shown}, whose last axis is not channels: {remedy}.")
    check_most_images(str(path), shape[0])
    if shape[1] * shape[2] > MAX_PIXELS:
        raise DataError(
            f"{path} holds images of {shape[1]} x {shape[2]} pixels, over {MAX_PIXELS // 10**6} million: shrink them."
        )
