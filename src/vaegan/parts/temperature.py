"""Temperature: a narrower prior for the kept model, but in the directions that decide what an image shows."""

import torch
from torch import Tensor

from vaegan.metrics.features import small_images
from vaegan.networks import Decoder
from vaegan.parts.engine import in_blocks
from vaegan.types import Labels, Latents


@torch.no_grad()
def strong_directions(generator: Decoder, latents: Latents) -> Tensor:
    """The projection onto the quarter of the latent directions that change coarse images most: no temperature narrows them.

    Samples are odd where much that is weak does not go together. How far the strong directions reach is what a mixture knows
    best, and narrowing them takes contrast and kinds of images away. They are found by linear regression of coarse images on
    their latents, in units of the latents' spread.

    Args:
        generator: decodes.
        latents: draws of its prior, many times as many as it has numbers, [count, latent].

    Returns:
        [latent, latent] on the CPU; 0 for fewer than four dimensions.
    """
    labels = any_labels(generator, latents)
    codes = None if labels is None else labels.to(latents.device)
    images = in_blocks(lambda *block: small_images(generator(*block)), latents, codes).cpu().double()
    for own in [] if labels is None else [labels == label for label in labels.unique()]:
        images[own] -= images[own].mean(0)  # what a label changes is not the latents' doing
    z = latents.cpu().double() - latents.cpu().double().mean(0)
    spread = torch.linalg.cholesky(z.T @ z / len(z) + 1e-6 * torch.eye(z.shape[1], dtype=z.dtype))
    effects = torch.linalg.solve_triangular(spread, z.T @ images / len(z), upper=False)
    strongest = torch.linalg.svd(effects, full_matrices=False).U[:, : z.shape[1] // 4]
    return (spread @ strongest @ strongest.T @ torch.linalg.inv(spread)).float()


def any_labels(decoder: Decoder, latents: Latents) -> Labels | None:
    """Labels to try a decoder with, each in turn; None for one that takes none."""
    if decoder.label_bias is None:
        return None
    return torch.arange(len(latents)) % decoder.label_bias.num_embeddings
