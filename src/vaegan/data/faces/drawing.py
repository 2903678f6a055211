"""From traits to pictures: the order of the layers, the backgrounds, and drawing many faces in parallel."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from vaegan.data.faces.canvas import Array, Canvas, Index, smoothstep
from vaegan.data.faces.factors import BACKGROUNDS, FACTORS, HAIR_STYLES, Faces, sample_faces
from vaegan.data.faces.features import draw_brows, draw_eyes, draw_glasses, draw_mouth, draw_nose, head_view
from vaegan.data.faces.hair import FrontHair, draw_buzz, draw_hats, draw_tied_hair, hair_distance
from vaegan.data.faces.head import draw_beard, draw_body, draw_cheeks, draw_ears, draw_freckles, draw_head
from vaegan.data.faces.palette import ink_of, shade_of

SMALLEST_DRAWN = 64  # [pixels] smaller pictures are drawn at a multiple of their size and averaged down
_PIXELS_PER_BATCH = 96 * 64 * 64  # measured: fewer pay more for Python, more fall out of the cache


def _halo(x: Array, y: Array, phase: Array, pixel: Array) -> Array:
    distance = np.sqrt((x - 0.2 * (phase - 0.5)) ** 2 + (y + 0.05) ** 2) - 0.78 - 0.12 * phase
    return np.clip(0.5 - distance / pixel, 0, 1)


def _stripes(x: Array, y: Array, phase: Array, pixel: Array) -> Array:
    rate = 7 + 5 * phase
    return np.clip(0.5 + np.sin((x + (phase * 7 % 2 - 1) * y) * rate) / (rate * 1.4 * pixel), 0, 1)


def _dots(x: Array, y: Array, phase: Array, pixel: Array) -> Array:
    rate = 2 + 1.5 * phase
    row = y * rate + phase
    across = (x * rate + phase + 0.5 * (np.floor(row) % 2)) % 1 - 0.5
    return np.clip(0.5 - (np.sqrt(across**2 + (row % 1 - 0.5) ** 2) - 0.26) / (rate * pixel), 0, 1)


def _rays(x: Array, y: Array, phase: Array, pixel: Array) -> Array:
    rays = np.floor(9 + 8 * phase)
    reach = np.sqrt(x**2 + (y + 0.1) ** 2)
    return np.clip(0.5 + np.sin(rays * np.arctan2(x, y + 0.1) + 6 * phase) * reach / (rays * pixel), 0, 1)


def _hills(x: Array, y: Array, phase: Array, pixel: Array) -> Array:
    ridge = 0.22 + 0.16 * np.sin(2.6 * x + 7 * phase) + 0.06 * np.sin(6.3 * x - 9 * phase)
    return np.clip(0.5 - (ridge - y) / (1.2 * pixel), 0, 1)


_PATTERNS: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "plain": lambda x, y, phase, pixel: 0 * x * y * phase,
    "gradient": lambda x, y, phase, pixel: np.clip(0.5 + 0.7 * y + (phase - 0.5) * x, 0, 1),
    "halo": _halo,
    "stripes": _stripes,
    "dots": _dots,
    "rays": _rays,
    "hills": _hills,
}


def draw_background(canvas: Canvas, faces: Faces) -> None:
    """A colour, a gradient or simple shapes, quiet enough to leave the face in front; corners a little darker."""
    pattern = np.empty_like(canvas.pixels[:, 0])
    for code, word in enumerate(BACKGROUNDS):
        which = np.flatnonzero(faces.background == code)
        pattern[which] = _PATTERNS[word](canvas.x, canvas.y, faces.background_phase[which], canvas.pixel)
    bright = 1 - 0.10 * smoothstep(0.55, 2.0, canvas.x**2 + canvas.y**2)
    for channel in range(3):
        near, far = faces.background_rgb[:, channel], faces.backdrop_rgb[:, channel]
        canvas.pixels[:, channel] = (near + (far - near) * pattern) * bright


def _draw_some(
    canvas: Canvas, faces: Faces, chosen: npt.NDArray[np.bool_], drawer: Callable[[Canvas, Faces, Index], None]
) -> None:
    which = np.flatnonzero(chosen)
    if len(which):
        drawer(canvas, faces.take(which), which)


def render(faces: Faces, size: int) -> npt.NDArray[np.uint8]:
    """Pictures uint8 [face, size, size, 3] of faces with the given traits."""
    shrink = -(-SMALLEST_DRAWN // size)
    canvas = Canvas.blank(len(faces.smile), size * shrink)
    tied = np.isin(faces.hair_style, [HAIR_STYLES.index(word) for word in ("ponytail", "twintails", "bun")])
    draw_background(canvas, faces)
    _draw_some(canvas, faces, tied, draw_tied_hair)
    view = head_view(canvas, faces)
    outline = hair_distance(view, faces)
    fade = (shade_of(faces.tips_rgb), smoothstep(-0.3, 0.9, view.y))
    view.shape(outline, shade_of(faces.hair_rgb), ink_of(faces.hair_rgb), fade=fade)  # what hangs behind head and body
    draw_body(canvas, faces)
    draw_ears(canvas, faces)
    draw_head(canvas, faces)
    _draw_some(canvas, faces, faces.hair_style == HAIR_STYLES.index("buzz"), draw_buzz)
    hair = FrontHair(view, faces, outline)
    draw_cheeks(canvas, faces)
    _draw_some(canvas, faces, faces.freckles > 0, draw_freckles)
    hair.draw_shadow(view, faces)
    draw_nose(canvas, faces)
    _draw_some(canvas, faces, (faces.beard + faces.moustache) > 0, draw_beard)
    draw_mouth(canvas, faces)
    draw_eyes(canvas, faces)
    hair.draw(view, faces)
    draw_brows(canvas, faces)
    _draw_some(canvas, faces, faces.glasses > 0, draw_glasses)
    draw_hats(canvas, faces)
    pixels = canvas.pixels
    if shrink > 1:
        pixels = pixels.reshape(-1, 3, size, shrink, size, shrink).mean(axis=(3, 5))
    scaled = pixels * np.float32(255)
    scaled += np.float32(0.5)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8).transpose(0, 2, 3, 1)


def face_factors(count: int, seed: int = 0, start: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """The true factors float32 [count] of faces `start` to `start + count`; `FACTORS` lists their ranges and words."""
    faces = sample_faces(count, seed, start)
    return {name: getattr(faces, name)[:, 0, 0] for name in FACTORS}


def draw_faces(count: int, size: int = 64, seed: int = 0, start: int = 0) -> npt.NDArray[np.uint8]:
    """Faces `start` to `start + count` of a seed as uint8 [count, size, size, 3], size 16 to 256 [pixels].

    A face depends on the seed and its index only, and its composition does not depend on the size.
    """
    pictures = np.empty((count, size, size, 3), np.uint8)
    drawn_size = size * -(-SMALLEST_DRAWN // size)
    batch = max(1, _PIXELS_PER_BATCH // drawn_size**2)
    # Batches begin at multiples of their length, so that a face always meets the same neighbours: numpy may round
    # differently at other places of an array.
    firsts = range(start // batch * batch, start + count, batch)

    def draw_batch(first: int) -> None:
        drawn = render(sample_faces(batch, seed, first), size)
        low, high = max(first, start), min(first + batch, start + count)
        pictures[low - start : high - start] = drawn[low - first : high - first]

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(draw_batch, firsts))
    return pictures
