"""The one training loop: batches in, steps taken, progress told, state kept. Knows no algorithm."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from vaegan.data import TrainingBatches
from vaegan.recipes.schedule import Clock
from vaegan.training.best import Best
from vaegan.training.engine import Engine
from vaegan.training.guards import Action
from vaegan.training.observers import Observers
from vaegan.training.watching import Watched
from vaegan.types import Images, Labelled, Labels, Scalars

FLUSH_STEPS = 50  # steps averaged in one line of the journal
SHOT_SHARES = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.14, 0.18, 0.22, 0.26, 0.3, *(k / 20 for k in range(7, 21)))
VALIDATIONS = 10  # a stage, the last one at its end; more of them where patience is counted in passes
CHECKS = 10  # times that a stage is asked whether it will end in time
AGREE_STEPS = 10  # steps between two times that several processes agree on stopping and saving
LATE = 0.1  # share of its images by which a stage may be late before its end is brought forward


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


@dataclass
class Stopwatch:
    """Speed of the steps alone, after warm-up; turns seconds into images."""

    seconds: float = 0.0
    images: int = 0
    ignored: int = 0
    _began: float = field(default_factory=time.perf_counter)

    WARM_STEPS = 8
    MEASURED_SECONDS = 5.0

    def start(self) -> None:
        """Before a step."""
        self._began = time.perf_counter()

    def stop(self, images: int, warming_up: bool) -> None:
        """After a step of `images`; the first steps and those of another kind do not count."""
        if warming_up or self.ignored < self.WARM_STEPS:
            self.ignored += 0 if warming_up else 1
            return
        self.seconds += time.perf_counter() - self._began
        self.images += images

    @property
    def is_settled(self) -> bool:
        """Whether enough was measured."""
        return self.seconds >= self.MEASURED_SECONDS

    @property
    def speed(self) -> float:
        """[images/s]."""
        return self.images / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Limits:
    """How long a stage may take: a number of images, or seconds that become one."""

    images: int | None
    seconds: Callable[[float], float] | None
    """What is left of the time for a stage that sees so many images a second; None where its images are settled."""
    schedule_start: int = 0
    schedule_end: int | None = None
    checkpoint_seconds: float = 60.0
    validate_every: int | None = None
    """Images between validations at most; None is a tenth of the stage."""


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
    batch_size, total, watch, seen_before = batches.batch_size, limits.images, Stopwatch(), seen
    schedule = (limits.schedule_start, limits.schedule_end)
    began = last_save = last_told = time.perf_counter()
    means: dict[str, float] = {}
    checked: dict[str, float] = {}
    shots, validation_seconds = _shot_points(seen, total), 0.0
    shot_seconds = _timed(lambda: hooks.shot(seen))
    observers.watching.begin(seen)

    while (total is None or seen < total) and not observers.have_ended_it:
        # Several processes agree on stopping and saving, which costs an exchange, only every few steps.
        together = engine.world_size == 1 or seen // batch_size % AGREE_STEPS == 0
        if together and engine.any(hooks.stop()):
            observers.journal.flush(recipe.name, seen, time.perf_counter() - began)
            hooks.save(seen)
            return End(seen, None)
        if together and engine.any(time.perf_counter() - last_save > limits.checkpoint_seconds) and seen > seen_before:
            if observers.worth_keeping(recipe.name, seen):
                hooks.save(seen)
            last_save = time.perf_counter()
        watch.start()
        with engine.autocast():
            clock = Clock(seen, schedule[1], batch_size, schedule[0])
            labels = batches.labels_at(seen)
            scalars = recipe.step(batches.at(seen).to(engine.device), clock, None if labels is None else labels.to(engine.device))
        seen += batch_size
        watch.stop(batch_size, recipe.warming_up)
        observers.add(scalars)
        actions: list[Action | None] = []

        now = time.perf_counter()
        if total is None and engine.any(watch.is_settled or now - began > 0.5 * _seconds(limits, math.inf)):
            speed = float(engine.share(watch.speed or (seen - seen_before) / (now - began)))
            validation_seconds = _timed(lambda: _validated(recipe, heldout, engine))
            breaks = len(SHOT_SHARES) * shot_seconds + VALIDATIONS * validation_seconds
            due = _due(speed, seen, time.perf_counter() - began + breaks, limits, batch_size)
            total = engine.share(due or seen + batch_size)
            schedule, shots = hooks.planned(total, seen, speed), _shot_points(seen, total)
        if seen // batch_size % FLUSH_STEPS == 0 or seen == total:
            means = observers.journal.flush(recipe.name, seen, now - began, strict=not observers.watching.acts) or means
            actions.append(observers.watching.window(seen, clock.progress))
        if total is not None and _crossed(seen, batch_size, total, _validations(total, limits)):
            # The first process's numbers are everybody's: rounding must not make them keep different models.
            checked = engine.share(_validated(recipe, heldout, engine))
            actions.append(observers.validated(recipe.name, clock, seen, now - began, checked, last=seen == total))
        for action in filter(None, actions):
            observers.acted(recipe.name, seen, now - began, action)
            hooks.acted(seen, action)
        if shots and seen >= shots[0]:
            if observers.worth_keeping(recipe.name, seen):
                hooks.shot(seen)
            shots = [point for point in shots if point > seen]
        if (
            limits.seconds is not None
            and total is not None
            and _crossed(seen - seen_before, batch_size, total - seen_before, CHECKS)
        ):
            breaks = len(shots) * shot_seconds + _validations_after(seen, total, limits) * validation_seconds
            due = engine.share(_due(watch.speed, seen, time.perf_counter() - began + breaks, limits, batch_size))
            if due is not None and total - due > LATE * (total - seen_before):
                # Half of the rest at a time: what makes it slow may pass. Saved next, to go on from by these schedules.
                total = max(due, seen + whole_batches((total - seen) / 2, batch_size))
                schedule, shots, last_save = hooks.planned(total, seen, watch.speed), _shot_points(seen, total), -math.inf
        if now - last_told > 0.25 or seen == total:
            last_told = now
            hooks.progress(_progress(recipe.name, seen, total, watch, means | checked))
    hooks.save(seen)
    return End(seen, _reason(seen, total, observers.best))


def _seconds(limits: Limits, speed: float) -> float:
    return 0.0 if limits.seconds is None else limits.seconds(speed)


def _due(speed: float, seen: int, used: float, limits: Limits, batch_size: int) -> int | None:
    """Where a stage ends in time at `speed`, if `used` [s] are gone or spoken for; None without a time or a speed [images]."""
    if limits.seconds is None or speed == 0:
        return None
    return seen + whole_batches(speed * (limits.seconds(speed) - used), batch_size)


def whole_batches(images: float, batch_size: int) -> int:
    """At least one batch, and a whole number of them [images]."""
    return max(1, round(images / batch_size)) * batch_size


def _validations(total: int, limits: Limits) -> int:
    return VALIDATIONS if limits.validate_every is None else max(VALIDATIONS, -(-total // limits.validate_every))


def _validations_after(seen: int, total: int, limits: Limits) -> int:
    parts = _validations(total, limits)
    return parts - seen * parts // total


def _validated(recipe: TrainedByLoop, heldout: Labelled, engine: Engine) -> dict[str, float]:
    with engine.autocast():
        return {name: float(value) for name, value in recipe.validate(*heldout).items()}


def _reason(seen: int, total: int | None, best: Best) -> str:
    if total is not None and seen >= total:
        return f"the {total:,} images planned are seen"
    return f"patience ran out after {seen:,} images" if best.is_stale else f"a guard stopped it after {seen:,} images"


def _progress(stage: str, seen: int, total: int | None, watch: Stopwatch, means: dict[str, float]) -> Progress:
    left = (total - seen) / watch.speed if total is not None and watch.speed else None
    return Progress(stage, seen, total, watch.speed, left, means)


def _shot_points(seen: int, total: int | None) -> list[int]:
    return [point for share in SHOT_SHARES if (point := int(share * total)) > seen] if total else []


def _crossed(seen: int, batch_size: int, total: int, parts: int) -> bool:
    return seen * parts // total > (seen - batch_size) * parts // total


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
