"""Images that a model explains badly: for a model of faces, what is no face."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.data import ImageDataset
from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.objectives.gaussian import kl_to_standard_normal, squared_error
from vaegan.objectives.likelihood import log_density
from vaegan.types import Images, PerImage, ProgressCallback

BLOCK = 256
FEWEST_ORDINARY = 2  # images that have a spread
FLOOR = 1e-9  # under every logarithm and quotient


def measure_of(model: Model) -> str:
    """What `surprise` is for this model, in words."""
    return "negative ELBO [nats]" if model.config.stage == "vae" else "mean squared error on [-1, 1]"


@torch.inference_mode()
def surprise(model: Model, images: Images) -> PerImage:
    """How badly the model explains each image; more is worse, [n] on the CPU.

    For a VAE the negative evidence lower bound, with the posterior's mean in place of a draw, so that a second look gives the
    same. A GAN has no p(x|z) and an AE no prior: there it is the mean squared error of the reconstruction.
    """
    posterior = model.posterior(images)
    images, latents = images.to(model.device), posterior.mean
    if model.config.stage != "vae":
        return (squared_error(images, model.decode(latents)) / images[0].numel()).cpu()
    variance = torch.tensor(model.config.variance or 1.0, device=model.device)
    fit = log_density(model.config.likelihood, images, model.raw(latents), variance)
    return (kl_to_standard_normal(posterior.mean, posterior.log_var).sum(1) - fit).cpu()


class Explained(NamedTuple):
    """How well a model explains some images, [n] each on the CPU."""

    surprise: PerImage  # see `surprise`
    error: PerImage  # mean squared error of the reconstruction
    roughness: PerImage
    """Mean square of the differences of neighbouring pixels: rough images are hard for any model, smooth ones easy."""


def explain(
    model: Model, dataset: ImageDataset, indices: NDArray[np.int64], progress: ProgressCallback | None = None
) -> Explained:
    """How well the model explains some images of a data set, in blocks."""
    parts: list[Explained] = []
    for start in range(0, len(indices), BLOCK):
        images = dataset.load(indices[start : start + BLOCK])
        error = (model.reconstruct(images).cpu() - images).square().flatten(1).mean(1)
        rough = images.diff(dim=2).square().flatten(1).mean(1) + images.diff(dim=3).square().flatten(1).mean(1)
        parts.append(Explained(surprise(model, images), error, rough))
        if progress:
            progress("examining images", min(start + BLOCK, len(indices)), len(indices))
    return Explained(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


REASONS = ("worse than ordinary images", "worse than ordinary images as rough")
"""How the model explains an image, by each of the two numbers of which `strangeness` is the larger."""


def strangeness(found: Explained, ordinary: Explained) -> tuple[PerImage, PerImage, Tensor]:
    """One score for each image, one for each ordinary one, and the position in `REASONS` of each image's.

    A score is the larger of two, in deviations of the ordinary images. The first is the surprise itself. Alone it overlooks what
    is strange but smooth, because a likelihood is ruled by how rough an image is (Nalisnick et al. 2019; Serra et al. 2020): to a
    model of faces a landscape is *less* surprising than a face. So the second is how much larger the logarithm of the error is
    than that of ordinary images as rough as this one, by a straight line through theirs.
    """
    if len(ordinary.error) < FEWEST_ORDINARY:
        raise RequestError(f"Ordinary images to compare with: {len(ordinary.error)}; at least {FEWEST_ORDINARY} are needed.")
    logs = [torch.stack([part.error, part.roughness]).double().clamp_min(FLOOR).log() for part in (ordinary, found)]
    centre = logs[0].mean(1, keepdim=True)
    error, roughness = logs[0] - centre
    slope = (error * roughness).sum() / roughness.square().sum().clamp_min(FLOOR)
    beyond = [(part - centre)[0] - slope * (part - centre)[1] for part in logs]
    both: list[Tensor] = []
    for surprised, excess in ((ordinary.surprise, beyond[0]), (found.surprise, beyond[1])):
        outright = (surprised.double() - ordinary.surprise.double().mean()) / ordinary.surprise.double().std().clamp_min(FLOOR)
        both.append(torch.stack([outright, excess / beyond[0].std().clamp_min(FLOOR)]))
    scores, reasons = both[1].max(0)
    return scores, both[0].amax(0), reasons


def share_above(scores: PerImage, reference: PerImage) -> PerImage:
    """The conformal p-value of each score (k + 1) / (n + 1) (Vovk et al. 2005; Bates et al. 2023, Eq. 2), k as high."""
    ordered = reference.sort().values.contiguous()
    below = torch.searchsorted(ordered, scores.contiguous())
    return (len(reference) - below + 1).double() / (len(reference) + 1)
