"""Two latents looked at as a plane: classes, holes, even steps, and the images that lie on it."""

from typing import NamedTuple

import torch
from torch import Tensor

from vaegan.metrics.features import small_images
from vaegan.metrics.neighbours import nearest
from vaegan.model import Model
from vaegan.types import Images, Latents

SIDE = 20  # images along the decoded manifold
STEPS = 32  # along a line between two latents


class Place(NamedTuple):
    """Where latents lie: their mean, and the lower Cholesky root of their covariance."""

    mean: Tensor
    root: Tensor

    @classmethod
    def of(cls, latents: Latents) -> "Place":
        """Fitted to encodings [count, latent]."""
        noise = 1e-6 * torch.eye(latents.shape[1])
        return cls(latents.mean(0), torch.linalg.cholesky(torch.cov(latents.T) + noise))

    @classmethod
    def prior(cls, latent_dim: int) -> "Place":
        """N(0, I)."""
        return cls(torch.zeros(latent_dim), torch.eye(latent_dim))

    def draw(self, count: int, seed: int) -> Latents:
        """[count, latent]."""
        noise = torch.randn(count, len(self.mean), generator=torch.Generator().manual_seed(seed))
        return self.mean + noise @ self.root.T


def manifold(model: Model, place: Place, side: int = SIDE) -> Images:
    """The images of a grid that covers `place` with equal probability between neighbours: [side^2, ...], top row first."""
    quantiles = torch.special.ndtri((torch.arange(side) + 0.5) / side)
    rows, columns = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    standard = torch.stack([columns.flatten(), rows.flatten()], 1)
    return model.decode(place.mean + standard @ place.root.T).cpu()


def neighbour_accuracy(latents: Latents, classes: Tensor, k: int = 5) -> float:
    """Share of latents whose class is that of most of their k nearest others."""
    distances = torch.cdist(latents, latents).fill_diagonal_(torch.inf)
    votes = classes[distances.topk(k, largest=False).indices]
    return float((votes.mode(1).values == classes).float().mean())


def nearness_limit(train: Images, heldout: Images) -> float:
    """The distance to the nearest training image that 95 % of held-out images keep, at a quarter of the pixels."""
    return float(torch.quantile(nearest_distance(heldout, train), 0.95))


def nearest_distance(images: Images, train: Images) -> Tensor:
    """Distance of each image to the nearest training image, at a quarter of the pixels so that details do not decide."""
    side = images.shape[-1] // 2
    return nearest(small_images(images, side), small_images(train, side))[0]


def unevenness(model: Model, starts: Latents, ends: Latents, steps: int = STEPS) -> float:
    """Largest over mean change of the decoded image along straight lines, averaged over lines: 1 when all are equal."""
    shares = torch.linspace(0, 1, steps + 1)[:, None, None]
    line = (1 - shares) * starts[None] + shares * ends[None]
    decoded = model.decode(line.flatten(0, 1)).cpu().flatten(1).unflatten(0, (steps + 1, len(starts)))
    changes = (decoded[1:] - decoded[:-1]).norm(dim=2)
    return float((changes.amax(0) / changes.mean(0).clamp_min(1e-9)).mean())


def principal_error(train: Images, heldout: Images, components: int) -> float:
    """Held-out squared error a value of as many principal components: what any autoencoder must beat."""
    flat = train.flatten(1).double()
    mean = flat.mean(0)
    _, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean))
    axes, centred = vectors[:, -components:], heldout.flatten(1).double() - mean
    return float((centred - centred @ axes @ axes.T).square().mean())
