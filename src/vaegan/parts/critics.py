"""Critics: who judges images, how real and generated ones are shown to them, and what their slope costs."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from vaegan.networks import Critic
from vaegan.objectives.penalties import finite_difference_penalty
from vaegan.parts.engine import Engine
from vaegan.parts.optimizers import optimizer_of
from vaegan.parts.player import Player
from vaegan.parts.schedule import Clock, cosine, geometric
from vaegan.parts.views import View, draw_view
from vaegan.randomness import Draws
from vaegan.types import Images, Labels, PerImage, joined

BETAS = (0.0, 0.99)
"""Moments of both players' optimisers. No momentum: the players' gradients turn around each other."""
PENALTY_FALLS_TO = 0.2  # share of the gradient penalty's weight at the end of the stage
DIFFERENCE_STEP = {"float32": 0.01, "bfloat16": 0.05}
"""Step of the finite difference by precision: bfloat16's eight bits lose a smaller one."""


class Judged(NamedTuple):
    """A critic's logits, and its squared slope."""

    real: PerImage
    fake: PerImage
    slope: PerImage
    """|grad D|^2 at real and at generated images, on a part of the batch."""


class CriticPlayer(Protocol):
    """What the game asks of a critic. A new one is a module of this form and one line in `training.build.CRITICS`."""

    player: Player[Any]
    weight: float
    """Of its loss to the generator."""

    def view(self, images: Images, clock: Clock) -> Callable[[Images], Tensor]:
        """How this step's images are shown: the same changes for the real and the generated image of a pair."""
        ...

    def judge(self, real: Images, fake: Images, labels: Labels | None, clock: Clock) -> Judged:
        """Logits of what is shown, and the slope."""
        ...

    def penalty(self, progress: float) -> float:
        """Weight gamma of the slope, by the share of the stage that is done."""
        ...


class PixelCritic(nn.Module):
    """A convolutional critic that starts from nothing, or on the encoder's trunk, and looks at pixels."""

    weight = 1.0

    def __init__(
        self,
        network: Critic,
        engine: Engine,
        draws: Draws,
        *,
        rates: tuple[float, float],
        penalty: float,
        augmentation: float,
        jitter: int,
        flips: bool,
        precision: str = "float32",
    ) -> None:
        """Sets up the critic, with learning rates at the start and at the end of the stage, and the slope's weight at the start.

        What it sees is moved by at most `jitter` [pixels]; the probability of each random change rises from 0 to `augmentation`.
        `flips`: mirrored images are as good as the originals.
        """
        super().__init__()
        self.player = Player(network, optimizer_of("muon", BETAS), lambda progress: cosine(*rates, progress), engine)
        self._draws, self._step = draws, DIFFERENCE_STEP[precision]
        self._penalty, self._augmentation, self._jitter, self._flips = penalty, augmentation, jitter, flips

    def view(self, images: Images, clock: Clock) -> View:
        """Jitter and augmentation of this step."""
        probability = min(1.0, self._augmentation * clock.progress)
        return draw_view(self._draws, clock, images, probability, self._flips, jitter=self._jitter)

    def judge(self, real: Images, fake: Images, labels: Labels | None, clock: Clock) -> Judged:
        """Logits of what is shown, and the slope by finite differences."""
        return logits_and_slope(self.player, real, fake, labels, self._step, self._draws, clock)

    def penalty(self, progress: float) -> float:
        """Weight of the slope now."""
        return geometric(self._penalty, PENALTY_FALLS_TO * self._penalty, progress)


def logits_and_slope(
    critic: nn.Module, real: Images, fake: Images, labels: Labels | None, step: float, draws: Draws, clock: Clock
) -> Judged:
    """Logits of real and generated images as the critic is shown them, and the squared slope on a quarter, in one call of it.

    The generated ones are detached: as many as real ones, or several that follow each other for each, whose label they share.
    `step` is that of the finite difference.
    """
    quarter = max(1, len(real) // 4)
    sizes = [len(real), len(fake), 2 * quarter]
    copies, places = len(fake) // len(real), torch.arange(quarter, device=fake.device)
    # One generated image for each real one, of every kind in turn, by its place in the batch of all processes.
    penalised = places * copies + (places * draws.world_size + draws.rank + clock.step) % copies
    chosen = torch.cat([real[:quarter], fake[penalised]])
    moved = chosen + step * draws.normal("penalty", clock.seen, *chosen.shape)
    of_fake = None if labels is None else labels.repeat_interleave(copies)
    of_chosen = None if labels is None else labels[:quarter].repeat(2)
    logits: Tensor = critic(torch.cat([real, fake, moved]), joined(labels, of_fake, of_chosen))
    real_logits, fake_logits, moved_logits = logits.split(sizes)
    start = torch.cat([real_logits[:quarter], fake_logits[penalised]])
    return Judged(real_logits, fake_logits, finite_difference_penalty(start, moved_logits, step))
