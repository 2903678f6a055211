"""The plain autoencoder (Hinton & Salakhutdinov 2006): the baseline that the VAE is compared with, on the same networks.

Nothing orders its latents, so there is no prior to sample from: holes between encodings decode to anything.
"""

from typing import Literal

import torch

from vaegan.config import AEConfig
from vaegan.metrics.posterior import active_units
from vaegan.networks import Decoder, Encoder
from vaegan.objectives import gaussian
from vaegan.recipes.autoencoding import BETAS, Autoencoding
from vaegan.recipes.engine import Deciding, Engine, Trained, in_blocks
from vaegan.recipes.optimizers import build_optimizer
from vaegan.recipes.schedule import Clock, cosine, set_learning_rate
from vaegan.types import Images, Labels, Scalars


class AE(Autoencoding):
    """Trains an encoder, of which only the mean is used, and a decoder."""

    name: Literal["ae"] = "ae"

    def __init__(self, config: AEConfig, encoder: Encoder, decoder: Decoder, engine: Engine) -> None:
        """Args: config: settings; encoder, decoder: to be trained; engine: devices and processes."""
        super().__init__(encoder, decoder, config.average_cap, engine)
        self.config = config
        both = [self.encoder, self.decoder]
        self.optimizer = engine.optimizer(build_optimizer(config.optimizer, both, config.learning_rate, BETAS))

    def step(self, images: Images, clock: Clock, labels: Labels | None = None) -> Scalars:
        """One step on one batch."""
        config = self.config
        rate = cosine(config.learning_rate, config.final_learning_rate, clock.progress)
        set_learning_rate(self.optimizer, rate * self.levers.generator_rate)

        # Before the cut at black and white, beyond which there is no gradient.
        reconstructions = self.decoder(self.encoder(images, labels).mean, labels, raw=True)
        loss = gaussian.squared_error(images, reconstructions).mean()

        self.optimizer.zero_grad()
        self.engine.backward(loss)
        self.optimizer.step()
        self.follow(clock)
        return {"loss": loss.detach(), "error": loss.detach() / images[0].numel(), "gradient": self.gradient()}

    @torch.no_grad()
    def validate(self, images: Images, labels: Labels | None = None) -> Scalars:
        """The averaged weights on held-out images: error of the reconstruction, and the latent dimensions that vary."""
        latents = self.averaged_posterior(images, labels).mean
        error = gaussian.squared_error(images, in_blocks(self.average_decoder.network, latents, labels))
        return {
            "heldout_loss": error.mean(),
            "heldout_error": error.mean() / images[0].numel(),
            "active_units": active_units(latents).float(),
        }

    @property
    def deciding(self) -> Deciding:
        """Models are compared by the error of held-out reconstructions."""
        return Deciding("heldout_error", fewest=10)

    def averaged(self) -> Trained:
        """The networks to keep; there is no p(x|z) around their output."""
        return Trained(self.average_decoder.network, self.average_encoder.network, None, None)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimiser."""
        return {"autoencoder": self.optimizer}
