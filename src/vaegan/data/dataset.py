"""From paths or a word to prepared images: mapped, labelled and divided into sides, or named one by one."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaegan.caching import default_cache_dir
from vaegan.config import MOST_CLASSES, DataConfig
from vaegan.data.archives import archive
from vaegan.data.arrays import idx_file, idx_folder, numpy_file
from vaegan.data.building import FEWEST_TO_TRAIN, TRAIN, VALIDATION, check_trainable, warnings_of
from vaegan.data.cache import CachedImages, take
from vaegan.data.decoding import Prepared, Skipped, content_keys, decode, quiet_pillow
from vaegan.data.drawn import DRAWN_FACES, drawn_faces
from vaegan.data.fitting import settle_size
from vaegan.data.levels import decided, differ, widen
from vaegan.data.own import WRITTEN_HERE, own_in_words
from vaegan.data.pixels import binarized, to_tensor
from vaegan.data.prepared import prepared_images
from vaegan.data.source import Source, folder_source, read_bounded
from vaegan.errors import DataError, RequestError
from vaegan.files import write_atomically
from vaegan.shapes import Range
from vaegan.types import ProgressCallback

_FACES_WORD = re.compile(r"faces(?::(\d{1,7}))?")
_MOST_NAMED_FILES = 10_000
_SUFFIXES = (".heic", ".heif", ".hif", ".avif")  # of images that Pillow need not know yet
UNKNOWN = "unknown"
"""What the images are called that lack a label which others have."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageDataset(CachedImages):
    """Prepared images and what is known about them; the pixels stay on disk until they are asked for."""

    source: str
    config: DataConfig
    flips: bool = False
    """Whether training mirrors half of the images."""
    own_files: int = 0
    """How many files were left out because this program wrote them."""

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

    @property
    def heldout_side(self) -> int:
        """The side that is looked at beside training: validation, or training where nothing is held out."""
        return VALIDATION if len(self.indices(VALIDATION)) else TRAIN

    def first_by_content(self, side: int, count: int) -> NDArray[np.int64]:
        """Positions of the first `count` images of a side in the order of their contents: a fair draw from all folders."""
        indices = self.indices(side)
        return indices[np.argsort(self.contents[indices], kind="stable")][:count]

    def categories(self, name: str | None) -> tuple[str, NDArray[np.int64], tuple[str, ...]]:
        """The label that conditions a model: its name, the code of every image, and the words of the codes.

        None as `name` takes the only label that has categories.

        Raises:
            RequestError: if there is none, there are several, or the one named has no categories.
        """
        there = [known for known in self.labels if known in self.label_words]
        if not there:
            raise RequestError(
                f"--conditional needs labels, and {self.source} has none: put the images into one folder a category, "
                "or name them in a table (labels.csv)."
            )
        if name is None and len(there) > 1:
            raise RequestError(f"--conditional: {self.source} has several labels; choose with --condition: {', '.join(there)}.")
        name = name or there[0]
        if name not in there:
            raise RequestError(f"--condition {name} is no label with categories of {self.source}; there are {', '.join(there)}.")
        codes, words = self.coded(name)
        if not 2 <= len(words) <= MOST_CLASSES:
            raise RequestError(f"--condition {name} has {len(words)} categories; 2 to {MOST_CLASSES} can be told apart.")
        return name, codes, words

    def coded(self, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """The code of every image in a label of categories, and the words; images without the label share a last word."""
        values, words = self.labels[name], self.label_words[name]
        missing = np.isnan(values)
        if not missing.any():
            return values.astype(np.int64), words
        return np.where(missing, len(words), values).astype(np.int64), (*words, UNKNOWN)

    def load(self, indices: NDArray[np.int64] | Sequence[int]) -> Tensor:
        """The images at these positions, unmirrored, as float32 [n, channel, height, width] in [-1, 1], channels last.

        With `binarize="dynamic"` each image is drawn once and for all, keyed by its content, so that held-out images
        are binary like the training images, and always the same.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        pixels = take(self.images, chosen)
        if self.config.binarize == "dynamic":
            pixels = binarized(pixels, self.contents[chosen])
        return to_tensor(pixels)

    def part(self, indices: NDArray[np.int64]) -> "ImageDataset":
        """Only the images at these positions, copied into memory."""
        return replace(
            self,
            images=take(self.images, indices),
            sides=self.sides[indices],
            contents=self.contents[indices],
            labels={name: values[indices] for name, values in self.labels.items()},
            names=[self.names[index] for index in indices],
        )

    def write_skipped(self, path: Path) -> None:
        """Writes `skipped` as a table of names and reasons, atomically."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("name", "reason"))
        table.writerows((one.name, one.reason) for one in self.skipped)
        write_atomically(path, lambda file: file.write(text.getvalue().encode(errors="backslashreplace")))


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
            images, MNIST's IDX form, or a .npy or .npz of images.
        config: How the images are prepared.
        cache_dir: Where prepared images are stored; $VAEGAN_CACHE or the user's cache folder when not given.
        progress: Called with (what, done, total) while images are prepared.
        for_training: Without it a single usable image is enough, and pictures that this program wrote are taken where there
            are no others.

    Raises:
        DataError: the source is missing, damaged, or holds no usable image; for training, under 64.
        RequestError: `binarize` was asked for colour images.
        VaeganError: the cache cannot be written.
    """
    found = find_source(source)
    config = settle_size(found, config)
    cached = prepared_images(found, config, (cache_dir or default_cache_dir()) / "images", progress, for_training)
    skipped = tuple(one for one in cached.skipped if one.reason != WRITTEN_HERE)
    own_files = found.own_files + len(cached.skipped) - len(skipped)
    if for_training:
        check_trainable(found.place, cached.sides, skipped, cached.warnings)
    if config.binarize == "dynamic" and cached.images.shape[3] != 1:
        raise RequestError(f"--binarize dynamic is for grey images, and {source} is in colour: add --channels 1.")
    notes = (*cached.notes, own_in_words(own_files)) if own_files else cached.notes
    warnings = (*cached.warnings, *warnings_of(cached.sides, cached.contents))
    return ImageDataset(
        **vars(replace(cached, skipped=skipped, notes=notes, warnings=warnings)),
        own_files=own_files,
        source=str(source),
        config=config,
        flips=found.mirrored if config.flip == "auto" else config.flip == "on",
    )


def find_source(source: str | Path) -> Source:
    """Finds out what kind of source a path or a word names, as in `open_dataset`; DataError where it is none."""
    if not isinstance(source, str | Path):  # pyright: ignore[reportUnnecessaryIsInstance]
        kind = type(source).__name__
        raise DataError(f"Images are given by their place, not as {kind}: numpy.save('images.npy', images), then 'images.npy'.")
    word = _FACES_WORD.fullmatch(source) if isinstance(source, str) else None
    if word:
        return drawn_faces(int(word[1] or DRAWN_FACES))
    try:
        path = Path(source).expanduser()
    except RuntimeError:
        raise DataError(f"{source} does not exist: there is no such user.") from None
    try:
        if path.is_dir():
            folder, files = folder_source(path)
            return idx_folder(path, files) or folder
        if path.is_file() and (found := numpy_file(path) or idx_file(path) or archive(path)):
            return found
    except PermissionError as error:
        raise DataError(f"No permission to read {error.filename or path}: change its permissions or choose another.") from None
    if path.is_file():
        raise DataError(f"{path} is no zip, tar (.gz, .bz2), IDX, .npy or .npz: give one of these, or a folder of images.")
    if path.exists():
        raise DataError(f"{path} is neither a folder nor a file: give a folder of images, an archive or an array file.")
    raise DataError(f"{path} does not exist: give a folder of images, a zip or tar, IDX, .npy or .npz, or the word faces.")


def check_source(source: str | Path) -> None:
    """Refuses what does not exist or holds too few files for the fewest images that a training needs, without decoding it."""
    found = find_source(source)
    count = found.count()
    if count < FEWEST_TO_TRAIN:
        raise DataError(f"{found.place} holds only {count} images or files, and at least {FEWEST_TO_TRAIN} are needed: add more.")


def open_images(
    places: Sequence[str | Path],
    config: DataConfig,
    progress: ProgressCallback | None = None,
    drawn: Mapping[str, bytes] = MappingProxyType({}),
) -> ImageDataset:
    """One folder, archive, array file or the word faces; or some image files. A single image is enough.

    `config.channels` must be 1 or 3; `drawn` are the contents of files that lie nowhere, by their places. DataError where a file
    is missing or cannot be used, or no image is found.
    """
    if not places:
        raise RequestError("Which images? Give image files, or one folder.")
    if len(places) == 1 and not drawn and not _is_image_file(Path(places[0])):
        return open_dataset(places[0], config, progress=progress, for_training=False)
    if len(places) > _MOST_NAMED_FILES:
        raise RequestError(f"{len(places):,} files are too many to name one by one; give the folder that they lie in.")
    folders = [place for place in places if Path(place).is_dir()]
    if folders:
        raise RequestError(f"{folders[0]} is a folder: give image files, or one folder alone.")
    return _named_images(lambda: ((one, drawn[one]) if one in drawn else _named_file(one) for one in map(str, places)), config)


def _is_image_file(path: Path) -> bool:
    return not path.is_dir() and path.suffix.lower() in (*_SUFFIXES, *Image.registered_extensions())


def load_images(paths: Sequence[Path], config: DataConfig) -> Tensor:
    """Image files as float32 [n, channel, height, width] in [-1, 1].

    `config.channels` must be 1 or 3. With `binarize="dynamic"` each image is drawn once and for all, keyed by the file's
    content, as in a data set that holds the file.

    Raises:
        DataError: naming the first file that cannot be used, and why.
    """
    return _named_images(lambda: map(_named_file, paths), config).load(range(len(paths)))


def image_from_bytes(name: str, data: bytes, config: DataConfig) -> Tensor:
    """One image file's bytes as float32 [1, channel, height, width] in [-1, 1], prepared as `load_images` does.

    Raises:
        DataError: saying why `name` cannot be used.
    """
    return _named_images(lambda: [(name, data)], config).load([0])


def _named_file(place: str | Path) -> tuple[str, bytes]:
    path = Path(place)
    if path.exists() and not path.is_file() and not path.is_dir():  # reading a pipe may wait for ever
        raise DataError(f"{path} cannot be used: not a regular file.")
    try:
        with path.open("rb") as file:
            return str(place), read_bounded(file)
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder: give its images one by one, as {path}/*.png.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error


def _named_images(files: Callable[[], Iterable[tuple[str, bytes]]], config: DataConfig) -> ImageDataset:
    decoded, ranges = _decoded(files(), config), dict[str, Range]()
    for one in decoded:
        widen(ranges, one.used)
    levels = decided(config.levels, ranges)
    if differ(config.levels, levels, ranges):
        decoded = _decoded(files(), replace(config, levels=levels))
    return ImageDataset(
        images=np.stack([_with_channels(one.pixels, int(config.channels)) for one in decoded]),
        sides=np.full(len(decoded), TRAIN, np.uint8),
        contents=content_keys([one.content for one in decoded]),
        names=[one.name for one in decoded],
        source=", ".join(one.name for one in decoded[:3]),
        levels=levels,
        config=config,
    )


def _decoded(files: Iterable[tuple[str, bytes]], config: DataConfig) -> list[Prepared]:
    found: list[Prepared] = []
    with quiet_pillow():
        for name, data in files:
            result = decode(name, data, config)
            if isinstance(result, Skipped):
                raise DataError(f"{name} cannot be used: {result.reason}.")
            found.append(result)
    return found


def _with_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    return np.repeat(pixels[..., None], channels, 2) if pixels.ndim == 2 else pixels
