"""Atomic writes: a temporary file (or folder), fsync (of files), rename. Nothing half-written is left under its final name."""

import errno
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from vaegan.errors import RequestError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of errors that say that the disk, or somebody's share of it, takes no more."""
TEMPORARY = ".vaegan-"  # part of every temporary name, by which the leavings of a killed process are known
_LONGEST = 40  # letters of a name that go into the temporary one, which must not be longer than a file system takes


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Yields a temporary path beside `path`; on success it is synced and renamed, on failure removed.

    The temporary name keeps the suffix, because some writers choose their format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_once(path.parent.absolute())
    with _errors_about(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:_LONGEST]}{TEMPORARY}", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            with being_written(temporary):
                yield temporary
                temporary.chmod(0o666 & ~_umask())
                with temporary.open("rb+") as written:
                    os.fsync(written.fileno())
                os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """Yields a temporary folder that becomes `path` on success, and is removed with all it holds on failure.

    An empty folder that is there already is filled at the end, entry by entry; what is none raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    there = path.is_dir()  # perhaps as a link, a mounted volume, or where one stands, so that it cannot be replaced
    if there and any(path.iterdir()):
        raise FileExistsError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))
    with _errors_about(path):
        name = f".{path.name[:_LONGEST]}{TEMPORARY}"
        _clear_once((path if there else path.parent).absolute())
        temporary = Path(tempfile.mkdtemp(prefix=name, dir=path if there else path.parent))
        try:
            with being_written(temporary):
                yield temporary
                if there:
                    for entry in temporary.iterdir():
                        entry.rename(path / entry.name)
                else:
                    temporary.chmod(0o777 & ~_umask())
                    temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def being_written(temporary: Path) -> Generator[None]:
    """Marks a temporary file or folder as that of a living process, by a lock that ends with the process."""
    with ExitStack() as stack:
        with suppress(OSError):  # where there are no locks, nobody clears it away either
            stack.callback(os.close, flocked(temporary))
        yield


def clear_abandoned(folder: Path, pattern: str = f".*{TEMPORARY}*") -> None:
    """Removes from a folder what killed processes left half-written; what a living one writes stays."""
    for left in folder.glob(pattern):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > 1:  # a younger one may not have been locked yet
                descriptor = flocked(left)
                _remove(left)
                os.close(descriptor)


def flocked(place: Path, shared: bool = False) -> int:
    """A descriptor with the lock on a file or folder, alone or with others; OSError if somebody else has it.

    It lasts until the descriptor is closed. Unlike that of lockf it is not lost when the file is opened once more and closed.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    import fcntl

    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@cache
def _clear_once(folder: Path) -> None:
    """Once a process: many files may be written into one folder, and each time it would have to be listed."""
    clear_abandoned(folder)


@contextmanager
def _errors_about(path: Path) -> Generator[None]:
    """Lets errors about a temporary file, and those of a full disk, which name no file, name `path`."""
    try:
        yield
    except OSError as error:
        full = error.filename is None and error.errno in FULL
        if not full and TEMPORARY not in str(error.filename):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def check_file_place(path: Path, option: str = "--out") -> None:
    """Refuses, before any work, a place where no file could be written: RequestError with the name of the `option`."""
    if path.is_dir():
        raise RequestError(f"{option} {path} is a folder; give the name of a file in it.")
    _check_parents(path, option)


def check_new_folder(path: Path, option: str = "--out", ignore: str | None = None) -> None:
    """Refuses, before any work, a place where no folder could be made, or that holds more than a file named `ignore`."""
    if path.exists() and (not path.is_dir() or any(entry.name != ignore for entry in path.iterdir())):
        raise RequestError(f"{option} {path} already exists; give a new or an empty folder.")
    _check_parents(path, option)


def _check_parents(path: Path, option: str) -> None:
    for link in (path, *path.parents):
        if link.is_symlink() and not link.exists():
            raise RequestError(f"{option} {path} cannot be written: {link} is a link that leads nowhere; remove it first.")
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if there != path.absolute() and not there.is_dir():
        raise RequestError(f"{option} {path} cannot be written: {there} is a file.")
    if not os.access(there, os.W_OK):
        raise RequestError(f"{option} {path} cannot be written: no permission in {there}.")
    folder = there if there.is_dir() else there.parent
    try:  # permissions do not say all: in /proc nobody can make a file, and on a full disk neither
        tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY).close()
    except OSError as error:
        raise RequestError(f"{option} {path} cannot be written: {folder} takes no files ({error.strerror}).") from error


def remove_leavings(folder: Path) -> None:
    """Removes the temporary files and folders that killed processes left anywhere in `folder`; nobody may be writing there."""
    for left in [*folder.rglob(f".*{TEMPORARY}*")]:
        _remove(left)


def _remove(left: Path) -> None:
    if left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


@contextmanager
def held(path: Path) -> Generator[bool]:
    """Yields whether this process alone has the system's lock on `path`, which is made if need be; yes where there are no locks.

    The system releases the lock when the process ends, even by kill -9, so nothing stale can stay behind.
    """
    with path.open("a+b") as file:
        try:
            _lock(file.fileno())
            got = True
        except OSError as error:
            got = error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
        yield got
        # Closing the file releases the lock; the file itself stays, because another process may be waiting for it.


@contextmanager
def in_turn(path: Path) -> Generator[None]:
    """Waits until no other process is `in_turn` on the same file, which is left as it is; RequestError after ten seconds."""
    for _ in range(200):
        with held(path) as got:
            if got:
                yield
                return
        time.sleep(0.05)
    raise RequestError(f"Another command has been writing beside {path} for ten seconds; try again when it is done.")


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write` with an open binary file whose content replaces `path` only when complete."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        write(file)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=True) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 2**30, os.SEEK_SET)  # far behind what others may read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        # Unlike flock's, a lock of lockf stays with the process: children that outlive a killed parent do not keep it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _umask() -> int:
    """Temporary files are private; what replaces an ordinary file follows the user's umask."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
