"""Laplace likelihood: absolute errors, which forgive outliers and blur less than squared ones. One value an image each."""

import torch
from torch import Tensor

from vaegan.types import Images, PerImage


def absolute_error(images: Images, reconstructions: Images) -> PerImage:
    """Absolute error summed over an image's values."""
    return (images - reconstructions).abs().flatten(1).sum(1)


def laplace_loss(error: PerImage, values: int, scale: Tensor) -> PerImage:
    """-log p(x|z) of independent Laplace distributions around the reconstruction [nats], from an absolute error over `values`.

    The scale is b, the expected absolute error of a value; the batch's own mean maximises the likelihood.
    """
    return error / scale + values * torch.log(2 * scale)
