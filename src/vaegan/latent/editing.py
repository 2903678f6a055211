"""Moving images along named directions."""

from collections.abc import Sequence

from torch import Tensor

from vaegan.model import Model
from vaegan.types import Images, Latents


def moved(latents: Latents, steps: Sequence[tuple[Tensor, float]]) -> Latents:
    """Latents + sum of strength * direction, [n, latent].

    Args:
        latents: [n, latent].
        steps: (direction [latent], strength) pairs; their order changes nothing.
    """
    for direction, strength in steps:
        latents = latents + strength * direction.to(latents)
    return latents


def edit(model: Model, images: Images, steps: Sequence[tuple[Tensor, float]]) -> Images:
    """Images encoded, moved along directions, and decoded again.

    Args:
        model: with an encoder.
        images: [n, channel, height, width].
        steps: (direction, strength) pairs.

    Raises:
        RequestError: if the model has no encoder or the images have another shape.
    """
    return model.decode(moved(model.encode(images), steps))
