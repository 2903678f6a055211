"""The variational autoencoder (Kingma & Welling 2014); by default with a calibrated decoder variance (Rybkin et al. 2021)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vaegan.config import VAEConfig
from vaegan.metrics.posterior import active_units
from vaegan.networks import Decoder, Encoder, Gaussian
from vaegan.objectives import gaussian, latent
from vaegan.objectives.likelihood import RECONSTRUCTIONS, log_density, variance_of
from vaegan.parts.engine import Engine, gradient_norm, in_blocks
from vaegan.parts.optimizers import optimizer_of
from vaegan.parts.player import Player, minimise
from vaegan.parts.schedule import Clock, cosine, faded_in
from vaegan.recipes.recipe import Deciding, Recipe, Trained
from vaegan.types import Batch, Latents, PerImage, Scalars

BETAS = (0.9, 0.99)
"""Moments of the optimiser. With a few thousand steps in all, 0.999 remembers the start for too long."""
MEMORY = 0.98  # of the running mean of the decoder's variance, a step


class Bound(NamedTuple):
    """The objective of a batch, and what it is made of."""

    loss: PerImage
    raw: Tensor
    """The decoder's raw output for the first sample of each posterior."""
    kl: PerImage
    variance: Tensor
    """Variance of p(x|z) on this batch."""


class VAE(Recipe):
    """Trains an encoder and a decoder."""

    name = "vae"
    deciding = Deciding("heldout_loss", fewest=10)
    variance: Tensor
    relief: Tensor

    def __init__(self, config: VAEConfig, encoder: Encoder, decoder: Decoder, engine: Engine) -> None:
        super().__init__()
        self.config, self.engine, self.draws = config, engine, engine.draws(self.name)
        self.reconstruction = RECONSTRUCTIONS[config.objective]
        self.encoder, self.decoder = autoencoder(config, encoder, decoder, engine)
        self.register_buffer("variance", torch.ones((), device=self.draws.device))
        self.register_buffer("relief", torch.tensor([1.0, 0.0], dtype=torch.float64))

    def step(self, batch: Batch, clock: Clock) -> Scalars:
        """One step on one batch."""
        config, images = self.config, batch.images
        posterior = self.encoder(*batch)
        noise = self.draws.normal("posterior", clock.seen, len(images), config.samples, posterior.mean.shape[1])
        kl_weight = self._kl_weight(clock.progress)
        bound = self._bound(batch, posterior, noise, self.decoder, kl_weight, self.engine.mean)
        loss = bound.loss.mean()
        minimise(loss, clock, self.encoder, self.decoder)
        with torch.no_grad():
            self.variance.copy_(torch.lerp(bound.variance, self.variance, MEMORY if clock.seen else 0.0))

        decoded = self.decoder.network.output(bound.raw.detach())
        error = self.engine.mean((decoded - images).square().mean())
        scalars = {"loss": loss.detach(), "error": error, "kl": bound.kl.detach().mean()}
        scalars["gradient"] = gradient_norm(self.encoder.network, self.decoder.network)
        if self.reconstruction.beta is not None and config.reconstruction_weight > 0:
            beta = self.reconstruction.beta(images[0].numel(), bound.variance)
            scalars["beta"] = kl_weight / config.reconstruction_weight * beta
        return scalars

    def _bound(
        self,
        batch: Batch,
        posterior: Gaussian,
        noise: Tensor,
        decoder: Callable[..., Tensor],
        kl_weight: float,
        mean: Callable[[Tensor], Tensor],
    ) -> Bound:
        """Reconstruction + KL divergence, or the importance-weighted bound with several samples.

        `noise` is standard normal, [batch, samples, latent]; `decoder` gives raw output; `mean` is over processes.
        """
        (images, labels), config, samples = batch, self.config, noise.shape[1]
        values = images[0].numel()
        deviation = torch.exp(posterior.log_var / 2)
        draws = [posterior.mean + deviation * noise[:, k] for k in range(samples)]  # the reparameterisation trick
        raw = decoder(torch.cat(draws), labels if labels is None else labels.repeat(samples), raw=True)
        error = self.reconstruction.error(torch.cat([images] * samples) if samples > 1 else images, raw)
        variance = variance_of(self.reconstruction.likelihood, mean(error.detach().mean() / values))
        reconstruction = config.reconstruction_weight * self.reconstruction.loss(error, values, variance)

        kl = gaussian.kl_to_standard_normal(*posterior)
        if samples > 1:
            ratios = [latent.log_ratio(draw, *posterior, noise[:, k]) for k, draw in enumerate(draws)]
            log_weights = kl_weight * torch.stack(ratios) - reconstruction.view(samples, -1)
            loss = -latent.importance_weighted_bound(log_weights)
        elif (least := max(config.free_bits, float(self.relief[1]))) > 0:
            loss = reconstruction + kl_weight * latent.free_bits(kl, mean(kl.detach().mean(0)), least)
        else:
            loss = reconstruction + kl_weight * kl.sum(1)
        return Bound(loss, raw[: len(images)], kl.sum(1), variance)

    def _kl_weight(self, progress: float) -> float:
        warmup = max(self.config.kl_warmup, 0.5 if self.relief[1] else 0.0)
        return self.config.kl_weight * float(self.relief[0]) * faded_in(progress, warmup, self.config.kl_cycles)

    def relieve(self, excess: float) -> None:
        """Frees the latents of a collapsed posterior: divides the KL weight, frees a quarter of a nat each, warms up for longer.

        Free bits alone keep the KL divergence up, but the error stays that of the mean image: the weight has to change, too.
        It is divided once; every further call frees another quarter of a nat.
        """
        self.relief.copy_(torch.tensor([1 / excess, float(self.relief[1]) + 0.25], dtype=self.relief.dtype))

    @torch.no_grad()
    def validate(self, batch: Batch) -> Scalars:
        """The averaged weights on held-out images: error of the reconstruction from the mean, ELBO, KL, active units."""
        images, decoder, config = batch.images, self.decoder.averaged, self.config
        posterior = posterior_of(self.encoder.averaged, batch)
        shape = (len(images), config.samples, posterior.mean.shape[1])
        noise = torch.randn(shape, generator=self.draws.generator("validation", 0), device=images.device)

        def decode(latents: Latents, labels: Tensor | None, raw: bool) -> Tensor:
            return in_blocks(lambda *block: decoder(*block, raw=raw), latents, labels)

        # The objective of training after its warm-up, with the held-out images' own calibrated variance.
        bound = self._bound(batch, posterior, noise, decode, config.kl_weight * float(self.relief[0]), lambda value: value)
        elbo = log_density(self.reconstruction.likelihood, images, bound.raw, self.variance) - bound.kl
        return {
            "heldout_loss": bound.loss.mean(),
            "heldout_error": (images - decode(posterior.mean, batch.labels, False)).square().mean(),
            "heldout_elbo": elbo.mean(),
            "heldout_kl": bound.kl.mean(),
            "active_units": active_units(posterior.mean).float(),
        }

    def trained(self) -> Trained:
        """The averaged networks; the variance is calibrated where p(x|z) has one."""
        likelihood = self.reconstruction.likelihood
        variance = float(self.variance) if likelihood in ("gaussian", "laplace") else None
        return Trained(self.decoder.averaged, self.encoder.averaged, variance=variance, likelihood=likelihood)


def autoencoder(config: VAEConfig, encoder: Encoder, decoder: Decoder, engine: Engine) -> tuple[Player[Encoder], Player[Decoder]]:
    """The players of VAE and plain autoencoder."""

    def rate(progress: float) -> float:
        return cosine(config.learning_rate, config.final_learning_rate, progress)

    optimizer = optimizer_of(config.optimizer, BETAS)
    return (
        Player(encoder, optimizer, rate, engine, config.average_cap),
        Player(decoder, optimizer, rate, engine, config.average_cap),
    )


def posterior_of(encoder: Encoder, batch: Batch) -> Gaussian:
    """What an encoder says of many images."""
    return Gaussian(*in_blocks(lambda *block: torch.cat(encoder(*block), 1), *batch).chunk(2, 1))
