"""Equalising: a kept generator's finest octaves get the power that real images have, and are as even in places.

A GAN circles around the right power of fine detail and does not settle on it. Where a run of four minutes ends is chance: at 0.76
to 0.91 of it out of a VAE, at 1.1 to 1.4 from scratch. What such pictures lack is strength more than lines in the right places,
so one factor an octave brings most of it back. A second factor an octave takes out a regular texture, which also comes and goes
by chance. Both are in docs/handover-log.md ("Three numbers at the end", "Four numbers at the end"). All factors go into the fixed
kernel of the last layer: no weight changes.

How the power is spread over a picture is set with it. Of equal power one picture has a little everywhere, which is grain, and
another has lines on even ground. While it learns, a generator has a soft floor under its details, which lets a gradient through.
A kept one needs no gradient: its finest octave gets a steep floor. That rises until details are as concentrated as those of real
images, but no higher than lines can bear ("A steep floor at the end"). Whoever goes on learning from what is kept takes all of it
back (`Decoder.learn_under`).
"""

import math
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.metrics.spectrum import detail_energy, detail_power, texture_power
from vaegan.model import Model
from vaegan.types import Images, Labels

FEWEST = 30  # real images: the finest octave's power of so many anime faces is known to 7 %
SAMPLES = 1_024  # of anime faces, the finest octave's power is then known to 1 %; of 256, to 2 to 3 %
ROUNDS = (256,) * 6 + (SAMPLES,) * 3  # samples of each; on anime faces all is right to 2 % after them
LEAST = 0.25  # of the coarse grid: it lies in every sixth frequency of its octave, which cannot do without them
MOST = 2.0  # further away something else is wrong, which scaling would only hide
WINDOW = 4  # pixels: the side of the places that have more or less of the finest octave
HIGHEST = 0.1  # floor: above it the lines of drawn faces, which are never as concentrated as real ones, become rough
FLOOR_RATE = 4.0  # a floor 1.1 times as high makes details 0.01 less spread: less than half of a whole step


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


class Equalised(NamedTuple):
    """What was set."""

    gains: Gains
    floor: float
    """Steep, under the finest octave, of values in [-1, 1]."""


def equalise(model: Model, real: Iterable[Images], floor: float, labels: Labels | None = None) -> Equalised | None:
    """Gives the model a decoder whose samples have the power of real images in the two finest octaves, and no more texture.

    Its finest octave also gets a steep floor. With it details are as concentrated as those of real images, as far as the rounds
    and `HIGHEST` allow. The decoder is replaced by a copy, not changed: training goes on with its own.

    Args:
        model: one whose decoder ends in a sub-pixel layer; others stay as they are.
        real: blocks of real images in [-1, 1]; such as it was trained on will do, as five numbers are not overfitted.
        floor: to begin with; 0: there will be none.
        labels: of all of these, for a conditional model: samples are compared that show the same things as often.

    Returns:
        The factors and the floor; None where nothing was done: another last layer, too few images, samples that are not finite.
    """
    as_trained = model.networks.decoder
    if as_trained.last_layer is None:
        return None
    of_real, spread_of_real = _powers(real)
    if len(of_real) < FEWEST:
        return None
    gains = Gains(1.0, 1.0, 1.0, 1.0)
    for count in ROUNDS:
        # In the order of the labels each counts as often as among all, whatever the count.
        asked = None if labels is None else labels.sort().values[torch.arange(count) * len(labels) // count]
        found, spread = _powers(model.sample_blocks(count, labels=asked))
        if not math.isfinite(spread):
            model.networks.decoder = as_trained
            return None
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
        floor = min(HIGHEST, floor * _within(spread / spread_of_real, 1.05) ** FLOOR_RATE)
        model.networks.decoder = deepcopy(as_trained)
        finished = model.networks.decoder.finish(as_trained.floor, floor)
        assert finished is not None
        finished.scale(*gains)
    model.config = replace(model.config, steep_floor=floor)
    return Equalised(gains, floor)


def _powers(blocks: Iterable[Images]) -> tuple[Tensor, float]:
    """Powers of what `Gains` scales, one row an image: [count, 4]; and how spread the finest octave is over all images.

    That is its amplitude in small windows, on average, over the one of the same power everywhere: 1 is noise all over.
    """
    least = 1e-9  # so that empty images have a spread, too: that of noise
    of_each, amplitudes = [torch.zeros(0, 4)], [torch.zeros(0)]
    for images in (part.float().cpu() for block in blocks for part in block.split(64)):
        details, second = detail_power(images), detail_energy(F.avg_pool2d(images, 2))
        textures = (texture_power(images, period) for period in (2, 4))
        of_each.append(torch.stack([details.flatten(1).mean(1), second, *textures], dim=1))
        amplitudes.append(F.avg_pool2d(details, WINDOW).clamp_min(least).sqrt().flatten(1).mean(1))
    powers = torch.cat(of_each).clamp_min(least)
    return powers, float(torch.cat(amplitudes).mean() / powers[:, 0].mean().sqrt())


def _within(factor: float, most: float = MOST) -> float:
    return min(most, max(1 / most, factor))
