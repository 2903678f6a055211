"""What the folders that images lie in say of them: sides (train, val, test) and classes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

TRAIN, VALIDATION, TEST, SET_ASIDE = 0, 1, 2, 3
"""The sides: every image stands on one, decided by its own content, so that a growing folder moves nobody."""
SIDE_NAMES = ("train", "validation", "test", "set aside")
SIDE_WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
"""Names of folders and of arrays, in small letters, that stand for a side."""


@dataclass(frozen=True)
class LabelTable:
    """What is known of every usable image."""

    values: dict[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])
    """{name: float32 [count]}; categories as codes; NaN where it is not known."""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The words that a category's codes stand for."""
    note: str | None = None  # a sentence on where the labels come from


def folders_of(name: str) -> tuple[str, ...]:
    """The folders in an image's path, without the file's own name."""
    return tuple(part for part in name.split("/")[:-1] if part not in ("", "."))


def common_folders(places: Sequence[tuple[str, ...]]) -> int:
    """How many folders all places begin with."""
    found, common = set(places), 0
    shortest = min(map(len, found), default=0)
    while common < shortest and len({place[common] for place in found}) == 1:
        common += 1
    return common


def sides_from_folders(names: Sequence[str]) -> tuple[list[int | None], list[tuple[str, ...]]]:
    """The side that the folder at the top gives an image, None where none does; and the folders without those of sides.

    Only validation and test are given: the images of a folder train are divided as others are where one of the two is missing.
    A folder train beside none of them is a folder like any other, as are those of sides where no image is left to train on.
    """
    places = [folders_of(name) for name in names]
    top = common_folders(places)
    given = [SIDE_WORDS.get(place[top].casefold()) if len(place) > top else None for place in places]
    held_out = {VALIDATION, TEST}
    if held_out.isdisjoint(given) or held_out.issuperset(given):
        return [None] * len(names), places
    inner = [place if side is None else (*place[:top], *place[top + 1 :]) for place, side in zip(places, given, strict=True)]
    return [side or None for side in given], inner


def labels_from_folders(places: Sequence[tuple[str, ...]]) -> LabelTable:
    """Takes the folders that hold an image as its class, where at least two do, without what all of them begin with."""
    found = Counter(places)
    if len(found) < 2:
        return LabelTable()
    common = common_folders(places)
    words = {place: "/".join(place[common:]) or "." for place in sorted(found)}
    codes = {place: code for code, place in enumerate(words)}
    values = np.array([codes[place] for place in places], dtype=np.float32)
    shown = [f"{word} ({found[place]:,})" for place, word in words.items()]
    listed = ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")
    note = f"The sub-folders were taken as the label 'class': {listed}."
    return LabelTable({"class": values}, {"class": tuple(words.values())}, note)
