"""The cache on disk: prepared images as one raw uint8 file that is mapped, never loaded; complete or absent."""

import errno
import json
import mmap
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from vaegan.caching import ABOUT, BUILDING, make_room, remove
from vaegan.data.decoding import Skipped
from vaegan.errors import VaeganError
from vaegan.files import being_written, clear_abandoned, write_atomically, write_json
from vaegan.shapes import Shape

CACHE_VERSION = 5  # raised whenever the same source would be prepared differently: every older cache then counts as another

_IMAGES, _TABLE, _RECORD = "images.bin", "table.npz", "record.json"


@dataclass(frozen=True, eq=False, kw_only=True)
class CachedImages:
    """What a finished cache holds."""

    images: NDArray[np.uint8]
    """uint8 memory map [count, height, width, channels]."""
    sides: NDArray[np.uint8]
    """uint8 [count]: TRAIN 0, VALIDATION 1, TEST 2, SET_ASIDE 3."""
    contents: NDArray[np.uint64]
    """uint64 [count]: a hash of each image's own bytes; equal for exact duplicates."""
    labels: dict[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])
    """{name: float32 [count]}; categories as codes."""
    label_words: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The words that a category's codes stand for."""
    names: Sequence[str]
    """Each image's path inside the source, or its file and position."""
    skipped: tuple[Skipped, ...] = ()
    """Every file left out, with the reason."""
    notes: tuple[str, ...] = ()
    """Sentences on what was done to the images."""
    warnings: tuple[str, ...] = ()
    """Sentences on what cannot be expected of these data."""
    levels: str = ""
    """The numbers that were taken as black and white, as `DataConfig.levels` takes them."""
    fingerprint: str = ""
    """Changes with the images' content, their sides and the preparation; not with names, places or order."""


def open_cached(directory: Path) -> CachedImages | None:
    """Maps a finished cache; None when there is none or it is damaged."""
    try:
        record = json.loads((directory / _RECORD).read_text(encoding="utf-8"))
        shape = tuple(record["shape"])
        arrays = read_table(directory)
        counts = {shape[0], len(arrays["sides"]), len(arrays["contents"]), len(record["names"])}
        if (directory / _IMAGES).stat().st_size != int(np.prod(shape)) or len(counts) > 1:
            return None
        return CachedImages(
            images=np.memmap(directory / _IMAGES, np.uint8, "r", shape=shape),
            sides=arrays["sides"],
            contents=arrays["contents"],
            labels={name.removeprefix("label "): arrays[name] for name in arrays if name.startswith("label ")},
            label_words={name: tuple(words) for name, words in record["label_words"].items()},
            names=record["names"],
            skipped=tuple(Skipped(**one) for one in record["skipped"]),
            notes=tuple(record["notes"]),
            warnings=tuple(record["warnings"]),
            levels=record["levels"],
            fingerprint=record["fingerprint"],
        )
    except Exception:  # a damaged record can raise nearly anything, as can NumPy on a damaged table
        return None


def read_table(directory: Path) -> dict[str, NDArray[Any]]:
    """The arrays that a finished cache has beside the pixels, by name; raises nearly anything where they are damaged."""
    with (directory / _TABLE).open("rb") as file, np.load(file) as table:
        return {name: table[name] for name in table.files}


def take(images: NDArray[np.uint8], indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The pixels at these positions; VaeganError if the mapped file was cut short, where reading on would kill the process."""
    mapped: Any = images.base
    if isinstance(mapped, mmap.mmap) and mapped.size() < images.nbytes:
        raise VaeganError("The prepared images were cut short while they were in use; start again, and they are made anew.")
    return np.take(np.asarray(images), indices, axis=0)  # without the map's subclass, whose indexing is slower


def caches_alike(directory: Path) -> list[Path]:
    """The caches of the same folder, prepared alike, the newest first: their names are alike up to the hyphen."""
    found: list[tuple[float, Path]] = []
    for path in directory.parent.glob(f"{directory.name.partition('-')[0]}-*"):
        with suppress(OSError):  # another process has just removed it
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


class CacheWriter:
    """Collects prepared images in a folder that nobody else sees, until `finish` has made it complete.

    The file starts grey, [height, width] an image, and is widened to RGB when the first coloured image comes.
    """

    def __init__(self, directory: Path, shape: Shape, channels: int) -> None:
        """Starts an empty file for images of this shape [pixels] with 1 channel, or with 3 or 4 from the beginning."""
        self.directory = directory
        self.count = 0
        self.channels = channels  # 1 while every image so far was grey
        self._shape = shape
        self._file: IO[bytes] = (directory / _IMAGES).open("wb")

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Appends one image, [height, width] or [height, width, 3 or 4]."""
        if pixels.ndim == 3 and self.channels == 1:
            self._widen()
        grey = pixels.ndim == 2 and self.channels == 3
        self._file.write((np.repeat(pixels[..., None], 3, axis=2) if grey else pixels).tobytes())
        self.count += 1

    def _widen(self) -> None:
        self._file.close()
        grey = self.directory / "grey.bin"
        os.replace(self.directory / _IMAGES, grey)
        self._file = (self.directory / _IMAGES).open("wb")
        self.channels = 3
        with grey.open("rb") as file:
            while block := file.read(self._shape.area * 256):
                self._file.write(np.repeat(np.frombuffer(block, np.uint8), 3).tobytes())
        grey.unlink()

    def finish(self, arrays: dict[str, Any], record: dict[str, Any], about: str) -> None:
        """Writes what belongs to the images: arrays by name, a record, a line about them; afterwards the folder is complete."""
        self.close()
        with (self.directory / _IMAGES).open("rb+") as file:
            os.fsync(file.fileno())
        (self.directory / ABOUT).write_text(f"{about}\n", "utf-8", errors="backslashreplace")
        write_atomically(self.directory / _TABLE, lambda file: np.savez(file, **arrays))
        shape = (self.count, *self._shape, self.channels)
        skipped = [asdict(one) for one in record["skipped"]]
        write_json(self.directory / _RECORD, {**record, "skipped": skipped, "shape": shape})

    def close(self) -> None:
        """Closes the file, complete or not."""
        self._file.close()


@contextmanager
def building(directory: Path, needed: int, anew: bool = False) -> Generator[Path]:
    """Yields a folder to build in, for which `needed` [bytes] must be free; it becomes `directory`, or nothing on failure.

    Two processes may build the same cache at once: the first to finish wins, and the other's work is thrown away. With `anew` a
    finished one is replaced. Other caches of the same folder, which has changed since, go when this one is finished.
    """
    parent = directory.parent
    # Unlike mkdtemp's, folders made under these names follow the user's umask, so that a cache can be shared.
    temporary, damaged = (parent / f"{BUILDING}{uuid4().hex}" for _ in range(2))
    try:
        parent.mkdir(parents=True, exist_ok=True)
        clear_abandoned(parent, f"{BUILDING}*")
        make_room(parent.parent, needed)
        if shutil.disk_usage(parent).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        temporary.mkdir()
        with being_written(temporary):
            yield temporary
        if directory.exists() and (anew or open_cached(directory) is None):
            os.replace(directory, damaged)  # out of the way first, because removing takes time and renaming does not
        try:
            os.rename(temporary, directory)
        except OSError:
            if open_cached(directory) is None:
                raise
        for path in caches_alike(directory):
            if path != directory:
                remove(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            said = error.strerror or str(error)
            text = f"The prepared images cannot be written to {parent} ({said}): set VAEGAN_CACHE to another folder."
            raise VaeganError(text) from error
        free = shutil.disk_usage(parent).free
        raise VaeganError(
            f"Not enough disk space for the prepared images: up to {needed / 1e6:,.0f} MB are needed in {parent}, "
            f"{free / 1e6:,.0f} MB are free: free some (vaegan cache), or set VAEGAN_CACHE to a folder on another disk."
        ) from error
    finally:
        for left in (temporary, damaged):
            shutil.rmtree(left, ignore_errors=True)
