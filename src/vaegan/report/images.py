"""Pictures inside a page: sheets of tiles with transparent gaps, as data URIs that need no file beside the page."""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vaegan.pictures import GAP, SHOWN_SIDE, Pixels

LOSSLESS_BYTES = 450_000  # a sheet larger than this is stored with losses
QUALITY = 90
MAXIMUM_SHEET = 1600  # [pixels] a side; larger sheets are made smaller


@dataclass(frozen=True)
class Sheet:
    """A picture of tiles, ready to be put into a page."""

    data: str
    """A data URI."""
    width: int
    """[pixels] on the screen."""
    height: int
    columns: int
    rows: int


def sheet(pixels: Pixels, columns: int) -> Sheet:
    """All images row by row, with gaps through which the page is seen.

    Args:
        pixels: [count, height, width, 1 or 3].
        columns: images a row.
    """
    count, height, width, channels = pixels.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    whole = np.zeros((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 4), np.uint8)
    for index, image in enumerate(pixels):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        whole[top : top + height, left : left + width, :3] = image if channels == 3 else image.repeat(3, axis=2)
        whole[top : top + height, left : left + width, 3] = 255
    zoom = max(1, math.ceil(SHOWN_SIDE / width))
    picture = _at_most(Image.fromarray(whole), MAXIMUM_SHEET)
    return Sheet(_data_uri(picture), picture.width * zoom, picture.height * zoom, columns, rows)


def frame(path: Path, across: int, side: int = 400) -> Sheet:
    """A stored grid of samples, `across` in a row, without its paper, made small enough for an animation of many of them."""
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGBA")).copy()
    tile = (pixels.shape[1] - GAP) // across - GAP
    for axis in (0, 1):
        gaps = np.arange(pixels.shape[axis]) % (tile + GAP) < GAP
        pixels[(slice(None),) * axis + (gaps,)] = 0
    picture = _at_most(Image.fromarray(pixels), side)
    return Sheet(_encoded(picture, lossless=False, quality=72), picture.width, picture.height, 1, 1)


def _at_most(picture: Image.Image, side: int) -> Image.Image:
    longest = max(picture.size)
    if longest <= side:
        return picture
    width, height = (max(1, round(length * side / longest)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _data_uri(picture: Image.Image) -> str:
    exact = _encoded(picture, lossless=True, quality=60)
    return exact if len(exact) <= LOSSLESS_BYTES else _encoded(picture, lossless=False, quality=QUALITY)


def _encoded(picture: Image.Image, *, lossless: bool, quality: int) -> str:
    memory = io.BytesIO()
    picture.save(memory, format="WEBP", lossless=lossless, quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(memory.getvalue()).decode()
