"""Builds the cache: runs a source's work on threads, in order and within bounds, and says what was done."""

import os
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaegan.config import DataConfig
from vaegan.data.cache import CacheWriter, building, known_images
from vaegan.data.decoding import Prepared, Skipped, content_keys, quiet_pillow
from vaegan.data.pixels import TRAITS
from vaegan.data.source import Source, Task
from vaegan.errors import DataError
from vaegan.types import ProgressCallback

TRAIN, VALIDATION, TEST, SET_ASIDE = 0, 1, 2, 3
"""The sides: every image stands on one, decided by its own content, so that a growing folder moves nobody."""
SIDE_NAMES = ("train", "validation", "test", "set aside")
_VALIDATION_SHARE = _TEST_SHARE = 0.05
# When equal pixels stand on several sides the most protected side keeps them: test, then validation, then train.
_PROTECTION = np.array([0, 1, 2, -1], dtype=np.int8)

_FINGERPRINT_VERSION = 1  # raised when the same images are to count as others
_SHOWN_KINDS = 3  # reasons for skipping that a refusal says, each with its first file
MOST_IMAGES = 5_000_000
"""More are refused: each takes half a kilobyte beside its pixels, and a file of some hundred bytes can claim millions."""
FEWEST_TO_TRAIN = 64  # fewer usable images are refused: a batch could not be filled without repeating

# More threads than this gain nothing, because Python's own work between decodes runs on one core.
_MOST_WORKERS = 8


def build(
    source: Source,
    config: DataConfig,
    directory: Path,
    progress: ProgressCallback | None,
    for_training: bool,
    anew: bool = False,
) -> None:
    """Prepares every image of a source into the cache `directory`, or says why they are not enough.

    With `anew` a finished cache is replaced.
    """
    total = source.count()
    check_most_images(source.place, total)
    # Until a coloured image comes nobody knows; enough for colour is asked for.
    needed = total * config.size**2 * (1 if config.channels == "1" else 3)
    known = known_images(directory) if source.reusing else None
    tasks = source.reusing(config, known) if source.reusing and known else source.tasks(config)
    with building(directory, needed, anew) as folder:
        writer = CacheWriter(folder, config.size, 3 if config.channels == "3" else 1)
        try:
            collected = _Collected(source.mirrored)
            with closing(_run_in_order(tasks)) as done:
                for results in done:
                    for result in results:
                        collected.add(result, writer)
                    if progress:
                        progress("preparing images", collected.seen, total)
            collected.finish(writer, source, config, for_training)
        finally:
            writer.close()


def _run_in_order(tasks: Iterator[Task]) -> Generator[list[Prepared | Skipped]]:
    """Runs tasks on threads and yields their results in the tasks' order; only a few wait at any time."""
    workers = min(_MOST_WORKERS, os.cpu_count() or 1)
    pending: deque[Future[list[Prepared | Skipped]]] = deque()
    with quiet_pillow(), ThreadPoolExecutor(workers) as pool:
        try:
            for task in tasks:
                pending.append(pool.submit(task))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class _Collected:
    """What is remembered of the images while their pixels go to the disk."""

    def __init__(self, mirrored: bool) -> None:
        self.mirrored = mirrored
        self.names: list[str] = []
        self.contents: list[bytes] = []
        self.stamps: list[bytes] = []
        self.traits_of: list[tuple[str, ...]] = []
        self.grey: list[bool] = []
        self.pixel_hashes: list[bytes] = []
        self.sides: list[int] = []
        self.skipped: list[Skipped] = []
        self.traits: Counter[str] = Counter()

    @property
    def seen(self) -> int:
        return len(self.names) + len(self.skipped)

    def add(self, result: Prepared | Skipped, writer: CacheWriter) -> None:
        if isinstance(result, Skipped):
            self.skipped.append(result)
            return
        writer.add(result.pixels)
        self.names.append(result.name)
        self.contents.append(result.content)
        self.stamps.append(result.stamp)
        self.traits_of.append(result.traits)
        self.grey.append(result.pixels.ndim == 2)
        self.pixel_hashes.append(_pixel_hash(result.pixels, self.mirrored))
        test_share = _TEST_SHARE if result.test is None else 0.0
        self.sides.append(TEST if result.test else side_of(result.content, test_share=test_share))
        self.traits.update(result.traits)

    def finish(self, writer: CacheWriter, source: Source, config: DataConfig, for_training: bool) -> None:
        """Checks that the images suffice, and writes all that belongs to them."""
        if not self.names:
            raise DataError(_too_few(source.place, 0, self.skipped))
        by_content = np.array(self.sides, dtype=np.uint8)
        sides = set_duplicates_aside(by_content, content_keys(self.pixel_hashes))
        if for_training:
            check_trainable(source.place, sides, self.skipped)
        labels = source.labels(self.names)
        arrays = {f"label {name}": values for name, values in labels.values.items()}
        record = {
            "names": self.names,
            "label_words": labels.words,
            "skipped": self.skipped,
            "notes": [*self._notes(sides), *([labels.note] if labels.note else [])],
            "fingerprint": self._fingerprint(writer.channels, config),
        }
        place = os.path.abspath(source.place) if os.path.exists(source.place) else source.place
        about = f"{len(self.names):,} images of {place}, {config.size} pixels"
        arrays |= {"sides": sides, "contents": content_keys(self.contents)} | (self._to_reuse() if source.reusing else {})
        writer.finish(arrays, record, about)

    def _to_reuse(self) -> dict[str, NDArray[Any]]:
        """What `known_images` asks for."""
        stamps, hashes = (np.frombuffer(b"".join(lines), np.uint8).reshape(-1, 16) for lines in (self.stamps, self.contents))
        traits = {f"trait {name}": np.array([name in had for had in self.traits_of]) for name in self.traits}
        return {"stamps": stamps, "hashes": hashes, "grey": np.array(self.grey), **traits}

    def _notes(self, sides: NDArray[np.uint8]) -> Iterator[str]:
        total = len(self.names)
        for trait, words in TRAITS.items():
            if count := self.traits[trait]:
                who = f"All {total:,}" if count == total else f"{count:,} of {total:,}"
                yield f"{who} images had {words}."
        mirror = " or its mirror image" if self.mirrored else ""
        if aside := int((sides == SET_ASIDE).sum()):
            yield f"{aside:,} of {total:,} images were set aside: they look the same as a held-out image{mirror}."

    def _fingerprint(self, channels: int, config: DataConfig) -> str:
        preparation = f"{_FINGERPRINT_VERSION} {config.size} {config.fit} {channels} "
        hashed = blake2b(preparation.encode(), digest_size=16)
        for content, side in sorted(zip(self.contents, self.sides, strict=True)):
            hashed.update(content + bytes([side]))
        return hashed.hexdigest()


def _pixel_hash(pixels: NDArray[np.uint8], mirrored: bool) -> bytes:
    """Equal for equal images, and where mirrored images are as good as others for an image and its mirror image."""
    ways = [pixels, pixels[:, ::-1]] if mirrored else [pixels]
    return min(blake2b(np.ascontiguousarray(way).data, digest_size=16).digest() for way in ways)


def side_of(content: bytes, *, test_share: float = _TEST_SHARE) -> int:
    """The side that an image's content hash decides; `test_share` is 0 where the data have a test side of their own."""
    place = int.from_bytes(content[:8], "big") / 2**64
    if place < _VALIDATION_SHARE:
        return VALIDATION
    if place < _VALIDATION_SHARE + test_share:
        return TEST
    return TRAIN


def set_duplicates_aside(sides: NDArray[np.uint8], pixel_hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Marks SET_ASIDE every image whose prepared pixels equal those of an image on a more protected side.

    Two files may hold the same picture in different bytes, as a PNG and a BMP do; their content hashes differ, so they
    may land on different sides, and the model would be judged on what it was taught. Duplicates within one side stay.
    """
    _, group = np.unique(pixel_hashes, return_inverse=True)
    strongest = np.full(int(group.max(initial=-1)) + 1, -1, dtype=np.int8)
    protection = _PROTECTION[sides]
    np.maximum.at(strongest, group, protection)
    return np.where(protection < strongest[group], np.uint8(SET_ASIDE), sides)


def check_most_images(place: str, count: int) -> None:
    """Raises DataError for more than `MOST_IMAGES`."""
    if count > MOST_IMAGES:
        raise DataError(f"{place} holds {count:,} images or files, over {MOST_IMAGES:,}: give fewer.")


def check_trainable(place: str, sides: NDArray[np.uint8], skipped: Sequence[Skipped]) -> None:
    """Refuses images that no model can be trained on."""
    if len(sides) < FEWEST_TO_TRAIN:
        raise DataError(_too_few(place, len(sides), skipped))
    if not (sides == TRAIN).any():
        raise DataError(f"No image of {place} is left to train on: all are copies of a held-out image; add different ones.")


def _too_few(place: str, usable: int, skipped: Sequence[Skipped]) -> str:
    if usable == 0:
        message = f"{place} holds no usable image."
    else:
        images = "image" if usable == 1 else "images"
        message = f"{place} holds only {usable} usable {images}, and at least {FEWEST_TO_TRAIN} are needed: add more."
    return f"{message} {skipped_in_words(skipped)}." if skipped else message


def skipped_in_words(skipped: Sequence[Skipped]) -> str:
    """How many files were left out, and the first one of each of the most frequent kinds with its reason."""
    kinds = Counter(_kind(one) for one in skipped)
    examples = {_kind(one): one for one in reversed(skipped)}  # the first of each kind
    said: list[str] = []
    for kind, count in kinds.most_common(_SHOWN_KINDS):
        many = f"{count:,} like " if count > 1 else ""
        said.append(f"{many}{examples[kind].name}: {examples[kind].reason}")
    files = "1 file was" if len(skipped) == 1 else f"{len(skipped):,} files were"
    return f"{files} skipped. {'; '.join(said)}"


def _kind(skipped: Skipped) -> str:
    """The part of the reason that many files share."""
    return skipped.reason.split(":")[0]
