"""The head without its features, the body under it, and the beard."""

from collections.abc import Callable

import numpy as np

from vaegan.data.faces.canvas import LINE, Array, Canvas, Index, ellipse, polygon, smoothstep
from vaegan.data.faces.factors import CLOTHES, HAIR_STYLES, Faces
from vaegan.data.faces.features import head_window, mouth_place
from vaegan.data.faces.hair import head_radius, polar_profile
from vaegan.data.faces.palette import WHITE, ink_of, lighten, rgb, shade_of


def head_distance(view: Canvas, faces: Faces) -> Array:
    """Signed distance to the head's outline; the jaw moves to the side the face turns to."""
    polar = polar_profile()
    x = view.x - 0.075 * faces.turn * np.clip(view.y + 0.1, 0, 1)
    return polar.outline(head_radius(faces, polar.angle), x, view.y)


def draw_body(canvas: Canvas, faces: Faces) -> None:
    """Shoulders, neck and clothes; upright even if the head tilts."""
    for words, down, half, drawer in _BODY_PARTS:
        codes = [CLOTHES.index(word) for word in words]
        which = np.flatnonzero(np.isin(faces.clothes, codes)) if words else np.arange(len(faces.clothes))
        if len(which):
            chosen = faces.take(which)
            # The body follows the head only partly.
            middle, level = chosen.centre_x * 0.9, 0.80 + 0.6 * chosen.centre_y
            with canvas.window(middle, level + down, *half, which) as part:
                drawer(part, chosen, part.x - middle, part.y - level)


def _draw_hood(part: Canvas, faces: Faces, x: Array, y: Array) -> None:
    hood = ellipse(x, y - 0.06, 0.36, 0.15)
    part.shape(hood, shade_of(faces.clothes_rgb), ink_of(faces.clothes_rgb))


def _draw_shoulders(part: Canvas, faces: Faces, x: Array, y: Array) -> None:
    cloth, trim = faces.clothes_rgb, faces.trim_rgb
    inside = part.shape(ellipse(x, y - 0.52, faces.shoulders, 0.50), cloth, ink_of(cloth))
    bands = np.clip(0.5 + np.sin(y * 34 - 2 * x**2) * 2.5, 0, 1) * (faces.clothes == CLOTHES.index("striped"))
    part.paint(bands * inside, trim)
    part.paint(smoothstep(0.15, 0.6, np.abs(x) + 0.3 * y) * inside * np.float32(0.6), shade_of(cloth))


def _draw_neck(part: Canvas, faces: Faces, x: Array, y: Array) -> None:
    """The neck, the skin that the neckline leaves free, and the shadow of the chin."""
    skin = faces.skin_rgb
    half = 0.145 + 0.2 * (faces.shoulders - 0.6)
    neck = np.maximum(np.abs(x - 0.11 * faces.tilt * np.clip(y, -1, 0)) - half, y - 0.06)
    v_neck = faces.clothes == CLOTHES.index("v-neck")
    neckline = np.where(v_neck, (np.abs(x) * 1.25 + y - 0.22) * 0.62, ellipse(x, y - 0.01, 0.215, 0.085))
    neckline = np.where(y > np.where(v_neck, np.float32(0.01), np.float32(-0.06)), neckline, np.float32(1))
    distance = np.minimum(neck, neckline)
    part.shape(distance, skin, ink_of(skin))
    chin = part.y - faces.centre_y - faces.scale * (faces.chin + 0.10) + 0.9 * x**2
    part.paint(part.coverage(chin) * part.coverage(distance + LINE / 2), shade_of(skin))


def _draw_ring_collar(part: Canvas, faces: Faces, x: Array, y: Array) -> None:
    ring = ellipse(x, y - 0.01, 0.235, 0.105)
    front = part.coverage(0 * x - y)
    part.stroke(ring, 0.055, faces.trim_rgb, front)
    part.stroke(ring - 0.03, 0.02, ink_of(faces.clothes_rgb), front * np.float32(0.8))


def _draw_hoodie_strings(part: Canvas, faces: Faces, x: Array, y: Array) -> None:
    across = np.abs(x)
    strings = np.maximum(np.abs(across - 0.11) - 0.014, np.abs(y - 0.19) - 0.08)
    part.paint(part.coverage(strings), lighten(faces.trim_rgb, 0.5))


def _draw_turtleneck(part: Canvas, faces: Faces, x: Array, y: Array) -> None:
    cloth = faces.clothes_rgb
    roll = np.maximum(np.maximum(np.abs(x) - 0.20 - 0.06 * y, -0.10 - y), y - 0.07 + 0.8 * x**2)
    part.shape(roll, lighten(cloth, 0.12), ink_of(cloth))


def _draw_shirt_collar(part: Canvas, faces: Faces, x: Array, y: Array) -> None:
    cloth = faces.clothes_rgb
    across = np.abs(x)
    flap = polygon(across, y, ((0.15, -0.12), (0.27, 0.02), (0.22, 0.20), (0.015, 0.10)))
    part.shape(flap, lighten(cloth, 0.6), ink_of(cloth), LINE * 0.8)


# Whose clothes have it (everybody's without words), where under the neckline and how large its window is, and its drawer.
_BODY_PARTS: tuple[tuple[tuple[str, ...], float, tuple[float, float], Callable[[Canvas, Faces, Array, Array], None]], ...] = (
    (("hoodie",), 0.0, (0.45, 0.25), _draw_hood),
    ((), 0.2, (1.0, 0.25), _draw_shoulders),
    ((), -0.05, (0.32, 0.38), _draw_neck),
    (("tee", "striped", "hoodie"), 0.05, (0.30, 0.20), _draw_ring_collar),
    (("hoodie",), 0.15, (0.20, 0.15), _draw_hoodie_strings),
    (("turtleneck",), 0.0, (0.32, 0.22), _draw_turtleneck),
    (("shirt",), 0.05, (0.36, 0.28), _draw_shirt_collar),
)


def draw_ears(canvas: Canvas, faces: Faces) -> None:
    """Both ears; the head, drawn after them, covers the far one of a turned head."""
    skin = faces.skin_rgb
    for side in (-1, 1):
        middle = side * (faces.face_width + 0.012) - 0.055 * faces.turn
        with head_window(canvas, faces, middle, 0.13, (0.16, 0.26)) as view:
            x, y = view.x - middle, view.y - 0.12
            view.shape(ellipse(x + side * 0.25 * y, y, 0.075, 0.115), skin, ink_of(skin))
            view.paint(view.coverage(ellipse(x + side * 0.25 * y, y, 0.035, 0.06)) * 0.8, shade_of(skin))
            ring = ellipse(x + side * 0.02, y - 0.14, 0.032, 0.04)
            view.paint(view.coverage(ring) * faces.earring, lighten(faces.hat_rgb, 0.3))


def draw_head(canvas: Canvas, faces: Faces) -> None:
    """The bare head with soft shading: light comes from the upper left."""
    skin = faces.skin_rgb
    with head_window(canvas, faces, 0.03 * faces.turn, 0.04, (0.68, 0.72)) as view:
        inside = view.shape(head_distance(view, faces), skin, ink_of(skin), LINE * 1.1)
        shadow = smoothstep(0.30, 0.62, 0.8 * (view.x - 0.1 * faces.turn) + 0.42 * view.y)
        view.paint(shadow * inside * np.float32(0.75), shade_of(skin))


def draw_cheeks(canvas: Canvas, faces: Faces) -> None:
    """Blush on both cheeks, well inside the head."""
    pink = faces.skin_rgb * rgb(1.0, 0.68, 0.66)
    for side in (-1, 1):
        cheek, narrowing = faces.projected(side * 0.30)
        with head_window(canvas, faces, cheek, 0.29, (0.17, 0.13)) as view:
            x, y = (view.x - cheek) / narrowing, view.y - 0.29 - faces.nod
            glow = 1 - smoothstep(0.2, 1.0, (x / 0.14) ** 2 + (y / 0.095) ** 2)
            view.paint(glow * view.coverage(head_distance(view, faces)) * faces.blush, pink)


def draw_freckles(canvas: Canvas, faces: Faces, which: Index) -> None:
    """A few dots on each cheek of the chosen faces, at places `which` of the canvas."""
    for side in (-1, 1):
        cheek, _ = faces.projected(side * 0.26)
        with head_window(canvas, faces, cheek, 0.26, (0.14, 0.14), which) as view:
            for across, down in ((-0.07, 0.0), (-0.015, -0.035), (0.05, -0.005), (-0.015, 0.035)):
                dot = ellipse(view.x - cheek - across, view.y - 0.26 - faces.nod - down, 0.016, 0.016)
                view.paint(view.coverage(dot) * np.float32(0.5), ink_of(faces.skin_rgb) * 0.5 + faces.skin_rgb * 0.4)


def draw_beard(canvas: Canvas, faces: Faces, which: Index) -> None:
    """Stubble, goatee or full beard and the moustache, for the chosen faces, at places `which` of the canvas."""
    middle, level, narrowing = mouth_place(faces)
    with head_window(canvas, faces, middle * 0, 0.36, (0.72, 0.46), which) as view:
        x = view.x - middle
        bald = faces.hair_style == HAIR_STYLES.index("bald")
        colour = np.where(bald[:, None], faces.hair_rgb * 0.9, shade_of(faces.hair_rgb) * 0.5 + faces.hair_rgb * 0.5)
        hole = ellipse(x, view.y - level - 0.012, (faces.mouth_width + 0.055) * narrowing, 0.075)
        ragged = 0.016 * np.abs((x * 9) % 1 * 2 - 1)
        head = head_distance(view, faces)
        cheek_line = 0.16 + 0.20 * np.clip(1 - (x / 0.46) ** 2, 0, 1) - view.y
        full = np.maximum(np.maximum(head - 0.035 - ragged, cheek_line), -hole)
        chin = ellipse(x, view.y - faces.chin + 0.05, 0.17, 0.12) - ragged
        goatee = np.maximum(np.maximum(chin, head - 0.05 - ragged), -hole)
        beard = np.where(faces.beard_form < 0.55, goatee, full).astype(np.float32)
        has = faces.beard * (faces.beard_form >= 0.3)
        view.shape(
            np.where(has > 0, beard, 1).astype(np.float32),
            colour.astype(np.float32),
            ink_of(faces.hair_rgb),
            LINE * 0.8,
        )
        stubble = view.coverage(np.maximum(full, head + 0.02)) * (faces.beard * (faces.beard_form < 0.3))
        view.paint(stubble * 0.3, ink_of(faces.hair_rgb))
        _draw_moustache(view, faces, x, view.y - level)


def _draw_moustache(view: Canvas, faces: Faces, x: Array, down: Array) -> None:
    across = np.abs(x) / 0.185
    thick = 0.040 * np.clip(1 - across**2.5, 0, 1) * np.clip(0.45 + across * 2, 0, 1)
    lobes = np.abs(down + 0.085 - 0.065 * across**2) - thick
    lobes = np.maximum(lobes, (across - 1) * 0.185) * 0.85
    colour = shade_of(faces.hair_rgb) * 0.5 + faces.hair_rgb * 0.5
    view.shape(np.where(faces.moustache > 0, lobes, 1).astype(np.float32), colour, ink_of(faces.hair_rgb), LINE * 0.8)
    view.paint(view.coverage(lobes + 0.02) * faces.moustache * 0.25, WHITE)
