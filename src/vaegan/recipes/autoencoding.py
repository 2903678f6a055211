"""What AE, VAE and joint model have in common: an encoder and a decoder that are trained together, and their averages."""

import torch
from torch import Tensor, nn

from vaegan.networks import Decoder, Encoder, Gaussian
from vaegan.recipes.engine import Engine, gradient_norm, in_blocks, unwrapped
from vaegan.recipes.levers import Levers
from vaegan.recipes.schedule import Average, Clock
from vaegan.types import Images, Labels

BETAS = (0.9, 0.99)  # of AE and VAE. With a few thousand steps in all, 0.999 remembers the start for too long.


class Autoencoding:
    """An encoder and a decoder under training; the recipes add what they are trained by."""

    def __init__(self, encoder: Encoder, decoder: Decoder, average_cap: int, engine: Engine) -> None:
        """Args: encoder, decoder: to be trained; average_cap: of their averages [images]; engine: devices and processes."""
        self.engine, self.levers = engine, Levers()
        self.encoder, self.decoder = engine.prepare(encoder), engine.prepare(decoder)
        self.average_encoder = Average(unwrapped(self.encoder), average_cap)
        self.average_decoder = Average(unwrapped(self.decoder), average_cap)

    def follow(self, clock: Clock) -> None:
        """Moves the averages after a step."""
        self.average_encoder.update(unwrapped(self.encoder), clock)
        self.average_decoder.update(unwrapped(self.decoder), clock)

    def gradient(self) -> Tensor:
        """The norm of the last step's gradient."""
        return gradient_norm(self.encoder, self.decoder)

    def averaged_posterior(self, images: Images, labels: Labels | None) -> Gaussian:
        """What the averaged encoder says of many images."""
        encoder = self.average_encoder.network
        return Gaussian(*in_blocks(lambda *block: torch.cat(encoder(*block), 1), images, labels).chunk(2, 1))

    @property
    def warming_up(self) -> bool:
        """Whether steps are still of another kind, and cost, than those to come: never."""
        return False

    def networks(self) -> dict[str, nn.Module]:
        """Everything with weights."""
        return {
            "encoder": unwrapped(self.encoder),
            "decoder": unwrapped(self.decoder),
            "average_encoder": self.average_encoder.network,
            "average_decoder": self.average_decoder.network,
        }

    def tensors(self) -> dict[str, Tensor]:
        """State beside the networks."""
        return {"levers": self.levers.tensor()}

    def set_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Takes back what `tensors` gave."""
        self.levers = Levers.of(tensors["levers"])
