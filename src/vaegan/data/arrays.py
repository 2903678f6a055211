"""Arrays of images in files: NumPy's .npy and .npz, and MNIST's IDX. Headers are checked before memory is taken."""

import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaegan.config import DataConfig
from vaegan.data.archives import open_unpacked
from vaegan.data.building import check_most_images
from vaegan.data.decoding import MAX_PIXELS, Prepared, Skipped, content_hash
from vaegan.data.layout import SIDE_WORDS, TEST, LabelTable
from vaegan.data.levels import NOT_FINITE, kind_of, range_of, scaled, used
from vaegan.data.pixels import prepare
from vaegan.data.source import Result, Source, Task, digest, file_stamp
from vaegan.errors import DataError
from vaegan.shapes import Shape

MOST_HEADER_BYTES = 2**16
_MOST_LABELS = 256  # columns of labels
_KINDS = {"images": {"x", "image", "images", "data"}, "labels": {"y", "label", "labels", "target", "targets"}}
_BLOCK_BYTES = 8 * 2**20
_BLOCK_IMAGES = 512
_DEFLATE_MOST = 1032  # nothing unpacks to more than this many times its size (bzip2 is not used for IDX)
_BYTE, _MOST_NUMBER_BYTES = np.dtype(np.uint8), 8
_IDX_IMAGES = re.compile(r"images?[-.]idx[34][-.]ubyte(\.gz)?$")
# What reading a damaged file raises, packed or not.
_READING_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, ValueError)


@dataclass(frozen=True)
class ArrayPart:
    """One array of images in one file."""

    name: str
    path: Path
    open: Callable[[], IO[bytes]]
    header_bytes: int  # bytes that `open` leaves before the first pixel
    shape: tuple[int, ...]  # [count, height, width] or [count, height, width, channels]
    classes: NDArray[np.int64] | None = None  # [count], or [count, labels]
    side: int | None = None  # validation or test where the data set itself says so
    numbers: np.dtype[np.generic] = _BYTE


def _array_source(place: Path, files: Sequence[Path], parts: Sequence[ArrayPart], *, mirrored: bool) -> Source:

    def tasks(config: DataConfig) -> Iterator[Task]:
        # Blocks are streamed, so that memory never depends on what a header claims.
        return (partial(_prepare_block, part, start, block, config) for part in parts for start, block in _blocks(part))

    def labels(positions: Sequence[int]) -> LabelTable:
        known = [part.classes for part in parts if part.classes is not None]
        if len(known) < len(parts) or len({classes.shape[1:] for classes in known}) > 1:
            return LabelTable()
        together, table = np.concatenate(known)[positions], LabelTable()
        for number, column in enumerate(together.reshape(len(together), -1).T, 1):
            name = "class" if together.ndim == 1 else f"label-{number}"
            found, codes = np.unique(column, return_inverse=True)
            truths = together.ndim == 2 and found.tolist() == [0, 1]
            table.values[name] = codes.astype(np.float32)
            table.words[name] = ("no", "yes") if truths else tuple(map(str, found))
        return table

    identity = digest(*map(file_stamp, files)).encode()
    return Source("ArraySource", str(place), identity, lambda: sum(part.shape[0] for part in parts), tasks, labels, mirrored)


def _blocks(part: ArrayPart) -> Iterator[tuple[int, NDArray[np.generic]]]:
    image_bytes = math.prod(part.shape[1:]) * part.numbers.itemsize
    at_a_time = max(1, min(_BLOCK_IMAGES, _BLOCK_BYTES // image_bytes))
    try:
        with part.open() as stream:
            stream.read(part.header_bytes)
            for start in range(0, part.shape[0], at_a_time):
                count = min(at_a_time, part.shape[0] - start)
                data = stream.read(count * image_bytes)
                if len(data) < count * image_bytes:
                    raise EOFError("it ends before the last image")
                yield start, np.frombuffer(data, part.numbers).reshape(count, *part.shape[1:])
    except _READING_ERRORS as error:
        raise DataError(f"{part.path} is damaged ({error}): download or save it again.") from None


def _prepare_block(part: ArrayPart, start: int, block: NDArray[np.generic], config: DataConfig) -> list[Result]:
    if block.ndim == 4 and block.shape[3] == 1:
        block = block[..., 0]
    kind, names = kind_of(block.dtype), [f"{part.name}[{index}]" for index in range(start, start + len(block))]
    if kind == "8-bit":
        block = block.astype(np.uint8, copy=False)  # truth values
    finite = np.isfinite(block).all(axis=tuple(range(1, block.ndim))) if kind == "float" else np.ones(len(block), bool)
    results: list[Result] = [Skipped(name, NOT_FINITE) for name in names]
    block = block if finite.all() else block[finite]
    if not len(block):
        return results
    shown, found, black_to_white = block, used(block, kind, len(block)), range_of(config.levels, kind)
    as_files = kind == "8-bit" and block.ndim == 4  # whose colours alone are scaled, and not their transparency
    if not as_files and (kind != "8-bit" or black_to_white != (0, 255)):
        shown = scaled(block, black_to_white)
    settings = config if as_files else replace(config, levels="")
    for at, image, pixels in zip(np.flatnonzero(finite), block, shown, strict=True):
        ready, traits, coloured = pixels, (), found
        # Grey images of the right size are what training sees already; MNIST has 70,000 of them.
        if pixels.shape != config.shape or config.channels == "4":
            ready, traits, coloured = prepare(Image.fromarray(pixels), settings)
        key, shape, numbers = content_hash(image.tobytes()), Shape(*image.shape[:2]), coloured if as_files else found
        results[at] = Prepared(names[at], key, ready, traits, side=part.side, shape=shape, used=numbers)
    return results


def _check_image_shape(path: Path, shape: tuple[int, ...]) -> None:
    """Refuses array shapes that are not images, before anything of that size is read."""
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


@dataclass(frozen=True)
class Header:
    """What stands before the numbers of a .npy."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[np.generic]
    length: int  # bytes before the first number

    @property
    def claimed(self) -> int:
        """What the file must hold [bytes]."""
        return self.length + math.prod(self.shape) * self.dtype.itemsize


def read_header(packed: IO[bytes]) -> Header:
    """Reads the header of a .npy, but at most `MOST_HEADER_BYTES`: its own length may claim gigabytes."""
    file = BytesIO(packed.read(MOST_HEADER_BYTES))
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its format version {version} is not known")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return Header(*read(file), file.tell())


def numpy_file(path: Path) -> Source | None:
    """The images of a .npy or .npz file; None when the name ends in neither.

    A .npz holds them under "images", or for each side as Keras (x_train, x_test) and MedMNIST (train_images, val_images) do, or
    as its only array of numbers with 3 or 4 axes. Their labels, whole numbers, become the label `class`, or several.
    """
    if path.suffix.lower() not in (".npy", ".npz"):
        return None
    try:
        if path.suffix.lower() == ".npz":
            parts = _npz_parts(path)
        else:
            with path.open("rb") as file:
                header = read_header(file)
            _check_header(path, header, path.stat().st_size)
            opened = partial(path.open, "rb")
            parts = [ArrayPart(path.name, path, opened, header.length, header.shape, numbers=header.dtype)]
    except DataError:
        raise
    except Exception as error:  # NumPy evaluates the header as Python, and a damaged one raises nearly anything
        raise DataError(f"{path} is damaged ({error}): save it again with numpy.save or numpy.savez.") from None
    return _array_source(path, (path,), parts, mirrored=True)


def _npz_parts(path: Path) -> list[ArrayPart]:
    """The arrays of images in a .npz: one, or one for each side with training first."""
    with zipfile.ZipFile(path) as file:
        headers: dict[str, Header] = {}
        for info in file.infolist():
            if info.filename.endswith(".npy"):
                with file.open(info) as member:
                    headers[info.filename.removesuffix(".npy")] = read_header(member)
        roles = {_role(name): name for name in reversed(headers)}
        images = {side: name for (side, kind), name in roles.items() if kind == "images" and side is not None}
        chosen = dict(sorted(images.items())) if images else {None: _images_key(path, headers)}
        parts: list[ArrayPart] = []
        for side, name in chosen.items():
            header = headers[name]
            _check_header(path, header, file.getinfo(f"{name}.npy").file_size)
            beside = roles.get((side, "labels"))
            classes = None if beside is None else _npz_labels(path, file, beside, headers[beside], header.shape[0])
            opened = partial(_open_member, path, name)
            held_out = side or None if len(chosen) > 1 else None
            labelled = f"{path.name}:{name}", path, opened, header.length, header.shape, classes, held_out
            parts.append(ArrayPart(*labelled, numbers=header.dtype))
    return parts


def _role(name: str) -> tuple[int | None, str | None]:
    """What an array is by its name: whose side, and images or labels."""
    words = re.split(r"[_\-. ]", name.casefold())
    side = next((SIDE_WORDS[word] for word in words if word in SIDE_WORDS), None)
    kind = next((kind for kind, known in _KINDS.items() if not known.isdisjoint(words)), None)
    return side, kind


def _open_member(path: Path, name: str) -> IO[bytes]:
    with zipfile.ZipFile(path) as file:
        # The member keeps the archive's file open until it is closed itself.
        return file.open(f"{name}.npy")


def _npz_labels(path: Path, file: zipfile.ZipFile, name: str, labels: Header, count: int) -> NDArray[np.int64]:
    """Whole numbers, [count] or [count, labels]; a single column counts as none."""
    columns = labels.shape[1] if len(labels.shape) == 2 else 1
    if labels.shape not in ((count,), (count, columns)) or labels.dtype.kind not in "iub" or not 1 <= columns <= _MOST_LABELS:
        held = f"{labels.dtype} {labels.shape}"
        raise DataError(f'{path}: "{name}" must be {count} whole numbers, one an image, not {held}.')
    with file.open(f"{name}.npy") as member:
        data = member.read(labels.claimed)
    order = "F" if labels.fortran_order else "C"
    values = np.frombuffer(data, labels.dtype, offset=labels.length).reshape(labels.shape, order=order).astype(np.int64)
    return values[:, 0] if values.ndim == 2 and columns == 1 else values


def _images_key(path: Path, headers: dict[str, Header]) -> str:
    if "images" in headers:
        return "images"
    fitting = [name for name, header in headers.items() if header.dtype.kind in "buif" and len(header.shape) in (3, 4)]
    if len(fitting) != 1:
        held = ", ".join(headers) or "nothing"
        raise DataError(
            f"{path} holds {held}: name the array of images images, or those of the sides x_train, x_test or "
            "train_images, test_images."
        )
    return fitting[0]


def _check_header(path: Path, header: Header, size: int) -> None:
    if header.dtype.kind not in "buif" or header.dtype.itemsize > _MOST_NUMBER_BYTES:
        raise DataError(
            f"{path} holds {header.dtype}, not numbers of up to 64 bits: save the images as uint8, uint16 or float32."
        )
    if header.claimed > size:
        raise DataError(f"{path} is damaged (its header claims more than the file holds): save it again.")
    _check_image_shape(path, header.shape)
    if header.fortran_order:
        raise DataError(f"{path} is stored column by column: save numpy.ascontiguousarray(images) instead.")


def idx_folder(root: Path, paths: Sequence[Path]) -> Source | None:
    """The IDX data among a folder's files; None when there are none.

    A pair train and t10k (or test) keeps its own division: t10k is exactly the test side.
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
    return _idx_source(root, [(path, TEST if divided and path in tests else None) for path in (*rest, *tests)])


def idx_file(path: Path) -> Source | None:
    """The images of one IDX file, packed by gzip or not; None when it is another kind of file."""
    try:
        with open_unpacked(path) as file:
            start = file.read(4)
    except _READING_ERRORS:
        return None
    if len(start) < 4 or start[:3] != b"\0\0\x08" or start[3] not in (3, 4):
        return None
    return _idx_source(path, [(path, None)])


def _idx_source(place: Path, images: list[tuple[Path, int | None]]) -> Source:
    """The IDX files of images, each with the side that it is, and the labels beside them."""
    files: list[Path] = []
    parts: list[ArrayPart] = []
    for path, side in images:
        shape = _idx_shape(path)
        if len(shape) not in (3, 4):
            raise DataError(f"{path} does not hold images: its IDX header says {len(shape)} dimensions, not 3 or 4.")
        _check_image_shape(path, shape)
        labels = _labels_beside(path)
        classes = None if labels is None else _idx_labels(labels, shape[0])
        name = path.name.removesuffix(".gz")
        parts.append(ArrayPart(name, path, partial(open_unpacked, path), 4 + 4 * len(shape), shape, classes, side))
        files += [path] if labels is None else [path, labels]
    return _array_source(place, files, parts, mirrored=False)


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
    except _READING_ERRORS as error:
        raise DataError(f"{path} is damaged ({error}): download it again.") from None
    claimed = 4 + 4 * start[3] + math.prod(shape)
    size = path.stat().st_size
    if claimed > (size * _DEFLATE_MOST if packed else size):
        shown = " x ".join(map(str, shape))
        raise DataError(f"{path} is damaged (its header claims {shown}, more than the file holds): download it again.")
    return shape
