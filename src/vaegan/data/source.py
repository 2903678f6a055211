"""What every source of images offers: the contract between finding images and preparing them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vaegan.config import DataConfig
from vaegan.data.decoding import Prepared, Skipped

Task = Callable[[], list[Prepared | Skipped]]
"""Prepares a few images; run on any thread."""


@dataclass(frozen=True)
class Labels:
    """What is known of every usable image."""

    values: dict[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])
    """{name: float32 [count]}; categories as codes."""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The words that a category's codes stand for."""
    note: str | None = None
    """A sentence on where the labels come from."""


class Source(Protocol):
    """One place that images come from."""

    @property
    def place(self) -> str:
        """The place as a person would write it, for messages."""
        ...

    @property
    def mirrored(self) -> bool:
        """Whether a mirrored image is as good as the image itself."""
        ...

    def identity(self) -> bytes:
        """Bytes that change when the images may have changed; found without opening them."""
        ...

    def count(self) -> int:
        """How many images there are at most [images]."""
        ...

    def tasks(self, config: DataConfig) -> AbstractContextManager[Iterator[Task]]:
        """The work of preparing every image, always in the same order; to be finished before the context is left."""
        ...

    def labels(self, names: list[str]) -> Labels:
        """Labels of the usable images, by their names in order."""
        ...


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
