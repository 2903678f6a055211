"""The features of a face: eyes, brows, nose, mouth, glasses, each painted in a small window."""

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np

from vaegan.data.faces.canvas import LINE, Array, Canvas, Index, arch, ellipse, rounded_box, smoothstep
from vaegan.data.faces.factors import EYES, MOST_TILT, Faces
from vaegan.data.faces.palette import WHITE, ink_of, lighten, rgb, shade_of

EYE_LINE, NOSE_LINE, MOUTH_LINE = 0.10, 0.275, 0.395  # down from the head's centre
_LASH = rgb(0.13, 0.09, 0.13)


def head_view(canvas: Canvas, faces: Faces) -> Canvas:
    """The canvas in head coordinates: origin at the head's centre, upright, the head about one wide."""
    angle = faces.tilt * MOST_TILT
    cosine, sine = np.cos(angle), np.sin(angle)
    across, down = (canvas.x - faces.centre_x) / faces.scale, (canvas.y - faces.centre_y) / faces.scale
    x, y = across * cosine + down * sine, down * cosine - across * sine
    return Canvas(canvas.pixels, x, y, canvas.pixel / faces.scale)


@contextmanager
def head_window(
    canvas: Canvas,
    faces: Faces,
    across: Array | float,
    down: Array | float,
    half: tuple[float, float],
    which: Index | None = None,
) -> Generator[Canvas]:
    """A window of `half` width and height around a point of the head, in head coordinates; `which` as in `Canvas.window`."""
    with canvas.window(*faces.on_frame(across, down), *half, which) as part:
        yield head_view(part, faces)


def mouth_place(faces: Faces) -> tuple[Array, Array, Array]:
    """Centre of the mouth across and down, and the foreshortening of its width."""
    across, narrowing = faces.projected(0.0)
    return across, MOUTH_LINE + 1.5 * faces.nod + 0.35 * (faces.chin - 0.58), narrowing


def _draw_eye(canvas: Canvas, across: Array, down: Array, faces: Faces, side: int, narrowing: Array) -> None:
    """White, iris, pupil, highlights and lashes of an open eye, or the arc of a shut one; `across`, `down` in [-1, 1] over it."""
    winks = (faces.eyes == EYES.index("wink")) & (faces.wink_side == side)
    shut = ((faces.eyes == EYES.index("closed")) | winks).astype(np.float32)
    shown = 1 - shut
    width, height = faces.eye_width * narrowing, faces.eye_height
    round_lid = 1 - across**2
    slant = faces.eye_slant * across * side
    steep = np.sqrt(1 + (2 * across * height / width) ** 2)
    upper = (-0.95 * faces.openness * round_lid - slant - down) * height / steep
    lower = (down - 0.85 * round_lid + slant) * height / steep
    white = np.maximum(np.maximum(upper, lower), (np.abs(across) - 1) * width)
    opening = canvas.coverage(white) * shown
    shaded = smoothstep(0.0, -0.12, upper + 0.11)[:, None]
    canvas.paint(opening, rgb(0.80, 0.80, 0.90) + (WHITE - rgb(0.80, 0.80, 0.90)) * shaded)
    gaze = np.clip(0.24 * faces.gaze + 0.1 * faces.turn, -0.3, 0.3)
    radius_x, radius_y = np.minimum(0.66, 0.105 / faces.eye_width) * width, 0.84 * height
    iris_x, iris_y = (across - gaze) * width, (down + 0.04) * height
    iris = ellipse(iris_x, iris_y, radius_x, radius_y)
    glow = smoothstep(-0.55, 0.75, iris_y / radius_y)[:, None]
    dark = faces.eye_rgb * rgb(0.42, 0.36, 0.46)
    fill = dark + (lighten(faces.eye_rgb, 0.22) - dark) * glow
    canvas.paint(canvas.coverage(iris) * opening, fill)
    canvas.stroke(iris, 0.022, ink_of(faces.eye_rgb), opening * 0.85)
    pupil = ellipse(iris_x, iris_y, radius_x * 0.45, radius_y * 0.45)
    canvas.paint(canvas.coverage(pupil) * opening, ink_of(faces.eye_rgb) * 0.6)
    spot = ellipse(iris_x + 0.36 * radius_x, iris_y + 0.42 * radius_y, radius_x * 0.36, radius_y * 0.28)
    canvas.paint(canvas.coverage(spot) * shown * canvas.coverage(lower), WHITE)
    small = ellipse(iris_x - 0.38 * radius_x, iris_y - 0.42 * radius_y, radius_x * 0.22, radius_y * 0.17)
    canvas.paint(canvas.coverage(small) * opening * 0.8, WHITE)
    outward = across * side
    round_lid = np.clip(1 - across**2, 0, 1)  # level beyond the corners: the lashes' wings
    lid = np.where(shut > 0, -0.15 - 0.42 * round_lid, -0.95 * faces.openness * round_lid - slant)
    distance = (down - lid) * height / np.where(shut > 0, np.sqrt(1 + across**2), steep)
    wing = 0.16 * smoothstep(0.35, 0.7, faces.softness) * shown
    reach = canvas.coverage((np.abs(across - (0.04 + 0.5 * wing) * side) - 1.04 - 0.5 * wing) * width)
    heavy = 0.036 + 0.018 * smoothstep(-0.4, 1.0, outward) + 0.008 * faces.softness
    canvas.stroke(distance, heavy, _LASH, reach)
    lower = (down - 0.85 * round_lid + slant) * height / steep
    skin_ink = ink_of(faces.skin_rgb)
    canvas.stroke(lower, 0.020, skin_ink, canvas.coverage((np.abs(across) - 0.8) * width) * 0.75 * shown)
    crease = canvas.coverage((np.abs(across) - 0.75) * width) * 0.4
    canvas.stroke(distance + 0.062, 0.018, skin_ink, crease * shown)


def draw_eyes(canvas: Canvas, faces: Faces) -> None:
    """Both eyes, in a window each."""
    for side in (-1, 1):
        middle, narrowing = faces.projected(side * faces.eye_gap)
        level = EYE_LINE + faces.nod
        with head_window(canvas, faces, middle, level, (0.25, 0.26)) as view:
            across = (view.x - middle) / (faces.eye_width * narrowing)
            down = (view.y - level) / faces.eye_height
            _draw_eye(view, across, down, faces, side, narrowing)


def draw_brows(canvas: Canvas, faces: Faces) -> None:
    """Brows, drawn over the fringe as comics do, so that the expression stays readable."""
    for side in (-1, 1):
        middle, narrowing = faces.projected(side * (faces.eye_gap + 0.01))
        level = EYE_LINE + faces.nod - 0.95 * faces.eye_height * faces.openness - faces.brow_height - 0.03
        with head_window(canvas, faces, middle, level, (0.22, 0.18)) as view:
            width = 0.145 * narrowing
            across = (view.x - middle) * side
            curve = arch(across, view.y - level + 0.32 * faces.brows * across, -0.02, 2.2)
            thick = faces.brow_weight * (1 - 0.55 * smoothstep(-0.3, 1.0, across / width))
            colour = ink_of(faces.hair_rgb) * 0.8 + faces.hair_rgb * 0.2
            view.stroke(curve, thick, colour, view.coverage(np.abs(across) - width))


def draw_nose(canvas: Canvas, faces: Faces) -> None:
    """A small shadow under the tip and a short line beside it."""
    middle, _ = faces.projected(0.0)
    tip = middle * 1.25
    level = NOSE_LINE + 1.3 * faces.nod
    with head_window(canvas, faces, tip, level, (0.14, 0.14)) as view:
        x, y = view.x - tip, view.y - level
        wide = 0.036 * faces.nose
        ink = ink_of(faces.skin_rgb)
        view.paint(view.coverage(ellipse(x - 0.018, y - 0.012, wide * 1.35, 0.03)) * 0.55, shade_of(faces.skin_rgb))
        under = arch(x, y, 0.022, -6.0)
        view.stroke(under, 0.024, ink, view.coverage(np.abs(x) - wide) * 0.85)
        view.paint(view.coverage(ellipse(x + 0.008, y + 0.035, 0.018, 0.03)) * 0.45, lighten(faces.skin_rgb, 0.6))


def draw_mouth(canvas: Canvas, faces: Faces) -> None:
    """From frown to smile, closed or open with teeth and tongue."""
    middle, level, narrowing = mouth_place(faces)
    with head_window(canvas, faces, middle, level, (0.34, 0.34)) as view:
        half = (faces.mouth_width + 0.03 * np.clip(faces.smile, 0, 1)) * narrowing
        across, down = (view.x - middle) / half, view.y - level
        bend = 0.18 * faces.smile
        opened = (faces.mouth_open > 0) * (0.045 + 0.085 * faces.mouth_open)
        bulge = np.clip(1 - across**2, 0, 1)
        curve = bend * (0.5 - across**2)
        # The upper edge of an open mouth is flatter than its lower one: a laugh is a D, a wail an arch.
        upper = np.where(opened > 0, curve - np.clip(bend, 0, 1) * 0.75 * bulge, curve)
        lower = upper + (opened + np.clip(bend, 0, 1) * 0.75 * (opened > 0)) * bulge
        steep = np.sqrt(1 + (2 * across * (np.abs(bend) + opened * 0.5) / half) ** 2)
        above, below = (down - upper) / steep, (down - lower) / steep
        ink = ink_of(faces.skin_rgb) * 0.5 + rgb(0.12, 0.01, 0.03)
        reach = view.coverage((np.abs(across) - 1) * half)
        rouge = reach * faces.lips * (1 - 0.75 * across**2)
        view.stroke((above + below) / 2, 0.058 + (lower - upper), faces.lips_rgb, rouge)
        inside = view.coverage(np.maximum(-above, below)) * reach * (opened > 0)
        view.paint(inside, rgb(0.50, 0.12, 0.16))
        tongue = ellipse(view.x - middle, down - lower, half * 0.62, 0.055)
        view.paint(view.coverage(tongue) * inside, rgb(0.90, 0.46, 0.46))
        view.paint(view.coverage(above - 0.034) * inside * (faces.smile > -0.3), rgb(0.98, 0.97, 0.95))
        view.stroke(below, LINE * 0.9, ink, reach * (opened > 0))
        view.stroke(above, 0.034, ink, reach)
        lip = ellipse(view.x - middle, down - bend * 0.5 - opened - 0.075, half * 0.35, 0.012)
        view.paint(view.coverage(lip) * 0.45, shade_of(faces.skin_rgb))


def draw_glasses(canvas: Canvas, faces: Faces, which: Index) -> None:
    """Two rims, a bridge, temples and a glint, for the faces that wear them; `which` are their places on the canvas."""
    level = EYE_LINE + faces.nod + 0.01
    middle, _ = faces.projected(0.0)
    with head_window(canvas, faces, middle, level, (0.62, 0.34), which) as view:
        ink = faces.glasses_rgb
        round_ones = faces.glasses_shape < 0.45
        half_x = 0.172 + 0.025 * faces.glasses_size
        half_y = np.where(round_ones, half_x * 0.98, 0.135 + 0.03 * faces.glasses_size)
        corner = np.where(round_ones, half_y - 0.005, 0.05 + 0.04 * (faces.glasses_shape > 0.75)).astype(np.float32)
        rims: list[Array] = []
        for side in (-1, 1):
            centre, narrowing = faces.projected(side * (faces.eye_gap + 0.012))
            x, y = (view.x - centre) / narrowing, view.y - level
            rim = rounded_box(x, y, half_x, half_y, corner)
            glint = np.maximum(rim, np.abs(x + 0.55 * y + 0.02) - 0.045)
            view.paint(view.coverage(rim) * 0.10, WHITE)
            view.paint(view.coverage(glint) * 0.22, WHITE)
            temple = np.maximum(np.abs(y + 0.02) - 0.016, np.abs(x * side - half_x - 0.12) - 0.12)
            inside_head = view.coverage(np.abs(view.x) - faces.face_width)
            view.paint(view.coverage(temple) * inside_head, ink)
            rims.append(rim)
        both = np.minimum(*rims)
        bridge = arch(view.x - middle * 1.1, view.y - level + 0.05, -0.02, 4.0)
        view.stroke(bridge, 0.03, ink, view.coverage(np.abs(view.x - middle) - 0.09) * (1 - view.coverage(both)))
        view.stroke(both, 0.038, ink)
