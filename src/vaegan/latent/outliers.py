"""Images that a model explains badly: for a model of faces, what is no face."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.data import ImageDataset
from vaegan.model import Model
from vaegan.objectives.gaussian import kl_to_standard_normal, squared_error
from vaegan.objectives.likelihood import log_density
from vaegan.types import Images, PerImage, ProgressCallback

BLOCK = 256


def measure_of(model: Model) -> str:
    """What `surprise` is for this model, in words."""
    return "negative ELBO [nats]" if model.config.stage == "vae" else "mean squared error on [-1, 1]"


@torch.inference_mode()
def surprise(model: Model, images: Images) -> PerImage:
    """How badly the model explains each image; more is worse, [n] on the CPU.

    For a VAE the negative evidence lower bound, with the posterior's mean in place of a draw, so that a second look gives the
    same: it counts what the decoder gets wrong and what the latent costs. A GAN has no p(x|z) and an AE no prior: there it is the
    mean squared error of the reconstruction.

    Raises:
        RequestError: if the model has no encoder or the images have another shape.
    """
    posterior = model.posterior(images)
    assert model.networks.whitening is not None
    images, latents = images.to(model.device), model.networks.whitening(posterior.mean)
    if model.config.stage != "vae":
        return (squared_error(images, model.decode(latents)) / images[0].numel()).cpu()
    variance = torch.tensor(model.config.variance or 1.0, device=model.device)
    fit = log_density(model.config.likelihood, images, model.networks.decoder(latents), variance)
    return (kl_to_standard_normal(posterior.mean, posterior.log_var).sum(1) - fit).cpu()


def surprises(
    model: Model, dataset: ImageDataset, indices: NDArray[np.int64], progress: ProgressCallback | None = None
) -> Tensor:
    """`surprise` of many images of a data set, in blocks, [n]."""
    scores = torch.empty(len(indices))
    for start in range(0, len(indices), BLOCK):
        block = indices[start : start + BLOCK]
        scores[start : start + len(block)] = surprise(model, dataset.load(block))
        if progress:
            progress("examining images", start + len(block), len(indices))
    return scores


def share_above(scores: PerImage, reference: PerImage) -> PerImage:
    """The share of reference images that the model explains as badly or worse, for each score: a calibrated quantile.

    Counted with the image itself, (k + 1) / (n + 1), so that none is 0: an image of the same kind has a share under p in a share
    p of cases (a conformal p-value: Vovk et al. 2005; Bates et al. 2023, Eq. 2).
    """
    ordered = reference.sort().values.contiguous()
    below = torch.searchsorted(ordered, scores.contiguous())
    return (len(reference) - below + 1).double() / (len(reference) + 1)
