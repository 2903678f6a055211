"""The variational autoencoder (Kingma & Welling 2014); by default with a calibrated decoder variance (Rybkin et al. 2021)."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vaegan.config import VAEConfig
from vaegan.metrics.posterior import active_units
from vaegan.networks import Decoder, Encoder, Gaussian
from vaegan.objectives import gaussian, latent
from vaegan.objectives.likelihood import RECONSTRUCTIONS, log_density, variance_of
from vaegan.recipes.autoencoding import BETAS, Autoencoding
from vaegan.recipes.engine import Deciding, Engine, Trained, in_blocks, unwrapped
from vaegan.recipes.optimizers import build_optimizer
from vaegan.recipes.schedule import Clock, cosine, cyclical, ramp, set_learning_rate
from vaegan.types import Images, Labels, Latents, PerImage, Scalars


class Compared(NamedTuple):
    """A batch against its reconstructions."""

    loss: PerImage
    raw: Tensor
    """The decoder's raw output for the first sample of each posterior."""
    kl: PerImage
    variance: Tensor
    """Of p(x|z), as this batch has it."""


class VAE(Autoencoding):
    """Trains an encoder and a decoder."""

    name: Literal["vae"] = "vae"

    def __init__(self, config: VAEConfig, encoder: Encoder, decoder: Decoder, engine: Engine) -> None:
        """Args: config: settings; encoder, decoder: to be trained; engine: devices and processes."""
        super().__init__(encoder, decoder, config.average_cap, engine)
        self.config = config
        self.reconstruction = RECONSTRUCTIONS[config.objective]
        both = [self.encoder, self.decoder]
        self.optimizer = engine.optimizer(build_optimizer(config.optimizer, both, config.learning_rate, BETAS))
        self.draws = engine.draws(self.name)
        self.variance = torch.ones((), device=self.draws.device)

    def step(self, images: Images, clock: Clock, labels: Labels | None = None) -> Scalars:
        """One step on one batch."""
        config = self.config
        rate = cosine(config.learning_rate, config.final_learning_rate, clock.progress)
        set_learning_rate(self.optimizer, rate * self.levers.generator_rate)

        posterior = self.encoder(images, labels)
        noise = self.draws.normal("posterior", clock.seen, len(images), config.samples, posterior.mean.shape[1])
        kl_weight = config.kl_weight * self.levers.kl_weight * self._kl_share(clock.progress)
        found = self._compare(images, labels, posterior, noise, self.decoder, kl_weight, self.engine.mean)
        loss = found.loss.mean()

        self.optimizer.zero_grad()
        self.engine.backward(loss)
        self.optimizer.step()
        self.follow(clock)
        self.variance = torch.lerp(found.variance, self.variance, 0.98 if clock.seen else 0.0)

        decoded = unwrapped(self.decoder).output(found.raw.detach())
        error = self.engine.mean((decoded - images).square().mean())
        scalars = {"loss": loss.detach(), "error": error, "kl": found.kl.detach().mean()}
        scalars["gradient"] = self.gradient()
        if self.reconstruction.beta is not None and config.reconstruction_weight > 0:
            beta = self.reconstruction.beta(images[0].numel(), found.variance)
            scalars["beta"] = kl_weight / config.reconstruction_weight * beta
        return scalars

    def _compare(
        self,
        images: Images,
        labels: Labels | None,
        posterior: Gaussian,
        noise: Tensor,
        decoder: Callable[..., Tensor],
        kl_weight: float,
        mean: Callable[[Tensor], Tensor],
    ) -> Compared:
        """The objective of a batch: reconstruction + KL divergence, or the importance-weighted bound with several samples.

        Args:
            images: what was encoded.
            labels: of the images, for a conditional model.
            posterior: of `images`.
            noise: standard normal, [batch, samples, latent].
            decoder: latents to raw output.
            kl_weight: now.
            mean: over processes.
        """
        config, values, samples = self.config, images[0].numel(), noise.shape[1]
        deviation = torch.exp(posterior.log_var / 2)
        draws = [posterior.mean + deviation * noise[:, k] for k in range(samples)]  # the reparameterisation trick
        raw = decoder(torch.cat(draws), labels if labels is None else labels.repeat(samples), raw=True)
        error = self.reconstruction.error(torch.cat([images] * samples) if samples > 1 else images, raw)
        variance = variance_of(self.reconstruction.likelihood, mean(error.detach().mean() / values))
        weighed = config.reconstruction_weight * self.reconstruction.loss(error, values, variance)

        kl = gaussian.kl_to_standard_normal(*posterior)
        if samples > 1:
            ratios = [latent.log_ratio(draw, *posterior, noise[:, k]) for k, draw in enumerate(draws)]
            log_weights = kl_weight * torch.stack(ratios) - weighed.view(samples, -1)
            loss = -latent.importance_weighted_bound(log_weights)
        elif (least := max(config.free_bits, self.levers.free_bits)) > 0:
            loss = weighed + kl_weight * latent.free_bits(kl, mean(kl.detach().mean(0)), least)
        else:
            loss = weighed + kl_weight * kl.sum(1)
        return Compared(loss, raw[: len(images)], kl.sum(1), variance)

    def _kl_share(self, progress: float) -> float:
        config = self.config
        warmup = max(config.kl_warmup, self.levers.kl_warmup)
        if config.kl_schedule == "cyclical":
            return cyclical(progress, config.kl_cycles, warmup)
        return ramp(progress, warmup)

    @torch.no_grad()
    def validate(self, images: Images, labels: Labels | None = None) -> Scalars:
        """The averaged weights on held-out images: error of the reconstruction from the mean, ELBO, KL, active units."""
        decoder, config, posterior = self.average_decoder.network, self.config, self.averaged_posterior(images, labels)
        shape = (len(images), config.samples, posterior.mean.shape[1])
        noise = torch.randn(shape, generator=self.draws.generator("validation", 0), device=images.device)

        def decode(latents: Latents, labels: Labels | None, raw: bool) -> Tensor:
            return in_blocks(lambda *block: decoder(*block, raw=raw), latents, labels)

        # The same objective as in training after its warm-up, with the held-out images' own calibrated variance.
        kl_weight = config.kl_weight * self.levers.kl_weight
        found = self._compare(images, labels, posterior, noise, decode, kl_weight, lambda value: value)
        at_mean = (images - decode(posterior.mean, labels, False)).square().mean()
        elbo = log_density(self.reconstruction.likelihood, images, found.raw, self.variance) - found.kl
        return {
            "heldout_loss": found.loss.mean(),
            "heldout_error": at_mean,
            "heldout_elbo": elbo.mean(),
            "heldout_kl": found.kl.mean(),
            "active_units": active_units(posterior.mean).float(),
        }

    @property
    def deciding(self) -> Deciding:
        """Models are compared by the held-out objective, at the KL divergence's full weight."""
        return Deciding("heldout_loss", fewest=10)

    def averaged(self) -> Trained:
        """The networks to keep."""
        likelihood = self.reconstruction.likelihood
        variance = float(self.variance) if likelihood in ("gaussian", "laplace") else None
        return Trained(self.average_decoder.network, self.average_encoder.network, None, variance, likelihood)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimiser."""
        return {"autoencoder": self.optimizer}

    def tensors(self) -> dict[str, Tensor]:
        """State beside the networks."""
        return super().tensors() | {"variance": self.variance}

    def set_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Takes back what `tensors` gave."""
        super().set_tensors(tensors)
        self.variance = tensors["variance"].to(self.draws.device)
