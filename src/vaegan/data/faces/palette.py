"""The colours of the drawn faces: named palettes, and mixing rules that keep a picture harmonious."""

import numpy as np

from vaegan.data.faces.canvas import Array


def _palette(*colours: tuple[int, int, int]) -> Array:
    """RGB bytes as [colour, 3, 1, 1] in [0, 1]."""
    return (np.array(colours, np.float32) / 255)[:, :, None, None]


SKIN_WORDS = ("porcelain", "fair", "peach", "tan", "brown", "deep")
SKINS = _palette((255, 231, 216), (254, 216, 190), (246, 197, 160), (224, 168, 122), (172, 112, 76), (120, 74, 54))

HAIR_WORDS = ("black", "brown", "chestnut", "red", "ginger", "blond", "silver", "pink", "blue", "green", "purple")
HAIRS = _palette(
    (52, 46, 62), (92, 60, 48), (146, 90, 58), (176, 58, 52), (232, 128, 56), (246, 208, 112), (208, 212, 224),
    (244, 150, 178), (84, 130, 214), (92, 178, 150), (152, 108, 204),
)  # fmt: skip

EYE_WORDS = ("brown", "amber", "green", "blue", "violet", "grey")
EYES = _palette((136, 80, 48), (214, 140, 36), (64, 160, 88), (58, 128, 216), (146, 90, 208), (116, 134, 152))


def rgb(red: float, green: float, blue: float) -> Array:
    """One colour for all faces [1, 3, 1, 1]."""
    return np.array([red, green, blue], np.float32)[None, :, None, None]


WHITE = rgb(1, 1, 1)


def ink_of(colour: Array) -> Array:
    """The line colour that goes with a fill: comic lines are a deep shade of what they enclose, not black."""
    return colour * rgb(0.34, 0.25, 0.32) + rgb(0.03, 0.01, 0.05)


def shade_of(colour: Array) -> Array:
    """The colour in shadow: darker and a little to violet."""
    return colour * rgb(0.82, 0.72, 0.79)


def lighten(colour: Array, share: float) -> Array:
    """The colour mixed with warm white."""
    return colour + (rgb(1, 0.99, 0.96) - colour) * np.float32(share)


def oklch(lightness: Array, chroma: Array, hue: Array) -> Array:
    """RGB [face, 3, 1, 1] of Oklab lightness, chroma and hue in turns [face, 1, 1]: equal numbers look equally bright.

    Ottosson 2020, https://bottosson.github.io/posts/oklab/. Colours outside sRGB are clipped.
    """
    a, b = chroma * np.cos(2 * np.pi * hue), chroma * np.sin(2 * np.pi * hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        (
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        ),
        axis=1,
    )
    linear = np.clip(linear, 0, 1)
    return np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)
