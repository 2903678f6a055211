"""Images that a model explains badly: for a model of faces, what is no face."""


import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.data import ImageDataset
from vaegan.model import Model
from vaegan.objectives.gaussian import evidence_lower_bound, kl_to_standard_normal, squared_error
from vaegan.types import Images, PerImage, ProgressCallback

BLOCK = 256




def surprise(model: Model, images: Images) -> PerImage:
    """How badly the model explains each image; more is worse, [n] on the CPU.

    For a VAE the negative evidence lower bound [nats], with the posterior's mean in place of a draw, so that a second look gives the
    same; it counts what the decoder gets wrong and what the latent costs. A GAN has no p(x|z): there it is the mean squared error
    of the reconstruction on [-1, 1].

    Raises:
        RequestError: if the model has no encoder or the images have another shape.
    """
    posterior = model.posterior(images)
    assert model.networks.whitening is not None
    error = squared_error(images.to(model.device), model.decode(model.networks.whitening(posterior.mean)))
    if model.config.variance is None:
        return (error / images[0].numel()).cpu()
    divergence = kl_to_standard_normal(posterior.mean, posterior.log_var).sum(1)
    return -evidence_lower_bound(error, divergence, images[0].numel(), torch.tensor(model.config.variance)).cpu()


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
