"""Names for the shapes that travel through the package."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Images = Tensor
"""Float [batch, channel, height, width] in [-1, 1]."""

Latents = Tensor
"""Float [batch, latent]."""

Labels = Tensor
"""int64 [batch]: the category of each image, as its code."""


class Batch(NamedTuple):
    """Images, and the labels that a conditional network is told."""

    images: Images
    labels: Labels | None = None
    """None unless the networks are conditional."""

    def first(self, count: int) -> "Batch":
        """The first `count` images with their labels."""
        return Batch(self.images[:count], None if self.labels is None else self.labels[:count])

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(self.images.to(device), None if self.labels is None else self.labels.to(device))


def joined(*labels: Labels | None) -> Labels | None:
    """The labels of concatenated batches; None for networks that take none."""
    known = [part for part in labels if part is not None]
    return torch.cat(known) if known else None


PerImage = Tensor
"""Float [batch]: one value an image, not yet reduced."""

Scalars = dict[str, Tensor]
"""Named zero-dimensional tensors that stay on the device until the journal flushes."""

ProgressCallback = Callable[[str, int, int], None]
"""Called with (what is being done, done so far, total)."""
