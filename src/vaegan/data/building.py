"""Builds the cache: runs a source's work on threads, in order and within bounds, and says what was done."""

import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaegan.config import DataConfig
from vaegan.data.cache import CacheWriter, building
from vaegan.data.decoding import Skipped, content_keys, quiet_pillow
from vaegan.data.label_files import LabelFile, label_file, labels_from_file
from vaegan.data.layout import SET_ASIDE, SIDE_NAMES, TEST, TRAIN, VALIDATION, LabelTable, labels_from_folders, sides_from_folders
from vaegan.data.levels import decided, differ, in_words, range_of, too_even, widen
from vaegan.data.own import WRITTEN_HERE
from vaegan.data.pixels import BLANK, TRAITS
from vaegan.data.reuse import KnownImages, Reusable, known_images
from vaegan.data.source import OnlyOwnError, Result, Source, Task
from vaegan.errors import DataError
from vaegan.shapes import USUAL_LEVELS, Range
from vaegan.types import ProgressCallback

_VALIDATION_SHARE = _TEST_SHARE = 0.05
# When equal pixels stand on several sides the most protected side keeps them: test, then validation, then train.
_PROTECTION = np.array([0, 1, 2, -1], dtype=np.int8)

_FINGERPRINT_VERSION = 1  # raised when the same images are to count as others
_SHOWN_KINDS = 3  # reasons for skipping that a refusal says, each with its first file
MOST_IMAGES = 5_000_000
"""More are refused: each takes half a kilobyte beside its pixels, and a file of some hundred bytes can claim millions."""
FEWEST_TO_TRAIN = 64  # fewer usable images are refused: a batch could not be filled without repeating

_ENOUGH_TO_JUDGE = 200  # images

# More threads than this gain nothing, because Python's own work between decodes runs on one core.
_MOST_WORKERS = 8


def build(
    source: Source,
    config: DataConfig,
    directory: Path,
    progress: ProgressCallback | None,
    for_training: bool,
    with_own: bool = False,
    anew: bool = False,
) -> None:
    """Prepares every image of a source into the cache `directory`, or says why they are not enough.

    Pictures that this program wrote are left out, unless they are asked for: `with_own`. With `anew` a finished cache is
    replaced. Of a folder, what an older cache has and what would be the same is taken over.
    """
    total = source.count()
    check_most_images(source.place, total)
    # Until a coloured image comes nobody knows; enough for colour is asked for.
    needed = total * config.shape.area * {"1": 1, "4": 4}.get(config.channels, 3)
    older = known_images(directory) if source.reusing else None
    with building(directory, needed, anew) as folder:

        def collect(levels: str, known: KnownImages | None, what: str) -> _Collected:
            collected = _Collected(source, replace(config, levels=levels), folder, with_own)
            collected.run(known, lambda done: progress and progress(what, done, total))
            return collected

        # Most probably what was black and white before is so again; but for auto every pixel must be looked at first.
        known = None if config.levels == "auto" else older
        tried = known.levels if known else config.levels
        collected = collect(tried, known, "preparing images")
        used = collected.used
        levels = decided(config.levels, used)
        if differ(tried, levels, used):  # of photographs they never do
            collected = collect(levels, older, "preparing images again, by the range of their values")
        collected.finish(levels, used, for_training)


def _run_in_order(tasks: Iterator[Task]) -> Generator[list[Result]]:
    """Runs tasks on threads and yields their results in the tasks' order; only a few wait at any time."""
    workers = min(_MOST_WORKERS, os.cpu_count() or 1)
    pending: deque[Future[list[Result]]] = deque()
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

    def __init__(self, source: Source, config: DataConfig, folder: Path, with_own: bool) -> None:
        self.source, self.config, self.with_own = source, config, with_own
        self.writer = CacheWriter(folder, config.shape, {"3": 3, "4": 4}.get(config.channels, 1))
        self.used: dict[str, Range] = {}  # by the files' numbers, by their kind
        self.positions: list[int] = []  # of the usable images among all of the source
        self.names: list[str] = []
        self.contents: list[bytes] = []
        self.pixel_hashes: list[bytes] = []
        self.given: list[int | None] = []  # sides that the source itself says
        self.label_files: list[LabelFile] = []
        self.skipped: list[Skipped] = []
        self.traits: Counter[str] = Counter()
        self.reusable = Reusable()

    def run(self, known: KnownImages | None, report: Callable[[int], object]) -> None:
        """Prepares all images of the source but those that are known."""
        source, config = self.source, self.config
        reusing = known and source.reusing
        tasks = reusing(config, known.prepared_by(config.levels)) if known and reusing else source.tasks(config)
        try:
            with closing(_run_in_order(tasks)) as done:
                for results in done:
                    for result in results:
                        self.add(result)
                    report(self.seen)
        finally:
            self.writer.close()

    @property
    def seen(self) -> int:
        return len(self.names) + len(self.skipped) + len(self.label_files)

    def add(self, result: Result) -> None:
        if isinstance(result, LabelFile):
            self.label_files = sorted([*self.label_files, result], key=lambda file: file.rank)
            return
        if isinstance(result, Skipped) or (result.own and not self.with_own):
            self.skipped.append(result if isinstance(result, Skipped) else Skipped(result.name, WRITTEN_HERE))
            self.reusable.own += [] if isinstance(result, Skipped) else [result.stamp]
            return
        self.writer.add(result.pixels)
        self.positions.append(self.seen)
        self.names.append(result.name)
        self.contents.append(result.content)
        self.pixel_hashes.append(_pixel_hash(result.pixels, self.source.mirrored))
        self.given.append(result.side)
        self.reusable.add(result)
        self.traits.update(result.traits)
        widen(self.used, result.used)

    def finish(self, levels: str, used: Mapping[str, Range], for_training: bool) -> None:
        """Checks that the images, which use these ranges and were prepared by these levels, suffice; writes all about them."""
        source = self.source
        own_files = source.own_files + sum(one.reason == WRITTEN_HERE for one in self.skipped)
        if not self.names and own_files:
            raise OnlyOwnError(source.place, own_files)
        if not self.names:
            raise DataError(_too_few(source.place, 0, self.skipped))
        by_folder, folders = sides_from_folders(self.names)
        given = [by_folder[index] if side is None else side for index, side in enumerate(self.given)]
        divided = self._divided(given)
        sides = set_duplicates_aside(divided, content_keys(self.pixel_hashes))
        warnings = (*self._blank(), *too_even(levels, used))
        if for_training:
            check_trainable(source.place, sides, self.skipped, warnings)
        table = source.labels(self.positions) if source.labels else labels_from_folders(folders)
        labels = self._labels(table, for_training)
        arrays = {f"label {name}": values for name, values in labels.values.items()}
        record = {
            "names": self.names,
            "label_words": labels.words,
            "skipped": self.skipped,
            "notes": [*self._notes(sides, given), *in_words(levels, used), *([labels.note] if labels.note else [])],
            "warnings": warnings,
            "levels": levels,
            "fingerprint": self._fingerprint(levels, divided),
        }
        arrays |= self.reusable.arrays(self.contents) if source.reusing else {}
        place = os.path.abspath(source.place) if os.path.exists(source.place) else source.place
        about = f"{len(self.names):,} images of {place}, {self.config.size} pixels"
        self.writer.finish({"sides": sides, "contents": content_keys(self.contents), **arrays}, record, about)

    def _divided(self, given: Sequence[int | None]) -> NDArray[np.uint8]:
        """The side of each image: the one given, and else one by its content that nobody was given."""
        shares = {
            "validation_share": 0.0 if VALIDATION in given else _VALIDATION_SHARE,
            "test_share": 0.0 if TEST in given else _TEST_SHARE,
        }
        pairs = zip(given, self.contents, strict=True)
        return np.array([side_of(content, **shares) if side is None else side for side, content in pairs], np.uint8)

    def _labels(self, table: LabelTable, for_training: bool) -> LabelTable:
        """The labels that the source brings, and those of a file: the one asked for, or the first beside the images."""
        asked = self.config.labels
        file = label_file(Path(asked)) if asked else next(iter(self.label_files), None)
        if file is None:
            return table
        try:
            found = labels_from_file(file, self.names)
        except DataError as error:
            if asked and for_training:
                raise
            return replace(table, note=" ".join(filter(None, (table.note, str(error)))))
        note = found.note if table.values.keys() <= found.values.keys() else f"{table.note or ''} {found.note}".strip()
        return LabelTable(table.values | found.values, table.words | found.words, note)

    def _notes(self, sides: NDArray[np.uint8], given: Sequence[int | None]) -> Iterator[str]:
        total = len(self.names)
        for trait, words in TRAITS.items():
            if count := self.traits[trait]:
                yield f"{self._many(count)} had {words.format(background=self.config.background)}."
        own = Counter(side for side in given if side is not None)
        if own:
            listed = " and ".join(f"{SIDE_NAMES[side]} ({own[side]:,} images)" for side in sorted(own))
            yield f"The data are divided already, and these sides were taken as they are: {listed}."
        mirror = " or its mirror image" if self.source.mirrored else ""
        if aside := int((sides == SET_ASIDE).sum()):
            yield f"{aside:,} of {total:,} images were set aside: they look the same as a held-out image{mirror}."

    def _blank(self) -> Iterator[str]:
        if count := self.traits[BLANK]:
            behind = self.config.background
            other = "white" if behind == "black" else "black"
            yield (
                f"{self._many(count)} show next to nothing: they are as {behind} as what was laid behind their transparency; "
                f"add --background {other}."
            )

    def _many(self, count: int) -> str:
        total = len(self.names)
        return f"All {total:,} images" if count == total else f"{count:,} of {total:,} images"

    def _fingerprint(self, levels: str, sides: NDArray[np.uint8]) -> str:
        config, ranges = self.config, {kind: range_of(levels, kind) for kind in sorted(self.used)}
        parts = [_FINGERPRINT_VERSION, config.size, config.fit, self.writer.channels, ""]
        parts += [f"{kind}={ranges[kind]} " for kind in ranges if ranges[kind] != USUAL_LEVELS[kind]]
        parts += [] if config.background == "white" else [f"{config.background} "]
        hashed = blake2b(" ".join(map(str, parts)).encode(), digest_size=16)
        for content, side in sorted(zip(self.contents, sides.tolist(), strict=True)):
            hashed.update(content + bytes([side]))
        return hashed.hexdigest()


def _pixel_hash(pixels: NDArray[np.uint8], mirrored: bool) -> bytes:
    """Equal for equal images, and where mirrored images are as good as others for an image and its mirror image."""
    ways = [pixels, pixels[:, ::-1]] if mirrored else [pixels]
    return min(blake2b(np.ascontiguousarray(way).data, digest_size=16).digest() for way in ways)


def side_of(content: bytes, *, validation_share: float = _VALIDATION_SHARE, test_share: float = _TEST_SHARE) -> int:
    """The side that an image's content hash decides; a share is 0 where the data have such a side of their own."""
    place = int.from_bytes(content[:8], "big") / 2**64
    if place < validation_share:
        return VALIDATION
    if place < validation_share + test_share:
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


def check_trainable(place: str, sides: NDArray[np.uint8], skipped: Sequence[Skipped], warnings: Sequence[str] = ()) -> None:
    """Refuses images that no model can be trained on; `warnings` of what makes them alike are said."""
    if len(sides) < FEWEST_TO_TRAIN:
        raise DataError(_too_few(place, len(sides), skipped))
    if not (sides == TRAIN).any():
        cause = " ".join(warnings) or "Add different ones."
        raise DataError(f"No image of {place} is left to train on: all look the same as a held-out image. {cause}")


def warnings_of(sides: NDArray[np.uint8], contents: NDArray[np.uint64]) -> tuple[str, ...]:
    """Sentences on what cannot be expected of images on these sides, with these keys of their contents."""
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
