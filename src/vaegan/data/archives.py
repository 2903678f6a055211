"""Image files in a zip or a tar, read in place: nothing is unpacked to disk, and nothing is believed about sizes."""

import bz2
import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from vaegan.config import DataConfig
from vaegan.data.decoding import LARGE_FILE_BYTES, skip_reason
from vaegan.data.label_files import is_label_file
from vaegan.data.own import RECORD, WRITTEN_HERE, is_own_record
from vaegan.data.source import FILES_AT_A_TIME, Item, Source, Task, decode_items, file_stamp, file_tasks, is_hidden, read_bounded
from vaegan.errors import DataError

# An archive of images never packs this well; more is a bomb that would keep the machine unpacking for hours.
_MAX_EXPANSION = 100
ALWAYS_ALLOWED = 2**30
# Long names and attributes take kilobytes.
MOST_TAR_HEADER_BYTES = 2**16
_HOLES = "stored with holes: pack it again without --sparse"
_MOST_LABEL_FILES = 4  # more are not read: they wait in memory until the end

_UNPACKERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File}
# RecursionError: the module calls itself for each header that is followed by another of the same member.
_UNPACKING_ERRORS = (OSError, EOFError, ValueError, RecursionError, zlib.error)


def archive(path: Path) -> Source | None:
    """The archive at `path`, or None when it is neither a zip nor a tar."""
    if zipfile.is_zipfile(path):
        return Source("ZipSource", str(path), file_stamp(path), partial(_count, path, _zip_members), partial(_zip_tasks, path))
    try:
        with _open_tar(path) as tar:
            tar.next()
    except (tarfile.TarError, *_UNPACKING_ERRORS) as error:
        if "memory" in str(error).lower():
            raise DataError(f"{path} cannot be unpacked within bounds ({error}): unpack it yourself if you trust it.") from None
        return None
    return Source("TarSource", str(path), file_stamp(path), partial(_count, path, _tar_members), partial(_tar_tasks, path))


def _count(path: Path, members: Callable[[Path], Iterable[object]]) -> int:
    # A first pass over a tar costs one unpacking, and tells the work and the disk space ahead.
    total = sum(1 for _ in members(path))
    if not total:
        raise DataError(f"{path} holds no files: give an archive with images in it.")
    return total


def _most_unpacked(path: Path) -> int:
    return path.stat().st_size * _MAX_EXPANSION + ALWAYS_ALLOWED


def _unpacks_too_far(path: Path) -> DataError:
    return DataError(
        f"{path} unpacks to over {_MAX_EXPANSION} times its size, as no images do: "
        "unpack it yourself if you trust it, and give the folder."
    )


def _zip_members(path: Path) -> list[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    """The files in a zip, by name; the zip is closed when nobody holds a member."""
    try:
        file = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be opened as a zip ({error}): download or pack it again.") from None
    for info in file.infolist():
        info.filename = _path(info.filename)
    members = [info for info in file.infolist() if not info.is_dir() and not is_hidden(info.filename)]
    # Many entries may lead to the same bytes: each is harmless, all of them would take hours.
    if sum(info.file_size for info in members if not skip_reason(info.filename, info.file_size)) > _most_unpacked(path):
        raise _unpacks_too_far(path)
    return [(file, info) for info in sorted(members, key=lambda info: info.filename)]


def _path(name: str) -> str:
    """A member's path as it was meant: programs of Windows write it with backslashes."""
    return name.replace("\\", "/")


def _own_folders(members: Iterable[tuple[zipfile.ZipFile, zipfile.ZipInfo]]) -> tuple[str, ...]:
    """The folders of runs in a zip, each with a slash at its end."""
    found: list[str] = []
    for file, info in members:
        if PurePosixPath(info.filename).name == RECORD:
            with suppress(Exception), file.open(info) as member:  # damaged in as many ways as there are compressions
                if is_own_record(member):
                    found.append(info.filename.removesuffix(RECORD))
    return tuple(found)


def _zip_tasks(path: Path, config: DataConfig) -> Iterator[Task]:
    """Reads and decodes on any thread: the zip module shares its file safely."""

    def read(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
        with file.open(info) as member:
            return read_bounded(member)

    members = _zip_members(path)
    own = _own_folders(members)

    def reason(info: zipfile.ZipInfo) -> str | None:
        if own and info.filename.startswith(own):
            return WRITTEN_HERE
        return "encrypted" if info.flag_bits & 1 else None

    # A member is read by what the list says of it and not by its name, which others may have as well.
    items = ((Item(info.filename, info.file_size, reason=reason(info)), partial(read, file, info)) for file, info in members)
    return file_tasks(items, config)


def _tar_members(path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The files in a tar, packed by gzip or bzip2 or not, read from front to back."""
    limit, before = _most_unpacked(path), -1
    with _open_tar(path) as tar:
        try:
            while (member := tar.next()) is not None:
                if member.size < 0 or member.offset_data <= before:
                    raise tarfile.ReadError("a header points backwards")
                before = member.offset_data
                # The size of a member with holes says nothing of where the next header is.
                if max(member.offset_data + member.size, tar.offset) > limit:
                    raise _unpacks_too_far(path)
                if member.isreg() and not is_hidden(_path(member.name)):
                    yield tar, member
                # Otherwise the module would remember every member of a long archive, and its global attributes.
                tar.members, tar.pax_headers = [], {}  # pyright: ignore[reportAttributeAccessIssue]
                _allow(tar, MOST_TAR_HEADER_BYTES)
        except (tarfile.TarError, *_UNPACKING_ERRORS) as error:
            raise DataError(f"{path} is damaged ({error}): download or pack it again.") from None


def _tar_tasks(path: Path, config: DataConfig) -> Iterator[Task]:
    """Reads members in order, on one thread, and hands them on to be decoded on any."""
    waiting: list[tuple[Item, Callable[[], bytes]]] = []
    held = label_files = 0
    for tar, member in _tar_members(path):
        # The module takes minutes to put together what lies in thousands of pieces.
        item = Item(_path(member.name), member.size, reason=_HOLES if member.issparse() else None)
        label_files += is_label_file(item.name, item.size)
        if not item.reason and not (is_label_file(item.name, item.size) and label_files <= _MOST_LABEL_FILES):
            item = replace(item, reason=skip_reason(item.name, item.size))
        data = b"" if item.reason else _read_member(tar, member)
        waiting.append((item, partial(bytes, data)))
        held += len(data)
        if len(waiting) == FILES_AT_A_TIME or held > LARGE_FILE_BYTES:
            work = partial(decode_items, waiting, config)
            # Large files are decoded before the next is read, so that they never pile up.
            yield partial(list, work()) if held > LARGE_FILE_BYTES else work
            waiting, held = [], 0
    if waiting:
        yield partial(decode_items, waiting, config)


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    _allow(tar, member.size)
    file = tar.extractfile(member)
    return read_bounded(file) if file else b""


@contextmanager
def _open_tar(path: Path) -> Generator[tarfile.TarFile]:
    with open_unpacked(path) as file, tarfile.open(fileobj=_BoundedReads(file), mode="r:") as tar:
        yield tar


def open_unpacked(path: Path) -> IO[bytes]:
    """Opens a file for reading, through gzip or bzip2 where its first bytes say so."""
    with path.open("rb") as file:
        start = file.read(3)
    for signature, unpacker in _UNPACKERS.items():
        if start.startswith(signature):
            return unpacker(path)
    return path.open("rb")


def _allow(tar: tarfile.TarFile, size: int) -> None:
    """Lets `size` bytes be read before this is called again: for one header, or for what one member holds."""
    tar.fileobj.allowed = size  # pyright: ignore[reportAttributeAccessIssue]


class _BoundedReads(io.RawIOBase):
    """A file that refuses to be read beyond what is allowed, in one piece or in many, as a forged tar header may ask for."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.allowed = MOST_TAR_HEADER_BYTES

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= self.allowed:
            raise tarfile.ReadError("a header asks for too much memory")
        self.allowed -= size
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
