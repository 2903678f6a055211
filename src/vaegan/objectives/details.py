"""Whether fine details lie where, and together with what, those of real images do, whatever a critic sees of it.

A critic judges one image at a time, of which a stroke on the cheek is as good as any; that every sample has the same one is in no
image. So grown generators drew a quarter to a third of the power of their finest octave as one fixed picture (real faces: a
hundredth), and much of the rest as a few others (docs/handover-log.md, "The same details in every sample").
"""

import torch.nn.functional as F
from torch import Tensor

from vaegan.types import Images

OCTAVES = 2
"""The finest ones. The third is where the anchor holds the generator; compared there, too, samples were no nearer."""
FAINT = 0.01
"""Deviation, of values in [-1, 1], under which details count for less: of an image without any there is no direction. Its square
is added to their mean square."""


def detail_discrepancy(generated: Images, real: Images) -> Tensor:
    """Squared maximum mean discrepancy of fine details, the kernel their squared cosine, without the term of real images alone.

    u is an octave of a generated image as one vector, v of a real one. Of unit vectors that kernel's discrepancy is
    |E uu' - E vv'|^2, the squared Frobenius distance of their second moments: large where the details of samples are mixtures of
    few pictures, with whatever signs. What is given is the U-statistic, unbiased on any batch (Gretton et al. 2012, Lemma 6; as a
    loss: Li et al. 2015), summed over the octaves. Without its constant it can be negative.

    Args:
        generated: at least two; of one image alone 0 is said.
        real: any number of real images, not moved against the generated ones: where details are is what is compared.
    """
    total, count = generated.new_zeros(()), len(generated)
    if count < 2:
        return total
    generated = generated.contiguous()  # a picture's values side by side, or each product would copy them
    for _ in range(OCTAVES):
        (fakes, generated), (reals, real) = finest_octave(generated), finest_octave(real)
        faint = FAINT**2 * fakes.shape[1]
        products = fakes @ fakes.T
        lengths, others = (products.diagonal() + faint).sqrt(), (reals.square().sum(1) + faint).sqrt()
        among = (products / (lengths[:, None] * lengths)).square()
        across = (fakes @ reals.T / (lengths[:, None] * others)).square()
        total = total + (among.sum() - among.diagonal().sum()) / (count * (count - 1)) - 2 * across.mean()
    return total


def finest_octave(images: Images) -> tuple[Tensor, Images]:
    """What is lost when images are halved and enlarged again, [image, value], and the halved images."""
    halved = F.avg_pool2d(images, 2)
    return (images - F.interpolate(halved, size=images.shape[-2:], mode="bilinear", align_corners=False)).flatten(1), halved
