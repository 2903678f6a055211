"""Names for the shapes that travel through the package."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Images = Tensor
"""Float [batch, channel, height, width] in [-1, 1]."""

Latents = Tensor
"""Float [batch, latent]."""

Labels = Tensor
"""int64 [batch]: the category of each image, as its code."""


class Labelled(NamedTuple):
    """Images and their labels."""

    images: Images
    labels: Labels | None = None
    """None unless the networks are conditional."""


PerImage = Tensor
"""Float [batch]: one value an image, not yet reduced."""

Scalars = dict[str, Tensor]
"""Named zero-dimensional tensors that stay on the device until the journal flushes."""

ProgressCallback = Callable[[str, int, int], None]
"""Called with (what is being done, done so far, total)."""
