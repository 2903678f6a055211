"""Directions found without labels: what varies most among encoded images, or what changes the decoded image most."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.types import Latents

DECODES = 4096
"""Images decoded to estimate J'J, about: a second or two for the preset tiny."""
STEP = 0.05
"""Half width of the finite difference, in latent units [1]."""


class PrincipalDirections(NamedTuple):
    """Directions [k, latent], each as long as the encoded images vary along it (one standard deviation), and their effects [k].

    An effect is the root mean square change of a pixel value, on [-1, 1], when strength 1 is added; the strongest comes first.
    """

    directions: Tensor
    effects: Tensor


@torch.inference_mode()
def principal_directions(model: Model, latents: Latents, count: int = 16) -> PrincipalDirections:
    """At most `count` directions without labels, sorted by how much they change the image, for latents of images or of the prior.

    They are those of a PCA. Where latents were whitened or come from the prior, their covariance is the identity, whose
    eigenvectors say nothing: there they are eigenvectors of the decoder's mean J'J.
    """
    if len(latents) < 2:
        raise RequestError(f"{len(latents)} images are too few to see what varies; give at least 2.")
    points = latents.cpu().double()
    centred = points - points.mean(0)
    covariance = centred.T @ centred / (len(points) - 1)
    matrix = mean_gram(model, latents) if is_whitened(model) or not model.has_encoder else covariance
    # eigh sorts ascending.
    vectors = torch.linalg.eigh(matrix).eigenvectors.flip(1).T[: min(count, points.shape[1])]
    deviations = (vectors @ covariance * vectors).sum(1).clamp_min(0).sqrt()
    # An eigenvector's sign is arbitrary: its largest number is made positive, so that a second call gives the same.
    signs = vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    directions = (vectors * signs * deviations[:, None]).float()
    effects = direction_effects(model, latents, directions)
    order = effects.argsort(descending=True, stable=True)
    return PrincipalDirections(directions[order], effects[order])


@torch.inference_mode()
def projection(model: Model, latents: Latents) -> NDArray[np.float32]:
    """Two numbers to draw each latent at: its place along the two strongest principal directions, float32 [n, 2]."""
    if len(latents) < 2 or model.latent_dim < 2:
        return np.zeros((len(latents), 2), np.float32)
    directions = principal_directions(model, latents).directions[:2]
    centred = latents.cpu().float() - latents.cpu().float().mean(0)
    return (centred @ torch.nn.functional.normalize(directions).T).numpy()


def is_whitened(model: Model) -> bool:
    """Whether the latents were changed so that encoded images have covariance I."""
    whitening = model.networks.whitening
    return whitening is not None and not torch.equal(whitening.root.cpu(), torch.eye(model.latent_dim))


@torch.inference_mode()
def mean_gram(model: Model, latents: Latents) -> Tensor:
    """The mean of J'J over some latents, J [values, latent] the decoder's derivative, by central differences; [latent, latent].

    Its eigenvectors change images most for their length (the pull-back metric, Arvanitidis et al. 2018, Eq. 5).
    """
    dimension = model.latent_dim
    steps = STEP * torch.cat([torch.eye(dimension), -torch.eye(dimension)])
    total = torch.zeros(dimension, dimension, dtype=torch.double)
    anchors = _spread(latents, max(2, DECODES // (2 * dimension)))
    for latent in anchors:
        forth, back = model.decode(latent + steps).flatten(1).chunk(2)
        derivative = (forth - back) / (2 * STEP)
        total += (derivative @ derivative.T).cpu().double()
    return total / len(anchors)


@torch.inference_mode()
def direction_effects(model: Model, latents: Latents, directions: Tensor) -> Tensor:
    """Root mean square change of a pixel value, on [-1, 1], when strength 1 of each direction is added; [k]."""
    anchors = _spread(latents, 16)
    before = model.decode(anchors)
    changes = [(model.decode(anchors + direction.cpu()) - before).square().mean().sqrt() for direction in directions]
    return torch.stack(changes).cpu() if changes else torch.zeros(0)


def _spread(latents: Latents, count: int) -> Latents:
    """At most `count` of the latents, evenly spaced."""
    chosen = torch.linspace(0, len(latents) - 1, min(count, len(latents))).round().long()
    return latents.cpu().float()[chosen]
