"""The refitted encoder: it follows the generator, so that real images can be encoded, varied and edited after the GAN stage."""

from copy import deepcopy

import torch
from torch import nn

from vaegan.networks import Decoder, Encoder
from vaegan.parts.anchor import Anchor, low_passed
from vaegan.parts.critics import BETAS
from vaegan.parts.engine import Engine, frozen, in_blocks
from vaegan.parts.optimizers import optimizer_of
from vaegan.parts.player import Player
from vaegan.parts.schedule import Clock, cosine
from vaegan.types import Batch, Images, Latents, PerImage, Scalars, joined

RATES = (1e-3, 1.3e-4)
"""Learning rates at the start and the end: the encoder has half of the stage to catch up (docs/settings.md)."""
BEGINS = 0.5
"""Share of the stage after which the encoder is fitted: what it learned before would be of a generator that is gone. A stage that
is extended begins at its middle again."""
CHECKED = 64  # held-out images and samples that a validation gives to the encoder


class Refit(nn.Module):
    """Trains the encoder to invert the generator, once in some steps of the stage's second half."""

    def __init__(self, encoder: Encoder, anchor: Anchor, every: int, average_cap: int, engine: Engine) -> None:
        """Copies the VAE's encoder, which takes one step in `every`; `average_cap` is as for a `Player`."""
        super().__init__()
        self.player = Player(
            deepcopy(encoder).requires_grad_(True).train(),
            optimizer_of("muon", BETAS),
            lambda progress: cosine(*RATES, max(0.0, progress - BEGINS) / (1 - BEGINS)),
            engine,
            average_cap,
            every,
        )
        self._anchor, self._every = (anchor,), every  # in a tuple: the anchor is a part of the recipe, not of this

    def is_due(self, clock: Clock) -> bool:
        """Whether the encoder takes a step now.

        While the speed is being measured, by which minutes become images, it is fitted as often as over the whole stage.
        """
        if clock.end is None:
            return clock.step % round(self._every / (1 - BEGINS)) == 0
        return clock.progress >= BEGINS and clock.step % self._every == 0

    def step(self, batch: Batch, samples: Images, latents: Latents, generator: Decoder, clock: Clock) -> Scalars:
        """|mu(G(z)) - z|^2 on samples, and half the anchor's distance on half of the batch of real images.

        The samples G(z) of `latents` are detached, one for each real image; the generator has taken its step and is not changed.
        """
        anchor, half = self._anchor[0], batch.first(max(1, len(batch.images) // 2))
        targets, count = anchor.observe(half), len(samples)
        posterior = self.player(torch.cat([samples, half.images]), joined(batch.labels, half.labels))
        recovery = (posterior.mean[:count] - latents).square().mean(1)
        # The variances stay the VAE's, or `posterior` would say nothing about the GAN's images.
        log_vars = (posterior.log_var[count:] - targets.log_vars).square().mean(1)
        with frozen(generator):
            distance = anchor.distance(generator(posterior.mean[count:], half.labels), targets)
        self.player.minimise(recovery.mean() + 0.5 * distance.mean() + 0.1 * log_vars.mean(), clock)
        return {"recovery": recovery.detach().mean()}

    @torch.no_grad()
    def validate(self, batch: Batch, samples: Images, latents: Latents, generator: Decoder) -> Scalars:
        """How well the averaged encoder inverts the averaged generator: R^2 of latents, low-passed error of held-out images."""
        encoder = self.player.averaged
        # Means over thousands of numbers, and no one decides by them: the first images are enough.
        (images, labels), samples, latents = batch.first(CHECKED), samples[:CHECKED], latents[:CHECKED]
        recovered, encoded = (in_blocks(lambda *block: encoder(*block).mean, part, labels) for part in (samples, images))
        reconstructions = in_blocks(generator, encoded, labels)
        return {
            "latent_recovery": 1 - (recovered - latents).square().sum() / latents.square().sum(),
            "heldout_low_pass_error": low_pass_error(reconstructions, images).mean(),
        }


def low_pass_error(generated: Images, images: Images) -> PerImage:
    """Mean squared error a value after averaging blocks of 4x4 pixels."""
    return (low_passed(generated) - low_passed(images)).square().flatten(1).mean(1)
