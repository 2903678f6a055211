"""Pixels: an opened image made a square of uint8, its tensor in [-1, 1] and back, and random numbers keyed by image."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaegan.config import DataConfig
from vaegan.errors import RequestError
from vaegan.shapes import Fit, Sides

# splitmix64 (Steele, Lea, Flood 2014): written out here, so that no release of a library changes a resumed run.
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1
# noise < value / 255 * 2^16 in whole numbers: never white at 0, always white at 255
_THRESHOLDS = -(-np.arange(256, dtype=np.int64) * 65536 // 255).astype(np.int32)

# What was done to an image, completing "<n> of <total> images had ...".
TRAITS: dict[str, str] = {
    "cropped": "another shape: the centre was cropped (--fit crop)",
    "padded": "another shape: padded with white (--fit pad)",
    "stretched": "another shape: stretched (--fit stretch)",
    "enlarged": "fewer pixels than asked for, and were enlarged",
    "transparent": "transparency, and were composited on white",
    "turned": "an EXIF rotation, and were turned upright",
    "frames": "several frames, of which the first was taken",
    "deep": "more than 8 bits a channel, and were scaled to 8",
    "cmyk": "CMYK colours, and were converted to RGB",
    "greyed": "colours, and were turned grey (--channels 1)",
}

_FIT_TRAITS = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}
_ORIENTATION_TAG, _BITS_TAG = 0x0112, 258
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def prepare(image: Image.Image, config: DataConfig) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Gives an image the sides that training sees, and says which keys of `TRAITS` apply; raises what Pillow raises.

    It becomes uint8 [height, width] where it is grey (RGB with three equal channels counts as grey) or `channels` is "1",
    else [height, width, 3]. Colour profiles (ICC) are ignored: every value is taken as sRGB.
    """
    traits: list[str] = []
    image.load()
    upright = _UPRIGHT.get(_orientation(image))
    if _has_frames(image):
        traits.append("frames")
    flat = _flat(_eight_bit(image, traits), traits)
    # Turned after the fit, where it is cheap: what is centred commutes with turning.
    fitted = _fit(flat, Sides(*config.sides[::-1]) if lies(image) else config.sides, config.fit, traits)
    if upright is not None:
        traits.append("turned")
        fitted = fitted.transpose(upright)
    pixels = np.asarray(fitted)
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = np.ascontiguousarray(pixels[..., 0])
    if pixels.ndim == 3 and config.channels == "1":
        traits.append("greyed")
        pixels = np.asarray(fitted.convert("L"))
    return pixels, tuple(traits)


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


def _eight_bit(image: Image.Image, traits: list[str]) -> Image.Image:
    """Scales 16-bit, 32-bit and float images to 8 bits; others pass."""
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(_BITS_TAG)
        top = 4095 if bits and bits[0] == 12 else 65535
    elif image.mode == "I" and image.format == "PPM":
        top = 65535  # the reader has scaled by the file's own maximum
    elif image.mode in ("I", "F"):
        traits.append("deep")
        return Image.fromarray(_guessed_range(np.asarray(image)))
    else:
        return image
    traits.append("deep")
    values = np.asarray(image).astype(np.uint32).clip(0, top)
    return Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))


def _guessed_range(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """32-bit images do not say what white is: the smallest common range that holds the values is taken, or their own."""
    numbers = values.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError("has values that are not numbers")
    low, high = float(numbers.min()), float(numbers.max())
    if low < 0 or high > 65535:
        numbers -= low
        white = (high - low) or 1.0
    elif high > 255:
        white = 65535.0
    elif high > 1 or values.dtype.kind != "f":
        white = 255.0
    else:
        white = 1.0
    return np.rint(numbers * (255 / white)).astype(np.uint8)


def _flat(image: Image.Image, traits: list[str]) -> Image.Image:
    """Grey (L) or RGB without transparency: what shows through is white."""
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        layered = image.convert("LA" if grey else "RGBA")
        opacity = layered.getchannel("A")
        colours = layered.convert("L" if grey else "RGB")
        if opacity.getextrema()[0] == 255:
            return colours
        traits.append("transparent")
        white = Image.new(colours.mode, image.size, "white")
        white.paste(colours, mask=opacity)
        return white
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.mode == "CMYK":
        traits.append("cmyk")
    return image.convert("RGB")


def _fit(image: Image.Image, sides: Sides, fit: Fit, traits: list[str]) -> Image.Image:
    (width, height), size = image.size, (sides.width, sides.height)
    wider = width * sides.height - height * sides.width  # above 0 for an image that is wider than it becomes
    if wider:
        traits.append(_FIT_TRAITS[fit])
    if (width < sides.width) if (wider > 0) == (fit == "pad") else (height < sides.height):
        traits.append("enlarged")
    box = (0.0, 0.0, width, height)
    if fit == "crop":
        left = max(0.0, (width - height * sides.width / sides.height) / 2)
        top = max(0.0, (height - width * sides.height / sides.width) / 2)
        box = (left, top, width - left, height - top)
    elif fit == "pad" and wider > 0:
        size = (sides.width, max(1, round(height * sides.width / width)))
    elif fit == "pad":
        size = (max(1, round(width * sides.height / height)), sides.height)
    # The gap lets large images be averaged down cheaply first; at 3 the result cannot be distinguished from Lanczos alone.
    fitted = image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    if fit != "pad":
        return fitted
    # White as behind transparency: one background for all images is one thing less to learn.
    padded = Image.new(image.mode, (sides.width, sides.height), "white")
    padded.paste(fitted, ((sides.width - size[0]) // 2, (sides.height - size[1]) // 2))
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
