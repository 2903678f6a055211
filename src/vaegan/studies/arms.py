"""The arms of a study, trained or computed side by side, and what they are given."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """The study's folder; arms may prepare data in it."""

    @property
    def label(self) -> str | None:
        """The first label that sorts these images into 2 to 100 classes."""
        return next((name for name, words in self.dataset.label_words.items() if 2 <= len(words) <= 100), None)

    def labels(self) -> str:
        """The `label`, which this study cannot do without; raises RequestError if these images have no classes."""
        if self.label is not None:
            return self.label
        raise RequestError(f"{self.dataset.source} has no classes (sub-folders, IDX labels); this study needs labelled images.")


@dataclass(frozen=True)
class Work:
    """What an arm is given."""

    setting: Setting
    seed: int
    images: int
    """Its part of the budget, as the number of images that a VAE would be shown in that time."""
    folder: Path
    """Where it may leave pictures."""
    tick: Callable[[float], None]
    """To be called often with the share that is done; raises when the user stops the study."""


@dataclass(frozen=True)
class Subject(Work):
    """What a measure is given: one trained arm at one point of its training."""

    arm: "TrainedArm"
    run: RunFolder
    model: Model
    dataset: ImageDataset
    """The images the arm was trained on; the study's own unless the arm prepared others."""
    is_last: bool
    """Whether the arm is fully trained."""


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


def slug(label: str) -> str:
    """A folder's name for an arm.

    >>> slug("z = 16, KL off")
    'z-16-kl-off'
    """
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")


def arm_folder(folder: Path, label: str, seed: int) -> Path:
    """Where an arm of the study in `folder` lies."""
    return folder / "arms" / slug(label) / f"seed-{seed}"
