"""What a study is: its arms, what is measured on each, and the story told from the results."""

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vaegan.charts import Axis, Points, save_bars, save_lines
from vaegan.config import TrainConfig
from vaegan.data import ImageDataset
from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.studies import sheets
from vaegan.training.run import RunFolder

Numbers = dict[str, Any]
"""Named measurements that fit into JSON."""


@dataclass(frozen=True)
class Setting:
    """What a study is about to be made from."""

    dataset: ImageDataset
    base: TrainConfig  # settings that all arms share; an arm replaces what it is about
    folder: Path  # the study's folder; arms may prepare data in it

    @property
    def label(self) -> str | None:
        """The first label that sorts these images into 2 to 100 classes."""
        return next((name for name, words in self.dataset.label_words.items() if 2 <= len(words) <= 100), None)

    def labels(self) -> str:
        """The `label`, which this study cannot do without; raises RequestError if these images have no classes."""
        if self.label is not None:
            return self.label
        raise RequestError(
            f"{self.dataset.source} has no classes (sub-folders, labels.csv, IDX labels); this study needs labelled images."
        )


@dataclass(frozen=True)
class Work:
    """What an arm is given."""

    setting: Setting
    seed: int
    images: int  # its part of the budget, as the number of images that a VAE would be shown in that time
    folder: Path  # where it may leave pictures
    tick: Callable[[float], None]
    """To be called often with the share that is done; raises when the user stops the study."""


@dataclass(frozen=True)
class Subject(Work):
    """What a measure is given: one trained arm at one point of its training."""

    arm: "TrainedArm"
    run: RunFolder
    model: Model
    dataset: ImageDataset  # the images the arm was trained on; the study's own unless the arm prepared others
    is_last: bool  # whether the arm is fully trained


@dataclass(frozen=True)
class ComputedArm:
    """An arm that trains no run: a toy whose answer is known."""

    label: str
    compute: Callable[[Work], Numbers]
    images: float = 0.0  # its part of the budget relative to the other arms'


@dataclass(frozen=True)
class TrainedArm:
    """An arm that is an ordinary run."""

    label: str
    config: TrainConfig
    images: float = 1.0  # images it sees relative to the other arms
    start: str | None = None  # label of an earlier arm whose model is the start
    points: int = 1
    """How often it is measured: after equal parts of its images, the last time when it is finished."""
    data: Path | None = None  # other images than the study's, prepared in its folder


Arm = TrainedArm | ComputedArm


def slug(label: str) -> str:
    """A folder's name for an arm.

    >>> slug("z = 16, KL off")
    'z-16-kl-off'
    """
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")


def arm_folder(folder: Path, label: str, seed: int) -> Path:
    """Where an arm of the study in `folder` lies."""
    return folder / "arms" / slug(label) / f"seed-{seed}"


@dataclass(frozen=True)
class Result:
    """What one arm with one seed gave."""

    label: str
    seed: int
    images: int  # planned
    seconds: float
    measurements: tuple[Numbers, ...]
    """One a point; for a trained arm each holds the images seen. None where training broke down."""
    failed: str | None = None  # why there are no measurements

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
    pictures: list[Picture] = field(default_factory=list[Picture])
    answer: dict[str, Any] = field(default_factory=dict[str, Any])  # the study's answer for a program


class NoNumbers(Exception):
    """A trained arm that a story asks about broke down with every seed."""


Part = TypeVar("Part")


def some(*parts: Callable[[], Part]) -> list[Part]:
    """The parts of a story whose arms all have numbers; `tell` says which arms have none."""
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
    all: list[Result]  # with numbers

    @property
    def labels(self) -> list[str]:
        """The arms in order."""
        return list(dict.fromkeys(result.label for result in self.all))

    def of(self, label: str) -> list[Result]:
        """One result a seed that was measured; raises NoNumbers if there is none."""
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
        return _deviation(self.values(label, name))

    def means(self, name: str) -> dict[str, float]:
        """The mean of every arm."""
        return {label: self.mean(label, name) for label in self.labels}

    def curve(self, label: str, name: str) -> list[tuple[float, float]]:
        """(images seen, mean over seeds of `name`) at every point."""
        fmean = statistics.fmean
        return [
            (fmean(one["seen"] for one in found), fmean(one[name] for one in found))
            for found in self._points(label, name)
            if found
        ]

    def spreads(self, label: str, name: str) -> list[float]:
        """The standard deviation over seeds of `name` at every point."""
        return [_deviation([one[name] for one in found]) for found in self._points(label, name)]

    def _points(self, label: str, name: str) -> list[list[Numbers]]:
        columns = zip(*(result.measurements for result in self.of(label)), strict=False)
        return [[one for one in measured if one.get(name) is not None] for measured in columns]

    def folders(self, labels: Sequence[str]) -> dict[str, Path]:
        """The folders of those of the arms that have numbers."""
        return {one: arm_folder(self.folder, one, self.of(one)[0].seed) for one in labels if one in self.labels}

    def bars(self, file: str, name: str, labels: Mapping[str, str], title: str, axis: str, caption: str) -> Picture:
        """Saves one bar an arm, called as `labels` says: the mean of a measurement, with its spread over seeds."""
        means, spreads = ({short: of(label, name) for label, short in labels.items()} for of in (self.mean, self.spread))
        save_bars(self.folder / file, means, title, axis, spreads)
        return Picture(file, caption)

    def lines(self, file: str, curves: Mapping[str, Points], title: str, x: Axis, y: Axis, caption: str, **look: Any) -> Picture:
        """Saves curves in one panel; `look` goes to `save_lines`."""
        save_lines(self.folder / file, curves, title, x, y, **look)
        return Picture(file, caption)


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Study:
    """One of the sources' experiments, made repeatable."""

    name: str
    question: str  # one line
    source: str  # where the experiment comes from
    arms: Callable[[Setting], Sequence[Arm]]
    """May refuse with a RequestError what cannot work, before anything is trained."""
    measure: Callable[[Subject], Numbers]
    tell: Callable[[Results], Story]
    """Given at least one arm that has numbers; what would be said of others is left out."""
    columns: dict[str, str]  # the table of the report: name of a measurement to its heading with the unit
    seeds: int = 1
    minutes: float = 10.0  # for the whole study, when nothing else is asked for


def tell(study: Study, results: Results, failed: Sequence[Result]) -> Story:
    """The story of the arms that have numbers with what their runs drew, and first of all which arms have none and why."""
    story = study.tell(results) if results.all else Story()
    runs = results.folders(results.labels)
    if sheets.save_last(results.folder / "samples.png", {label: sheets.run_shots(run) for label, run in runs.items()}):
        story.pictures.append(Picture("samples.png", "The last samples of each arm, from the same latents."))
    if sheets.save_learning(results.folder / "learning.gif", runs):
        story.pictures.append(Picture("learning.gif", "The same latents while each arm learns."))
    missing = [f"{result.label}, seed {result.seed}: {result.failed}" for result in failed]
    if missing:
        story.sentences.insert(0, "Training broke down, which is a result without numbers, in: " + " ".join(missing))
    return story
