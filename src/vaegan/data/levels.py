"""Which numbers are black and white: decided once for a whole data set, by the kinds of numbers in its files, and said."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaegan.shapes import USUAL_LEVELS, Range, parse_levels

EVEN = 0.1
"""Share of the range from black to white: images that use less than that look like one even colour."""
NOT_FINITE = "has values that are not numbers"
_STRAY = 10_000  # one pixel in so many may be brighter or darker than what counts as used: hot pixels are not content
_DEPTHS = (1, 8, 10, 12, 14, 16)  # bits that masks, cameras and scanners fill
_FLOATS: tuple[Range, ...] = ((0, 1), (-1, 1), (0, 255))
_VALUES_AT_A_TIME = 2**20


class Used(NamedTuple):
    """The kind of numbers in an image's file, a key of `USUAL_LEVELS`, and the lowest and highest that it uses."""

    kind: str
    low: float
    high: float


PHOTOGRAPH = Used("8-bit", 0, 255)


def kind_of(values: np.dtype[np.generic]) -> str:
    """The kind of an array's numbers."""
    if values.kind == "f":
        return "float"
    return {"b1": "8-bit", "u1": "8-bit", "u2": "16-bit"}.get(f"{values.kind}{values.itemsize}", "integer")


def used(values: NDArray[np.generic], kind: str, images: int = 1) -> Used:
    """What the numbers of one image or several use, but for stray ones of large images; ValueError if one is not finite."""
    if kind == "float" and not np.isfinite(values).all():
        raise ValueError(NOT_FINITE)
    flat = values.reshape(images, -1)
    few = 0 if kind == "8-bit" else flat.shape[1] // _STRAY
    if few:
        flat = np.partition(flat, (few, -1 - few), axis=1)[:, (few, -1 - few)]
    return Used(kind, float(flat.min()), float(flat.max()))


def widen(ranges: dict[str, Range], found: Used) -> None:
    """Makes the ranges that a data set uses, by kind, hold what one more image uses."""
    low, high = ranges.get(found.kind, (found.low, found.high))
    ranges[found.kind] = min(low, found.low), max(high, found.high)


def range_of(levels: str, kind: str) -> Range:
    """The numbers of black and white for a kind, which are the usual ones while nothing else is decided."""
    return parse_levels(levels).get(kind, USUAL_LEVELS[kind])


def scaled(values: NDArray[np.generic], black_to_white: Range) -> NDArray[np.uint8]:
    """Numbers as pixels, 0 for black and less, 255 for white and more."""
    black, white = black_to_white
    pixels = np.empty(values.shape, np.uint8)
    rows = max(1, _VALUES_AT_A_TIME // max(1, values[0].size))
    with np.errstate(over="ignore"):  # what is infinitely bright is white
        for start in range(0, len(values), rows):
            part = values[start : start + rows].astype(np.float64)
            pixels[start : start + rows] = np.rint((255 * ((part - black) / (white - black))).clip(0, 255))
    return pixels


def decided(levels: str, ranges: Mapping[str, Range]) -> str:
    """The `levels` of a data set that uses these ranges: those given, and of each other kind what fits it, as text."""
    given = parse_levels(levels)
    if given.keys() >= ranges.keys():
        return levels
    chosen = {kind: _fitting(kind, *ranges[kind], levels == "auto") for kind in ranges} | given
    return ",".join(f"{kind}={chosen[kind][0]:.9g}:{chosen[kind][1]:.9g}" for kind in USUAL_LEVELS if kind in chosen)


def _fitting(kind: str, low: float, high: float, own: bool) -> Range:
    """Black and white for what a data set uses of a kind: its `own` lowest and highest, or the range that such numbers have."""
    low, high = float(f"{low:.9g}"), float(f"{high:.9g}")
    if not 0 < high - low < np.inf:
        return USUAL_LEVELS[kind]
    if kind == "float":
        # Photographs fill these ranges; a depth map of 0 to 30 metres does not.
        common = [(black, white) for black, white in _FLOATS if black <= low and high <= white < black + 2 * (high - low)]
    else:
        common = [(0, 2**bits - 1) for bits in _DEPTHS if low >= 0 and high < 2**bits and (kind != "8-bit" or bits in (1, 8))]
    return (low, high) if own or not common else common[0]


def differ(first: str, final: str, ranges: Mapping[str, Range]) -> bool:
    """Whether images of these kinds must be prepared again, because the final levels are not those they were prepared by."""
    return any(range_of(first, kind) != range_of(final, kind) for kind in ranges)


def in_words(levels: str, ranges: Mapping[str, Range]) -> Iterator[str]:
    """Says what was taken as black and white, unless it is all that 8 bits hold."""
    for kind in ranges:
        black, white = range_of(levels, kind)
        if kind != "8-bit" or (black, white) != USUAL_LEVELS[kind]:
            yield f"Values {black:,.6g} to {white:,.6g} of {kind} images were taken as black to white."


def too_even(levels: str, ranges: Mapping[str, Range]) -> Iterator[str]:
    """Says of which kind all images together use so little of the range that next to nothing is seen."""
    for kind, (low, high) in ranges.items():
        black, white = range_of(levels, kind)
        if low < high and min(high, white) - max(low, black) < EVEN * (white - black):
            yield (
                f"The {kind} images use only values {low:,.6g} to {high:,.6g}, under a tenth of {black:,.6g} to {white:,.6g}, "
                "which were taken as black to white, so they show next to nothing: add --levels auto, or --levels LOW:HIGH."
            )
