"""The variational autoencoder (Kingma & Welling 2014) with a calibrated decoder variance (Rybkin et al. 2021)."""

from typing import Literal

import torch
from torch import Tensor, nn

from vaegan.config import VAEConfig
from vaegan.networks import Decoder, Encoder, Gaussian
from vaegan.objectives import gaussian
from vaegan.recipes.engine import Engine, Trained, in_blocks, unwrapped
from vaegan.recipes.schedule import Average, Clock, cosine, ramp, set_learning_rate
from vaegan.types import Images, Scalars


class VAE:
    """Trains an encoder and a decoder."""

    name: Literal["vae"] = "vae"

    def __init__(self, config: VAEConfig, encoder: Encoder, decoder: Decoder, engine: Engine) -> None:
        """Args: config: settings; encoder, decoder: to be trained; engine: devices and processes."""
        self.config, self.engine = config, engine
        self.encoder, self.decoder = engine.prepare(encoder), engine.prepare(decoder)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        # beta2 0.99: with a few thousand steps in all, 0.999 remembers the start for too long.
        self.optimizer = engine.optimizer(torch.optim.Adam(parameters, config.learning_rate, betas=(0.9, 0.99), fused=True))
        self.average_encoder = Average(unwrapped(self.encoder), config.average_cap)
        self.average_decoder = Average(unwrapped(self.decoder), config.average_cap)
        self.draws = engine.draws(self.name)
        self.variance = torch.ones((), device=self.draws.device)

    def step(self, images: Images, clock: Clock) -> Scalars:
        """One step on one batch."""
        config, values = self.config, images[0].numel()
        set_learning_rate(self.optimizer, cosine(config.learning_rate, config.final_learning_rate, clock.progress))

        posterior = self.encoder(images)
        noise = self.draws.normal("posterior", clock.seen, *posterior.mean.shape)
        latents = posterior.mean + torch.exp(posterior.log_var / 2) * noise  # the reparameterisation trick
        error = gaussian.squared_error(images, self.decoder(latents))
        kl = gaussian.kl_to_standard_normal(*posterior).sum(1)

        mean_error = self.engine.mean(error.detach().mean() / values)
        variance = gaussian.calibrated_variance(mean_error)
        beta = config.kl_weight * ramp(clock.progress, config.kl_warmup)
        loss = (gaussian.gaussian_loss(error, values, variance) + beta * kl).mean()

        self.optimizer.zero_grad()
        self.engine.backward(loss)
        self.optimizer.step()
        self.average_encoder.update(unwrapped(self.encoder), clock)
        self.average_decoder.update(unwrapped(self.decoder), clock)
        self.variance = torch.lerp(variance, self.variance, 0.98 if clock.seen else 0.0)
        return {"loss": loss.detach(), "error": mean_error, "kl": kl.detach().mean(), "beta": beta * variance}

    @torch.no_grad()
    def validate(self, images: Images) -> Scalars:
        """The averaged weights on held-out images: error of the reconstruction from the mean, ELBO, KL, active units."""
        encoder, decoder, values = self.average_encoder.network, self.average_decoder.network, images[0].numel()
        posterior = Gaussian(*in_blocks(lambda block: torch.cat(encoder(block), 1), images).chunk(2, 1))
        noise = torch.randn(posterior.mean.shape, generator=self.draws.generator("validation", 0), device=images.device)
        latents = posterior.mean + torch.exp(posterior.log_var / 2) * noise
        sampled = gaussian.squared_error(images, in_blocks(decoder, latents))
        at_mean = gaussian.squared_error(images, in_blocks(decoder, posterior.mean))
        kl = gaussian.kl_to_standard_normal(*posterior)
        elbo = gaussian.evidence_lower_bound(sampled, kl.sum(1), values, self.variance)
        # The same objective as in training, with the held-out images' own calibrated variance.
        variance = gaussian.calibrated_variance(sampled.mean() / values)
        loss = gaussian.gaussian_loss(sampled, values, variance) + self.config.kl_weight * kl.sum(1)
        active: Tensor = (posterior.mean.var(0) > 0.01).sum()  # Burda et al. 2016, Section 4.2
        return {
            "heldout_loss": loss.mean(),
            "heldout_error": at_mean.mean() / values,
            "heldout_elbo": elbo.mean(),
            "heldout_kl": kl.sum(1).mean(),
            "active_units": active.float(),
        }

    @property
    def warming_up(self) -> bool:
        """Whether steps are still of another kind, and cost, than those to come: never."""
        return False

    def averaged(self) -> Trained:
        """The networks to keep."""
        return Trained(self.average_decoder.network, self.average_encoder.network, None, float(self.variance))

    def networks(self) -> dict[str, nn.Module]:
        """Everything with weights."""
        return {
            "encoder": unwrapped(self.encoder),
            "decoder": unwrapped(self.decoder),
            "average_encoder": self.average_encoder.network,
            "average_decoder": self.average_decoder.network,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimiser."""
        return {"adam": self.optimizer}

    def tensors(self) -> dict[str, Tensor]:
        """State beside the networks."""
        return {"variance": self.variance}

    def set_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Takes back what `tensors` gave."""
        self.variance = tensors["variance"].to(self.draws.device)
