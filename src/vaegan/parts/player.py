"""A player: one network under training, with its optimiser, its learning rate and its averaged weights."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Generic

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vaegan.parts.engine import Engine, Network, unwrapped
from vaegan.parts.schedule import Clock


class Player(nn.Module, Generic[Network]):
    """Trains one network. Its `state_dict` is what a checkpoint keeps: weights, averaged weights and the optimiser's state.

    The average is exponential, with a half-life that grows with the images seen: min(cap, 5 % of them). Early averages forget the
    start, late ones smooth over many steps (Karras et al. 2020, StyleGAN2-ADA, use the same ramp).
    """

    network: Network
    average: Network | None

    def __init__(
        self,
        network: Network,
        optimizer: Callable[[nn.Module], Optimizer],
        rate: Callable[[float], float],
        engine: Engine,
        average_cap: int | None = None,
        every: int = 1,
    ) -> None:
        """Prepares the network for one step in `every` of the stage, at a learning rate by the share of the stage that is done.

        `average_cap` is the longest half-life of the averaged weights [images]; None: no average is kept.
        """
        super().__init__()
        prepared = engine.prepare(network)
        self._prepared = (prepared,)  # in a tuple, or its weights would count twice
        self.network = unwrapped(prepared)
        self.optimizer = engine.optimizer(optimizer(prepared))
        self.average = None if average_cap is None else deepcopy(self.network).eval().requires_grad_(False)
        self.engine = engine
        self._rate, self._average_cap, self._every = rate, average_cap, every

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the network makes of `inputs`, with gradients to its weights."""
        return self._prepared[0](*inputs, **options)

    def minimise(self, loss: Tensor, clock: Clock) -> None:
        """One step against `loss`."""
        minimise(loss, clock, self)

    def begin(self) -> None:
        """Forgets the gradient of the step before."""
        self.optimizer.zero_grad()

    @torch.no_grad()
    def finish(self, clock: Clock) -> None:
        """Moves the weights along their gradient, and the average after them."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(clock.progress) / clock.slowdown
        self.optimizer.step()
        if self.average is None or self._average_cap is None:
            return
        half_life = min(self._average_cap, 0.05 * (clock.seen + clock.batch_size))
        weight = 1 - 0.5 ** (self._every * clock.batch_size / half_life)
        for averaged, current in zip(self.average.parameters(), self.network.parameters(), strict=True):
            averaged.lerp_(current, weight)
        # What batch normalisation has gathered is an average already; other buffers never change.
        for kept, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(current)

    @property
    def averaged(self) -> Network:
        """The network with averaged weights; the trained one where no average is kept."""
        return self.network if self.average is None else self.average

    def get_extra_state(self) -> dict[str, Any]:
        """The optimiser's state, as a part of `state_dict`."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_extra_state` gave; a copy, as an optimiser changes its tensors in its next step."""
        self.optimizer.load_state_dict(deepcopy(state))


def minimise(loss: Tensor, clock: Clock, *players: Player[Any]) -> None:
    """One step of several players against one loss."""
    for player in players:
        player.begin()
    players[0].engine.backward(loss)
    for player in players:
        player.finish(clock)
