"""What GAN and joint model do with their critic: what it has to judge, its penalty, and clipping."""

from typing import Literal, NamedTuple

import torch
from torch import nn

from vaegan.networks import Critic
from vaegan.networks.normalisation import normalises_batches, running_statistics
from vaegan.networks.views import Augmentation, View
from vaegan.objectives import penalties
from vaegan.randomness import Draws
from vaegan.recipes.engine import unwrapped
from vaegan.recipes.schedule import Clock
from vaegan.types import Images, Labels, PerImage

PenaltyKind = Literal["finite-difference", "exact", "interpolated"]


class Judged(NamedTuple):
    """Logits, and how far the critic's slope is from what it should be."""

    real: PerImage
    fake: PerImage
    penalty: PerImage | None
    """None where none was asked for."""


def judge(
    critic: Critic,
    real: Images,
    fake: Images,
    labels: Labels | None,
    kind: PenaltyKind | None,
    step: float,
    draws: Draws,
    clock: Clock,
) -> Judged:
    """The critic's logits of real and generated images and its penalty on a quarter of the batch.

    Everything is judged in one call, except by a critic with batch normalisation: it gets real and generated images apart, as
    its statistics are those of a batch (Radford et al. 2016), and its slope is taken at the statistics gathered so far, since
    otherwise one image's logit would depend on another's pixels.

    Args:
        critic: as prepared by the engine.
        real: what the critic is shown of real images.
        fake: of generated ones, detached; as many, or several that follow each other for each real one.
        labels: of the real images, shared by the generated ones in their place.
        kind: finite-difference and exact: |grad D|^2 on real and generated images (R1 and R2), 0 wanted;
            interpolated: (|grad D| - 1)^2 between them; None: no penalty.
        step: of the finite difference.
        draws: the stage's random streams.
        clock: when.
    """
    quarter = max(1, len(real) // 4)
    sizes = [len(real), len(fake)]
    copies, places = len(fake) // len(real), torch.arange(quarter, device=fake.device)
    # One generated image for each real one, of every kind in turn, by its place in the batch of all processes.
    penalised = places * copies + (places * draws.world_size + draws.rank + clock.step) % copies
    chosen_real, chosen_fake = real[:quarter], fake[penalised]
    of_fake = None if labels is None else labels.repeat_interleave(copies)
    of_chosen = None if labels is None else labels[:quarter].repeat(2)
    chosen, apart = torch.cat([chosen_real, chosen_fake]), normalises_batches(unwrapped(critic))
    if kind == "finite-difference" and not apart:
        moved = _moved(chosen, step, draws, clock)
        logits = critic(torch.cat([real, fake, moved]), joined(labels, of_fake, of_chosen))
        real_logits, fake_logits, moved_logits = logits.split([*sizes, 2 * quarter])
        start = torch.cat([real_logits[:quarter], fake_logits[penalised]])
        return Judged(real_logits, fake_logits, penalties.finite_difference_penalty(start, moved_logits, step))
    if apart:
        real_logits, fake_logits = critic(real, labels), critic(fake, of_fake)
    else:
        real_logits, fake_logits = critic(torch.cat([real, fake]), joined(labels, of_fake)).split(sizes)
    if kind is None:
        return Judged(real_logits, fake_logits, None)
    with running_statistics(unwrapped(critic)):
        if kind == "finite-difference":
            both = critic(torch.cat([chosen, _moved(chosen, step, draws, clock)]), joined(of_chosen, of_chosen))
            start, moved_logits = both.chunk(2)
            penalty = penalties.finite_difference_penalty(start, moved_logits, step)
        elif kind == "exact":
            penalty = penalties.exact_penalty(lambda images: unwrapped(critic)(images, of_chosen), chosen)
        else:
            share = draws.uniform("penalty", clock.seen, quarter)
            of_mixed = None if labels is None else labels[:quarter]
            penalty = penalties.interpolated_penalty(
                lambda images: unwrapped(critic)(images, of_mixed), chosen_real, chosen_fake, share
            )
    return Judged(real_logits, fake_logits, penalty)


def _moved(images: Images, step: float, draws: Draws, clock: Clock) -> Images:
    return images + step * draws.normal("penalty", clock.seen, *images.shape)


def joined(*parts: Labels | None) -> Labels | None:
    """The labels of a concatenated batch; None where there are none."""
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


def draw_view(
    draws: Draws,
    clock: Clock,
    images: Images,
    probability: float,
    flips: bool,
    blur: float = 0.0,
    copies: int = 1,
    jitter: int = 0,
) -> View:
    """One step's view: a blur, and random changes keyed by the place in the batch.

    Args:
        draws: the stage's random streams.
        clock: when.
        images: this process's share of the batch.
        probability: of each kind of change.
        flips: whether mirrored images are as good as the originals.
        blur: [pixels].
        copies: images that follow each other and share one image's changes.
        jitter: largest shift, up or down and left or right [pixels]; an eighth of the side at most, as the other changes.
    """
    shifts, reach = None, min(jitter, images.shape[-1] // 8)
    if reach > 0:
        places = (draws.uniform("jitter", clock.seen, len(images), 2) * (2 * reach + 1)).floor().int() - reach
        shifts = places.T.repeat_interleave(copies, 1)
    if probability == 0:
        return View(blur, None, shifts)
    generator, count = draws.generator("augmentation", clock.seen), len(images) * draws.world_size
    changes = Augmentation.draw(count, images.shape[-1], probability, flips, generator)
    return View(blur, changes.part(slice(draws.rank, None, draws.world_size)).repeated(copies), shifts)


@torch.no_grad()
def clip_weights(network: nn.Module, limit: float) -> None:
    """Puts every weight into [-limit, limit], which bounds the critic's slope (Arjovsky et al. 2017, Algorithm 1)."""
    for parameter in network.parameters():
        parameter.clamp_(-limit, limit)
