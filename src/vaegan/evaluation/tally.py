"""What is recorded of images that pass by in blocks: exact sums over all of them, and some rows of a bounded number of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from vaegan.metrics.statistics import SHARDS, Grouped, Moments

MOST_RECORDED = 4_000
"""Images whose own features are recorded, for metrics of pairs: 16 M distances, 128 MB. They are the first ones: samples are
independent, and real images are in the order of their content hashes, so that it is a random choice that content decides."""


class Tally:
    """Collects block by block, in any order and in any number of processes; tallies of parts merge into that of all images.

    Blocks come with the position of their first image. Sums are float64.
    """

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
        self.merge({f"moments/{name}/count": torch.tensor([part.count for part in parts])})
        self.merge(
            {f"moments/{name}/{sums}": torch.stack([getattr(part, sums) for part in parts]) for sums in ("total", "outer")}
        )

    def record(self, name: str, places: Tensor, rows: Tensor) -> None:
        """Records rows, each with its place among all."""
        if len(rows):
            self.merge({f"rows/{name}/places": places.clone(), f"rows/{name}/rows": rows.detach().cpu().clone()})

    def record_first(self, name: str, first: int, rows: Tensor, most: int = MOST_RECORDED) -> None:
        """Records one row an image, of the first `most` of all images."""
        rows = rows[: max(0, most - first)]
        self.record(name, torch.arange(first, first + len(rows)), rows)

    def has_rows(self, name: str) -> bool:
        """Whether rows of this name were recorded."""
        return f"rows/{name}/rows" in self.state

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
    gather: Callable[[Any], list[Any]] = lambda value: [value]
    """A value of every process, in every process."""

    @property
    def blocks(self) -> tuple[int, int]:
        """(r, w): every w-th block from the r-th on."""
        return self.rank, self.world_size

    def merged(self, mine: Tally) -> Tally:
        """The tally of all processes' blocks, in every process."""
        return mine if self.world_size == 1 else Tally.of_states(self.gather(mine.state))
