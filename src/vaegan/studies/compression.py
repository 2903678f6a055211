"""Bytes an image: latents rounded to 8 bits against JPEG at equal error."""

import io

import torch
from PIL import Image

from vaegan.data import to_uint8
from vaegan.model import Model
from vaegan.pictures import to_picture
from vaegan.types import Images, Latents

QUALITIES = (1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 65, 80, 90, 95)


def rounded(latents: Latents, low: Latents, high: Latents) -> Latents:
    """Each number to the nearest of 256 levels between `low` and `high` of its dimension: one byte a number."""
    width = (high - low).clamp_min(1e-9)
    return low + ((latents - low) / width * 255).round().clamp(0, 255) / 255 * width


def latent_error(model: Model, train: Images, images: Images) -> float:
    """Squared error a value of images decoded from 8-bit latents, whose range is that of the training images'."""
    known = model.encode(train).cpu()
    return float((model.decode(rounded(model.encode(images).cpu(), known.amin(0), known.amax(0))).cpu() - images).square().mean())


def jpeg_at(images: Images, error: float) -> tuple[float, float, int]:
    """Bytes an image of JPEG at the lowest quality whose squared error a value is at most `error`.

    Returns:
        Bytes an image, bytes without the header and tables that every such file repeats, and the quality. The highest quality
        when none is good enough.
    """
    pixels = to_uint8(images)
    empty = _jpeg(Image.new("L" if pixels.shape[-1] == 1 else "RGB", pixels.shape[1:3]), 50)
    size, chosen = 0.0, 0
    for chosen in QUALITIES:
        files = [_jpeg(to_picture(image), chosen) for image in pixels]
        size = sum(map(len, files)) / len(files)
        decoded = torch.stack([_opened(file, images.shape[1]) for file in files])
        if float((decoded - images).square().mean()) <= error:
            break
    return size, size - len(empty), chosen


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _opened(file: bytes, channels: int) -> torch.Tensor:
    with Image.open(io.BytesIO(file)) as picture:
        values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        return values.reshape(picture.height, picture.width, channels).permute(2, 0, 1) / 127.5 - 1
