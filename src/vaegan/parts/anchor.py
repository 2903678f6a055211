"""The anchor: images decoded from encodings stay like the images that were encoded, in what is coarse."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaegan.networks import Encoder
from vaegan.parts.schedule import geometric
from vaegan.parts.terms import Targets
from vaegan.types import Batch, Images, PerImage

FALLS_TO = 0.75  # share of the anchor's weight at the end of the stage


class Anchor(nn.Module):
    """Holds G(z) of an encoded image to that image in low frequencies and in the frozen encoder's features.

    Both are coarse on purpose: nothing pulls the generator back to the VAE's blur.
    """

    name = "anchor"
    variances: Tensor

    def __init__(self, encoder: Encoder, weight: float) -> None:
        """Copies and freezes the VAE's encoder; `weight` is the factor of the loss at the start."""
        super().__init__()
        self.encoder = deepcopy(encoder).requires_grad_(False).eval()
        self._weight = weight
        self.register_buffer("variances", torch.ones(3))

    @torch.no_grad()
    def calibrate(self, batch: Batch) -> None:
        """Measures the variances of what is compared on some hundred training images, so that errors are relative."""
        views = self._views(batch.images, self.encoder.trunk(*batch))
        self.variances.copy_(torch.stack([view.var(0).mean().clamp_min(1e-6) for view in views]))

    def weight(self, progress: float) -> float:
        """Factor of the loss now."""
        return geometric(self._weight, FALLS_TO * self._weight, progress)

    def targets(self, batch: Batch) -> Targets:
        """The encodings of a quarter of the batch."""
        return self.observe(batch.first(max(1, len(batch.images) // 4)))

    def loss(self, samples: Images, decoded: Images, targets: Targets | None, batch: Batch) -> PerImage:
        """The distance of what is decoded from the images that were encoded."""
        assert targets is not None
        return self.distance(decoded, targets)

    @torch.no_grad()
    def observe(self, batch: Batch) -> Targets:
        """What the frozen encoder says of images, in one pass."""
        features = self.encoder.trunk(*batch)
        posterior = self.encoder.posterior(features)
        views = self._views(batch.images, features)
        return Targets(posterior.mean, batch.labels, views, posterior.log_var)

    def distance(self, generated: Images, targets: Targets) -> PerImage:
        """Relative squared error of the low-passed image plus that of the features, averaged over their two stages."""
        views = self._views(generated, self.encoder.trunk(generated, targets.labels))
        low_pass, fine, coarse = (
            (view - target).square().flatten(1).mean(1) / variance
            for view, target, variance in zip(views, targets.views, self.variances, strict=True)
        )
        return low_pass + (fine + coarse) / 2

    def _views(self, images: Images, features: list[Tensor]) -> tuple[Tensor, ...]:
        """The low-passed image, and the encoder's features at a quarter and an eighth of the side."""
        return low_passed(images), *(features[min(stage, len(features) - 1)].float() for stage in (1, 2))


def low_passed(images: Images) -> Images:
    """Blocks of 4x4 pixels averaged."""
    return F.avg_pool2d(images, 4)
