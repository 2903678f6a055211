"""What is worn on the head."""

from collections.abc import Callable

import numpy as np

from vaegan.data.faces.canvas import (
    LINE,
    Array,
    Canvas,
    Index,
    arch,
    ellipse,
    rounded_box,
    smoothstep,
    superellipse,
)
from vaegan.data.faces.factors import HATS, Faces
from vaegan.data.faces.features import head_window
from vaegan.data.faces.hair import polar_profile
from vaegan.data.faces.palette import ink_of, lighten, rgb, shade_of


def _dome(view: Canvas, faces: Faces, room: float, height: float) -> Array:
    """Signed distance to a cap that follows the head at a distance of `room`, `height` above its centre."""
    polar = polar_profile()
    full = np.zeros_like(faces.chin)
    radius = superellipse(polar.angle, faces.face_width + room, full + height, full + 0.6, full + 2.3, full + 2.0)
    return polar.outline(radius, view.x, view.y)


def _shaded(view: Canvas, colour: Array) -> Array:
    """The colour lit from the upper left."""
    shadow = smoothstep(0.0, 0.75, view.x * 0.9 + view.y * 0.5 + 0.25)[:, None]
    return lighten(colour, 0.08) + (shade_of(colour) - colour) * shadow


def _draw_beanie(view: Canvas, faces: Faces) -> None:
    colour, ink = faces.hat_rgb, ink_of(faces.hat_rgb)
    brim = arch(view.x, view.y, -0.20, 0.30)
    pompom = ellipse(view.x - 0.02, view.y + 0.76, 0.125, 0.115)
    pompom = np.where(faces.double > 0, pompom, 1).astype(np.float32)
    view.shape(pompom, lighten(faces.trim_rgb, 0.35), ink)
    dome = np.maximum(_dome(view, faces, 0.085, 0.70), brim)
    view.shape(dome, _shaded(view, colour), ink)
    cuff = np.maximum(np.maximum(_dome(view, faces, 0.11, 0.74), brim - 0.02), -0.17 - brim)
    ribs = (np.clip(0.5 + 1.5 * np.sin(46 * view.x / (1.1 + 0.4 * view.y)), 0, 1) * 0.45)[:, None]
    fold = lighten(colour, 0.25)
    view.shape(cuff, fold + (shade_of(colour) - fold) * ribs, ink)


def _draw_cap(view: Canvas, faces: Faces) -> None:
    colour, ink = faces.hat_rgb, ink_of(faces.hat_rgb)
    lean = 0.14 * faces.turn
    dome = np.maximum(_dome(view, faces, 0.075, 0.70), arch(view.x, view.y, -0.22, 0.22))
    view.shape(ellipse(view.x - lean * 0.4, view.y + 0.70, 0.06, 0.035), shade_of(colour), ink)
    view.shape(dome, _shaded(view, colour), ink)
    seam = view.x - lean * (0.6 + view.y)
    view.stroke(np.abs(seam) - 0.27 * np.sqrt(np.clip(view.y + 0.70, 0, 1)), 0.018, ink, view.coverage(dome + 0.03) * 0.45)
    badge = rounded_box(seam, view.y + 0.43, 0.10, 0.075, np.full_like(lean, 0.05))
    view.paint(view.coverage(badge), lighten(faces.trim_rgb, 0.5))
    x = view.x - 1.6 * lean
    visor = np.maximum(arch(x, view.y, -0.13, 0.16), -arch(x, view.y, -0.285, 0.62))
    view.shape(np.maximum(visor, np.abs(x) - 0.56), shade_of(colour), ink)
    view.stroke(arch(x, view.y, -0.215, 0.40), 0.02, lighten(colour, 0.3), view.coverage(visor + 0.04) * 0.6)


def _draw_sun_hat(view: Canvas, faces: Faces) -> None:
    straw = rgb(0.95, 0.82, 0.54) * 0.75 + faces.hat_rgb * 0.25
    ink = ink_of(straw)
    y = view.y - 0.10 * view.x**2
    brim = ellipse(view.x, y + 0.30, 0.84, 0.135)
    weave = (np.clip(np.sin(view.y * 75), 0, 1) * 0.18)[:, None]
    crown = np.maximum(rounded_box(view.x, y + 0.50, 0.43, 0.31, np.full_like(faces.turn, 0.22)), y + 0.30)
    fill = _shaded(view, straw)
    fill = fill + (shade_of(straw) - fill) * weave
    view.shape(brim, fill, ink)
    view.shape(crown, fill, ink)
    band = np.maximum(np.maximum(np.abs(view.x) - 0.43, y + 0.295 - 0.12 * view.x**2), -0.13 - y - 0.30)
    view.shape(band, faces.trim_rgb, ink, LINE * 0.8)


def _draw_beret(view: Canvas, faces: Faces) -> None:
    colour, ink = faces.hat_rgb, ink_of(faces.hat_rgb)
    x, y = view.x - 0.10 * faces.side, view.y + 0.50 - 0.16 * faces.side * view.x
    view.shape(np.maximum(np.abs(x + 0.02) - 0.022, np.abs(y + 0.27) - 0.06), ink, ink)
    puff = ellipse(x, y, 0.64, 0.24)
    puff = np.maximum(puff, arch(view.x, view.y, -0.27, 0.25))
    view.shape(puff, _shaded(view, colour), ink)
    gleam = ellipse(x + 0.24, y + 0.11, 0.16, 0.05)
    view.paint(view.coverage(gleam) * 0.35, lighten(colour, 0.5))
    band = arch(view.x, view.y, -0.28, 0.25)
    view.stroke(band, 0.06, shade_of(colour), view.coverage(np.abs(view.x) - 0.47))


def _draw_bow(view: Canvas, faces: Faces) -> None:
    colour, ink = faces.hat_rgb, ink_of(faces.hat_rgb)
    x, y = view.x - 0.30 * faces.side, view.y + 0.58
    x, y = x + 0.35 * faces.side * y, y - 0.35 * faces.side * x
    across = np.abs(x)
    loop = np.maximum(np.abs(y) - 0.045 - 0.42 * across, across - 0.27 + 0.5 * y**2) * 0.92
    view.shape(loop, _shaded(view, colour), ink)
    view.stroke(np.abs(y) - 0.03 - 0.1 * across, 0.018, ink, view.coverage(np.abs(across - 0.1) - 0.06) * 0.7)
    view.shape(ellipse(x, y, 0.065, 0.075), lighten(colour, 0.2), ink)


def _draw_headphones(view: Canvas, faces: Faces) -> None:
    colour, ink = faces.hat_rgb, ink_of(faces.hat_rgb)
    band = np.maximum(np.abs(_dome(view, faces, 0.12, 0.74)) - 0.035, view.y - 0.05)
    view.shape(band, lighten(faces.trim_rgb, 0.1), ink)
    for side in (-1, 1):
        cup = rounded_box(view.x - side * (faces.face_width + 0.08), view.y - 0.10, 0.085, 0.165, np.full_like(faces.turn, 0.07))
        view.shape(cup, colour, ink)
        view.paint(view.coverage(cup + 0.06) * 0.5, lighten(colour, 0.5))


# Drawer, and the window it needs in head units: centre down from the head's centre, half width, half height.
_DRAWERS: dict[str, tuple[Callable[[Canvas, Faces], None], float, tuple[float, float]]] = {
    "beanie": (_draw_beanie, -0.45, (0.72, 0.52)),
    "cap": (_draw_cap, -0.42, (0.86, 0.48)),
    "sun hat": (_draw_sun_hat, -0.45, (0.98, 0.60)),
    "beret": (_draw_beret, -0.48, (0.90, 0.52)),
    "bow": (_draw_bow, -0.58, (0.72, 0.36)),
    "headphones": (_draw_headphones, -0.24, (0.76, 0.66)),
}


def draw_hats(canvas: Canvas, faces: Faces) -> None:
    """Each kind of hat on the faces that wear it."""
    for word, (drawer, middle, half) in _DRAWERS.items():
        which: Index = np.flatnonzero(faces.hat == HATS.index(word))
        if len(which):
            chosen = faces.take(which)
            with head_window(canvas, chosen, 0.0, middle, half, which) as view:
                drawer(view, chosen)
