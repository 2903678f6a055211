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
    """Where a stage stands.

    Schedules run from `start` to `end` [images]: `end` is None until `--minutes` has been turned into a number, and they stand
    still until then. `start` may be negative, of a stage that was extended (`RunRecord.with_images`).
    """

    seen: int
    end: int | None
    batch_size: int
    start: int = 0

    @property
    def progress(self) -> float:
        """Share of the schedules that is done, 0 to 1."""
        return self.share_since(self.start)

    def share_since(self, seen: int) -> float:
        """Share of the schedules that has passed since `seen`, or since their start if that is later; 0 to 1."""
        if self.end is None or self.seen < self.start:
            return 0.0
        return min(1.0, (self.seen - max(seen, self.start)) / max(1, self.end - self.start))

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


def cyclical(progress: float, cycles: int, until: float) -> float:
    """From 0 to 1 over the first `until` of each of `cycles` equal parts of a stage (Fu et al. 2019, Eq. 6); 1 at its end."""
    return 1.0 if progress >= 1 else ramp(progress * cycles % 1, until)


def geometric(start: float, end: float, progress: float) -> float:
    """From `start` to `end` by equal factors; by equal differences if one of them is 0."""
    if start == 0 or end == 0:
        return start + (end - start) * progress
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
    def update(self, network: nn.Module, clock: Clock, every: int = 1) -> None:
        """Moves the average towards `network` after a step; `every` is the number of steps between two such calls."""
        half_life = min(self.half_life_cap, 0.05 * (clock.seen + clock.batch_size))
        weight = 1 - 0.5 ** (every * clock.batch_size / half_life)
        for averaged, current in zip(self.network.parameters(), network.parameters(), strict=True):
            averaged.lerp_(current, weight)
        # What batch normalisation has gathered is an average already; other buffers never change.
        for kept, current in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(current)
