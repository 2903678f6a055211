"""The plain autoencoder (Hinton & Salakhutdinov 2006): the baseline that the VAE is compared with, on the same networks.

Nothing orders its latents, so there is no prior to sample from: holes between encodings decode to anything.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from vaegan.config import AEConfig
from vaegan.networks import Decoder, Encoder
from vaegan.objectives import gaussian
from vaegan.recipes.engine import Deciding, Engine, Trained, gradient_norm, in_blocks, unwrapped
from vaegan.recipes.levers import Levers
from vaegan.recipes.schedule import Average, Clock, cosine, set_learning_rate
from vaegan.types import Images, Labels, Scalars


class AE:
    """Trains an encoder, of which only the mean is used, and a decoder."""

    name: Literal["ae"] = "ae"

    def __init__(self, config: AEConfig, encoder: Encoder, decoder: Decoder, engine: Engine) -> None:
        """Args: config: settings; encoder, decoder: to be trained; engine: devices and processes."""
        self.config, self.engine, self.levers = config, engine, Levers()
        self.encoder, self.decoder = engine.prepare(encoder), engine.prepare(decoder)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = engine.optimizer(torch.optim.Adam(parameters, config.learning_rate, betas=(0.9, 0.99), fused=True))
        self.average_encoder = Average(unwrapped(self.encoder), config.average_cap)
        self.average_decoder = Average(unwrapped(self.decoder), config.average_cap)

    def step(self, images: Images, clock: Clock, labels: Labels | None = None) -> Scalars:
        """One step on one batch."""
        config = self.config
        rate = cosine(config.learning_rate, config.final_learning_rate, clock.progress)
        set_learning_rate(self.optimizer, rate * self.levers.generator_rate)

        reconstructions = self.decoder(self.encoder(images, labels).mean, labels)
        loss = gaussian.squared_error(images, reconstructions).mean()

        self.optimizer.zero_grad()
        self.engine.backward(loss)
        self.optimizer.step()
        self.average_encoder.update(unwrapped(self.encoder), clock)
        self.average_decoder.update(unwrapped(self.decoder), clock)
        gradient = gradient_norm(self.encoder, self.decoder)
        return {"loss": loss.detach(), "error": loss.detach() / images[0].numel(), "gradient": gradient}

    @torch.no_grad()
    def validate(self, images: Images, labels: Labels | None = None) -> Scalars:
        """The averaged weights on held-out images: error of the reconstruction, and the latent dimensions that vary."""
        encoder, decoder = self.average_encoder.network, self.average_decoder.network
        latents = in_blocks(lambda *block: encoder(*block).mean, images, labels)
        error = gaussian.squared_error(images, in_blocks(decoder, latents, labels))
        active: Tensor = (latents.var(0) > 0.01).sum()
        return {
            "heldout_loss": error.mean(),
            "heldout_error": error.mean() / images[0].numel(),
            "active_units": active.float(),
        }

    @property
    def deciding(self) -> Deciding:
        """Models are compared by the error of held-out reconstructions."""
        return Deciding("heldout_error", fewest=10)

    @property
    def warming_up(self) -> bool:
        """Whether steps are still of another kind, and cost, than those to come: never."""
        return False

    def averaged(self) -> Trained:
        """The networks to keep; there is no p(x|z) around their output."""
        return Trained(self.average_decoder.network, self.average_encoder.network, None, None)

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
        return {"levers": self.levers.tensor()}

    def set_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Takes back what `tensors` gave."""
        self.levers = Levers.of(tensors.get("levers"))
