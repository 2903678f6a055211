"""What generator and critic play for: one function a loss, one value a pair. D(x) are logits of real images, D(G) of generated.

Which one is chosen matters less than how the critic is held back (Lucic et al. 2018): see penalties. The project's own game,
relativistic pairs, is written out in recipes/gan.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F

from vaegan.objectives import relativistic
from vaegan.types import PerImage


def cross_entropy_critic(real: PerImage, fake: PerImage) -> PerImage:
    """-log s(D(x)) - log(1 - s(D(G))): the critic says real or generated (Goodfellow et al. 2014, Eq. 1)."""
    return F.softplus(-real) + F.softplus(fake)


def saturating_generator(real: PerImage, fake: PerImage) -> PerImage:
    """log(1 - s(D(G))) (Goodfellow et al. 2014, Eq. 1): its slope in D(G) is -s(D(G)), nothing where the critic is sure."""
    return -F.softplus(fake)


def non_saturating_generator(real: PerImage, fake: PerImage) -> PerImage:
    """-log s(D(G)) (Goodfellow et al. 2014, Section 3): its slope is -s(-D(G)), full where the critic is sure."""
    return F.softplus(-fake)


def hinge_critic(real: PerImage, fake: PerImage) -> PerImage:
    """max(0, 1 - D(x)) + max(0, 1 + D(G)): images beyond the margin teach nothing more (Lim & Ye 2017)."""
    return F.relu(1 - real) + F.relu(1 + fake)


def linear_generator(real: PerImage, fake: PerImage) -> PerImage:
    """-D(G): the generator of the hinge and of the Wasserstein objective."""
    return -fake


def least_squares_critic(real: PerImage, fake: PerImage) -> PerImage:
    """1/2 (D(x) - 1)^2 + 1/2 D(G)^2 (Mao et al. 2017, Eq. 9)."""
    return 0.5 * (real - 1).square() + 0.5 * fake.square()


def least_squares_generator(real: PerImage, fake: PerImage) -> PerImage:
    """1/2 (D(G) - 1)^2 (Mao et al. 2017, Eq. 9)."""
    return 0.5 * (fake - 1).square()


def wasserstein_critic(real: PerImage, fake: PerImage) -> PerImage:
    """D(G) - D(x): for a critic of slope at most 1 minus the earth mover's distance (Arjovsky et al. 2017, Eq. 3)."""
    return fake - real


class Objective(NamedTuple):
    """What each player makes small, from the logits of real and of generated images."""

    critic_loss: Callable[[PerImage, PerImage], PerImage]
    generator_loss: Callable[[PerImage, PerImage], PerImage]


OBJECTIVES: dict[str, Objective] = {
    "relativistic": Objective(relativistic.critic_loss, relativistic.generator_loss),
    "saturating": Objective(cross_entropy_critic, saturating_generator),
    "non-saturating": Objective(cross_entropy_critic, non_saturating_generator),
    "hinge": Objective(hinge_critic, linear_generator),
    "least-squares": Objective(least_squares_critic, least_squares_generator),
    "wasserstein": Objective(wasserstein_critic, linear_generator),
}
