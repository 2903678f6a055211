"""What all recipes have in common: players whose state is saved, averaged networks that are compared, and a model at the end."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from vaegan.networks import Decoder, Encoder
from vaegan.objectives.likelihood import Likelihood
from vaegan.parts.player import Player
from vaegan.parts.schedule import Clock
from vaegan.priors import Prior
from vaegan.types import Batch, Scalars


class Trained(NamedTuple):
    """What a recipe leaves behind: averaged networks, and what a model needs to know beside them."""

    decoder: Decoder
    encoder: Encoder | None = None
    prior: Prior | None = None
    """What latents are drawn from; None: N(0, I)."""
    variance: float | None = None
    """Variance of p(x|z); None: there is no distribution around the decoder's output."""
    likelihood: Likelihood = "gaussian"


class Deciding(NamedTuple):
    """How the models of a stage are compared: by a scalar of `validate`, of which less is better."""

    scalar: str
    fewest: int
    """Held-out images below which the scalar says more about them than about the model."""
    since: float = 0.0
    """Share of the stage's schedules from which models are compared."""
    error: str | None = None
    """Scalar that holds the standard error of the first, where chance plays a part."""


class Recipe(nn.Module):
    """One algorithm under training. Its `state_dict` is what a checkpoint keeps: players, and buffers of its own."""

    name: str
    """Name of the stage that it trains."""
    deciding: Deciding

    def step(self, batch: Batch, clock: Clock) -> Scalars:
        """One step of every player on one batch."""
        raise NotImplementedError

    def validate(self, batch: Batch) -> Scalars:
        """Numbers of the averaged networks on held-out images."""
        raise NotImplementedError

    def trained(self) -> Trained:
        """The averaged networks, for a model."""
        raise NotImplementedError

    def averaged_state(self) -> dict[str, dict[str, Tensor]]:
        """The weights of every average, by player, and the recipe's own buffers: what `trained` depends on."""
        averages = {name: player.averaged.state_dict() for name, player in self._averaging()}
        return averages | {"": dict(self.named_buffers(recurse=False))}

    def load_averaged_state(self, state: dict[str, dict[str, Any]]) -> None:
        """Takes back what `averaged_state` gave."""
        for name, player in self._averaging():
            player.averaged.load_state_dict(state[name])
        for name, buffer in self.named_buffers(recurse=False):
            buffer.copy_(state[""][name])

    def _averaging(self) -> list[tuple[str, Player[Any]]]:
        players = [(name, part) for name, part in self.named_modules() if isinstance(part, Player)]
        return [(name, player) for name, player in players if player.average is not None]
