"""What a study is: arms that are trained or computed side by side, what is measured on each, and the story told from it."""

import re
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vaegan.config import TrainConfig
from vaegan.data import ImageDataset
from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.training.run import RunFolder

Numbers = dict[str, Any]
"""Named measurements that fit into JSON."""


@dataclass(frozen=True)
class Setting:
    """What a study is about to be made from."""

    dataset: ImageDataset
    base: TrainConfig
    """Settings that all arms share; an arm replaces what it is about."""
    folder: Path
    """Of the study; arms may prepare data in it."""

    def labels(self) -> str:
        """The name of the label that has a word for every image.

        Raises:
            RequestError: if these images came without classes.
        """
        for name, words in self.dataset.label_words.items():
            if 2 <= len(words) <= 100:
                return name
        raise RequestError(f"{self.dataset.source} has no classes (sub-folders, IDX labels); this study needs labelled images.")


@dataclass(frozen=True)
class Work:
    """What a computed arm is given."""

    setting: Setting
    seed: int
    images: int
    """Its part of the budget, as the number of images that a VAE would be shown in that time."""
    folder: Path
    """Where it may leave pictures."""
    tick: Callable[[float], None]
    """To be called often with the share that is done; raises when the user stops the study."""


@dataclass(frozen=True)
class Look:
    """What a measure is given: one trained arm at one point of its training."""

    setting: Setting
    arm: "TrainedArm"
    seed: int
    run: RunFolder
    model: Model
    dataset: ImageDataset
    """What the arm was trained on; the study's own unless the arm prepared others."""
    folder: Path
    """Where it may leave pictures."""
    is_last: bool
    """Whether the arm is fully trained."""
    tick: Callable[[float], None]
    """As for `Work`."""


@dataclass(frozen=True)
class ComputedArm:
    """An arm that trains no run: a toy whose answer is known."""

    label: str
    compute: Callable[[Work], Numbers]
    images: float = 0.0
    """Its part of the budget relative to the other arms'."""


@dataclass(frozen=True)
class TrainedArm:
    """An arm that is an ordinary run."""

    label: str
    config: TrainConfig
    images: float = 1.0
    """Images it sees relative to the other arms."""
    start: str | None = None
    """Label of an earlier arm whose model is the start."""
    points: int = 1
    """How often it is measured: after equal parts of its images, the last time when it is finished."""
    data: Path | None = None
    """Other images than the study's, prepared in its folder."""


Arm = TrainedArm | ComputedArm


@dataclass(frozen=True)
class Result:
    """What one arm with one seed gave."""

    label: str
    seed: int
    images: int
    """Planned."""
    seconds: float
    measurements: tuple[Numbers, ...]
    """One a point; of a trained arm each holds the images seen. None where training broke down."""
    failed: str | None = None
    """Why there are no measurements."""

    @property
    def last(self) -> Numbers:
        """The measurement of the finished arm."""
        return self.measurements[-1]


@dataclass(frozen=True)
class Picture:
    """A file in the study's folder and what is to be seen on it."""

    name: str
    caption: str


@dataclass
class Story:
    """What the report says: computed from the numbers, never written beforehand."""

    sentences: list[str] = field(default_factory=list[str])
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Of the table: name of a measurement to its heading with the unit."""
    pictures: list[Picture] = field(default_factory=list[Picture])
    answer: dict[str, Any] = field(default_factory=dict[str, Any])
    """The study's answer for a program."""


class NoNumbers(Exception):
    """An arm that a story asks about was not measured with any seed: its training broke down. A computed arm always is."""


Part = TypeVar("Part")


def some(*parts: Callable[[], Part]) -> list[Part]:
    """Those parts of a story whose arms all have numbers; that the others are missing is said by `tell`."""
    found: list[Part] = []
    for part in parts:
        with suppress(NoNumbers):
            found.append(part())
    return found


@dataclass(frozen=True)
class Results:
    """Everything measured, and where the study lies."""

    setting: Setting
    folder: Path
    all: list[Result]
    """With numbers."""

    @property
    def labels(self) -> list[str]:
        """The arms in order."""
        return list(dict.fromkeys(result.label for result in self.all))

    def of(self, label: str) -> list[Result]:
        """One result a seed that was measured.

        Raises:
            NoNumbers: if there is none.
        """
        found = [result for result in self.all if result.label == label]
        if not found:
            raise NoNumbers(label)
        return found

    def values(self, label: str, name: str) -> list[float]:
        """The last measurement `name` of every seed that has it."""
        found = [result.last.get(name) for result in self.of(label)]
        return [float(value) for value in found if value is not None]

    def mean(self, label: str, name: str) -> float:
        """Mean over seeds; not a number when nothing was measured."""
        values = self.values(label, name)
        return statistics.fmean(values) if values else float("nan")

    def spread(self, label: str, name: str) -> float:
        """Standard deviation over seeds; 0 for a single one."""
        values = self.values(label, name)
        return statistics.stdev(values) if len(values) > 1 else 0.0

    def curve(self, label: str, name: str, x: str = "seen") -> list[tuple[float, float]]:
        """(x, mean over seeds of `name`) at every point."""
        columns = zip(*(result.measurements for result in self.of(label)), strict=False)
        points: list[tuple[float, float]] = []
        for measured in columns:
            both = [(one[x], one[name]) for one in measured if one.get(name) is not None]
            if both:
                points.append((statistics.fmean(a for a, _ in both), statistics.fmean(b for _, b in both)))
        return points

    def spreads(self, label: str, name: str) -> list[float]:
        """The standard deviation over seeds of `name` at every point."""
        columns = zip(*(result.measurements for result in self.of(label)), strict=False)
        values = [[one[name] for one in measured if one.get(name) is not None] for measured in columns]
        return [statistics.stdev(found) if len(found) > 1 else 0.0 for found in values]

    def arm_folder(self, label: str) -> Path:
        """Where an arm lies, with the first seed that was measured."""
        return arm_folder(self.folder, label, self.of(label)[0].seed)


@dataclass(frozen=True)
class Study:
    """One of the sources' experiments, made repeatable."""

    name: str
    question: str
    """One line."""
    source: str
    """Where the experiment comes from."""
    arms: Callable[[Setting], Sequence[Arm]]
    """May refuse with a RequestError what cannot work, before anything is trained."""
    measure: Callable[[Look], Numbers]
    tell: Callable[[Results], Story]
    """Of arms that have numbers, at least one: what would be said of others is left out."""
    seeds: int = 1
    minutes: float = 10.0
    """Of the whole study, when nothing else is asked for."""


def tell(study: Study, results: Results, failed: Sequence[Result]) -> Story:
    """The story of the arms that have numbers, and first of all which have none and why."""
    story = study.tell(results) if results.all else Story()
    missing = [f"{result.label}, seed {result.seed}: {result.failed}" for result in failed]
    if missing:
        story.sentences.insert(0, "Training broke down, which is a result without numbers, in: " + " ".join(missing))
    return story


def slug(label: str) -> str:
    """A folder's name for an arm.

    >>> slug("z = 16, KL off")
    'z-16-kl-off'
    """
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")


def arm_folder(folder: Path, label: str, seed: int) -> Path:
    """Where an arm of the study in `folder` lies."""
    return folder / "arms" / slug(label) / f"seed-{seed}"
