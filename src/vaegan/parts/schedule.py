"""Schedules as functions of the images seen: where a stage stands, learning rates, ramps."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Where a stage stands.

    Schedules run from `start` to `end` [images]. `end` is None until `--minutes` has been turned into a number, and they stand
    still until then. `start` may be negative after an extension (`RunRecord.with_images`).
    """

    seen: int
    end: int | None
    batch_size: int
    start: int = 0
    slowdown: float = 1.0
    """Divisor of every learning rate: training's health raises it after a roll-back."""

    @property
    def progress(self) -> float:
        """Share of the schedules that is done, 0 to 1."""
        if self.end is None or self.seen < self.start:
            return 0.0
        return min(1.0, (self.seen - self.start) / max(1, self.end - self.start))

    @property
    def step(self) -> int:
        """Batches seen before this one."""
        return self.seen // self.batch_size


def cosine(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def faded_in(progress: float, until: float, cycles: int = 1) -> float:
    """From 0 to 1 over the first `until` of each of `cycles` equal parts of a stage (Fu et al. 2019, Eq. 6); 1 at its end."""
    if progress >= 1 or until <= 0:
        return 1.0
    return min(1.0, progress * cycles % 1 / until)


def geometric(start: float, end: float, progress: float) -> float:
    """From `start` to `end` by equal factors; 0 if one of them is 0."""
    return start * (end / start) ** progress if start * end else 0.0
