"""What a recipe may ask of the machinery that runs it. The training package provides it; tests use a plain one."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vaegan.config import Prior
from vaegan.mixture import Mixture
from vaegan.networks import Decoder, Encoder
from vaegan.networks.whitening import Whitening
from vaegan.objectives.likelihood import Likelihood
from vaegan.randomness import Draws
from vaegan.types import Labels

Network = TypeVar("Network", bound=nn.Module)


class Trained(NamedTuple):
    """What a recipe leaves behind: averaged networks, and what a model needs to know beside them."""

    decoder: Decoder
    encoder: Encoder | None
    whitening: Whitening | None
    variance: float | None
    likelihood: Likelihood = "gaussian"
    prior: Prior = "normal"
    mixture: Mixture | None = None
    """The prior, where that is one."""


class Deciding(NamedTuple):
    """How the models of a stage are compared: by a scalar of `validate`, of which less is better."""

    scalar: str
    fewest: int
    """Held-out images below which it says more about them than about the model."""
    since: float = 0.0
    """Share of the stage's schedules from which models are compared."""
    error: str | None = None
    """Scalar that holds the standard error of the first, where chance plays a part."""


class Engine(Protocol):
    """Devices and processes, hidden behind six calls."""

    def prepare(self, network: Network) -> Network:
        """Moves a network to the device and, with several processes, makes its gradients global means."""
        ...

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """Prepares an optimiser of prepared networks."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss`."""
        ...

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a detached value over all processes."""
        ...

    def everyones(self, rows: Tensor) -> Tensor:
        """Detached rows, as many in each process, of all processes: in the order of their ranks."""
        ...

    def draws(self, stage: str) -> Draws:
        """The keyed random streams of a stage."""
        ...


def in_blocks(function: Callable[..., Tensor], batch: Tensor, labels: Labels | None = None, size: int = 64) -> Tensor:
    """`function` applied to blocks of `batch` (and of their labels), so that many images need the memory of few."""
    if labels is None:
        return torch.cat([function(block) for block in batch.split(size)])
    return torch.cat([function(*pair) for pair in zip(batch.split(size), labels.split(size), strict=True)])


def unwrapped(network: Network) -> Network:
    """The network itself, without the gradient exchange that `prepare` may have put around it."""
    inner = getattr(network, "module", network)
    return inner if isinstance(inner, nn.Module) else network  # pyright: ignore[reportReturnType]


def gradient_norm(*networks: nn.Module) -> Tensor:
    """The norm of all gradients of `networks` together; with several processes that of their global mean."""
    parameters = [parameter for network in networks for parameter in network.parameters()]
    return nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
