"""Gradient penalties on the critic: R1/R2 exactly or by finite differences without a second backward pass, and WGAN-GP's."""

from collections.abc import Callable

import torch
from torch import Tensor

from vaegan.types import Images, PerImage


def finite_difference_penalty(logits: PerImage, moved_logits: PerImage, step: float) -> PerImage:
    """((D(x + step eps) - D(x)) / step)^2 with eps ~ N(0, I): its expectation is |grad D(x)|^2 for a small step.

    E[(eps . g)^2] = |g|^2, so there is no division by the number of pixels. The caller moves the images *after*
    augmentation. step = 0.01 in float32 and 0.05 in bfloat16, whose eight bits lose a smaller difference.
    """
    return ((moved_logits - logits) / step).square()


def exact_penalty(critic: Callable[[Images], PerImage], images: Images) -> PerImage:
    """|grad D(x)|^2 of each image by double backward (R1: Mescheder et al. 2018, Eq. 9)."""
    images = images.detach().requires_grad_(True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def interpolated_penalty(critic: Callable[[Images], PerImage], real: Images, fake: Images, share: Tensor) -> PerImage:
    """(|grad D(x^)| - 1)^2 at x^ between each real and generated image (WGAN-GP: Gulrajani et al. 2017, Eq. 3).

    `share` is that of the real image in each mixture, uniform on [0, 1), [batch].
    """
    share = share.view(-1, 1, 1, 1)
    slope = exact_penalty(critic, share * real + (1 - share) * fake)
    return (slope.clamp_min(1e-12).sqrt() - 1).square()  # the root has no derivative at 0


def logit_drift(real: PerImage, fake: PerImage, mean: Callable[[Tensor], Tensor]) -> Tensor:
    """(mean D(x) + mean D(G(z)))^2, which keeps the logits near 0: a relativistic loss sees only differences.

    `mean` is that over processes, of a detached value. Writing s^2 as 2 s.detach() s - s.detach()^2 gives the same value and
    gradient on one process and the right gradient average on many.
    """
    own = real.mean() + fake.mean()
    everyones = mean(own.detach())
    return 2 * everyones * own - everyones.square()
