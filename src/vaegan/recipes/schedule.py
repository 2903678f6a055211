"""Schedules as functions of the images seen: learning rates, ramps, and the averaged weights' half-life."""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Clock:
    """Where a stage stands. `total` is None until `--minutes` has been turned into a number of images."""

    seen: int
    total: int | None
    batch_size: int

    @property
    def progress(self) -> float:
        """Share of the stage that is done, 0 to 1."""
        return min(1.0, self.seen / self.total) if self.total else 0.0

    @property
    def step(self) -> int:
        """Batches seen before this one."""
        return self.seen // self.batch_size


def cosine(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def ramp(progress: float, until: float) -> float:
    """From 0 to 1 over the first `until` of a stage; 1 throughout when `until` is 0."""
    return min(1.0, progress / until) if until > 0 else 1.0


def geometric(start: float, end: float, progress: float) -> float:
    """From `start` to `end` by equal factors."""
    return start * (end / start) ** progress


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Sets every group's learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Average(Generic[Network]):
    """Exponential moving average of a network's weights, with a half-life that grows with the images seen.

    Half-life = min(cap, 5 % of the images seen): early averages forget the start, late ones smooth over many steps
    (Karras et al. 2020, StyleGAN2-ADA, use the same ramp).
    """

    def __init__(self, network: Network, half_life_cap: int) -> None:
        """Args: network: to be followed, copied as it stands; half_life_cap: [images]."""
        self.network: Network = deepcopy(network).eval().requires_grad_(False)
        self.half_life_cap = half_life_cap

    @torch.no_grad()
    def update(self, network: nn.Module, clock: Clock) -> None:
        """Moves the average towards `network` after a step."""
        half_life = min(self.half_life_cap, 0.05 * (clock.seen + clock.batch_size))
        weight = 1 - 0.5 ** (clock.batch_size / half_life)
        for averaged, current in zip(self.network.parameters(), network.parameters(), strict=True):
            averaged.lerp_(current, weight)
