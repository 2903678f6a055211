"""Whether fine details of samples lie where, and together with what, those of real images do.

A critic judges one image at a time. To it a stroke on the cheek is as good as any; it cannot see that every sample has the same
one. Without this term a fifth to two fifths of the power of a grown generator's finest octave was one fixed picture. In real
faces that is a hundredth. Much of the rest was a few other pictures (docs/handover-log.md, "The same details in every sample").
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from vaegan.parts.engine import Engine
from vaegan.parts.terms import Targets
from vaegan.types import Batch, Images, PerImage

OCTAVES = 2
"""The finest ones. The third is where the anchor holds the generator; compared there, too, samples were no nearer."""
FAINT = 0.01
"""Deviation, of values in [-1, 1], under which details count for less: an image without any has no direction. Its square is added
to their mean square."""
MOST = 1_024
"""Images that are compared of what a process has of a batch: pairs grow with their square."""


class Details:
    """Keeps fine details from being the same in all samples."""

    name = "details"

    def __init__(self, weight: float, engine: Engine, rank: int) -> None:
        """Args: weight: factor of the loss; engine: gathers the details of all processes; rank: of this process."""
        self._weight, self._engine, self._rank = weight, engine, rank

    def weight(self, progress: float) -> float:
        """The constant factor of the loss."""
        return self._weight

    def targets(self, batch: Batch) -> Targets | None:
        """Nothing is decoded for it."""
        return None

    def loss(self, samples: Images, decoded: Images, targets: Targets | None, batch: Batch) -> PerImage:
        """The discrepancy of the samples' details from those of the batch."""
        return detail_discrepancy(samples, batch.images, self._engine.gather_rows, self._rank)


def detail_discrepancy(
    generated: Images, real: Images, everyones: Callable[[Tensor], Tensor] = lambda rows: rows, rank: int = 0
) -> PerImage:
    """How much more alike the fine details of samples are to one another than to those of real images, for each sample.

    u is an octave of a generated image as one vector, v of a real one, of length 1, and their likeness k = (u.v)^2. For image i,
    sum k(u_i, u_j) - k(u_i, v_j) over all other images j, and over the octaves, times 2/(n - 1). The result is near 0 where
    samples are distributed as real images.

    All but u_i are held, so the gradient of the mean is that of the U-statistic of the squared maximum mean discrepancy. That
    statistic is unbiased on any batch (Gretton et al. 2012, Lemma 6; as a loss: Li et al. 2015). With this kernel it is the
    squared Frobenius distance of second moments, |E uu' - E vv'|^2. It is large where the details of samples are mixtures of few
    pictures, with whatever signs.

    Args:
        generated: this process's samples.
        real: as many real images, not moved against the generated ones: where details are is what is compared. Where there are
            labels each has its sample's, which is why a sample is not compared with its own.
        everyones: gives the detached rows of all processes, in the order of their ranks.
        rank: of this process.
    """
    generated, real = generated[:MOST].contiguous(), real[:MOST]  # contiguous, or each product would copy its rows
    count, total = len(generated), generated.new_zeros(len(generated))
    for _ in range(OCTAVES):
        (fakes, generated), (reals, real) = finest_octave(generated), finest_octave(real)
        all_fakes, all_reals = everyones(fakes.detach()), everyones(reals)
        faint = FAINT**2 * fakes.shape[1]
        own, of_fakes, of_reals = ((rows.square().sum(1) + faint).sqrt() for rows in (fakes, all_fakes, all_reals))
        among = (fakes @ all_fakes.T / (own[:, None] * of_fakes)).square()
        across = (fakes @ all_reals.T / (own[:, None] * of_reals)).square()
        more = among - across
        others = max(1, len(all_fakes) - 1)
        total = total + 2 * (more.sum(1) - more.diagonal(rank * count)) / others
    return total


def finest_octave(images: Images) -> tuple[Tensor, Images]:
    """What is lost when images are halved and enlarged again, [image, value], and the halved images.

    Of an odd side the last row or column is left out, or everything behind it would be enlarged to another place.
    """
    height, width = (side // 2 * 2 for side in images.shape[-2:])
    images = images[..., :height, :width]
    halved = F.avg_pool2d(images, 2)
    return (images - F.interpolate(halved, scale_factor=2, mode="bilinear", align_corners=False)).flatten(1), halved
