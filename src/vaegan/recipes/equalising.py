"""Equalising: a kept generator's finest octaves get the power that held-out images have.

A GAN circles around the right power of fine detail and does not settle on it: runs of four minutes end at 0.76 to 0.91 of it when
they grow out of a VAE, at 1.1 to 1.4 from scratch, and at which is chance. What such pictures lack is strength more than lines in
the right places, so one number an octave brings most of it back, and one more takes the regular texture out of them
(docs/handover-log.md, "Three numbers at the end"). All go into the fixed kernel of the last layer: no weight changes, and a
picture costs what it did.
"""

from copy import deepcopy
from typing import NamedTuple

import torch
import torch.nn.functional as F

from vaegan.metrics.spectrum import detail_energy, power_spectrum, texture_power
from vaegan.model import Model
from vaegan.networks.subpixel import SubPixel
from vaegan.types import Images, Labels

FEWEST = 30  # real images: the finest octave's power of so many anime faces is known to 7 %
SAMPLES = 256
ROUNDS = 8  # on anime faces the octaves are right to 1 % after four
MOST = 2.0  # further away something else is wrong, which scaling would only hide


class Gains(NamedTuple):
    """What parts of samples are multiplied by."""

    finest: float
    """The finest octave."""
    second: float
    """The one below it."""
    grid: float
    """What the finest octave repeats from block to block: the texture with a period of two pixels. Never more than 1."""


def equalise(model: Model, heldout: Images, labels: Labels | None = None) -> Gains | None:
    """Gives the model a decoder whose samples have the power of real images in the two finest octaves and at two pixels.

    The decoder is replaced by a copy, not changed: training goes on with its own.

    Args:
        model: one whose decoder ends in a sub-pixel layer; others stay as they are.
        heldout: real images in [-1, 1], such as the model was not trained on if there are any.
        labels: theirs, for a conditional model: samples are compared that show the same things as often.

    Returns:
        The factors; None where nothing was done.
    """
    as_trained = model.networks.decoder
    if len(heldout) < FEWEST or not isinstance(as_trained.stages[-1], SubPixel):
        return None
    wanted, gains = _powers(heldout), Gains(1.0, 1.0, 1.0)
    asked = None if labels is None else labels[torch.arange(SAMPLES) % len(labels)]
    for _ in range(ROUNDS):
        # Power grows by the square of what is scaled, but not all of an octave is. Whole steps of the second octave swing around
        # the goal on checkers; with 0.7 checkers, stripes and noise all come to it.
        found = _powers(model.sample(SAMPLES, labels=asked))
        short = Gains(*(real / now for real, now in zip(wanted, found, strict=True)))
        gains = Gains(
            finest=_within(gains.finest * short.finest**0.5),
            second=_within(gains.second * short.second**0.7),
            grid=min(1.0, gains.grid * short.grid**0.5),
        )
        model.networks.decoder = deepcopy(as_trained)
        last = model.networks.decoder.stages[-1]
        assert isinstance(last, SubPixel)
        last.scale(*gains)
    return gains


def _powers(images: Images) -> Gains:
    images = images.float().cpu()
    octaves = (float(detail_energy(octave).mean()) for octave in (images, F.avg_pool2d(images, 2)))
    return Gains(*(max(1e-9, power) for power in (*octaves, float(texture_power(power_spectrum(images), 2).mean()))))


def _within(gain: float) -> float:
    return min(MOST, max(1 / MOST, gain))
