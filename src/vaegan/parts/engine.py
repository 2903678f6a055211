"""What a recipe may ask of the machinery that runs it. The training package provides it; tests use a plain one."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vaegan.randomness import Draws
from vaegan.types import Labels

Network = TypeVar("Network", bound=nn.Module)


class Engine(Protocol):
    """Devices and processes, hidden behind five calls."""

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


@contextmanager
def frozen(network: Network) -> Generator[Network]:
    """Lets gradients pass through the network and none stay in its weights."""
    network.requires_grad_(False)
    try:
        yield network
    finally:
        network.requires_grad_(True)


def gradient_norm(*networks: nn.Module) -> Tensor:
    """The norm of all gradients of `networks` together; with several processes that of their global mean."""
    parameters = [parameter for network in networks for parameter in network.parameters()]
    return nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
