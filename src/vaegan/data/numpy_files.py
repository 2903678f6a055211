"""Images in NumPy's .npy and .npz files: headers checked before memory is taken, never a pickle."""

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vaegan.data.arrays import ArrayPart, ArraySource, check_image_shape
from vaegan.errors import DataError

MOST_HEADER_BYTES = 2**16


@dataclass(frozen=True)
class Header:
    """What stands before the numbers of a .npy."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[np.generic]
    length: int
    """Bytes before the first number."""

    @property
    def claimed(self) -> int:
        """What the file must hold [bytes]."""
        return self.length + math.prod(self.shape) * self.dtype.itemsize


def numpy_file(path: Path) -> ArraySource | None:
    """The images of a .npy or .npz file; None when the name ends in neither.

    A .npz holds them under "images" or as its only uint8 array of 3 or 4 axes; "labels", one whole number an image,
    become the label `class`.

    Raises:
        DataError: the file is damaged, or holds no uint8 images.
    """
    if path.suffix.lower() not in (".npy", ".npz"):
        return None
    try:
        part = _npy_part(path) if path.suffix.lower() == ".npy" else _npz_part(path)
    except DataError:
        raise
    except Exception as error:  # NumPy evaluates the header as Python, and a damaged one raises nearly anything
        raise DataError(f"{path} is damaged ({error}): save it again with numpy.save or numpy.savez.") from None
    return ArraySource(str(path), (path,), (part,), mirrored=True)


def _npy_part(path: Path) -> ArrayPart:
    with path.open("rb") as file:
        header = read_header(file)
    _check_header(path, header, path.stat().st_size)
    return ArrayPart(path.name, path, _opener(lambda: path.open("rb"), header.length), header.shape)


def _npz_part(path: Path) -> ArrayPart:
    with zipfile.ZipFile(path) as file:
        headers: dict[str, Header] = {}
        for info in file.infolist():
            if info.filename.endswith(".npy"):
                with file.open(info) as member:
                    headers[info.filename.removesuffix(".npy")] = read_header(member)
        name = _images_key(path, headers)
        _check_header(path, headers[name], file.getinfo(f"{name}.npy").file_size)
        classes = _read_labels(path, file, headers, headers[name].shape[0])

    def open_member() -> IO[bytes]:
        with zipfile.ZipFile(path) as file:
            # The member keeps the archive's file open until it is closed itself.
            return file.open(f"{name}.npy")

    header = headers[name]
    return ArrayPart(f"{path.name}:{name}", path, _opener(open_member, header.length), header.shape, classes)


def _images_key(path: Path, headers: dict[str, Header]) -> str:
    if "images" in headers:
        return "images"
    fitting = [name for name, header in headers.items() if header.dtype == np.uint8 and len(header.shape) in (3, 4)]
    if len(fitting) != 1:
        held = ", ".join(headers) or "nothing"
        raise DataError(f'{path} holds no array named "images" and not exactly one of uint8 with 3 or 4 axes, but {held}.')
    return fitting[0]


def _read_labels(path: Path, file: zipfile.ZipFile, headers: dict[str, Header], count: int) -> NDArray[np.int64] | None:
    header = headers.get("labels")
    if header is None:
        return None
    if header.shape != (count,) or header.dtype.kind not in "iu":
        raise DataError(f'{path}: "labels" must be {count} whole numbers, one an image, not {header.dtype} {header.shape}.')
    with file.open("labels.npy") as member:
        data = member.read(header.claimed)
    return np.frombuffer(data, header.dtype, offset=header.length).astype(np.int64)


def read_header(packed: IO[bytes]) -> Header:
    """The header of a .npy, of which at most `MOST_HEADER_BYTES` are read: its own length may claim gigabytes."""
    file = BytesIO(packed.read(MOST_HEADER_BYTES))
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"its format version {version} is not known")
    return Header(shape, fortran_order, dtype, file.tell())


def _check_header(path: Path, header: Header, size: int) -> None:
    if header.dtype != np.uint8:
        raise DataError(f"{path} holds {header.dtype}, not uint8: scale the images to 0..255 and save them as uint8.")
    if header.claimed > size:
        raise DataError(f"{path} is damaged (its header claims more than the file holds): save it again.")
    check_image_shape(path, header.shape)
    if header.fortran_order:
        raise DataError(f"{path} is stored column by column: save numpy.ascontiguousarray(images) instead.")


def _opener(open_file: Callable[[], IO[bytes]], length: int) -> Callable[[], IO[bytes]]:
    def open_pixels() -> IO[bytes]:
        file = open_file()
        file.read(length)
        return file

    return open_pixels
