"""The one training loop: batches in, steps taken, progress told, state kept. Knows no algorithm."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from vaegan.data import TrainingBatches
from vaegan.parts.schedule import Clock
from vaegan.recipes.recipe import Recipe
from vaegan.training.best import Best
from vaegan.training.engine import FabricEngine
from vaegan.training.health import Action, Health
from vaegan.training.journal import Journal, check_finite
from vaegan.training.means import Means
from vaegan.training.timing import Timetable, timed
from vaegan.types import Batch

WINDOW = 50  # steps averaged in one line of the journal, and looked at by the health checks
AGREE = 10  # steps between two times that several processes agree on stopping and saving


class End(NamedTuple):
    """How far a training came."""

    seen: int
    """[images]"""
    reason: str | None
    """Why the stage is over, in words; None when it was interrupted."""


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
    """Seconds until this stage ends; None while the speed is being measured."""
    scalars: dict[str, float]
    """Means of the last window, and the last validation."""


@dataclass
class Hooks:
    """What the loop calls and the session provides."""

    progress: Callable[[Progress], None]
    draw: Callable[[int], None]
    """Draws the fixed latents and held-out images."""
    save: Callable[[int], None]
    """Writes a checkpoint."""
    plan: Callable[[int, int, float], tuple[int, int | None]]
    """Told the number of images that the minutes became, the images seen until then, and the speed [images/s]; again where that
    takes longer than the minutes. Gives start and end of the schedules [images]."""
    stop: Callable[[], bool]
    """Asked before every step."""
    acted: Callable[[int, Action], None]
    """Told what a health check found and did."""


@dataclass(kw_only=True)
class Training:
    """One stage under way: what is trained, on what, who looks at it, and until when."""

    recipe: Recipe
    batches: TrainingBatches
    heldout: Batch
    engine: FabricEngine
    means: Means
    journal: Journal
    health: Health
    best: Best
    hooks: Hooks
    timetable: Timetable
    seen: int
    """Images seen so far; more than 0 when resumed."""
    scalars: dict[str, float] = field(default_factory=dict)
    """Means of the last window, and the last validation."""

    def run(self) -> End:
        """Trains until the planned number of images, until patience or a health check ends it, or until told to stop."""
        began_at = self.seen
        self._saved_at = self._told_at = time.perf_counter()
        self.timetable.shot_seconds = timed(lambda: self.hooks.draw(self.seen))
        self.health.begin(self.seen)
        while not self._is_over:
            if self._at_agreed_step and self.engine.any(self.hooks.stop()):
                self._check(self.means.read())  # before the last good checkpoint is written over
                self.hooks.save(self.seen)
                return End(self.seen, None)
            self._save_in_time(began_at)
            progress = self._step()
            self._settle_images()
            actions = (self._window(progress), self._validate(progress))
            for action in filter(None, actions):
                self._note(action)
            if self.timetable.draws(self.seen) and self._check(self.means.read()):
                self.hooks.draw(self.seen)
            self._bring_forward()
            self._tell()
        self.hooks.save(self.seen)
        return End(self.seen, self._reason())

    @property
    def _is_over(self) -> bool:
        seen_all = self.timetable.total is not None and self.seen >= self.timetable.total
        return seen_all or self.health.has_stopped or self.best.is_stale

    @property
    def _at_agreed_step(self) -> bool:
        """Several processes agree on stopping and saving, which costs an exchange, only every few steps."""
        return self.engine.world_size == 1 or self.seen // self.batches.batch_size % AGREE == 0

    def _clock(self, seen: int) -> Clock:
        start, end = self.timetable.schedule
        return Clock(seen, end, self.batches.batch_size, start, self.health.slowdown)

    def _step(self) -> float:
        """Trains on one batch; the share of the stage at which it did."""
        clock, timetable = self._clock(self.seen), self.timetable
        timetable.watch.start()
        with self.engine.autocast():
            scalars = self.recipe.step(self.batches.at(self.seen).to(self.engine.device), clock)
        self.seen += clock.batch_size
        timetable.watch.stop(clock.batch_size)
        self.means.add(scalars)
        return clock.progress

    def _window(self, progress: float) -> Action | None:
        """At the end of a window its means are written down and looked at."""
        if self.seen // self.batches.batch_size % WINDOW and self.seen != self.timetable.total:
            return None
        means = self.means.take()
        self.journal.line(self.recipe.name, self.seen, self.timetable.seconds, means)
        self._check(means)
        self.scalars |= means
        return self.health.window(self.seen, progress, means)

    def _validate(self, progress: float) -> Action | None:
        """A validation is written down, looked at, and compared with those before."""
        if not self.timetable.validates(self.seen):
            return None
        began = time.perf_counter()
        # The first process's numbers are everybody's: rounding must not make them keep different models.
        values = self.engine.share(self._validation())
        self.timetable.validation_seconds = time.perf_counter() - began
        self.journal.line(self.recipe.name, self.seen, self.timetable.seconds, values)
        self.scalars |= values
        action = self.health.validated(self.seen, progress, values)
        is_last = self.seen == self.timetable.total  # which counts unless a check acts on it
        self.best.validated(
            self.seen, self._clock(self.seen).progress, values, self.health.is_good or (action is None and is_last)
        )
        return action

    def _validation(self) -> dict[str, float]:
        with self.engine.autocast():
            return {name: float(value) for name, value in self.recipe.validate(self.heldout).items()}

    def _note(self, action: Action) -> None:
        self.journal.line(self.recipe.name, self.seen, self.timetable.seconds, action._asdict())
        if action.action == "roll back":  # the numbers of steps that are undone
            self.means.forget()
            self.best.forget()
        self.hooks.acted(self.seen, action)

    def _check(self, means: dict[str, float]) -> bool:
        """Whether what was learned in the steps of these means may be kept; TrainingError if not, and no guard mends it."""
        if not self.health.acts:
            check_finite(means, self.recipe.name, self.seen)
        return all(map(math.isfinite, means.values()))

    def _save_in_time(self, began_at: int) -> None:
        late = self._at_agreed_step and self.engine.any(
            time.perf_counter() - self._saved_at > self.timetable.limits.checkpoint_seconds
        )
        if late and self.seen > began_at:
            if self._check(self.means.read()):
                self.hooks.save(self.seen)
            self._saved_at = time.perf_counter()

    def _settle_images(self) -> None:
        """Turns minutes into images as soon as the speed is known."""
        timetable = self.timetable
        if timetable.total is None and self.engine.any(timetable.is_measured):
            timetable.validation_seconds = timed(self._validation)
            self._end_after(self.engine.share(timetable.due(self.seen)))

    def _bring_forward(self) -> None:
        """Ends the stage sooner where it would be late."""
        if self.timetable.asks(self.seen):
            sooner = self.engine.share(self.timetable.brought_forward(self.seen))
            if sooner is not None:
                self._end_after(sooner)
                self._saved_at = -math.inf  # saved next, to go on from by these schedules

    def _end_after(self, images: int) -> None:
        self.timetable.settle(images, self.hooks.plan(images, self.seen, self.timetable.speed(self.seen)), self.seen)

    def _tell(self) -> None:
        timetable = self.timetable
        if time.perf_counter() - self._told_at > 0.25 or self.seen == timetable.total:
            self._told_at = time.perf_counter()
            left = timetable.seconds_left(self.seen)
            self.hooks.progress(
                Progress(self.recipe.name, self.seen, timetable.total, timetable.watch.speed, left, dict(self.scalars))
            )

    def _reason(self) -> str:
        total = self.timetable.total
        if total is not None and self.seen >= total:
            return f"the {total:,} images planned are seen"
        patience = f"patience ran out after {self.seen:,} images"
        return patience if self.best.is_stale else f"a guard stopped it after {self.seen:,} images"
