"""Images that resemble a given one: its latent plus noise."""

import torch

from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.randomness import keyed_seed
from vaegan.types import Images, Latents


def vary_latents(latent: Latents, count: int, strength: float, seed: int = 0) -> Latents:
    """`count` latents around one: mu + strength * epsilon, epsilon ~ N(0, I).

    The noise is not scaled by the posterior's width: that width says how exactly the encoder knows the latent, and moving within
    it changes nothing that can be seen. For the same seed a larger strength moves every variation further along the same ray, and
    variation i does not depend on `count`.

    Args:
        latent: mu, [latent].
        count: how many.
        strength: length of the noise relative to a draw of the prior; 0 changes nothing.
        seed: of the noise.

    Returns:
        [count, latent].
    """
    if not 0 <= strength < float("inf"):
        raise RequestError(f"The strength {strength:g} is not possible; give 0 or more.")
    generators = (torch.Generator().manual_seed(keyed_seed(seed, "vary", index)) for index in range(count))
    noise = [torch.randn(latent.shape[-1], generator=generator) for generator in generators]
    return latent.cpu() + strength * torch.stack(noise) if noise else latent.cpu()[None][:0]


def vary(model: Model, image: Images, count: int, strength: float, seed: int = 0) -> Images:
    """`count` images that resemble `image` [1, channel, height, width]: decode(mu + strength * epsilon).

    Raises:
        RequestError: if the model has no encoder, or the strength is negative.
    """
    return model.decode(vary_latents(model.encode(image)[0], count, strength, seed))
