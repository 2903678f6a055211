"""Equalising: a kept generator's finest octaves get the power that real images have.

A GAN circles around the right power of fine detail and does not settle on it: runs of four minutes end at 0.76 to 0.91 of it when
they grow out of a VAE, at 1.1 to 1.4 from scratch, and at which is chance. What such pictures lack is strength more than lines in
the right places, so one number an octave brings most of it back, and one more for each takes a regular texture out of them, which
comes and goes by chance, too (docs/handover-log.md, "Three numbers at the end", "Four numbers at the end"). All go into the fixed
kernel of the last layer: no weight changes, and a picture costs what it did.
"""

from collections.abc import Iterable
from copy import deepcopy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.metrics.spectrum import detail_energy, power_spectrum, texture_power
from vaegan.model import Model
from vaegan.networks.subpixel import SubPixel
from vaegan.types import Images, Labels

FEWEST = 30  # real images: the finest octave's power of so many anime faces is known to 7 %
SAMPLES = 1_024  # of anime faces, the finest octave's power is then known to 1 %; of 256, to 2 to 3 %
ROUNDS = (256,) * 6 + (SAMPLES,) * 3  # samples of each; on anime faces all is right to 2 % after them
LEAST = 0.25  # of the coarse grid: it lies in every sixth frequency of its octave, which cannot do without them
MOST = 2.0  # further away something else is wrong, which scaling would only hide


class Gains(NamedTuple):
    """What parts of samples are multiplied by."""

    finest: float
    """The finest octave."""
    second: float
    """The one below it."""
    grid: float
    """What the finest octave repeats from block to block: the texture with a period of two pixels. Never more than 1."""
    coarse_grid: float
    """What is the other way round in every other block: the texture with a period of four pixels. Never more than 1."""


def equalise(model: Model, real: Iterable[Images], labels: Labels | None = None) -> Gains | None:
    """Gives the model a decoder whose samples have the power of real images in the two finest octaves, and no more texture.

    The decoder is replaced by a copy, not changed: training goes on with its own.

    Args:
        model: one whose decoder ends in a sub-pixel layer; others stay as they are.
        real: blocks of real images in [-1, 1]; such as it was trained on will do, as four numbers are not overfitted.
        labels: of all of these, for a conditional model: samples are compared that show the same things as often.

    Returns:
        The factors; None where nothing was done.
    """
    as_trained = model.networks.decoder
    if not isinstance(as_trained.stages[-1], SubPixel):
        return None
    of_real = _powers(real)
    if len(of_real) < FEWEST:
        return None
    gains = Gains(1.0, 1.0, 1.0, 1.0)
    for count in ROUNDS:
        # In the order of the labels each counts as often as among all, whatever the count.
        asked = None if labels is None else labels.sort().values[torch.arange(count) * len(labels) // count]
        found = _powers(model.sample_blocks(count, labels=asked))
        short = Gains(*(of_real.mean(0) / found.mean(0)).tolist())
        # Power grows by the square of what is scaled, but not all of an octave is. Whole steps of the second octave swing around
        # the goal on checkers; with 0.7 checkers, stripes and noise all come to it. The coarse grid is part of that octave, so
        # what the octave was just given is taken off it again, or checkers would swing with the two of them.
        second = _within(gains.second * short.second**0.7)
        gains = Gains(
            finest=_within(gains.finest * short.finest**0.5),
            second=second,
            grid=min(1.0, gains.grid * short.grid**0.5),
            coarse_grid=min(1.0, max(LEAST, gains.coarse_grid * short.coarse_grid**0.7 * gains.second / second)),
        )
        model.networks.decoder = deepcopy(as_trained)
        last = model.networks.decoder.stages[-1]
        assert isinstance(last, SubPixel)
        last.scale(*gains)
    return gains


def _powers(blocks: Iterable[Images]) -> Tensor:
    """Of what `Gains` scale, for each image: [count, 4]."""
    of_each = [torch.zeros(0, 4)]
    for block in blocks:
        images = block.float().cpu()
        octaves = (detail_energy(octave) for octave in (images, F.avg_pool2d(images, 2)))
        spectrum = power_spectrum(images)
        of_each.append(torch.stack([*octaves, *(texture_power(spectrum, period) for period in (2, 4))], dim=1))
    return torch.cat(of_each).clamp_min(1e-9)


def _within(gain: float) -> float:
    return min(MOST, max(1 / MOST, gain))
