"""The plain autoencoder (Hinton & Salakhutdinov 2006): the baseline that the VAE is compared with, on the same networks.

Nothing orders its latents, so there is no prior to sample from: holes between encodings decode to anything.
"""

import torch

from vaegan.config import VAEConfig
from vaegan.metrics.posterior import active_units
from vaegan.networks import Decoder, Encoder
from vaegan.objectives import gaussian
from vaegan.parts.engine import Engine, gradient_norm, in_blocks
from vaegan.parts.player import minimise
from vaegan.parts.schedule import Clock
from vaegan.recipes.recipe import Deciding, Recipe, Trained
from vaegan.recipes.vae import autoencoder, posterior_of
from vaegan.types import Batch, Scalars


class AE(Recipe):
    """Trains an encoder, of which only the mean is used, and a decoder."""

    name = "ae"
    deciding = Deciding("heldout_error", fewest=10)

    def __init__(self, config: VAEConfig, encoder: Encoder, decoder: Decoder, engine: Engine) -> None:
        super().__init__()
        self.encoder, self.decoder = autoencoder(config, encoder, decoder, engine)

    def step(self, batch: Batch, clock: Clock) -> Scalars:
        """One step on one batch."""
        images, labels = batch
        # Before the cut at black and white, beyond which there is no gradient.
        reconstructions = self.decoder(self.encoder(images, labels).mean, labels, raw=True)
        loss = gaussian.squared_error(images, reconstructions).mean()
        minimise(loss, clock, self.encoder, self.decoder)
        gradient = gradient_norm(self.encoder.network, self.decoder.network)
        return {"loss": loss.detach(), "error": loss.detach() / images[0].numel(), "gradient": gradient}

    @torch.no_grad()
    def validate(self, batch: Batch) -> Scalars:
        """The averaged weights on held-out images: error of the reconstruction, and the latent dimensions that vary."""
        latents = posterior_of(self.encoder.averaged, batch).mean
        error = gaussian.squared_error(batch.images, in_blocks(self.decoder.averaged, latents, batch.labels))
        return {
            "heldout_loss": error.mean(),
            "heldout_error": error.mean() / batch.images[0].numel(),
            "active_units": active_units(latents).float(),
        }

    def trained(self) -> Trained:
        """The averaged networks; there is no p(x|z) around their output."""
        return Trained(self.decoder.averaged, self.encoder.averaged)
