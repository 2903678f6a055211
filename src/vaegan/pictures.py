"""Grids, rows and animations: arrays to files that a person looks at."""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vaegan.data.own import EXIF_SOFTWARE, SOFTWARE
from vaegan.errors import one_line
from vaegan.files import atomic_path, write_atomically
from vaegan.transparency import TRANSPARENT, divided, over_checkers

Pixels = NDArray[np.uint8]  # [count, height, width, channels]

GAP = 2  # [pixels] between pictures of a grid
PAPER = 255
SHOWN_SIDE = 64
"""Smaller images are shown enlarged by a whole factor, pixel by pixel, until they are as large [pixels]."""


def grid(pixels: Pixels, columns: int | None = None) -> Image.Image:
    """One picture of all images, row by row, near a square without `columns`; those under 64 pixels are enlarged."""
    pixels = over_checkers(enlarged(pixels, SHOWN_SIDE))
    count, height, width, channels = pixels.shape
    across = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / across)
    sheet = np.full((rows * (height + GAP) + GAP, across * (width + GAP) + GAP, channels), PAPER, np.uint8)
    for index, image in enumerate(pixels):
        top, left = GAP + index // across * (height + GAP), GAP + index % across * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return to_picture(sheet)


def rows(pixels: Sequence[Pixels]) -> Image.Image:
    """One picture with a row for each of several sets of images; shorter rows end in blank paper."""
    columns = max(len(row) for row in pixels)
    filled = [np.concatenate([row, np.full((columns - len(row), *row.shape[1:]), PAPER, np.uint8)]) for row in pixels]
    return grid(np.concatenate(filled), columns)


def stacked(layers: Sequence[Pixels], columns: int) -> Image.Image:
    """Pictures of the same images, each below the other: blocks of rows with at most `columns` images, one row a layer."""
    starts = range(0, len(layers[0]), columns)
    return rows([layer[start : start + columns] for start in starts for layer in layers])


def to_picture(image: NDArray[np.uint8]) -> Image.Image:
    """A Pillow image of [height, width, 1, 3 or 4]."""
    if image.shape[-1] == TRANSPARENT:
        return Image.fromarray(divided(image))
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def png_bytes(picture: Image.Image, notes: dict[str, str] | None = None) -> bytes:
    """A PNG's content, with this program's name and `notes` as its text metadata, before the pixels."""
    metadata, file = PngInfo(), BytesIO()
    for key, value in ({"software": SOFTWARE} | (notes or {})).items():
        metadata.add_text(key, one_line(value))  # names of files need not be text
    picture.save(file, format="PNG", pnginfo=metadata)
    return file.getvalue()


def save_png(picture: Image.Image, path: Path, notes: dict[str, str] | None = None) -> None:
    """Writes a PNG atomically, with `notes` as its text metadata."""
    write_atomically(path, lambda file: file.write(png_bytes(picture, notes)))


def enlarged(pixels: Pixels, side: int) -> Pixels:
    """Every pixel drawn as a square, so often that a picture is at least `side` pixels wide."""
    times = max(1, math.ceil(side / pixels.shape[2]))
    return pixels.repeat(times, axis=1).repeat(times, axis=2)


def save_animation(frames: Sequence[Image.Image], path: Path, milliseconds: int = 180, hold: int = 2000) -> None:
    """Writes an animated WebP or GIF by the suffix, with this program's name; a frame stays `milliseconds`, the last `hold`."""
    suffix = path.suffix.lower()
    durations = [milliseconds] * (len(frames) - 1) + [hold]
    options: dict[str, Any] = {"duration": durations, "loop": 0}
    if suffix == ".webp":
        exif = Image.Exif()
        exif[EXIF_SOFTWARE] = SOFTWARE
        options |= {"format": "WEBP", "quality": 80, "method": 3, "exif": exif.tobytes()}
    else:
        options |= {"format": "GIF", "comment": SOFTWARE.encode()}
        frames = _of_one_palette(frames)
    with atomic_path(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], **options)


def _of_one_palette(frames: Sequence[Image.Image]) -> Sequence[Image.Image]:
    """Colour frames in 256 colours that all share: a palette a frame took fifty times as long, for as many bytes."""
    if frames[0].mode == "L":
        return frames
    some = [np.asarray(frame.convert("RGB")) for frame in frames[:: math.ceil(len(frames) / 8)]]
    palette = Image.fromarray(np.concatenate(some)).quantize(256, Image.Quantize.FASTOCTREE)
    return [frame.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
