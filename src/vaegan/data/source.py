"""Sources of images: the contract between finding images and preparing them, and folders of image files."""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO

from vaegan.config import DataConfig
from vaegan.data.decoding import LARGE_FILE_BYTES, MAX_FILE_BYTES, Prepared, Skipped, decode, skip_reason
from vaegan.data.label_files import LabelFile, is_label_file
from vaegan.data.layout import LabelTable
from vaegan.data.own import RECORD, is_own_record
from vaegan.data.reuse import Known
from vaegan.errors import DataError

FILES_AT_A_TIME = 16

_large_file = threading.Lock()

Result = Prepared | Skipped | LabelFile
Task = Callable[[], list[Result]]  # prepares a few images; run on any thread


class OnlyOwnError(DataError):
    """All images of a place were written by this program, so that there is nothing to learn."""

    def __init__(self, place: str, files: int) -> None:
        super().__init__(
            f"{place} holds nothing but what vaegan wrote ({files:,} file{'s' if files > 1 else ''}), "
            "and a model learns nothing new from its own pictures: give your own images."
        )


@dataclass(frozen=True, eq=False)
class Source:
    """One place that images come from."""

    kind: str  # part of the cache's key: which of our readers it was
    place: str  # what messages call it
    identity: bytes  # changes when the images may have changed; found without opening them
    count: Callable[[], int]  # how many images there are at most [images]
    tasks: Callable[[DataConfig], Iterator[Task]]  # the work of preparing every image, always in the same order
    # Labels of the usable images, by their positions among all; None where the folders that they lie in say them.
    labels: Callable[[Sequence[int]], LabelTable] | None = None
    mirrored: bool = True  # whether a mirrored image is as good as the image itself
    own_files: int = 0  # files in folders of runs, which are no part of the source [files]
    reusing: Callable[[DataConfig, Known], Iterator[Task]] | None = None  # as `tasks`, but without the files that are known
    readable: Callable[[str], bool] = lambda name: True  # whether a file that could not be read may be readable now


def file_stamp(path: Path) -> bytes:
    """What a file is known by without reading it: where it is, its size and when it was written."""
    found = path.stat()
    return f"{path.resolve()}\n{found.st_size}\n{found.st_mtime_ns}".encode(errors="surrogateescape")


def digest(*parts: bytes) -> str:
    """32 hexadecimal digits over the parts and the borders between them."""
    hashed = blake2b(digest_size=16)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Item:
    """One file that may be an image."""

    name: str  # its path inside the folder or archive, with forward slashes
    size: int  # what the listing says [bytes]
    modified: tuple[int, int] = (0, 0)
    """When it was last written [ns], and who may read it: what could not be read may be readable another time."""
    reason: str | None = None  # why it cannot be read, where the listing already shows it

    @property
    def stamp(self) -> bytes:
        """16 bytes that change when the file may have changed."""
        return bytes.fromhex(digest(f"{self.name}\n{self.size}\n{self.modified}".encode(errors="surrogateescape")))


def folder_source(root: Path) -> tuple[Source, list[Path]]:
    """A folder of image files, searched recursively, and its files, none of them opened.

    Hidden files and folders are left out, and those of runs, so that a run changes nothing of the images that it lies among;
    links are followed, but never in circles.
    """
    found, own_files = _list_folder(root)
    items = sorted(found, key=lambda item: item.name)
    if not items and own_files:
        raise OnlyOwnError(str(root), own_files)
    if not items:
        raise DataError(f"{root} holds no files: give a folder with images in it.")

    def read(item: Item) -> bytes:
        with (root / item.name).open("rb") as file:
            return read_bounded(file)

    lines = (f"{item.name}\n{item.size}\n{item.modified}" for item in items)
    identity = "\n".join((str(root.resolve()), *lines)).encode(errors="surrogateescape")

    def tasks(config: DataConfig, known: Known | None = None) -> Iterator[Task]:
        return file_tasks(((item, partial(read, item)) for item in items), config, known)

    def readable(name: str) -> bool:
        with suppress(OSError), (root / name).open("rb") as file:
            return bool(file.read(1))
        return False

    source = Source(
        "FolderSource",
        str(root),
        identity,
        lambda: len(items),
        tasks,
        own_files=own_files,
        reusing=tasks,
        readable=readable,
    )
    return source, [root / item.name for item in items]


def _list_folder(root: Path) -> tuple[list[Item], int]:
    """What may be an image, and how many files lie in folders of runs."""
    items: list[Item] = []
    own_files = 0
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            found = (root / inside).stat()
            if (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            with os.scandir(root / inside) as entries:
                visible = sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
        except OSError as error:
            if not inside:
                raise DataError(f"{root} cannot be read ({error.strerror}): check its permissions.") from None
            items.append(Item(inside, 0, reason=f"folder cannot be read: {error.strerror}"))
            continue
        if any(entry.name == RECORD and _is_own(entry) for entry in visible):
            own_files += sum(len(files) for _, _, files in os.walk(root / inside))
            continue
        for entry in visible:
            name = f"{inside}/{entry.name}" if inside else entry.name
            try:
                if entry.is_dir():
                    waiting.append(name)
                    continue
                found = entry.stat()
            except OSError as error:
                broken = error.errno in (errno.ENOENT, errno.ELOOP)
                items.append(Item(name, 0, reason="broken link" if broken else f"cannot be read: {error.strerror}"))
                continue
            # Reading a pipe or a device would wait for ever.
            reason = None if stat.S_ISREG(found.st_mode) else "not a regular file"
            items.append(Item(name, found.st_size, (found.st_mtime_ns, found.st_mode), reason))
    return items, own_files


def _is_own(record: os.DirEntry[str]) -> bool:
    try:
        if not record.is_file():
            return False
        with open(record.path, "rb") as file:
            return is_own_record(file)
    except OSError:
        return False


def is_hidden(name: str) -> bool:
    """Whether any part of a path is hidden or macOS's shadow of an archive."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def read_bounded(file: IO[bytes]) -> bytes:
    """Reads a file, but never more than a little over the largest that is decoded, whatever its listing said."""
    return file.read(MAX_FILE_BYTES + 1)


def file_tasks(
    items: Iterable[tuple[Item, Callable[[], bytes]]], config: DataConfig, known: Known | None = None
) -> Iterator[Task]:
    """Reads and decodes a few files at a time."""
    left = iter(items)
    while block := list(islice(left, FILES_AT_A_TIME)):
        yield partial(decode_items, block, config, known)


def decode_items(
    items: Sequence[tuple[Item, Callable[[], bytes]]], config: DataConfig, known: Known | None = None
) -> list[Result]:
    """Reads and prepares files, except `known` ones, one after the other; what cannot be read is skipped with the reason."""
    return [(known and known(item.stamp, item.name)) or _decode_item(item, read, config) for item, read in items]


def _decode_item(item: Item, read: Callable[[], bytes], config: DataConfig) -> Result:
    if item.reason is None and is_label_file(item.name, item.size):
        return LabelFile(item.name, read)
    reason = item.reason or skip_reason(item.name, item.size)
    if reason:
        return Skipped(item.name, reason)
    with _large_file if item.size > LARGE_FILE_BYTES else nullcontext():
        try:
            data = read()
        except OSError as error:
            return Skipped(item.name, f"cannot be read: {error.strerror or error}")
        except Exception as error:  # an archive's member can be damaged in as many ways as there are compressions
            return Skipped(item.name, f"cannot be unpacked: {' '.join(str(error).split()) or 'damaged'}")
        found = decode(item.name, data, config)
    return found if isinstance(found, Skipped) else replace(found, stamp=item.stamp)
