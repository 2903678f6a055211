"""Training without networks: a recipe that counts, whose scores are a script, and the loop around it."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines import OneProcess
from vaegan.recipes.recipe import Deciding, Recipe, Trained
from vaegan.training.best import Best
from vaegan.training.health import Check, Health
from vaegan.training.journal import Journal
from vaegan.training.loop import Hooks, Training
from vaegan.training.means import Means
from vaegan.training.timing import Limits, Timetable
from vaegan.types import Batch

BATCH = 4


class Batches:
    """Images that nobody looks at."""

    batch_size = BATCH

    def at(self, seen: int) -> Batch:
        return Batch(torch.zeros(BATCH, 1, 1, 1))


class Counter(Recipe):
    """Its only weight is the number of images that it has seen."""

    name = "ae"
    weight: Tensor

    def __init__(self, script: Callable[[int], float] = float, since: float = 0.0, broken_at: int = -1) -> None:
        super().__init__()
        self.script, self.broken_at, self.deciding = script, broken_at, Deciding("heldout_error", 10, since)
        self.extra: dict[str, float] = {}
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

    def step(self, batch: Batch, clock: Any) -> dict[str, Tensor]:
        self.weight.fill_(clock.seen + BATCH)
        return {"loss": torch.tensor(math.nan if clock.seen == self.broken_at else 1.0 + clock.seen / 1000)}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        scalars = {"heldout_error": self.script(int(self.weight))} | self.extra
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in scalars.items()}

    def trained(self) -> Trained:
        return Trained(nn.Identity())  # pyright: ignore[reportArgumentType]


def valley(at: int) -> Callable[[int], float]:
    """Scores that fall until `at` images and rise from there."""
    return lambda seen: 1 + abs(seen - at)


def nothing(*given: Any) -> None:
    """A hook that does nothing."""


def health_of(
    recipe: Recipe, checks: Mapping[str, Check] | None = None, mode: Any = "act", engine: Any = None, **options: Any
) -> Health:
    """Health of a recipe on one process."""
    return Health(mode, checks or {}, recipe, engine or OneProcess(), **options)


def training_of(
    recipe: Recipe,
    folder: Path,
    total: int | None = 400,
    *,
    health: Health | None = None,
    patience: int = 0,
    images: int = 50,
    seen: int = 0,
    engine: Any = None,
    limits: Limits | None = None,
    **hooks: Any,
) -> Training:
    """One stage in the loop, with as many images held out as `images`."""
    engine = engine or OneProcess()
    limits = limits or Limits(total, None, 0, total, validate_every=40 if patience else None)
    chosen: dict[str, Any] = {name: nothing for name in ("progress", "draw", "save", "plan", "acted")}
    batches: Any = Batches()
    return Training(
        recipe=recipe,
        batches=batches,
        heldout=Batch(torch.zeros(1, 1, 1, 1)),
        engine=engine,
        means=Means(engine),
        journal=Journal(folder / "metrics.jsonl", engine, seen),
        health=health or health_of(recipe, mode="off"),
        best=Best(recipe, images, patience),
        hooks=Hooks(**(chosen | {"stop": lambda: False} | hooks)),
        timetable=Timetable(limits, BATCH, seen),
        seen=seen,
    )
