"""The engine of training without Fabric: one process on the CPU, as plain as can be."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vaegan.randomness import Draws


class OneProcess:
    """Changes nothing that it is given; `rank` and `world_size` only choose the random streams."""

    precision, is_first = "float32", True
    device = torch.device("cpu")

    def __init__(self, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.seed, self.rank, self.world_size = seed, rank, world_size

    def prepare(self, network: Any) -> Any:
        return network

    def prepare_frozen(self, network: Any) -> Any:
        return self.prepare(network)

    def optimizer(self, optimizer: Any) -> Any:
        return optimizer

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def mean(self, value: Tensor) -> Tensor:
        assert not value.requires_grad
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def share(self, value: Any) -> Any:
        return value

    def autocast(self) -> AbstractContextManager[object]:
        return nullcontext()

    def draws(self, stage: str) -> Draws:
        return Draws(self.seed, stage, "cpu", self.rank, self.world_size)
