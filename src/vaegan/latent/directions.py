"""A direction from two groups of latents, along which the second turns into the first; and how well it tells them apart."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from vaegan.errors import RequestError
from vaegan.metrics.classifier import LogisticClassifier
from vaegan.types import Latents

Method = Literal["whitened", "classifier", "mean"]
"""mean: difference of the groups' means; whitened: the same after whitening within the groups (LDA); classifier: the normal of a
logistic regression."""

LEAST_LEFT = 0.1
"""Share of a direction's length that must remain beside the others, or nothing of its own is left."""
FOLDS = 4


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
