"""MNIST's IDX form: headers checked against the file's size, labels beside the images, t10k as the test side."""

import math
import re
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vaegan.data.archives import open_unpacked
from vaegan.data.arrays import READING_ERRORS, ArrayPart, ArraySource, check_image_shape
from vaegan.errors import DataError

_DEFLATE_MOST = 1032  # nothing unpacks to more than this many times its size (bzip2 and xz are not used for IDX)
_IDX_IMAGES = re.compile(r"images?[-.]idx[34][-.]ubyte(\.gz)?$")


def idx_folder(root: Path, paths: list[Path]) -> ArraySource | None:
    """The IDX data among a folder's files; None when there are none.

    A pair train and t10k (or test) keeps its own division: t10k is exactly the test side.

    Raises:
        DataError: several data sets lie side by side, or a file is damaged.
    """
    stems = {str(path).removesuffix(".gz"): path for path in sorted(paths, reverse=True) if _IDX_IMAGES.search(path.name)}
    if not stems:
        return None
    found = sorted(stems.values())
    tests = [path for path in found if "t10k" in path.name or "test" in path.name]
    rest = [path for path in found if path not in tests]
    if len(tests) > 1 or len(rest) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{root} holds several IDX data sets ({names}): give the file of one of them.")
    divided = bool(tests and rest)
    read = [_read_idx(path, path in tests if divided else None) for path in (*rest, *tests)]
    files = tuple(file for _, files in read for file in files)
    return ArraySource(str(root), files, tuple(part for part, _ in read), mirrored=False)


def idx_file(path: Path) -> ArraySource | None:
    """The images of one IDX file, packed by gzip or not; None when it is another kind of file."""
    try:
        with open_unpacked(path) as file:
            start = file.read(4)
    except READING_ERRORS:
        return None
    if len(start) < 4 or start[:3] != b"\0\0\x08" or start[3] not in (3, 4):
        return None
    part, files = _read_idx(path, None)
    return ArraySource(str(path), files, (part,), mirrored=False)


def _read_idx(path: Path, test: bool | None) -> tuple[ArrayPart, tuple[Path, ...]]:
    shape = _idx_shape(path)
    if len(shape) not in (3, 4):
        raise DataError(f"{path} does not hold images: its IDX header says {len(shape)} dimensions, not 3 or 4.")
    check_image_shape(path, shape)

    def open_pixels() -> IO[bytes]:
        file = open_unpacked(path)
        file.read(4 + 4 * len(shape))
        return file

    name = path.name.removesuffix(".gz")
    labels = _labels_beside(path)
    if labels is None:
        return ArrayPart(name, path, open_pixels, shape, None, test), (path,)
    classes = _idx_labels(labels, shape[0])
    return ArrayPart(name, path, open_pixels, shape, classes, test), (path, labels)


def _labels_beside(path: Path) -> Path | None:
    name = re.sub(r"images?([-.])idx[34]", r"labels\1idx1", path.name).removesuffix(".gz")
    candidates = (path.with_name(name), path.with_name(name + ".gz"))
    return next((file for file in candidates if name != path.name.removesuffix(".gz") and file.is_file()), None)


def _idx_labels(path: Path, count: int) -> NDArray[np.int64]:
    shape = _idx_shape(path)
    if shape != (count,):
        raise DataError(f"{path} holds {shape[0]} labels, but there are {count} images: remove or replace it.")
    with open_unpacked(path) as file:
        data = file.read(8 + count)
    if len(data) < 8 + count:
        raise DataError(f"{path} is damaged (it ends before the last label): download it again.")
    return np.frombuffer(data, np.uint8, offset=8).astype(np.int64)


def _idx_shape(path: Path) -> tuple[int, ...]:
    """Reads an IDX header of unsigned bytes and checks it against the file's size."""
    try:
        with open_unpacked(path) as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08" or not 0 < start[3] < 5:
                raise DataError(f"{path} is not an IDX file of unsigned bytes: download it again.")
            shape = tuple(int(length) for length in np.frombuffer(file.read(4 * start[3]), ">u4"))
        with path.open("rb") as file:
            packed = file.read(2) != b"\0\0"
    except READING_ERRORS as error:
        raise DataError(f"{path} is damaged ({error}): download it again.") from None
    claimed = 4 + 4 * start[3] + math.prod(shape)
    size = path.stat().st_size
    if claimed > (size * _DEFLATE_MOST if packed else size):
        shown = " x ".join(map(str, shape))
        raise DataError(f"{path} is damaged (its header claims {shown}, more than the file holds): download it again.")
    return shape
