"""The one training loop: batches in, steps taken, progress told, state kept. Knows no algorithm."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from vaegan.data import TrainingBatches
from vaegan.recipes.schedule import Clock
from vaegan.training.best import Best
from vaegan.training.engine import Engine
from vaegan.training.guards import Action
from vaegan.training.observers import Observers
from vaegan.training.timing import Limits, Timetable, timed
from vaegan.training.watching import Watched
from vaegan.types import Images, Labelled, Labels, Scalars

FLUSH_STEPS = 50  # steps averaged in one line of the journal
AGREE_STEPS = 10  # steps between two times that several processes agree on stopping and saving


class End(NamedTuple):
    """How far a training came."""

    seen: int
    """[images]"""
    reason: str | None
    """Why the stage is over, in words; None when it was interrupted."""


class TrainedByLoop(Watched, Protocol):
    """What the loop asks of a recipe."""

    @property
    def name(self) -> str:
        """Of the stage."""
        ...

    @property
    def warming_up(self) -> bool:
        """Whether the speed measured now says nothing about the speed to come."""
        ...

    def step(self, images: Images, clock: Clock, labels: Labels | None = None) -> Scalars:
        """One step."""
        ...

    def validate(self, images: Images, labels: Labels | None = None) -> Scalars:
        """Numbers on held-out images."""
        ...


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told, a few times a second."""

    stage: str
    seen: int
    """Images seen by this stage."""
    total: int | None
    """Images planned for this stage; None while the speed is being measured."""
    images_per_second: float
    seconds_left: float | None
    """Of this stage."""
    scalars: dict[str, float]
    """Means of the last flush."""


@dataclass
class Hooks:
    """What the loop calls and the session provides."""

    progress: Callable[[Progress], None]
    shot: Callable[[int], None]
    """Draws the fixed latents and held-out images."""
    save: Callable[[int], None]
    """Writes a checkpoint."""
    planned: Callable[[int, int, float], tuple[int, int | None]]
    """Told the number of images that the minutes became, the images seen until then, and the speed [images/s]; again where that
    takes longer than the minutes. Gives start and end of the schedules [images]."""
    stop: Callable[[], bool]
    """Asked before every step."""
    acted: Callable[[int, Action], None]
    """Told what a guard found and did."""


def run_stage(
    recipe: TrainedByLoop,
    batches: TrainingBatches,
    heldout: Labelled,
    engine: Engine,
    observers: Observers,
    hooks: Hooks,
    limits: Limits,
    seen: int,
) -> End:
    """Trains until the planned number of images, until patience runs out, or until told to stop.

    Args:
        recipe: what to train.
        batches: where images come from.
        heldout: for validation.
        engine: devices and processes.
        observers: take the scalars and the validations; the guards among them step in.
        hooks: called along the way.
        limits: when it is over.
        seen: images seen so far; more than 0 when resumed.

    Returns:
        Images seen, and why the stage is over.
    """
    batch_size, seen_before, timetable = batches.batch_size, seen, Timetable(limits, batches.batch_size, seen)
    last_save = last_told = time.perf_counter()
    means: dict[str, float] = {}
    checked: dict[str, float] = {}
    timetable.shot_seconds = timed(lambda: hooks.shot(seen))
    observers.watching.begin(seen)

    def end_after(images: int) -> None:
        timetable.settle(images, hooks.planned(images, seen, timetable.speed(seen)), seen)

    while (timetable.total is None or seen < timetable.total) and not observers.have_ended_it:
        # Several processes agree on stopping and saving, which costs an exchange, only every few steps.
        together = engine.world_size == 1 or seen // batch_size % AGREE_STEPS == 0
        if together and engine.any(hooks.stop()):
            observers.journal.flush(recipe.name, seen, timetable.seconds)
            hooks.save(seen)
            return End(seen, None)
        if together and engine.any(time.perf_counter() - last_save > limits.checkpoint_seconds) and seen > seen_before:
            if observers.worth_keeping(recipe.name, seen):
                hooks.save(seen)
            last_save = time.perf_counter()
        timetable.watch.start()
        with engine.autocast():
            clock = Clock(seen, timetable.schedule[1], batch_size, timetable.schedule[0])
            labels = batches.labels_at(seen)
            scalars = recipe.step(batches.at(seen).to(engine.device), clock, None if labels is None else labels.to(engine.device))
        seen += batch_size
        timetable.watch.stop(batch_size, recipe.warming_up)
        observers.add(scalars)
        actions: list[Action | None] = []

        if timetable.total is None and engine.any(timetable.is_measured):
            timetable.validation_seconds = timed(lambda: _validated(recipe, heldout, engine))
            end_after(engine.share(timetable.due(seen)))
        seconds = timetable.seconds
        if seen // batch_size % FLUSH_STEPS == 0 or seen == timetable.total:
            means = observers.journal.flush(recipe.name, seen, seconds, strict=not observers.watching.acts) or means
            actions.append(observers.watching.window(seen, clock.progress))
        if timetable.validates(seen):
            # The first process's numbers are everybody's: rounding must not make them keep different models.
            began = time.perf_counter()
            checked = engine.share(_validated(recipe, heldout, engine))
            timetable.validation_seconds = time.perf_counter() - began
            actions.append(observers.validated(recipe.name, clock, seen, seconds, checked, last=seen == timetable.total))
        for action in filter(None, actions):
            observers.acted(recipe.name, seen, seconds, action)
            hooks.acted(seen, action)
        if timetable.draws(seen) and observers.worth_keeping(recipe.name, seen):
            hooks.shot(seen)
        if timetable.asks(seen) and (sooner := engine.share(timetable.brought_forward(seen))) is not None:
            end_after(sooner)
            last_save = -math.inf  # saved next, to go on from by these schedules
        if time.perf_counter() - last_told > 0.25 or seen == timetable.total:
            last_told = time.perf_counter()
            hooks.progress(_progress(recipe.name, seen, timetable, means | checked))
    hooks.save(seen)
    return End(seen, _reason(seen, timetable.total, observers.best))


def _validated(recipe: TrainedByLoop, heldout: Labelled, engine: Engine) -> dict[str, float]:
    with engine.autocast():
        return {name: float(value) for name, value in recipe.validate(*heldout).items()}


def _reason(seen: int, total: int | None, best: Best) -> str:
    if total is not None and seen >= total:
        return f"the {total:,} images planned are seen"
    return f"patience ran out after {seen:,} images" if best.is_stale else f"a guard stopped it after {seen:,} images"


def _progress(stage: str, seen: int, timetable: Timetable, scalars: dict[str, float]) -> Progress:
    return Progress(stage, seen, timetable.total, timetable.watch.speed, timetable.seconds_left(seen), scalars)
