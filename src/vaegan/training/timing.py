"""From minutes to images: what steps, pictures and validations take, and where a stage therefore ends."""

import math
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

SHOT_SHARES = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.14, 0.18, 0.22, 0.26, 0.3, *(k / 20 for k in range(7, 21)))
VALIDATIONS = 10  # a stage, the last one at its end; more of them where patience is counted in passes
CHECKS = 10  # times that a stage is asked whether it will end in time
LATE = 0.1  # share by which a stage may be late before something is done or said; a speed of five seconds is hardly known better


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


@dataclass
class Stopwatch:
    """Speed of the steps alone, after warm-up."""

    seconds: float = 0.0
    images: int = 0
    ignored: int = 0
    _began: float = field(default_factory=time.perf_counter)

    WARM_STEPS = 8
    MEASURED_SECONDS = 5.0

    def start(self) -> None:
        """Before a step."""
        self._began = time.perf_counter()

    def stop(self, images: int) -> None:
        """After a step of `images`; the first steps do not count."""
        if self.ignored < self.WARM_STEPS:
            self.ignored += 1
            return
        self.seconds += time.perf_counter() - self._began
        self.images += images

    @property
    def speed(self) -> float:
        """[images/s]."""
        return self.images / self.seconds if self.seconds > 0 else 0.0


class Timetable:
    """How many images a stage will see, and after which of them something is due."""

    def __init__(self, limits: Limits, batch_size: int, seen: int) -> None:
        self.limits, self.batch_size, self.began_at = limits, batch_size, seen
        self.total = limits.images
        """Images of the stage; None while the speed is being measured."""
        self.schedule = (limits.schedule_start, limits.schedule_end)
        """Where its schedules start and end [images]."""
        self.watch = Stopwatch()
        self.shot_seconds = self.validation_seconds = 0.0
        self._began = time.perf_counter()
        self._shots = _points(seen, self.total or 0)

    @property
    def seconds(self) -> float:
        """Since this session of the stage began."""
        return time.perf_counter() - self._began

    @property
    def is_measured(self) -> bool:
        """Whether seconds can become images: the speed is known, or half of the time is gone."""
        return self.watch.seconds >= Stopwatch.MEASURED_SECONDS or self.seconds > 0.5 * self._allowed(math.inf)

    def speed(self, seen: int) -> float:
        """Speed of the steps [images/s]; of everything that was done, where too few steps were measured."""
        return self.watch.speed or (seen - self.began_at) / self.seconds

    def due(self, seen: int) -> int:
        """Where the stage ends in time, with the pictures and validations until there; one step more at least [images]."""
        speed = self.speed(seen)
        left = self._allowed(speed) - self.seconds
        ends = range(seen + self.batch_size, seen + whole_batches(speed * left, self.batch_size) + 1, self.batch_size)
        return ends[max(1, bisect_right(ends, left, key=lambda end: self._takes(seen, end, speed))) - 1]

    def brought_forward(self, seen: int) -> int | None:
        """Where the stage should end instead, for it would be late; None where it would not [images].

        At most half of the rest is given up at a time: what makes it slow may pass.
        """
        if self.total is None or not self.watch.speed:
            return None
        due = self.due(seen)
        if self.total - due <= LATE * (self.total - self.began_at):
            return None
        return max(due, seen + whole_batches((self.total - seen) / 2, self.batch_size))

    def seconds_left(self, seen: int) -> float | None:
        """Seconds until the stage ends, with its pictures and validations; None while the speed is being measured."""
        if self.total is None or not self.watch.speed:
            return None
        return self._takes(seen, self.total, self.watch.speed)

    def settle(self, images: int, schedule: tuple[int, int | None], seen: int) -> None:
        """Ends the stage after `images`, and its schedules with it."""
        self.total, self.schedule = images, schedule
        self._shots = _points(seen, images)

    def validates(self, seen: int) -> bool:
        """Whether the step that led to `seen` is one to validate after."""
        return self.total is not None and _crossed(seen, self.batch_size, self.total, self._validations(self.total))

    def asks(self, seen: int) -> bool:
        """Whether the step that led to `seen` is one to ask after whether the stage will be late."""
        if self.limits.seconds is None or self.total is None:
            return False
        return _crossed(seen - self.began_at, self.batch_size, self.total - self.began_at, CHECKS)

    def draws(self, seen: int) -> bool:
        """Whether a picture is due; asked once a step."""
        if not self._shots or seen < self._shots[0]:
            return False
        self._shots = [point for point in self._shots if point > seen]
        return True

    def _takes(self, seen: int, end: int, speed: float) -> float:
        validations = (parts := self._validations(end)) - seen * parts // end
        return (end - seen) / speed + len(_points(seen, end)) * self.shot_seconds + validations * self.validation_seconds

    def _validations(self, total: int) -> int:
        every = self.limits.validate_every
        return VALIDATIONS if every is None else max(VALIDATIONS, -(-total // every))

    def _allowed(self, speed: float) -> float:
        return 0.0 if self.limits.seconds is None else self.limits.seconds(speed)


def whole_batches(images: float, batch_size: int) -> int:
    """At least one batch, and a whole number of them [images]."""
    return max(1, round(images / batch_size)) * batch_size


def timed(call: Callable[[], object]) -> float:
    """How long a call takes [s]."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _points(seen: int, total: int) -> list[int]:
    return [point for share in SHOT_SHARES if (point := int(share * total)) > seen]


def _crossed(seen: int, batch_size: int, total: int, parts: int) -> bool:
    return seen * parts // total > (seen - batch_size) * parts // total
