"""The mean of samples' fine details is held to that of real images: feature matching (Salimans et al. 2016, Section 3.1).

A critic judges one image at a time. To it a stroke on the cheek is as good as any; it cannot see that every sample has the same
one. Without this term a third of the power of a generator's two finest octaves was one fixed picture that real faces do not have
(docs/handover.md). The features are the finest octaves, pixel by pixel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaegan.parts.engine import Engine
from vaegan.parts.terms import Targets
from vaegan.types import Batch, Images, PerImage

WEIGHT = 30.0
"""Of 3, 10 and 30 the one that leaves least in common."""
OCTAVES = 3
"""The finest ones: periods of up to 16 pixels. What is coarser comes right by itself."""
FAINT = 1e-4
"""Power, of values in [-1, 1], below which details weigh no more: images without any would let this term outweigh all else."""
MEMORY = 0.9
"""Of the running mean of samples, a step: one batch knows its mean too roughly."""


class MeanDetails(nn.Module):
    """Keeps fine details from being the same in all samples, unless they are so in real images."""

    name = "mean_details"
    weights: Tensor

    def __init__(self, images: Images, engine: Engine) -> None:
        """Takes the mean details of `images`, of some hundred training images on the device, and how large details are in them.

        `engine` takes means over processes.
        """
        super().__init__()
        self._engine = engine
        octaves = finest_octaves(images)
        power = torch.stack([octave.square().mean() for octave in octaves])
        self.register_buffer("weights", 1 / power.clamp_min(FAINT))
        for number, octave in enumerate(octaves):
            self.register_buffer(f"real_{number}", octave.mean(0))
            self.register_buffer(f"fake_{number}", octave.mean(0))

    def weight(self, progress: float) -> float:
        """The constant factor of the loss."""
        return WEIGHT

    def targets(self, batch: Batch) -> Targets | None:
        """Nothing is decoded for it."""
        return None

    def loss(self, samples: Images, decoded: Images, targets: Targets | None, batch: Batch) -> PerImage:
        """The product of each sample's details with what the mean of earlier samples has more than that of real images.

        Its gradient, averaged over samples, is that of |E h(G(z)) - E h(x)|^2 / 2 for details h. A mean that these samples were a
        part of would pull their details towards 0, too. The value is about that squared distance, over the power of real details,
        summed over octaves.
        """
        total = samples.new_zeros(len(samples))
        for number, octave in enumerate(finest_octaves(samples)):
            real, fake = self.get_buffer(f"real_{number}"), self.get_buffer(f"fake_{number}")
            total = total + self.weights[number] * ((fake - real) * (octave - real)).mean((1, 2, 3))
            fake.lerp_(self._engine.mean(octave.detach().mean(0)), 1 - MEMORY)
        return total


def finest_octaves(images: Images) -> list[Images]:
    """What is lost when images are halved and enlarged again, and of the halved ones once more, finest first.

    Of an odd side the last row or column is left out, or everything behind it would be enlarged to another place.
    """
    found: list[Images] = []
    for _ in range(OCTAVES):
        height, width = (side // 2 * 2 for side in images.shape[-2:])
        images = images[..., :height, :width].float()
        halved = F.avg_pool2d(images, 2)
        found.append(images - F.interpolate(halved, scale_factor=2, mode="bilinear", align_corners=False))
        images = halved
    return found
