"""Labels out of a file beside the images: a table of file names and columns, or StyleGAN's dataset.json."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaegan.config import MOST_CLASSES
from vaegan.data.layout import LabelTable
from vaegan.errors import DataError, first_of, one_line

LABEL_FILES = ("labels.csv", "metadata.csv", "list_attr_celeba.txt", "list_attr_celeba.csv", "dataset.json")
"""Names that files of labels are known by, the first that is there counts."""
MOST_LABEL_BYTES = 64 * 2**20  # larger files are not read [bytes]: twice CelebA's
_MOST_COLUMNS = 256
_LONGEST = 100  # letters of a column's name that are kept
_SAMPLE = 1000  # rows that show which column names the files
_FEW = 20  # so many different whole numbers are categories, more are a quantity
_CLASSES = ("class", "label", "labels", "category", "target", "y", "identity")  # columns whose whole numbers are no quantity
_MISSING = ("", "nan", "na", "n/a", "null")
_YES = ("1", "true", "yes")
_TRUTHS = ({"-1", "1"}, {"0", "1"}, {"false", "true"}, {"no", "yes"})


@dataclass(frozen=True)
class LabelFile:
    """A file that may hold labels, not read yet."""

    name: str
    read: Callable[[], bytes]

    @property
    def rank(self) -> tuple[int, int]:
        """The smallest of several is taken: the one nearest to the top, by the order of `LABEL_FILES`."""
        return self.name.count("/"), LABEL_FILES.index(PurePosixPath(self.name).name.lower())


def is_label_file(name: str, size: int) -> bool:
    """Whether a file's name is one that labels have, at the top or in a folder there; and its size [bytes] one that is read."""
    return name.count("/") < 2 and PurePosixPath(name).name.lower() in LABEL_FILES and size <= MOST_LABEL_BYTES


def label_file(path: Path) -> LabelFile:
    """The file that somebody names as that of the labels; DataError if it is none that can be read."""
    if not path.is_file():
        raise DataError(f"--labels {path} is no file; give a table of file names and labels, or StyleGAN's dataset.json.")
    if path.stat().st_size > MOST_LABEL_BYTES:
        raise DataError(f"--labels {path} is too large: over {MOST_LABEL_BYTES // 2**20} MB.")
    return LabelFile(str(path), path.read_bytes)


def labels_from_file(file: LabelFile, names: Sequence[str]) -> LabelTable:
    """The labels of the images of these names, and a sentence on them.

    Raises:
        DataError: saying why there are none.
    """
    try:
        data, index = file.read(), _Index(names)
        is_json = file.name.lower().endswith(".json")
        return _table(file.name, *(_json_rows(data) if is_json else _csv_rows(data, index)), index)
    except Exception as error:  # an archive's member can be damaged in as many ways as there are compressions
        raise DataError(f"{file.name} gives no labels: {' '.join(str(error).split())[:120]}.") from error


class _Index:
    """Finds images by their paths: in full, by their ends, as cat/1.png of photos/cat/1.png, or without the suffix."""

    def __init__(self, names: Sequence[str], with_stems: bool = True) -> None:
        self.count = len(names)
        self._whole = {name: index for index, name in enumerate(names)}
        self._ends: dict[str, int] = {}
        for index, name in enumerate(names):
            end = name
            while True:
                self._ends[end] = -1 if end in self._ends else index  # which of several is meant, nobody knows
                _, slash, end = end.partition("/")
                if not slash:
                    break
        self._stems = _Index([_stem(name) for name in names], False) if with_stems else None

    def find(self, text: str) -> int:
        """The position of the image that a table calls so; -1 where there is none, or several."""
        name = text.strip().replace("\\", "/").removeprefix("./")
        found = self._whole.get(name, self._ends.get(name, -1))
        shorter = name
        while found < 0 and "/" in shorter:  # the table may know folders above these
            shorter = shorter.partition("/")[2]
            found = self._whole.get(shorter, -1)
        if found < 0 and self._stems is not None and not _is_image(name):
            return self._stems.find(name)
        return found


def _stem(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix else name


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in Image.registered_extensions()


Rows = Iterable[Sequence[str]]


def _csv_rows(data: bytes, index: _Index) -> tuple[list[str], Rows, int]:
    """The names of the columns, the rows, and which column names the images."""
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16" if wide else "utf-8-sig", errors="replace" if wide else "surrogateescape")
    first = text[: 2**16].partition("\n")[0]
    separator = max(",;\t", key=first.count)
    lines = io.StringIO(text, newline="")
    # CelebA's columns stand between spaces, below a line with the number of rows.
    split = csv.reader(lines, delimiter=separator) if separator in first else (line.split() for line in lines)
    rows = (row for row in split if len(row) > 1)
    sample = list(islice(rows, _SAMPLE))
    if not sample:
        raise ValueError("it has no two columns")
    if len(sample) > 1 and len(sample[0]) + 1 == len(sample[1]):
        sample[0] = ["", *sample[0]]
    width = min(len(sample[-1]), _MOST_COLUMNS)
    # The column that finds most images, or most that look like images.
    cells = [[row[column] for row in sample if column < len(row)] for column in range(width)]
    hits = [(sum(index.find(cell) >= 0 for cell in some), sum(map(_is_image, some))) for some in cells]
    images = hits.index(max(hits))
    head = sample[0][images] if images < len(sample[0]) else ""
    if index.find(head) < 0 and not _is_image(head):
        return sample[0], chain(sample[1:], rows), images
    single = len(sample[0]) == 2
    return ["class" if single else f"label-{column}" for column in range(len(sample[0]))], chain(sample, rows), images


def _json_rows(data: bytes) -> tuple[list[str], Rows, int]:
    found = json.loads(data)
    labels: Any = found.get("labels") if isinstance(found, dict) else found
    pairs: list[Any] = list(labels.items()) if isinstance(labels, dict) else labels if isinstance(labels, list) else []
    pairs = [pair for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2]
    if not pairs:
        raise ValueError('it has no "labels": [[NAME, LABEL], ...]')
    columns = list(_cells(pairs[0][1]))
    rows = ([str(name), *(_cells(value).get(column, "") for column in columns)] for name, value in pairs)
    return ["", *columns], rows, 0


def _cells(value: Any) -> dict[str, str]:
    """One number or word, a list of them, or several with their names."""
    if isinstance(value, list):
        value = {f"label-{number}": one for number, one in enumerate(value, 1)}
    named = value if isinstance(value, dict) else {"class": value}
    return {str(name): "" if one is None else str(one) for name, one in named.items()}


def _table(name: str, columns: Sequence[str], rows: Rows, images: int, index: _Index) -> LabelTable:
    """Collects the cells of each image as codes, a column at a time, so that a million rows fit into memory."""
    places: dict[str, int] = {}
    for place, title in enumerate(columns[:_MOST_COLUMNS]):
        if place != images and (called := one_line(title.strip())[:_LONGEST]):
            places.setdefault(called, place)
    codes = np.full((len(places), index.count), -1, np.int32)
    words: list[dict[str, int]] = [{} for _ in places]
    seen, unmatched = np.zeros(index.count, np.bool_), 0
    for row in rows:
        image = index.find(row[images]) if images < len(row) else -1
        if image < 0:
            unmatched += 1
        elif not seen[image]:
            seen[image] = True
            cells = (row[place].strip() if place < len(row) else "" for place in places.values())
            codes[:, image] = [
                -1 if cell.lower() in _MISSING else known.setdefault(cell, len(known))
                for cell, known in zip(cells, words, strict=True)
            ]
    if not seen.any():
        raise ValueError("it names none of these images")
    table, left_out = LabelTable(), list[str]()
    for title, row, known in zip(places, codes, words, strict=True):
        read = _column(title, list(known), row)
        if read is None:
            left_out += [title] if known else []
            continue
        table.values[title] = read[0]
        if read[1] is not None:
            table.words[title] = read[1]
    if not table.values:
        raise ValueError("none of its columns holds labels")
    said = [f"Labels from {name}: {first_of(list(table.values), 6)}."]
    without = index.count - int(seen.sum())
    said += [f"Of its rows {unmatched:,} {'name' if unmatched > 1 else 'names'} none of these images."] if unmatched else []
    said += [f"{without:,} of {index.count:,} images have no row there."] if without else []
    said += [f"Left out, for it has over {MOST_CLASSES:,} different words: {first_of(left_out)}."] if left_out else []
    return replace(table, note=" ".join(said))


def _column(
    title: str, distinct: list[str], codes: NDArray[np.int32]
) -> tuple[NDArray[np.float32], tuple[str, ...] | None] | None:
    """A column's values and, if it has categories, their words; None where nothing is known, or too many words are.

    Truths become no and yes. Few different whole numbers, and all those of a column called class, are categories.
    """
    if not distinct:
        return None
    spelt = [_whole(word) for word in distinct]
    numbers = [_number(word) for word in spelt]
    known = {word.lower() for word in spelt}
    is_class = title.lower() in _CLASSES
    if len(known) == 2 and known in _TRUTHS and not (is_class and "0" in known):
        words: tuple[str, ...] = ("no", "yes")
        spelt = [words[word.lower() in _YES] for word in spelt]
    elif None not in numbers and not (all(map(_is_whole, numbers)) and (is_class or len(known) <= _FEW)):
        values = np.array([*map(_finite, numbers), math.nan], np.float32)
        return values[codes], None
    else:
        words = tuple(sorted(set(spelt), key=lambda word: (_number(word) is None, _number(word) or 0.0, word)))
    if len(words) > MOST_CLASSES:
        return None
    places = {word: place for place, word in enumerate(words)}
    return np.array([*(places[word] for word in spelt), math.nan], np.float32)[codes], words


def _number(word: str) -> float | None:
    with suppress(ValueError):
        return float(word)
    return None


def _is_whole(number: float | None) -> bool:
    return number is not None and number.is_integer()


def _finite(number: float | None) -> float:
    return number if number is not None and abs(number) < np.finfo(np.float32).max else math.nan


def _whole(word: str) -> str:
    """1.0 and 01 are spelt 1, so that pandas' way of writing whole numbers beside missing ones changes nothing."""
    number = _number(word)
    return str(int(number)) if number is not None and number.is_integer() and abs(number) < 2**53 else word
