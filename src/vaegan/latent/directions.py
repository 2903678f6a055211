"""Directions: from two groups of latents, the first turning into the second; and without labels, by what varies most."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.errors import RequestError
from vaegan.metrics.classifier import LogisticClassifier
from vaegan.model import Model
from vaegan.types import Latents

Method = Literal["whitened", "classifier", "mean"]
"""mean: difference of the groups' means; whitened: the same after whitening within the groups (LDA); classifier: the normal of a
logistic regression."""

LEAST_LEFT = 0.1  # share of a direction's length that must remain beside the others, or nothing of its own is left
FOLDS = 4
DECODES = 4096  # images decoded to estimate J'J, about: a second or two for the preset tiny
STEP = 0.05  # half width of the finite difference, in latent units [1]


def find_direction(positive: Latents, negative: Latents, method: Method = "whitened", beside: Sequence[Tensor] = ()) -> Tensor:
    """The direction from `negative` to `positive`, float32 [latent], as long as the distance between the two groups' means.

    It is made orthogonal to the directions `beside`, so that adding it changes none of them. RequestError if nothing is left of
    it.
    """
    first, second = positive.cpu().double(), negative.cpu().double()
    difference = first.mean(0) - second.mean(0)
    length = difference.norm()
    if not length > 1e-9:
        raise RequestError("The two groups of images are the same to the model; no direction leads from one to the other.")
    direction = difference if method == "mean" else _normal(first, second, method)
    direction = direction / direction.norm()
    if beside:
        others = torch.stack([other.cpu().double() for other in beside], 1)
        basis = torch.linalg.qr(others / others.norm(dim=0)).Q
        direction = direction - basis @ (basis.T @ direction)
        if direction.norm() < LEAST_LEFT:
            raise RequestError(
                f"Beside the other directions only {float(direction.norm()):.0%} of this one is left; leave one of them out."
            )
        direction = direction / direction.norm()
    return (length * direction).float()


def _normal(positive: Tensor, negative: Tensor, method: Method) -> Tensor:
    points = torch.cat([negative, positive])
    labels = torch.cat([torch.zeros(len(negative)), torch.ones(len(positive))]).long()
    if method == "classifier":
        weights = LogisticClassifier(points, labels, 2, penalty=2.0, iterations=500, tolerance=1e-9).weights.T
    else:
        weights, _ = discriminant(points, labels)
    return weights[1] - weights[0]


def heldout_area(positive: Latents, negative: Latents, method: Method = "whitened", beside: Sequence[Tensor] = ()) -> float:
    """How well directions found on three quarters of the images tell the last quarter apart: the mean AUC of four turns."""
    generator = torch.Generator().manual_seed(0)
    first, second = (group.cpu()[torch.randperm(len(group), generator=generator)] for group in (positive, negative))
    areas: list[float] = []
    for fold in range(FOLDS):
        mine, theirs = (torch.arange(len(group)) % FOLDS == fold for group in (first, second))
        direction = find_direction(first[~mine], second[~theirs], method, beside)
        areas.append(area_under_curve(first[mine] @ direction, second[theirs] @ direction))
    return sum(areas) / FOLDS


def area_under_curve(positive: Tensor, negative: Tensor) -> float:
    """The area under the ROC curve: the chance that a positive's score is above a negative's (Mann & Whitney 1947)."""
    ordered = negative.sort().values.contiguous()
    below = torch.searchsorted(ordered, positive.contiguous())
    up_to = torch.searchsorted(ordered, positive.contiguous(), right=True)
    return float((below + up_to).double().mean() / 2 / len(negative))


def shrunk_covariance(residuals: Latents) -> Tensor:
    """A covariance of residuals [n, latent] that can be inverted however few they are (Ledoit & Wolf 2004, Section 3.2).

    The sample covariance S is mixed with the sphere of the same size, m I: a S + (1 - a) m I. With the Frobenius norm (1 - a) =
    min(b^2, d^2) / d^2, d^2 = |S - m I|^2, b^2 = mean_k |x_k x_k' - S|^2 / n.
    """
    count, dimension = residuals.shape
    sample = residuals.T @ residuals / count
    sphere = torch.eye(dimension).to(sample) * sample.trace() / dimension
    distance = (sample - sphere).square().sum()
    # |x x' - S|^2 averaged is |x|^4 averaged minus |S|^2.
    error = (residuals.square().sum(1).square().mean() - sample.square().sum()) / count
    share = (error / distance).clamp(0, 1) if distance > 0 else torch.ones(()).to(sample)
    return (1 - share) * sample + share * sphere


def discriminant(latents: Latents, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Linear discriminant analysis with a shrunk common covariance: scores = latents @ weights' + biases, the highest wins.

    Weights S^-1 m_c [classes, latent], biases -1/2 m_c' S^-1 m_c + log p_c (Bishop 2006, Eq. 4.69 and 4.70). Every class from 0
    on occurs.
    """
    points, codes = latents.cpu().double(), codes.cpu().long()
    shares = codes.bincount().double() / len(codes)
    means = torch.stack([points[codes == code].mean(0) for code in range(len(shares))])
    weights = torch.linalg.solve(shrunk_covariance(points - means[codes]), means.T).T
    return weights, shares.log() - 0.5 * (weights * means).sum(1)


class PrincipalDirections(NamedTuple):
    """Directions [k, latent], one standard deviation of images long, and the effect of strength 1 on a pixel [k]."""

    directions: Tensor
    effects: Tensor


@torch.inference_mode()
def principal_directions(model: Model, latents: Latents, count: int = 16) -> PrincipalDirections:
    """At most `count` directions without labels, sorted by how much they change the image, for latents of images or of the prior.

    They are those of a PCA. Without an encoder latents come from the prior, whose covariance is a multiple of the identity and
    says nothing: there they are eigenvectors of the decoder's mean J'J.
    """
    if len(latents) < 2:
        raise RequestError(f"{len(latents)} images are too few to see what varies; give at least 2.")
    points = latents.cpu().double()
    centred = points - points.mean(0)
    covariance = centred.T @ centred / (len(points) - 1)
    matrix = covariance if model.has_encoder else mean_gram(model, latents)
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
    chosen = torch.linspace(0, len(latents) - 1, min(count, len(latents))).round().long()
    return latents.cpu().float()[chosen]
