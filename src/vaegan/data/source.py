"""What every source of images offers: the contract between finding images and preparing them."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vaegan.config import DataConfig
from vaegan.data.decoding import Prepared, Skipped

Task = Callable[[], list[Prepared | Skipped]]
"""Prepares a few images; run on any thread."""


@dataclass(frozen=True)
class LabelTable:
    """What is known of every usable image."""

    values: dict[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])
    """{name: float32 [count]}; categories as codes."""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The words that a category's codes stand for."""
    note: str | None = None
    """A sentence on where the labels come from."""


class Source(ABC):
    """One place that images come from."""

    def __init__(self, place: str | Path, *, mirrored: bool = True) -> None:
        """Stores what messages call the place, and whether a mirrored image is as good as the image itself."""
        self.place, self.mirrored = str(place), mirrored

    @abstractmethod
    def identity(self) -> bytes:
        """Bytes that change when the images may have changed; found without opening them."""

    @abstractmethod
    def count(self) -> int:
        """How many images there are at most [images]."""

    @abstractmethod
    def tasks(self, config: DataConfig) -> AbstractContextManager[Iterator[Task]]:
        """The work of preparing every image, always in the same order; to be finished before the context is left."""

    def labels(self, names: Sequence[str]) -> LabelTable:
        """Labels of the usable images, by their names in order: the sub-folders' names, where there are several."""
        return labels_from_folders(names)


def labels_from_folders(names: Sequence[str]) -> LabelTable:
    """Takes the folder that holds an image as its class, where at least two folders hold images.

    What all folders' paths have in common is left out of the words; images beside the sub-folders get the word ".".
    """
    parents = [PurePosixPath(name).parent.parts for name in names]
    found = Counter(parents)
    if len(found) < 2:
        return LabelTable()
    common = 0
    while len({parent[: common + 1] for parent in found}) == 1:
        common += 1
    words = {parent: "/".join(parent[common:]) or "." for parent in sorted(found)}
    codes = {parent: code for code, parent in enumerate(words)}
    values = np.array([codes[parent] for parent in parents], dtype=np.float32)
    shown = [f"{word} ({found[parent]:,})" for parent, word in words.items()]
    listed = ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")
    note = f"The sub-folders were taken as the label 'class': {listed}."
    return LabelTable({"class": values}, {"class": tuple(words.values())}, note)


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
