"""Pixels: an opened image made a square of uint8, its tensor in [-1, 1] and back, and random numbers keyed by image."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from torch import Tensor

from vaegan.config import DataConfig
from vaegan.data.levels import EVEN, Used, range_of, scaled, used
from vaegan.errors import RequestError
from vaegan.shapes import Shape
from vaegan.transparency import multiplied

# splitmix64 (Steele, Lea, Flood 2014): written out here, so that no release of a library changes a resumed run.
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1
# noise < value / 255 * 2^16 in whole numbers: never white at 0, always white at 255
_THRESHOLDS = -(-np.arange(256, dtype=np.int64) * 65536 // 255).astype(np.int32)

# What was done to an image, completing "<n> of <total> images had ..."; the background is a setting.
TRAITS: dict[str, str] = {
    "cropped": "another shape: the centre was cropped (--fit crop)",
    "padded": "another shape: padded with {background} (--fit pad)",
    "stretched": "another shape: stretched (--fit stretch)",
    "enlarged": "fewer pixels than asked for, and were enlarged",
    "transparent": "transparency, and were composited on {background}",
    "turned": "an EXIF rotation, and were turned upright",
    "frames": "several frames, of which the first was taken",
    "deep": "more than 8 bits a channel, and were scaled to 8",
    "cmyk": "CMYK colours, and were converted to RGB",
    "greyed": "colours, and were turned grey (--channels 1)",
}

_FIT_TRAITS = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}
BLANK = "blank"  # the trait of an image that transparency made even: what it shows has the background's colour
_ORIENTATION_TAG, _PHOTOMETRIC_TAG = 0x0112, 262
_MIN_IS_WHITE = 0
_GRID = 32  # pixels of a side that are looked at to see whether an image is even
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def prepare(image: Image.Image, config: DataConfig) -> tuple[NDArray[np.uint8], tuple[str, ...], Used]:
    """Gives an image the shape that training sees, and says which keys of `TRAITS` apply and which numbers its file uses.

    It becomes uint8 [height, width] where it is grey (RGB with three equal channels counts as grey) or `channels` is "1",
    [height, width, 4] (transparency.py) where `channels` is "4", else [height, width, 3]. Colour profiles (ICC) are ignored:
    every value is taken as sRGB. Raises what Pillow raises.
    """
    traits: list[str] = []
    image.load()
    upright = _UPRIGHT.get(_orientation(image))
    if _has_frames(image):
        traits.append("frames")
    kind = _kind(image)
    flat, found = _flat(image, config, traits) if kind == "8-bit" else _eight_bit(image, kind, config, traits)
    # Turned after the fit, where it is cheap: what is centred commutes with turning.
    fitted = _fit(flat, Shape(*config.shape[::-1]) if lies(image) else config.shape, config, traits)
    if upright is not None:
        traits.append("turned")
        fitted = fitted.transpose(upright)
    if config.channels == "4":
        return multiplied(np.asarray(fitted.convert("RGBA"))), tuple(traits), found
    pixels = np.asarray(fitted)
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = np.ascontiguousarray(pixels[..., 0])
    if pixels.ndim == 3 and config.channels == "1":
        traits.append("greyed")
        pixels = np.asarray(fitted.convert("L"))
    return pixels, tuple(traits), found


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    # A few pixels settle it for nearly every coloured image.
    return all(bool((some == some[..., :1]).all()) for some in (pixels[::8, ::8], pixels))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF beside a healthy image: there is no telling where up is
        return 1


def lies(image: Image.Image) -> bool:
    """Whether the file says that its rows are the upright picture's columns."""
    return _orientation(image) > 4


def _has_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the second frame is damaged, the first is not
        return True


def _kind(image: Image.Image) -> str:
    """The kind of numbers in an image's file."""
    # Pillow scales what a PPM holds to 16 bits, and older versions open 16-bit PNGs as integers.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return "16-bit"
    return {"I": "integer", "F": "float"}.get(image.mode, "8-bit")


def _eight_bit(image: Image.Image, kind: str, config: DataConfig, traits: list[str]) -> tuple[Image.Image, Used]:
    """Numbers of 16 and more bits as grey (L), and those that it uses."""
    traits.append("deep")
    values = np.asarray(image)
    pixels = scaled(values, range_of(config.levels, kind))
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_TAG) == _MIN_IS_WHITE:  # Pillow inverts those of 8 bits by itself
        np.subtract(255, pixels, out=pixels)
    return Image.fromarray(pixels), used(values, kind)


def _flat(image: Image.Image, config: DataConfig, traits: list[str]) -> tuple[Image.Image, Used]:
    """Grey (L) or RGB without transparency, on the background, and the numbers that its colours use."""
    if image.mode == "CMYK":
        traits.append("cmyk")
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    opacity = None
    if image.has_transparency_data:
        image = image.convert("LA" if mode == "L" else "RGBA")
        opacity = image.getchannel("A")
    colours = image.convert(mode)
    found = _used_colours(colours, exactly=config.levels == "auto")
    black_to_white = range_of(config.levels, "8-bit")
    if black_to_white != (0, 255):
        colours = colours.point(scaled(np.arange(256), black_to_white).tolist() * len(colours.getbands()))
    if opacity is None or opacity.getextrema()[0] == 255:
        return colours, found
    if config.channels == "4":
        colours = colours.convert("RGB")
        colours.putalpha(opacity)
        return colours, found
    traits.append("transparent")
    ground = _ground(mode, image.size, config)
    ground.paste(colours, mask=opacity)
    behind = ImageColor.getcolor(config.background, ground.mode)
    seen = np.abs(np.reshape(ground.getextrema(), (-1, 2)) - np.reshape(behind, (-1, 1))).max()
    if opacity.getextrema()[1] and seen < EVEN * 255:
        traits.append(BLANK)
    return ground, found


def _used_colours(image: Image.Image, exactly: bool) -> Used:
    """What an 8-bit image uses; of one that is not even by some of its pixels, unless it must be known `exactly`."""
    some = image.resize((_GRID, _GRID), Image.Resampling.NEAREST)
    found = used(np.asarray(some.getextrema()), "8-bit")
    return used(np.asarray(image.getextrema()), "8-bit") if exactly or found.high - found.low < EVEN * 255 else found


def _ground(mode: str, size: tuple[int, int], config: DataConfig) -> Image.Image:
    """An image of the background alone; in colour if it has one, and nothing where transparency is kept."""
    if config.channels == "4":
        return Image.new("RGBA", size)
    coloured = len(set(ImageColor.getrgb(config.background))) > 1
    return Image.new("RGB" if coloured else mode, size, config.background)


def _fit(image: Image.Image, shape: Shape, config: DataConfig, traits: list[str]) -> Image.Image:
    (width, height), size, fit = image.size, (shape.width, shape.height), config.fit
    wider = width * shape.height - height * shape.width  # above 0 for an image that is wider than it becomes
    if wider:
        traits.append(_FIT_TRAITS[fit])
    if (width < shape.width) if (wider > 0) == (fit == "pad") else (height < shape.height):
        traits.append("enlarged")
    box = (0.0, 0.0, width, height)
    if fit == "crop":
        left = max(0.0, (width - height * shape.width / shape.height) / 2)
        top = max(0.0, (height - width * shape.height / shape.width) / 2)
        box = (left, top, width - left, height - top)
    elif fit == "pad" and wider > 0:
        size = (shape.width, max(1, round(height * shape.width / width)))
    elif fit == "pad":
        size = (max(1, round(width * shape.height / height)), shape.height)
    # The gap lets large images be averaged down cheaply first; at 3 the result cannot be distinguished from Lanczos alone.
    fitted = image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    if fit != "pad":
        return fitted
    # As behind transparency: one background for all images is one thing less to learn.
    padded = _ground(image.mode, (shape.width, shape.height), config)
    padded.paste(fitted, ((shape.width - size[0]) // 2, (shape.height - size[1]) // 2))
    return padded


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, h, w, c] -> float32 [n, c, h, w] in [-1, 1], in channels-last memory."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Float [n, c, h, w] in [-1, 1] -> uint8 [n, h, w, c], rounded and clamped; undoes `to_tensor` exactly.

    Raises:
        RequestError: if there is a not-a-number among them, which no pixel can show.
    """
    if images.isnan().any():
        raise RequestError("These images are not numbers (NaN): the latents are too large, or the model is damaged; use others.")
    levels = images.detach().to("cpu", torch.float32).add(1).mul_(127.5).round_().clamp_(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def random_bits(counters: NDArray[np.uint64], *key: int) -> NDArray[np.uint64]:
    """64 random bits for every counter, the same for the same key on every machine and version."""
    start = 0
    for part in key:
        start = int(_mix(np.array([(start ^ part) & _MASK], dtype=np.uint64))[0])
    return _mix(counters ^ np.uint64(start))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def binarized(pixels: NDArray[np.uint8], keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Draws every grey value as 0 or 255, white with probability value / 255 (Salakhutdinov & Murray 2008).

    Images are uint8 [n, h, w, c], keys uint64 [n]: one key always draws one image in one way.
    """
    each = pixels[0].size
    places = np.arange(-(-each // 4), dtype=np.uint64)  # 64 bits serve four pixels
    bits = _mix(_mix(keys)[:, None] ^ places[None])
    noise = bits.view(np.uint16)[:, :each].reshape(pixels.shape)
    return np.where(noise < _THRESHOLDS[pixels], np.uint8(255), np.uint8(0))
