"""What several studies measure on a model: reconstruction, rate, samples, and two latents as a plane."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.data import TRAIN, ImageDataset
from vaegan.metrics.features import small_images
from vaegan.metrics.neighbours import Distances, nearest
from vaegan.metrics.posterior import active_units, dequantised
from vaegan.metrics.sliced import sliced_wasserstein
from vaegan.metrics.spectrum import detail_energy
from vaegan.model import Model
from vaegan.objectives.gaussian import kl_to_standard_normal, squared_error
from vaegan.objectives.likelihood import log_density
from vaegan.studies.study import Numbers, Subject
from vaegan.types import Images, Latents, PerImage

MANIFOLD_SIDE = 20  # images along the decoded manifold
LINE_STEPS = 32  # along a line between two latents
SCORES = {"distance": "distance of samples x1000", "recall": "recall", "coverage": "coverage", "sharpness": "sharpness, real = 1"}
"""What `sampling` measures, as headings of a table."""


def heldout_indices(dataset: ImageDataset, count: int) -> NDArray[np.int64]:
    """Where validation images stand in the data set (training images when there are none)."""
    return dataset.first_by_content(dataset.heldout_side, count)


def heldout_images(dataset: ImageDataset, count: int) -> Images:
    """The images at `heldout_indices`."""
    return dataset.load(heldout_indices(dataset, count))


def training_images(dataset: ImageDataset, count: int) -> Images:
    """Training images, a fair draw from all folders."""
    return dataset.load(dataset.first_by_content(TRAIN, count))


@torch.no_grad()
def autoencoding(model: Model, images: Images) -> Numbers:
    """Rate, distortion and active units of a model with an encoder; its ELBO [nats] and variance where it has a p(x|z)."""
    posterior = model.posterior(images)
    values = images[0].numel()
    kl = kl_to_standard_normal(*posterior)
    at_mean = squared_error(images, model.reconstruct(images).cpu()).mean()
    found: Numbers = {
        "error": float(at_mean) / values,
        "squared_error": float(at_mean),
        "kl": float(kl.sum(1).mean()),
        "active_units": int(active_units(posterior.mean)),
    }
    if model.has_observation_noise:
        found["elbo"] = float(lower_bound(model, images).mean())
    if model.config.variance is not None:
        found["variance"] = model.config.variance
    return found


@torch.no_grad()
def lower_bound(model: Model, images: Images) -> PerImage:
    """ELBO on log p(x) of dequantised images with one posterior sample and the KL divergence in closed form [nats]."""
    generator, likelihood = torch.Generator().manual_seed(1), model.config.likelihood
    images = dequantised(images, likelihood, generator)
    mean, log_var = (part.cpu() for part in model.posterior(images))
    latents = mean + torch.exp(log_var / 2) * torch.randn(mean.shape, generator=generator)
    decoded, variance = model.raw(latents).cpu(), torch.tensor(model.config.variance or 1.0)
    return log_density(likelihood, images, decoded, variance) - kl_to_standard_normal(mean, log_var).sum(1)


@torch.no_grad()
def sampling(model: Model, dataset: ImageDataset, count: int = 1000, seed: int = 0) -> Numbers:
    """How near samples of the prior come to held-out images (and training images, the floor), and how many they reach."""
    real = heldout_images(dataset, count)
    other = training_images(dataset, len(real))
    samples = model.sample(len(real), seed, "prior")
    # In pixels at 16x16: what images show, not their texture.
    scores = Distances.of(small_images(real), small_images(samples)).manifold(max(1, min(5, len(real) - 1)))
    return {
        "distance": 1000 * sliced_wasserstein(samples, real),
        "real_distance": 1000 * sliced_wasserstein(other[: len(real)], real[: len(other)]),
        "recall": float(scores.recall.mean()),
        "coverage": float(scores.coverage.mean()),
        "sharpness": float(detail_energy(samples).mean() / detail_energy(real).mean().clamp_min(1e-12)),
    }


def sample_scores(subject: Subject) -> Numbers:
    """The measure of studies that ask for samples alone."""
    return sampling(subject.model, subject.dataset, seed=subject.seed)


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


def manifold(model: Model, place: Place, side: int = MANIFOLD_SIDE) -> Images:
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


def nearest_distance(images: Images, train: Images) -> Tensor:
    """Distance of each image to the nearest training image, at a quarter of the pixels so that details do not decide."""
    side = min(images.shape[-2:]) // 2
    return nearest(small_images(images, side), small_images(train, side))[0]


def unevenness(model: Model, starts: Latents, ends: Latents, steps: int = LINE_STEPS) -> float:
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
