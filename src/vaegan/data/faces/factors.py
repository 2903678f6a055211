"""What a face looks like: every trait drawn from the seed and the face's index, with natural correlations."""

from types import SimpleNamespace
from typing import Self

import numpy as np
import numpy.typing as npt

from vaegan.data.faces import palette
from vaegan.data.faces.canvas import Array, Index

NO_YES = ("no", "yes")
HAIR_STYLES = (
    "bald", "buzz", "short", "spiky", "bob", "long", "wavy", "ponytail", "twintails", "bun", "curly", "afro",
)  # fmt: skip
FRINGES = ("straight", "side", "parted", "spiky", "swept back")
EYES = ("open", "closed", "wink")
HATS = ("none", "beanie", "cap", "sun hat", "beret", "bow", "headphones")
BACKGROUNDS = ("plain", "gradient", "halo", "stripes", "dots", "rays", "hills")
CLOTHES = ("tee", "striped", "v-neck", "shirt", "turtleneck", "hoodie")

FACTORS: dict[str, tuple[str, ...] | None] = {
    "smile": None,
    "smiling": NO_YES,
    "mouth_open": None,
    "glasses": NO_YES,
    "hair_style": HAIR_STYLES,
    "fringe": FRINGES,
    "hair_colour": palette.HAIR_WORDS,
    "skin": palette.SKIN_WORDS,
    "eye_colour": palette.EYE_WORDS,
    "eyes": EYES,
    "gaze": None,
    "brows": None,
    "blush": None,
    "freckles": NO_YES,
    "beard": NO_YES,
    "moustache": NO_YES,
    "hat": HATS,
    "background": BACKGROUNDS,
    "clothes": CLOTHES,
    "age": None,
    "softness": None,
    "turn": None,
    "tilt": None,
}
"""Factor name -> words of its categories in the order of their codes, or None for a continuous factor.

In [-1, 1]: `smile` (frown to smile; `smiling` is "yes" exactly above 0.2), `gaze` and `turn` (to the picture's
left, to its right), `brows` (worried to stern), `tilt` (counter-clockwise to clockwise).
In [0, 1]: `mouth_open`, `blush`, `age` (child to old), `softness` (angular features to soft ones).
`fringe` of a bald or buzz-cut head has no effect on the picture.
"""

# The order in which a face's random numbers are dealt. Append only: inserting a name would change every face.
STREAMS = (
    "age", "softness", "skin", "skin_tone", "hair_style", "fringe", "hair_colour", "hair_tone", "eye_colour",
    "eye_tone", "smiling", "smile", "mouth_open", "mouth_width", "brows", "brow_height", "brow_weight", "gaze",
    "eyes", "wink_side", "openness", "eye_width", "eye_slant", "eye_gap", "eye_height", "glasses", "glasses_shape",
    "glasses_colour", "glasses_size", "blush", "freckles", "beard", "beard_form", "moustache", "hat", "hat_light",
    "hat_chroma", "background", "background_hue", "background_step", "background_night", "background_phase",
    "clothes", "clothes_hue", "clothes_light", "turn", "tilt", "shift_x", "shift_y", "scale", "face_width", "chin",
    "jaw", "nose", "volume", "fringe_level", "fringe_phase", "fringe_count", "part", "bump_phase", "hair_length",
    "double", "side", "earring", "lips", "shoulders", "nod", "background_light", "hair_tips", "accent_hue",
    "background_chroma", "clothes_chroma", "tips_light", "tips_hue",
)  # fmt: skip
DRAWS_PER_FACE = 128  # room for streams to come; a multiple of the 4 numbers that one step of Philox's counter gives


class Faces(SimpleNamespace):
    """The traits of a batch of faces, each [face, 1, 1], colours `..._rgb` [face, 3, 1, 1], so that they broadcast over pixels.

    `FACTORS` documents the factors; `sample_faces` makes the others. Lengths are in head units (the head is about one wide),
    but `centre_x` and `centre_y` of the head are in the frame. `face_width` is half the width of the head.
    """

    def take(self, which: Index) -> Self:
        """The faces at the given places."""
        return type(self)(**{name: trait[which] for name, trait in vars(self).items()})

    def projected(self, across: Array | float) -> tuple[Array, Array]:
        """Where a point of the face at `across` moves by the head's turn, and the foreshortening of widths there."""
        radius = np.float32(0.66)
        angle = np.arcsin(np.clip(across / radius, -0.99, 0.99)) + MOST_TURN * self.turn
        return radius * np.sin(angle), np.cos(angle) / np.cos(angle - MOST_TURN * self.turn)

    def on_frame(self, across: Array | float, down: Array | float) -> tuple[Array, Array]:
        """Frame coordinates of a point of the head."""
        angle = self.tilt * MOST_TILT
        cosine, sine = np.cos(angle), np.sin(angle)
        x = self.centre_x + self.scale * (across * cosine - down * sine)
        return x, self.centre_y + self.scale * (across * sine + down * cosine)


# [radians] at tilt and turn of 1. A mouth is a few pixels high: heads that move by more than that hide every expression from
# what sees a picture in a few dozen numbers.
MOST_TILT, MOST_TURN = np.float32(0.10), np.float32(0.09)


# Traits that nothing else changes: uniform on [0, 1], or in [-1, 1] and denser in the middle.
_SHARES = (
    *("beard_form", "volume", "fringe_phase", "fringe_count", "bump_phase", "hair_length"),
    *("background_phase", "glasses_shape", "glasses_size"),
)
_BELLS = ("gaze", "turn", "tilt", "fringe_level")


class _Draws:
    """The random numbers of a run of faces by stream, and the distributions made of them; arrays are [face, 1, 1]."""

    def __init__(self, count: int, seed: int, start: int) -> None:
        # Philox is a counter: face i owns a fixed stretch of it, whatever is drawn before or beside it.
        generator = np.random.Generator(np.random.Philox(key=seed, counter=start * (DRAWS_PER_FACE // 4)))
        self.numbers = generator.random((count, DRAWS_PER_FACE))

    def uniform(self, stream: str, low: float = 0.0, high: float = 1.0) -> Array:
        number = self.numbers[:, STREAMS.index(stream), None, None]
        return (low + (high - low) * number).astype(np.float32)

    def bell(self, stream: str, reach: float = 1.0) -> Array:
        """Symmetric in [-reach, reach], denser in the middle."""
        signed = self.uniform(stream, -1, 1)
        return reach * signed * (np.float32(0.45) + np.float32(0.55) * np.abs(signed))

    def chance(self, stream: str, probability: Array | float) -> Array:
        return (self.uniform(stream) < probability).astype(np.float32)

    def choice(self, stream: str, weights: npt.ArrayLike) -> Array:
        """A code with probability in proportion to weights [category] or [face, category]."""
        steps = np.cumsum(np.atleast_2d(np.asarray(weights, np.float64)), axis=1)
        passed = self.uniform(stream)[:, 0] >= (steps / steps[:, -1:])[:, :-1]
        return passed.sum(axis=1).astype(np.float32)[:, None, None]


def _pick(table: Array, code: Array) -> Array:
    return table[code[:, 0, 0].astype(np.intp)]


def _where(condition: npt.NDArray[np.bool_], then: Array | float, otherwise: Array | float) -> Array:
    return np.where(condition, then, otherwise).astype(np.float32)


def _mixed_weights(share: Array, none: tuple[float, ...], full: tuple[float, ...]) -> Array:
    """Category weights [face, category] between two sets of weights."""
    return np.asarray(none) + share[:, 0] * (np.asarray(full) - np.asarray(none))


def _tint(colour: Array, amount: Array) -> Array:
    """A little lighter or darker, amount in about [-0.1, 0.1]."""
    return np.clip(colour * (1 + amount[:, None]), 0, 1).astype(np.float32)


def _person(draws: _Draws) -> dict[str, Array]:
    age = draws.uniform("age") ** 1.25
    softness = draws.uniform("softness")
    softness = softness * softness * (3 - 2 * softness)
    skin = draws.choice("skin", (0.15, 0.24, 0.22, 0.16, 0.13, 0.10))
    style = draws.choice("hair_style", _mixed_weights(
        softness,
        # bald buzz short spiky bob long wavy ponytail twintails bun curly afro
        (0.05, 0.08, 0.36, 0.25, 0.05, 0.04, 0.03, 0.03, 0.00, 0.03, 0.07, 0.05),
        (0.00, 0.01, 0.06, 0.05, 0.20, 0.19, 0.15, 0.11, 0.08, 0.08, 0.07, 0.05),
    ))  # fmt: skip
    style = _where((style == HAIR_STYLES.index("bald")) & (age < 0.35), HAIR_STYLES.index("short"), style)
    darkness = np.clip((skin - 2) / 3, 0, 1)
    natural = _mixed_weights(
        darkness,
        # black brown chestnut red ginger blond silver pink blue green purple
        (0.12, 0.16, 0.15, 0.07, 0.09, 0.15, 0.04, 0.07, 0.07, 0.04, 0.05),
        (0.42, 0.22, 0.08, 0.04, 0.01, 0.04, 0.03, 0.05, 0.04, 0.03, 0.04),
    )
    natural[:, palette.HAIR_WORDS.index("silver")] += np.clip(age[:, 0, 0] - 0.68, 0, 1) * 4
    hair = draws.choice("hair_colour", natural)
    adult = np.clip((age - 0.3) / 0.3, 0, 1) * np.clip((0.55 - softness) / 0.3, 0, 1)
    framed = ("bob", "long", "wavy", "ponytail", "twintails", "bun")
    adult = adult * _where(np.isin(style, [HAIR_STYLES.index(word) for word in framed]), 0.1, 1)
    beard = draws.chance("beard", adult * _where(hair < palette.HAIR_WORDS.index("pink"), 0.68, 0.25))
    fringe = draws.choice("fringe", _mixed_weights(softness, (0.16, 0.30, 0.16, 0.22, 0.16), (0.36, 0.26, 0.2, 0.1, 0.08)))
    return {
        "age": age, "softness": softness, "skin": skin, "hair_style": style, "hair_colour": hair, "fringe": fringe,
        "beard": beard, "moustache": draws.chance("moustache", adult * 0.16 + beard * 0.35),
        "freckles": draws.chance("freckles", _where(skin < 3, 0.16, 0.03)),
        "skin_rgb": _tint(_pick(palette.SKINS, skin), draws.uniform("skin_tone", -0.045, 0.03)),
        "hair_rgb": _tint(_pick(palette.HAIRS, hair), draws.uniform("hair_tone", -0.1, 0.1)),
        "earring": draws.chance("earring", 0.05 + 0.35 * softness),
        "lips": draws.uniform("lips", 0.0, 0.75) * np.clip(softness * 1.5 - 0.5, 0, 1) * np.clip(age * 3, 0.2, 1),
    }  # fmt: skip


def _expression(draws: _Draws) -> dict[str, Array]:
    """Mouth, brows, eyes and cheeks; half of the faces smile, with all of the face as people do."""
    smiling = draws.chance("smiling", 0.5)
    amount = draws.uniform("smile")
    smile = _where(smiling > 0, 0.4 + 0.6 * amount, 0.08 - 1.08 * amount**1.7)
    opened = draws.uniform("mouth_open")
    likely_open = _where(smiling > 0, 0.5, 0.2)
    mouth_open = _where(opened < likely_open, 0.25 + 0.75 * opened / likely_open, 0)
    wink = 0.03 + 0.04 * smiling
    closed = 0.02 + 0.07 * smiling
    brows = draws.bell("brows", 0.6)
    # A frown comes with stern or worried brows, a smile with calm ones.
    brows = np.clip(brows + _where(brows > 0, 0.4, -0.4) * np.clip(-smile, 0, 1), -1, 1)
    return {
        "smiling": smiling, "smile": smile, "mouth_open": mouth_open, "brows": brows,
        "eyes": draws.choice("eyes", np.concatenate((1 - wink - closed, closed, wink), axis=1)[:, :, 0]),
        "wink_side": np.sign(draws.uniform("wink_side", -1, 1)),
        "blush": np.clip(draws.uniform("blush", -0.45, 0.85) + 0.4 * smiling, 0, 1),
        "mouth_width": draws.uniform("mouth_width", 0.18, 0.24),
        "openness": draws.uniform("openness", 0.8, 1.1) - 0.4 * np.clip(smile, 0, 1),
    }  # fmt: skip


def _build(draws: _Draws, age: Array, softness: Array, style: Array, hat: Array) -> dict[str, Array]:
    """Proportions and place: the young have low big eyes and short round faces; tall hair and hats get room above."""
    grown = np.clip(age / 0.5, 0, 1)
    tall = ((hat > 0) | (style >= HAIR_STYLES.index("bun"))).astype(np.float32)
    return {
        "face_width": draws.uniform("face_width", 0.455, 0.54) + 0.015 * (1 - grown),
        "chin": draws.uniform("chin", 0.52, 0.62) + 0.05 * grown - 0.03 * softness,
        "jaw": draws.uniform("jaw", 1.68, 2.3) + 0.35 * (1 - softness) * grown,
        "eye_width": draws.uniform("eye_width", 0.128, 0.15) + 0.014 * softness - 0.012 * grown,
        "eye_height": draws.uniform("eye_height", 0.145, 0.175) + 0.035 * softness - 0.045 * grown,
        "eye_gap": draws.uniform("eye_gap", 0.225, 0.25),
        "eye_slant": draws.uniform("eye_slant", -0.16, 0.18),
        "brow_height": draws.uniform("brow_height", 0.05, 0.095),
        "brow_weight": draws.uniform("brow_weight", 0.026, 0.04) + 0.022 * (1 - softness) * grown,
        "nose": draws.uniform("nose", 0.6, 1.0) + 0.35 * (1 - softness) * grown,
        "shoulders": draws.uniform("shoulders", 0.60, 0.68) + 0.14 * (1 - softness) * grown,
        "nod": draws.bell("nod", 0.015),
        "scale": draws.uniform("scale", 0.92, 1.06) - 0.05 * tall,
        "centre_x": draws.bell("shift_x", 0.04),
        "centre_y": draws.bell("shift_y", 0.02) + 0.035 + 0.07 * tall,
    }


def _hair_and_hat(draws: _Draws, softness: Array, style: Array) -> dict[str, Array]:
    hat = draws.choice("hat", _mixed_weights(
        softness, (0.72, 0.10, 0.10, 0.02, 0.02, 0.00, 0.04), (0.64, 0.05, 0.02, 0.07, 0.06, 0.12, 0.04),
    ))  # fmt: skip
    high = (style == HAIR_STYLES.index("bun")) | (style == HAIR_STYLES.index("afro"))
    bare = style <= HAIR_STYLES.index("buzz")
    bow_or_phones = hat >= HATS.index("bow")
    hat = _where((high & ~bow_or_phones) | (bare & (hat == HATS.index("bow"))), 0, hat)
    return {
        "hat": hat,
        "part": draws.uniform("part", -1, 1),
        "double": draws.chance("double", 0.4),
        "side": np.sign(draws.uniform("side", -1, 1)),
    }


def _surroundings(draws: _Draws, hair: Array) -> dict[str, Array]:
    """Background, clothes and accessories in hues at pleasant steps from the hair's, light where the hair is dark."""
    hair_hue = np.array([0.80, 0.12, 0.14, 0.07, 0.15, 0.24, 0.70, 0.0, 0.73, 0.47, 0.84], np.float32)
    pale = np.array([0, 0, 0, 0, 0, 1, 1, 0.7, 0, 0, 0], np.float32)
    code = hair[:, 0, 0].astype(np.intp)
    hue = hair_hue[code][:, None, None]
    steps = np.array([0.5, 0.42, 0.58, 0.33, 0.67, 0.1], np.float32)
    back_hue = hue + _pick(steps[:, None, None], draws.choice("background_step", (0.26, 0.18, 0.18, 0.14, 0.14, 0.10)))
    back_hue = back_hue + draws.uniform("background_hue", -0.05, 0.05)
    night = draws.chance("background_night", 0.14)
    light = draws.uniform("background_light")
    # Dark yellows are mud: nights are blue, green or violet, and yellow days bright.
    back_hue = _where(night > 0, 0.48 + 0.38 * (back_hue % 1), back_hue)
    yellow = np.clip(1 - 6 * np.abs(back_hue % 1 - 0.24), 0, 1)
    lightness = _where(night > 0, 0.36 + 0.12 * light, 0.82 + 0.11 * light - 0.06 * pale[code][:, None, None])
    lightness = lightness + (1 - night) * 0.5 * yellow * (0.92 - lightness)
    chroma = 0.05 + 0.06 * draws.uniform("background_chroma")
    clothes_hue = hue + draws.uniform("clothes_hue")
    clothes_light = draws.uniform("clothes_light", 0.34, 0.92)
    clothes_chroma = 0.03 + 0.10 * draws.uniform("clothes_chroma")
    trim_light = clothes_light + _where(clothes_light > 0.6, -0.25, 0.3)
    accent_hue = clothes_hue + draws.uniform("accent_hue", 0.3, 0.7)
    hat_light = 0.45 + 0.4 * draws.uniform("hat_light")
    frame = np.array([[0.13, 0.12, 0.17], [0.42, 0.10, 0.14], [0.12, 0.18, 0.38], [0.36, 0.22, 0.12]], np.float32)
    return {
        "background": draws.choice("background", (0.16, 0.24, 0.18, 0.11, 0.11, 0.11, 0.09)),
        "background_rgb": palette.oklch(lightness, chroma, back_hue),
        "backdrop_rgb": palette.oklch(lightness + _where(night > 0, 0.09, 0.055), chroma * 0.75, back_hue + 0.07),
        "clothes": draws.choice("clothes", (0.22, 0.16, 0.16, 0.18, 0.12, 0.16)),
        "clothes_rgb": palette.oklch(clothes_light, clothes_chroma, clothes_hue),
        "trim_rgb": palette.oklch(trim_light, clothes_chroma * 0.7, accent_hue),
        "hat_rgb": palette.oklch(hat_light, 0.05 + 0.09 * draws.uniform("hat_chroma"), accent_hue),
        "glasses": draws.chance("glasses", 0.25),
        "glasses_rgb": _pick(frame[:, :, None, None], draws.choice("glasses_colour", (0.55, 0.15, 0.15, 0.15))),
    }


def sample_faces(count: int, seed: int = 0, start: int = 0) -> Faces:
    """The traits of faces `start` to `start + count` of a seed."""
    draws = _Draws(count, seed, start)
    person = _person(draws)
    style, skin, softness = person["hair_style"], person["skin"], person["softness"]
    hair = _hair_and_hat(draws, softness, style)
    dark = np.clip((skin - 2) / 3, 0, 1)
    eye_colour = draws.choice("eye_colour", _mixed_weights(
        dark, (0.22, 0.12, 0.20, 0.24, 0.12, 0.10), (0.62, 0.18, 0.08, 0.04, 0.05, 0.03),
    ))  # fmt: skip
    dyed = draws.uniform("hair_tips")
    tips = palette.oklch(0.62 + 0.2 * draws.uniform("tips_light"), 0.13 + 0 * dyed, draws.uniform("tips_hue"))
    hair_rgb = person["hair_rgb"]
    is_dyed = ((dyed < 0.12) & (softness > 0.3))[:, None]
    return Faces(
        **{name: draws.uniform(name) for name in _SHARES},
        **{name: draws.bell(name) for name in _BELLS},
        **person,
        **_expression(draws),
        **_build(draws, person["age"], softness, style, hair["hat"]),
        **hair,
        **_surroundings(draws, person["hair_colour"]),
        eye_colour=eye_colour,
        eye_rgb=_tint(_pick(palette.EYES, eye_colour), draws.uniform("eye_tone", -0.1, 0.1)),
        tips_rgb=_where(is_dyed, hair_rgb * 0.35 + tips * 0.65, palette.shade_of(hair_rgb)),
        lips_rgb=person["skin_rgb"] * palette.rgb(0.86, 0.46, 0.48),
    )
