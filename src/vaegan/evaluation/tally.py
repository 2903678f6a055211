"""What is recorded of images that pass by in blocks, and the numbers that are found from it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from vaegan.metrics.statistics import SHARDS, Grouped, Interval, Moments

MOST_RECORDED = 4_000
"""Images whose own features are recorded, for metrics of pairs: 16 M distances, 128 MB. They are the first ones: samples are
independent, and real images are in the order of their content hashes, so that it is a random choice that content decides."""


class Tally:
    """Collects blocks in any order, by their first image's position, in float64; tallies of parts merge into one of all."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        """Everything as tensors, for a file or another process. Those of one name add up, but rows follow each other."""

    @classmethod
    def of_states(cls, states: Iterable[dict[str, Tensor]]) -> Self:
        """The tally of all images from the `state` of each part."""
        tally = cls()
        for state in states:
            tally.merge(state)
        return tally

    def merge(self, state: dict[str, Tensor]) -> None:
        """Adds what another tally collected from other images."""
        for name, tensor in state.items():
            if name not in self.state:
                self.state[name] = tensor
            elif name.startswith("rows/"):
                self.state[name] = torch.cat([self.state[name], tensor])
            else:
                self.state[name] = self.state[name] + tensor

    def add(self, name: str, first: int, values: Tensor) -> None:
        """Adds values [image, ...] of the images from position `first` on."""
        sums = Grouped.of(values, first)
        self.merge({f"sums/{name}/count": sums.count, f"sums/{name}/total": sums.total})

    def add_moments(self, name: str, first: int, features: Tensor, shards: int = SHARDS) -> None:
        """Adds features [image, dimension]; an image's shard is its position modulo their number."""
        shard = torch.arange(first, first + len(features)) % shards
        parts = [Moments.of(features[shard == index]) for index in range(shards)]
        for sums in ("count", "total", "outer"):
            self.merge({f"moments/{name}/{sums}": torch.stack([torch.as_tensor(getattr(part, sums)) for part in parts])})

    def record(self, name: str, places: Tensor, rows: Tensor) -> None:
        """Records rows, each with its place among all."""
        if len(rows):
            self.merge({f"rows/{name}/places": places.clone(), f"rows/{name}/rows": rows.detach().cpu().clone()})

    def record_first(self, name: str, first: int, rows: Tensor, most: int = MOST_RECORDED) -> None:
        """Records one row an image, of the first `most` of all images."""
        rows = rows[: max(0, most - first)]
        self.record(name, torch.arange(first, first + len(rows)), rows)

    def sums(self, name: str) -> Grouped:
        """Sums of the values of that name."""
        return Grouped(self.state[f"sums/{name}/count"], self.state[f"sums/{name}/total"])

    def moments(self, name: str) -> list[Moments]:
        """Moments of the features of that name, in shards."""
        columns = (self.state[f"moments/{name}/{column}"] for column in ("count", "total", "outer"))
        return [Moments(int(count), *sums) for count, *sums in zip(*columns, strict=True)]

    def rows(self, name: str) -> Tensor:
        """The rows of that name, by their place."""
        return self.state[f"rows/{name}/rows"][self.state[f"rows/{name}/places"].argsort()]


@dataclass(frozen=True)
class Share:
    """Which blocks are this process's own, and the way to what the other processes found; one process has all of them."""

    rank: int = 0
    world_size: int = 1
    gather: Callable[[Any], list[Any]] = lambda value: [value]  # A value of every process, in every process

    @property
    def blocks(self) -> tuple[int, int]:
        """(r, w): every w-th block from the r-th on."""
        return self.rank, self.world_size

    def merged(self, mine: Tally) -> Tally:
        """The tally of all processes' blocks, in every process."""
        return mine if self.world_size == 1 else Tally.of_states(self.gather(mine.state))


@dataclass(frozen=True)
class Number:
    """One metric's value."""

    value: float
    interval: Interval | str  # 95 %, or why there is none; docs/evaluation.md says how each is made
    n: int  # images it was computed from: samples, or held-out images where only those are used
    features: str | None = None  # the feature network or space, where there is one
    against: int | None = None  # held-out images that samples were compared with, where there are such
    chance: float | None = None  # what it would be if nothing were to be found, where that is not plain

    def as_json(self) -> dict[str, Any]:
        """What evaluation.json holds of it."""
        found: dict[str, Any] = {"value": self.value, "interval": None, "n": self.n, "features": self.features}
        found |= {name: more for name in ("against", "chance") if (more := getattr(self, name)) is not None}
        return found | ({"no_interval": self.interval} if isinstance(self.interval, str) else {"interval": list(self.interval)})


@dataclass
class Findings:
    """Numbers of one set of images; names are those of metrics/table.py."""

    numbers: dict[str, Number] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    most: int | None = None
    """Images of a kind that were taken at most: -n. So many are few because of it, and not because there are no more."""

    def add(
        self,
        name: str,
        value: float,
        interval: Interval | str | None,
        n: int,
        features: str | None = None,
        against: int | None = None,
        chance: float | None = None,
    ) -> None:
        """Adds a `Number`; `interval` may be the reason why there is none."""
        self.numbers[name] = Number(value, interval or "no replicates were drawn", n, features, against, chance)

    def lacks(self, names: str | tuple[str, ...], needed: int, there: int, what: str = "held-out images") -> bool:
        """Whether there are too few images for these metrics; if so, says so in `left_out`."""
        if there >= needed:
            return False
        few = f"-n takes only {there}" if there == self.most else f"there are {there}"
        self.leave_out((names,) if isinstance(names, str) else names, f"needs {needed} {what}, and {few}")
        return True

    def leave_out(self, names: tuple[str, ...], reason: str) -> None:
        """Says why there are no numbers of these names."""
        self.left_out |= dict.fromkeys(names, reason)

    def as_json(self) -> dict[str, Any]:
        """What evaluation.json holds of the numbers."""
        return {name: number.as_json() for name, number in self.numbers.items()}
