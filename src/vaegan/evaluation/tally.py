"""What is kept of images that pass by in blocks: exact sums over all of them, and some rows of a bounded number of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from vaegan.metrics.statistics import SHARDS, Grouped, Moments

KEPT = 4_000
"""Images whose own features are kept, for what is asked of pairs: 16 M distances, 128 MB. They are the first ones: samples are
independent, and real images are in the order of their content hashes, so that it is a random choice that content decides."""


class Tally:
    """Collects block by block, in any order and in any number of processes; tallies of parts merge into that of the whole.

    Blocks come with the position of their first image. Sums are float64; the order of merging changes their rounding alone.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self._sums: dict[str, Grouped] = {}
        self._moments: dict[str, list[Moments]] = {}
        self._rows: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def add(self, name: str, first: int, values: Tensor) -> None:
        """Adds values [image, ...] of the images from position `first` on."""
        self._add(name, Grouped.of(values, first))

    def add_moments(self, name: str, first: int, features: Tensor, shards: int = SHARDS) -> None:
        """Adds features [image, dimension]; an image's shard is its position modulo their number."""
        shard = torch.arange(first, first + len(features)) % shards
        self._add_moments(name, [Moments.of(features[shard == index]) for index in range(shards)])

    def keep(self, name: str, places: Tensor, rows: Tensor) -> None:
        """Keeps rows, each with its place in the whole."""
        if len(rows):
            self._rows.setdefault(name, []).append((places, rows.detach().cpu()))

    def keep_first(self, name: str, first: int, rows: Tensor, most: int = KEPT) -> None:
        """Keeps one row an image, of the first `most` images of the whole."""
        rows = rows[: max(0, most - first)]
        self.keep(name, torch.arange(first, first + len(rows)), rows)

    def merge(self, other: Self) -> None:
        """Adds what another tally collected from other images."""
        for name, sums in other._sums.items():
            self._add(name, sums)
        for name, moments in other._moments.items():
            self._add_moments(name, moments)
        for name, rows in other._rows.items():
            self._rows.setdefault(name, []).extend(rows)

    def has_rows(self, name: str) -> bool:
        """Whether rows of this name were kept."""
        return name in self._rows

    def sums(self, name: str) -> Grouped:
        """Of the values of that name."""
        return self._sums[name]

    def moments(self, name: str) -> list[Moments]:
        """Of the features of that name, in shards."""
        return self._moments[name]

    def rows(self, name: str) -> Tensor:
        """The rows of that name, by their place."""
        places, rows = (torch.cat(column) for column in zip(*self._rows[name], strict=True))
        return rows[places.argsort()]

    def state(self) -> dict[str, Tensor]:
        """Everything as tensors, for a file or another process."""
        found: dict[str, Tensor] = {}
        for name, sums in self._sums.items():
            found |= {f"sums/{name}/count": sums.count, f"sums/{name}/total": sums.total}
        for name, shards in self._moments.items():
            count = torch.tensor([shard.count for shard in shards])
            total, outer = (torch.stack([getattr(shard, part) for shard in shards]) for part in ("total", "outer"))
            found |= {f"moments/{name}/count": count, f"moments/{name}/total": total, f"moments/{name}/outer": outer}
        for name, parts in self._rows.items():
            places, rows = (torch.cat(column).contiguous() for column in zip(*parts, strict=True))
            found |= {f"rows/{name}/places": places, f"rows/{name}/rows": rows}
        return found

    @classmethod
    def of_states(cls, states: Iterable[dict[str, Tensor]]) -> Self:
        """The whole of what `state` gave of each part.

        Raises:
            KeyError: if something is missing.
        """
        whole = cls()
        for state in states:
            part = cls()
            for kind, name in sorted({(key.split("/")[0], key.split("/")[1]) for key in state}):
                if kind == "sums":
                    part._sums[name] = Grouped(state[f"sums/{name}/count"], state[f"sums/{name}/total"])
                elif kind == "rows":
                    part._rows[name] = [(state[f"rows/{name}/places"], state[f"rows/{name}/rows"])]
                else:
                    columns = (state[f"moments/{name}/{column}"] for column in ("count", "total", "outer"))
                    part._moments[name] = [Moments(int(count), *sums) for count, *sums in zip(*columns, strict=True)]
            whole.merge(part)
        return whole

    def _add(self, name: str, more: Grouped) -> None:
        self._sums[name] = self._sums[name].merge(more) if name in self._sums else more

    def _add_moments(self, name: str, more: list[Moments]) -> None:
        there = self._moments.get(name)
        self._moments[name] = more if there is None else [one.merge(two) for one, two in zip(there, more, strict=True)]


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

    def whole(self, mine: Tally) -> Tally:
        """The tally of all processes' blocks, in every process."""
        return mine if self.world_size == 1 else Tally.of_states(self.gather(mine.state()))
