"""Hair and hats. Hair is an outline around the head, a hairline with fringe and locks, tails and buns, shine and strands."""

from collections.abc import Callable
from functools import cache

import numpy as np

from vaegan.data.faces.canvas import (
    LINE,
    Array,
    Canvas,
    Index,
    PolarProfile,
    Profile,
    arch,
    ellipse,
    rounded_box,
    smoothstep,
    superellipse,
)  # fmt: skip
from vaegan.data.faces.factors import FRINGES, HAIR_STYLES, HATS, Faces
from vaegan.data.faces.features import head_window
from vaegan.data.faces.palette import ink_of, lighten, rgb, shade_of

# How each hair style is shaped; lengths in head units.
#           side   top    down  power  bump  count  locks' end and inner edge
_SHAPES = {
    "bald": (0.000, 0.000, 0.30, 2.0, 0.000, 0.0, 0.00, 0.00),
    "buzz": (0.012, 0.015, 0.30, 2.0, 0.000, 0.0, 0.00, 0.00),
    "short": (0.050, 0.090, 0.34, 2.0, 0.022, 9.0, 0.00, 0.00),
    "spiky": (0.050, 0.060, 0.34, 2.0, 0.190, 13.0, 0.00, 0.00),
    "bob": (0.120, 0.110, 0.58, 4.0, 0.000, 0.0, 0.46, -0.09),
    "long": (0.120, 0.110, 1.70, 5.0, 0.008, 7.0, 0.84, -0.09),
    "wavy": (0.140, 0.120, 1.50, 4.5, 0.040, 13.0, 0.74, -0.08),
    "ponytail": (0.055, 0.090, 0.34, 2.0, 0.000, 0.0, 0.34, -0.07),
    "twintails": (0.060, 0.090, 0.34, 2.0, 0.000, 0.0, 0.40, -0.08),
    "bun": (0.055, 0.085, 0.34, 2.0, 0.000, 0.0, 0.26, -0.05),
    "curly": (0.120, 0.130, 0.60, 3.0, 0.055, 15.0, 0.42, -0.06),
    "afro": (0.210, 0.220, 0.46, 2.2, 0.035, 19.0, 0.30, -0.02),
}
_SHAPE_TABLE = np.array([_SHAPES[word] for word in HAIR_STYLES], np.float32)
_LOOSE = [HAIR_STYLES.index(word) for word in ("bob", "long", "wavy", "curly", "afro")]  # locks reach the outline
#              level  arch  part's depth  teeth  teeth a unit
_FRINGES = {
    "straight": (-0.10, 0.22, 0.00, 0.060, 5.0),
    "side": (-0.44, 0.00, 0.62, 0.070, 3.6),
    "parted": (-0.46, 0.00, 0.86, 0.040, 4.2),
    "spiky": (-0.18, 0.25, 0.10, 0.170, 3.8),
    "swept back": (-0.42, 0.75, 0.00, 0.000, 3.0),
}
_FRINGE_TABLE = np.array([_FRINGES[word] for word in FRINGES], np.float32)

polar_profile = cache(PolarProfile)
_hairline_profile = cache(lambda: Profile(-1, 1))


def _columns(table: Array, code: Array) -> list[Array]:
    return [table[code[:, 0, 0].astype(np.intp), column, None, None] for column in range(table.shape[1])]


def head_radius(faces: Faces, angle: Array) -> Array:
    """The head without hair: radius at each angle from up."""
    return superellipse(angle, faces.face_width, np.float32(0.56) + 0 * faces.chin, faces.chin, 2.2 + 0 * faces.jaw, faces.jaw)


def _bumps(faces: Faces, angle: Array, size: Array, count: Array) -> Array:
    """What stands out of the hair's outline: spikes, or the scallops of curls and waves."""
    turns = angle / np.float32(2 * np.pi)
    place = turns * count + faces.bump_phase
    tooth = place % 1
    saw = np.minimum(tooth / 0.68, (1 - tooth) / 0.32)  # spikes lean
    uneven = 0.75 + 0.25 * np.sin(place * 2.1 + 9 * faces.bump_phase)
    upper = 1 - smoothstep(1.5, 2.0, np.abs(angle))
    spiky = faces.hair_style == HAIR_STYLES.index("spiky")
    short = faces.hair_style == HAIR_STYLES.index("short")
    scallops = np.abs(np.sin(np.pi * place)) ** 0.7
    return size * np.where(spiky | short, saw * uneven * upper, scallops)


def hair_radius(faces: Faces, angle: Array) -> Array:
    """The outline of head and hair: radius at each angle from up."""
    side, top, down, power, bump, count, _, _ = _columns(_SHAPE_TABLE, faces.hair_style)
    fuller = 0.8 + 0.5 * faces.volume
    longer = 0.92 + 0.22 * faces.hair_length
    egg = superellipse(angle, faces.face_width + side * fuller, 0.56 + top * fuller, down * longer, 2.2 + 0 * power, power)
    radius = egg + _bumps(faces, angle, bump * fuller, count)
    # A hat presses the hair under it flat.
    covered = (faces.hat > 0) & (faces.hat < HATS.index("bow"))
    pressed = np.minimum(radius, head_radius(faces, angle) + 0.055)
    share = covered * (1 - smoothstep(1.15, 1.75, np.abs(angle)))
    return (radius + (pressed - radius) * share).astype(np.float32)


def hair_distance(view: Canvas, faces: Faces) -> Array:
    """Signed distance to the outline of head and hair; `view` is in head coordinates."""
    polar = polar_profile()
    return polar.outline(hair_radius(faces, polar.angle), view.x, view.y)


def draw_tied_hair(canvas: Canvas, faces: Faces, which: Index) -> None:
    """Tails and buns of faces that all have them, behind the rest of the hair."""
    with head_window(canvas, faces, 0.0, 0.0, (1.0, 1.0), which) as view:  # the whole picture
        ink = ink_of(faces.hair_rgb)
        is_bun = faces.hair_style == HAIR_STYLES.index("bun")
        single = ellipse(view.x - 0.1 * faces.side, view.y + 0.74, 0.21, 0.19)
        bun = np.where(faces.double > 0, ellipse(np.abs(view.x) - 0.40, view.y + 0.60, 0.19, 0.18), single)
        # A ponytail to one side, or a pair of tails: a curved taper that starts at the head's upper side.
        across = np.where(faces.hair_style == HAIR_STYLES.index("twintails"), np.abs(view.x), view.x * faces.side)
        length = 0.95 + 0.35 * faces.hair_length
        along = np.clip((view.y + 0.42) / length, 0, 1)
        middle = 0.50 + 0.30 * np.sqrt(along + 0.01) - 0.13 * along**2
        half = (0.075 + 0.30 * along * (1 - along) ** 0.8 + 0.10 * np.sqrt(along)) * (1 - along**3)
        tail = np.maximum((np.abs(across - middle) - half) * 0.85, np.maximum(-0.42 - view.y, view.y + 0.44 - length))
        distance = np.where(is_bun, bun, tail).astype(np.float32)
        view.shape(distance, faces.hair_rgb, ink, fade=(faces.tips_rgb, smoothstep(-0.5, 0.6, view.y)))
        view.stroke(distance + 0.09, 0.022, ink, view.coverage(distance) * 0.35)
        view.paint(view.coverage(distance + 0.12) * 0.3, lighten(faces.hair_rgb, 0.35))
        tie = rounded_box(across - 0.53, view.y + 0.40, 0.055, 0.075, np.full_like(faces.side, 0.04))
        view.shape(np.where(is_bun, 1, tie).astype(np.float32), faces.hat_rgb, ink_of(faces.hat_rgb))


def _hairline(faces: Faces, place: Array) -> tuple[Array, Array, Array]:
    """The fringe's lower edge, the darkness of strands between its teeth, and the jag of the shine, at `place`."""
    level, curve, depth, teeth, rate = _columns(_FRINGE_TABLE, faces.fringe)
    part = np.where(faces.fringe == FRINGES.index("side"), np.copysign(np.float32(0.24), faces.part), 0.12 * faces.part)
    rate = rate * (0.85 + 0.4 * faces.fringe_count)
    tooth_place = place * rate + faces.fringe_phase
    tooth = 1 - np.abs(2 * (tooth_place % 1) - 1)
    uneven = 0.7 + 0.3 * np.sin(tooth_place * 2.3 + 7 * faces.fringe_phase)
    from_part = np.abs(place - part)
    edge = level + 0.035 * faces.fringe_level + curve * place**2 + depth * from_part**0.75
    edge = np.minimum(edge, 0.02) + teeth * uneven * (tooth**0.85 - 0.4)
    temple = smoothstep(0.46, 0.56, np.abs(place))
    edge = edge * (1 - temple) + (0.12 + 0.03 * tooth) * temple
    strand = np.clip(1 - 3.5 * tooth, 0, 1) + 0.6 * np.clip(1 - 4 * np.abs(tooth - 0.55), 0, 1)
    jag = 0.035 * np.abs((place * 9 + faces.fringe_phase) % 1 * 2 - 1)
    return edge.astype(np.float32), strand.astype(np.float32), jag.astype(np.float32)


def _locks_distance(view: Canvas, faces: Faces, outline: Array) -> Array:
    """Hair that falls in front of the ears, from the temples to the style's length, ending in a point."""
    side, _, _, _, _, _, end, inner = _columns(_SHAPE_TABLE, faces.hair_style)
    end = end * (0.92 + 0.22 * faces.hair_length)
    across = np.abs(view.x - 0.03 * faces.turn)
    taper = np.clip((view.y - end + 0.34) / 0.34, 0, 1.2)
    edge = faces.face_width + inner + 0.04 * np.clip(view.y + 0.2, 0, 1) + (side + 0.06) * taper**2
    loose = np.isin(faces.hair_style, _LOOSE)
    outside = np.where(loose, outline, across - faces.face_width - 0.03)
    distance = np.maximum(
        np.maximum(edge - across, outside),
        np.maximum(view.y - end, np.where(loose, np.float32(-0.3), np.float32(-0.06)) - view.y),
    )
    return np.where(end > 0, distance, 1).astype(np.float32)


class FrontHair:
    """The hair over the face: its distances are needed for its shadow on the skin and for its drawing."""

    def __init__(self, view: Canvas, faces: Faces, outline: Array) -> None:
        """`view` is in head coordinates; `outline` is the distance to the outline of head and hair."""
        line = _hairline_profile()
        # Strands run down from the crown, so the hairline is looked up along rays, not along columns.
        spread = np.clip(0.62 + 0.5 * (view.y + 0.62), 0.5, 1.3)
        self.ray = (view.x - 0.09 * faces.turn) / spread
        edge_table, strand_table, jag_table = _hairline(faces, line.grid)
        normal_table = (1 / np.sqrt(1 + (line.slope(edge_table) / 0.9) ** 2)).astype(np.float32)
        at = line.places(self.ray)
        self.below_edge = view.y - np.take(edge_table, at)
        self.fringe = self.below_edge * np.take(normal_table, at)
        self.strand, self.jag = np.take(strand_table, at), np.take(jag_table, at)
        self.locks = _locks_distance(view, faces, outline)
        self.distance = np.minimum(np.maximum(outline, self.fringe), self.locks)

    def draw_shadow(self, view: Canvas, faces: Faces) -> None:
        """The shadow that the fringe throws on the skin down to the cheeks; a hat throws none."""
        shown = (faces.hair_style > HAIR_STYLES.index("buzz")) & (faces.hat < 1)
        skin = view.coverage(ellipse(view.x, view.y, faces.face_width - 0.01, faces.chin)) * smoothstep(0.36, 0.22, view.y)
        alpha = view.coverage(np.minimum(self.fringe, self.locks) - 0.065) * skin
        view.paint(alpha * (np.float32(0.75) * shown), shade_of(faces.skin_rgb))

    def draw(self, view: Canvas, faces: Faces) -> None:
        """Fill, shine and strands."""
        hair = faces.hair_rgb
        ink = ink_of(hair)
        inside = view.shape(self.distance, hair, ink, fade=(faces.tips_rgb, smoothstep(-0.45, 0.75, view.y)))
        shine = np.abs(view.y + 0.43 - 0.30 * self.ray**2 + self.jag) - 0.045
        fuzzy = faces.hair_style >= HAIR_STYLES.index("curly")
        sharpness = np.where(fuzzy, np.float32(0.25), np.float32(0.62)) * (1 - smoothstep(0.34, 0.5, np.abs(self.ray + 0.08)))
        view.paint(view.coverage(shine) * inside * sharpness, lighten(hair, 0.42))
        near_edge = smoothstep(-0.34, -0.02, self.below_edge) * (self.below_edge < 0.1)
        view.paint(self.strand * near_edge * inside * 0.55, ink)


def draw_buzz(canvas: Canvas, faces: Faces, which: Index) -> None:
    """A buzz cut: the scalp tinted above the hairline, without an outline of its own."""
    with head_window(canvas, faces, 0.0, -0.2, (0.66, 0.56), which) as view:
        hair = FrontHair(view, faces, hair_distance(view, faces))
        view.paint(view.coverage(hair.distance) * 0.78, faces.hair_rgb * 0.8 + faces.skin_rgb * 0.2)
        view.stroke(np.maximum(hair.distance, hair.fringe), LINE * 0.6, ink_of(faces.hair_rgb), 0.35)


def _dome(view: Canvas, faces: Faces, room: float, height: float) -> Array:
    """Signed distance to a cap that follows the head at a distance of `room`, `height` above its centre."""
    polar = polar_profile()
    full = np.zeros_like(faces.chin)
    radius = superellipse(polar.angle, faces.face_width + room, full + height, full + 0.6, full + 2.3, full + 2.0)
    return polar.outline(radius, view.x, view.y)


def _shaded(view: Canvas, colour: Array) -> Array:
    shadow = smoothstep(0.0, 0.75, view.x * 0.9 + view.y * 0.5 + 0.25)[:, None]
    return lighten(colour, 0.08) + (shade_of(colour) - colour) * shadow


def _draw_beanie(view: Canvas, faces: Faces, colour: Array, ink: Array) -> None:
    brim = arch(view.x, view.y, -0.20, 0.30)
    pompom = np.where(faces.double > 0, ellipse(view.x - 0.02, view.y + 0.76, 0.125, 0.115), 1).astype(np.float32)
    view.shape(pompom, lighten(faces.trim_rgb, 0.35), ink)
    view.shape(np.maximum(_dome(view, faces, 0.085, 0.70), brim), _shaded(view, colour), ink)
    cuff = np.maximum(np.maximum(_dome(view, faces, 0.11, 0.74), brim - 0.02), -0.17 - brim)
    ribs = (np.clip(0.5 + 1.5 * np.sin(46 * view.x / (1.1 + 0.4 * view.y)), 0, 1) * 0.45)[:, None]
    fold = lighten(colour, 0.25)
    view.shape(cuff, fold + (shade_of(colour) - fold) * ribs, ink)


def _draw_cap(view: Canvas, faces: Faces, colour: Array, ink: Array) -> None:
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


def _draw_sun_hat(view: Canvas, faces: Faces, colour: Array, ink: Array) -> None:
    straw = rgb(0.95, 0.82, 0.54) * 0.75 + colour * 0.25
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


def _draw_beret(view: Canvas, faces: Faces, colour: Array, ink: Array) -> None:
    x, y = view.x - 0.10 * faces.side, view.y + 0.50 - 0.16 * faces.side * view.x
    view.shape(np.maximum(np.abs(x + 0.02) - 0.022, np.abs(y + 0.27) - 0.06), ink, ink)
    view.shape(np.maximum(ellipse(x, y, 0.64, 0.24), arch(view.x, view.y, -0.27, 0.25)), _shaded(view, colour), ink)
    view.paint(view.coverage(ellipse(x + 0.24, y + 0.11, 0.16, 0.05)) * 0.35, lighten(colour, 0.5))
    view.stroke(arch(view.x, view.y, -0.28, 0.25), 0.06, shade_of(colour), view.coverage(np.abs(view.x) - 0.47))


def _draw_bow(view: Canvas, faces: Faces, colour: Array, ink: Array) -> None:
    x, y = view.x - 0.30 * faces.side, view.y + 0.58
    x, y = x + 0.35 * faces.side * y, y - 0.35 * faces.side * x
    across = np.abs(x)
    loop = np.maximum(np.abs(y) - 0.045 - 0.42 * across, across - 0.27 + 0.5 * y**2) * 0.92
    view.shape(loop, _shaded(view, colour), ink)
    view.stroke(np.abs(y) - 0.03 - 0.1 * across, 0.018, ink, view.coverage(np.abs(across - 0.1) - 0.06) * 0.7)
    view.shape(ellipse(x, y, 0.065, 0.075), lighten(colour, 0.2), ink)


def _draw_headphones(view: Canvas, faces: Faces, colour: Array, ink: Array) -> None:
    band = np.maximum(np.abs(_dome(view, faces, 0.12, 0.74)) - 0.035, view.y - 0.05)
    view.shape(band, lighten(faces.trim_rgb, 0.1), ink)
    for side in (-1, 1):
        cup = rounded_box(view.x - side * (faces.face_width + 0.08), view.y - 0.10, 0.085, 0.165, np.full_like(faces.turn, 0.07))
        view.shape(cup, colour, ink)
        view.paint(view.coverage(cup + 0.06) * 0.5, lighten(colour, 0.5))


# Drawer, and the window it needs in head units: centre down from the head's centre, half width, half height.
_DRAWERS: dict[str, tuple[Callable[[Canvas, Faces, Array, Array], None], float, tuple[float, float]]] = {
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
                drawer(view, chosen, chosen.hat_rgb, ink_of(chosen.hat_rgb))
