"""A direction from two groups of latents: along it the first group turns into the second."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from vaegan.errors import RequestError
from vaegan.latent.classifier import area_under_curve, discriminant, logistic_regression
from vaegan.types import Latents

Method = Literal["whitened", "classifier", "mean"]
"""mean: difference of the groups' means; whitened: the same after whitening within the groups (LDA); classifier: the normal of a
logistic regression."""

LEAST_LEFT = 0.1
"""Of a direction's length must remain beside the others, or nothing of its own is left."""
FOLDS = 4


def find_direction(positive: Latents, negative: Latents, method: Method = "whitened", beside: Sequence[Tensor] = ()) -> Tensor:
    """The direction from `negative` to `positive`, float32 [latent].

    Strength 1, the direction's length, is the distance between the two groups' means, whatever the method.

    Args:
        positive: [n, latent].
        negative: [m, latent].
        method: how; see `Method`.
        beside: directions [latent] that it is made orthogonal to, so that adding it changes none of them.

    Raises:
        RequestError: if the groups have the same mean, or nothing is left beside the other directions.
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
    labels = torch.cat([torch.zeros(len(negative)), torch.ones(len(positive))])
    if method == "classifier":
        return logistic_regression(points, labels)[0]
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
