"""What is kept to save time: where it lies, how much of it there may be, who is using what, and what goes first."""

import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from vaegan.errors import RequestError
from vaegan.files import flocked

LIMIT, DEFAULT_LIMIT = "VAEGAN_CACHE_LIMIT", "10"
"""The variable [GB], and what it is where it is not set: eight sets of 100,000 images of 64 pixels, and no small disk is full."""
ABOUT = "about.txt"  # in each folder of prepared images: what they are, and when it was last written, when they were last used
BUILDING = ".building-"  # begins the names of folders that are being made or removed
KINDS = {"images": "prepared images", "features": "features", "latents": "latents", "runtime": "the page's runtime"}
_NOT_DROPPED = "runtime"  # bringing it again would take the network

_in_use: dict[Path, int] = {}


@dataclass(frozen=True)
class Entry:
    """One thing that is kept."""

    path: Path
    kind: str
    """One of `KINDS`."""
    about: str
    """What it was made of, as far as is known."""
    size: int
    """[bytes]"""
    used: float
    """When it was last used [seconds since 1970]."""


def default_cache_dir() -> Path:
    """$VAEGAN_CACHE, else `vaegan` in the place this platform keeps what can be made again."""
    chosen = os.environ.get("VAEGAN_CACHE")
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:
            raise RequestError(f"VAEGAN_CACHE={chosen}: {error}") from error
    try:
        home = Path.home()
    except RuntimeError:  # no home folder, as in some containers
        return Path(tempfile.gettempdir()) / "vaegan-cache"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "vaegan" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "vaegan"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "vaegan"


def cache_limit() -> int:
    """How much may be kept [bytes]; RequestError where the variable says no number."""
    said = os.environ.get(LIMIT) or DEFAULT_LIMIT
    with suppress(ValueError):
        if 0 <= (limit := float(said)) < math.inf:
            return int(limit * 1e9)
    raise RequestError(f"{LIMIT}={said}: it must be a number of GB, like {DEFAULT_LIMIT}.")


def entries(root: Path) -> list[Entry]:
    """Everything that is kept under `root`; what was not used for longest is first."""
    return sorted(_found(root), key=lambda entry: entry.used)


def _found(root: Path) -> Iterator[Entry]:
    for kind in KINDS:
        for path in (root / kind).glob("[!.]*"):
            with suppress(OSError):  # another process has just removed it
                about = path / ABOUT
                size = sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
                known = about.is_file()
                words = about.read_text("utf-8", errors="replace").strip() if known else path.stem
                yield Entry(path, kind, words, size, (about if known else path).stat().st_mtime)


def use(path: Path) -> None:
    """Notes that something is used now. Prepared images, which are mapped, no other process removes then until this one ends."""
    with suppress(OSError):  # somebody else's cache, which may only be read
        mark = _mark(path)
        mark.touch()
        if mark != path and path not in _in_use:
            _in_use[path] = flocked(mark, shared=True)


def _mark(path: Path) -> Path:
    return path / ABOUT if path.is_dir() else path


def make_room(root: Path, needed: int) -> None:
    """Removes what was not used for longest until `needed` [bytes] more stay within the limit, and the disk has room for them.

    What a running process uses stays. It may not suffice.
    """
    kept = [entry for entry in entries(root) if entry.kind != _NOT_DROPPED]
    limit, left = cache_limit(), sum(entry.size for entry in kept)
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    if shutil.disk_usage(place).free + left < needed:
        return  # nothing would be gained
    for entry in kept:
        if left + needed <= limit and shutil.disk_usage(place).free >= needed:
            return
        if remove(entry.path):
            left -= entry.size


def remove(path: Path) -> bool:
    """Removes something that is kept, unless a running process uses it; whether it is gone."""
    mark = _mark(path)
    away = path.parent / f"{BUILDING}{uuid4().hex}"
    try:
        descriptor = flocked(mark) if mark.exists() else None
        try:
            os.rename(path, away)  # at once, so that nobody finds a part of it
        finally:
            if descriptor is not None:
                os.close(descriptor)
        if away.is_dir():
            shutil.rmtree(away)
        else:
            away.unlink()
    except OSError:
        return False
    return True
