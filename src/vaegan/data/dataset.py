"""`open_dataset`: from a path or a word to prepared images that are mapped, labelled and divided into sides."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaegan.config import MOST_CLASSES, DataConfig
from vaegan.data.building import TEST, VALIDATION, build, check_trainable, skipped_list, write_skipped
from vaegan.data.cache import CACHE_VERSION, CachedImages, default_cache_dir, open_cached
from vaegan.data.pixels import binarized, to_tensor
from vaegan.data.source import digest
from vaegan.data.sources import find_source
from vaegan.errors import RequestError, VaeganError
from vaegan.types import ProgressCallback

_ENOUGH_TO_JUDGE = 200


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageDataset(CachedImages):
    """Prepared images and what is known about them; the pixels stay on disk until they are asked for."""

    warnings: tuple[str, ...] = ()
    """Sentences on what cannot be expected of these data."""
    source: str
    config: DataConfig
    flips: bool = False
    """Whether training mirrors half of the images."""

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (colour)."""
        return self.images.shape[3]

    def __len__(self) -> int:
        """All usable images, whatever their side [images]."""
        return self.images.shape[0]

    def indices(self, side: int) -> NDArray[np.int64]:
        """Positions of a side's images, ascending, int64."""
        return np.flatnonzero(self.sides == side).astype(np.int64)

    def first_by_content(self, side: int, count: int) -> NDArray[np.int64]:
        """Positions of the first `count` images of a side in the order of their contents: a fair draw from all folders."""
        indices = self.indices(side)
        return indices[np.argsort(self.contents[indices], kind="stable")][:count]

    def categories(self, name: str | None) -> tuple[str, NDArray[np.int64], tuple[str, ...]]:
        """The label to tell a conditional model: its name, the code of every image, and the words of the codes.

        Args:
            name: which label; None takes the only one that has categories.

        Raises:
            RequestError: if there is none, there are several, or the one named has no categories.
        """
        there = [known for known in self.labels if known in self.label_words]
        if not there:
            raise RequestError(
                f"--conditional needs labels, and {self.source} has none: put the images into one folder a category."
            )
        if name is None and len(there) > 1:
            raise RequestError(f"--conditional: {self.source} has several labels; choose with --condition: {', '.join(there)}.")
        name = name or there[0]
        if name not in there:
            raise RequestError(f"--condition {name} is no label with categories of {self.source}; there are {', '.join(there)}.")
        words = self.label_words[name]
        if not 2 <= len(words) <= MOST_CLASSES:
            raise RequestError(f"--condition {name} has {len(words)} categories; 2 to {MOST_CLASSES} can be told apart.")
        return name, self.labels[name].astype(np.int64), words

    def load(self, indices: NDArray[np.int64] | Sequence[int]) -> Tensor:
        """The images at these positions, unmirrored, as float32 [n, channel, height, width] in [-1, 1], channels last.

        With `binarize="dynamic"` each image is drawn once and for all, keyed by its content, so that held-out images
        are binary like the training images, and always the same.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        pixels = np.take(np.asarray(self.images), chosen, axis=0)
        if self.config.binarize == "dynamic":
            pixels = binarized(pixels, self.contents[chosen])
        return to_tensor(pixels)

    def part(self, indices: NDArray[np.int64]) -> "ImageDataset":
        """Only the images at these positions, copied into memory."""
        return replace(
            self,
            images=np.take(np.asarray(self.images), indices, axis=0),
            sides=self.sides[indices],
            contents=self.contents[indices],
            labels={name: values[indices] for name, values in self.labels.items()},
            names=[self.names[index] for index in indices],
        )

    def write_skipped(self, path: Path) -> None:
        """Writes `skipped` as a table of names and reasons, atomically."""
        write_skipped(path, self.skipped)


def open_dataset(
    source: str | Path,
    config: DataConfig,
    *,
    cache_dir: Path | None = None,
    progress: ProgressCallback | None = None,
    for_training: bool = True,
) -> ImageDataset:
    """Opens images from anywhere; the first time they are decoded into the cache, later only mapped.

    Args:
        source: "faces" (drawn by the package; "faces:500" the first 500), or the path of a folder, a zip or tar of
            images, MNIST's IDX form, or a .npy or .npz of uint8 images.
        config: How the images are prepared.
        cache_dir: Where prepared images are kept; $VAEGAN_CACHE or the user's cache folder when not given.
        progress: Called with (what, done, total) while images are prepared.
        for_training: Without it a single usable image is enough.

    Raises:
        DataError: the source is missing, damaged, or holds no usable image; for training, under 64.
        RequestError: `binarize` was asked for colour images.
        VaeganError: the cache cannot be written.
    """
    found = find_source(source)
    preparation = f"{CACHE_VERSION} {config.size} {config.fit} {config.channels}"
    key = digest(type(found).__name__.encode(), found.identity(), preparation.encode())
    directory = (cache_dir or default_cache_dir()) / "images" / key
    cached = open_cached(directory)
    if cached is None:
        build(found, config, directory, progress, for_training=for_training)
        cached = open_cached(directory)
    if cached is None:
        raise VaeganError(f"The prepared images in {directory} vanished while they were opened: try again.")
    if for_training:
        check_trainable(found.place, cached.sides, cached.skipped, skipped_list(directory))
    if config.binarize == "dynamic" and cached.images.shape[3] != 1:
        raise RequestError(f"--binarize dynamic is for grey images, and {source} is in colour: add --channels 1.")
    return ImageDataset(
        **vars(cached),
        warnings=_warnings(cached.sides, cached.contents),
        source=str(source),
        config=config,
        flips=found.mirrored if config.flip == "auto" else config.flip == "on",
    )


def _warnings(sides: NDArray[np.uint8], contents: NDArray[np.uint64]) -> tuple[str, ...]:
    count, distinct = len(sides), len(np.unique(contents))
    validation, test = int((sides == VALIDATION).sum()), int((sides == TEST).sum())
    found: list[str] = []
    if count < _ENOUGH_TO_JUDGE:
        found.append(
            f"Only {count} images: training works, but whether it overfits, and how good or varied the samples are, "
            f"cannot be judged from {validation} validation and {test} test images; {_ENOUGH_TO_JUDGE} or more are advised."
        )
    if distinct < count and distinct < max(_ENOUGH_TO_JUDGE, count / 2):
        found.append(
            f"Only {distinct:,} of {count:,} images {'is' if distinct == 1 else 'are'} distinct, the others are exact copies: a "
            "model can only repeat what it is shown, so remove the copies and add other images."
        )
    if not validation:
        found.append("No image fell on the validation side: training images stand in for the held-out ones.")
    if not test:
        found.append("No image fell on the test side: there is nothing to judge the finished model with.")
    return tuple(found)
