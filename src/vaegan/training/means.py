"""Means of scalars over steps: added up on the device without waiting for it, read when a window ends."""

from typing import Any

import torch
from torch import Tensor

from vaegan.training.engine import FabricEngine
from vaegan.types import Scalars


class Means:
    """Sums in single precision, whatever the networks run in; not every step has every scalar."""

    def __init__(self, engine: FabricEngine) -> None:
        self._engine = engine
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, scalars: Scalars) -> None:
        """Adds one step's scalars."""
        for name, value in scalars.items():
            before = self.sums.get(name)
            self.sums[name] = value.float() if before is None else before + value.float()
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """The means over the steps since the last `forget` and over all processes, which all have to ask."""
        if not self.sums:
            return {}
        own = torch.stack([total / self.counts[name] for name, total in self.sums.items()])
        return dict(zip(self.sums, self._engine.mean(own).tolist(), strict=True))

    def take(self) -> dict[str, float]:
        """`read`, and then `forget`."""
        means = self.read()
        self.forget()
        return means

    def forget(self) -> None:
        """Begins anew."""
        self.sums, self.counts = {}, {}

    def state(self) -> dict[str, Any]:
        """The sums of the unfinished window, so that a resumed run sees what an uninterrupted one would have seen."""
        return {"sums": self.sums, "counts": self.counts}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave."""
        self.sums = {name: total.to(self._engine.device) for name, total in state["sums"].items()}
        self.counts = dict(state["counts"])
