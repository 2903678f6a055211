"""What a report is made of: a run's record, journals, models, images and evaluation, with a sentence for all that is missing."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar, cast

from vaegan.data import ImageDataset, open_dataset
from vaegan.errors import ModelError, VaeganError
from vaegan.latent.stored import model_fingerprint
from vaegan.model import Model
from vaegan.training.journal import read_journal
from vaegan.training.run import RunFolder, RunRecord, find_run
from vaegan.types import ProgressCallback

EVALUATION_FORMAT = 2
MAXIMUM_BYTES = 50_000_000  # of a text file that is read at once

Line = dict[str, Any]
Value = TypeVar("Value")


@dataclass(frozen=True)
class GatheredRun:
    """One run as it lies on disk."""

    path: Path  # the path as the user wrote it, for the commands on the page
    folder: RunFolder
    record: RunRecord
    journals: dict[str, list[Line]]  # lines of metrics.jsonl by stage; only stages that have begun
    models: dict[str, Model]  # the models by stage; an unfinished stage has the last one saved
    evaluation: "Evaluation | None"
    weights: dict[str, str] = field(default_factory=dict[str, str])  # fingerprints of the models by stage
    gaps: dict[str, str] = field(default_factory=dict[str, str])
    """Why something is not there: "evaluation", "images", or the name of a stage."""
    dataset: ImageDataset | None = None

    @property
    def name(self) -> str:
        """The folder's name; that of the link's target for runs/last."""
        return self.folder.path.resolve().name or str(self.path)

    @property
    def stages(self) -> tuple[str, ...]:
        """Planned stages in order."""
        return tuple(plan.name for plan in self.record.plan)

    @property
    def last_stage(self) -> str | None:
        """The last stage that has a model."""
        return next((stage for stage in reversed(self.stages) if stage in self.models), None)

    @property
    def no_images(self) -> str:
        """Why no images of the data can be shown."""
        return self.gaps.get("images", "Left out as asked: this page holds no image of the data.")

    def facts(self, stage: str) -> dict[str, Any]:
        """What was measured about a stage."""
        return self.record.facts.get(stage, {})

    def seen(self, stage: str) -> int:
        """How many images a stage has been shown."""
        lines = self.journals.get(stage)
        return int(self.facts(stage).get("images") or (lines[-1]["seen"] if lines else 0))


@dataclass(frozen=True)
class Score:
    """One number of an evaluation."""

    value: float
    interval: tuple[float, float] | None  # the 95 % interval
    n: int | None
    features: str | None  # the network whose features it was measured in
    against: int | None = None  # held-out images that `n` samples were compared with
    no_interval: str | None = None  # why it has none
    no_floor: str | None = None  # why real images have no such number


Scores = dict[str, Score]


@dataclass(frozen=True)
class Evaluation:
    """The content of evaluation.json."""

    data: str  # where the images lay that it compares with
    n: int
    full: bool
    seed: int
    fingerprint: str
    models: dict[str, str]
    """Fingerprints of the models that were measured; a run may have been trained further since."""
    reference_side: str
    reference_count: int
    features: str | None
    stages: dict[str, Scores]
    prior_samples: dict[str, Scores]  # of the stages that draw from a mixture, what their samples from N(0, I) have
    floor: Scores
    left_out: dict[str, str]
    spectra: dict[str, list[float]]
    per_dimension_kl: list[float]
    neighbours: dict[str, list[float]]
    verdict: list[str]
    train_longer: bool


def gather(path: Path, with_data: bool = True, progress: ProgressCallback | None = None) -> GatheredRun:
    """Reads a run, with its images if `with_data`; what cannot be read becomes a gap with its reason. Raises ModelError."""
    folder = find_run(path)
    record = folder.read()
    gaps: dict[str, str] = {}
    journals: dict[str, list[Line]] = {}
    models: dict[str, Model] = {}
    for stage in (plan.name for plan in record.plan):
        journal = folder.stage(stage) / "metrics.jsonl"
        if journal.is_file() and journal.stat().st_size <= MAXIMUM_BYTES:
            journals[stage] = read_journal(journal)
        try:
            models[stage] = Model.from_pretrained(folder.model(stage))
        except ModelError as error:
            missing = not (folder.model(stage) / "config.json").is_file()
            gaps[stage] = "This stage has not saved a model yet." if missing else str(error)
    weights = {stage: model_fingerprint(model) for stage, model in models.items()}
    evaluation = None
    try:
        evaluation = read_evaluation(folder)
        if evaluation is None:
            gaps["evaluation"] = "This run has not been evaluated yet."
        elif any(weights[name] != was for name, was in evaluation.models.items() if name in weights):
            evaluation = None
            gaps["evaluation"] = "This run was trained further after it was evaluated: its scores are of a model that is gone."
    except ModelError as error:
        gaps["evaluation"] = str(error)
    dataset = _dataset(record, gaps, progress) if with_data else None
    journals = {stage: lines for stage, lines in journals.items() if lines}
    return GatheredRun(path, folder, record, journals, models, evaluation, weights, gaps, dataset)


def _dataset(record: RunRecord, gaps: dict[str, str], progress: ProgressCallback | None) -> ImageDataset | None:
    try:
        dataset = open_dataset(record.source, record.config.data, progress=progress)
    except (VaeganError, OSError) as error:
        gaps["images"] = f"The images of this run cannot be opened any more: {error}"
        return None
    if dataset.fingerprint != record.fingerprint:
        gaps["images"] = "The images have changed since this run began, so none of them are shown."
        return None
    return dataset


def read_evaluation(folder: RunFolder) -> Evaluation | None:
    """The evaluation of a run, None when there is none; raises ModelError if it is damaged or of another version."""
    path = folder.path / "evaluation.json"
    again = f"Make it again with: vaegan evaluate {quote(str(folder.path))}"
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise ModelError(f"{path} is too large to be an evaluation.")
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}. {again}") from error
    if not isinstance(values, dict) or values.get("format_version") != EVALUATION_FORMAT:
        raise ModelError(f"{path} was written by another version of vaegan. {again}")
    try:
        return _evaluation(cast(dict[str, Any], values))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelError(f"{path} is damaged. {again}") from error


def _evaluation(values: dict[str, Any]) -> Evaluation:
    def group(name: str, kind: Callable[[Any], Value]) -> dict[str, Value]:
        return {str(key): kind(value) for key, value in (values.get(name) or {}).items()}

    reference = values["reference"]
    return Evaluation(
        data=str(values.get("data") or ""),
        n=int(values["n"]),
        full=bool(values.get("full")),
        seed=int(values["seed"]),
        fingerprint=str(values["fingerprint"]),
        models=group("models", str),
        reference_side=str(reference["side"]),
        reference_count=int(reference["count"]),
        features=_optional(str, values.get("features")),
        stages={str(stage): _scores(scores) for stage, scores in values["stages"].items()},
        prior_samples=group("prior_samples", _scores),
        floor=_scores(values.get("floor") or {}),
        left_out=group("left_out", str),
        spectra=group("spectra", _numbers),
        per_dimension_kl=_numbers(values.get("per_dimension_kl") or []),
        neighbours=group("neighbours", _numbers),
        verdict=[str(sentence) for sentence in values.get("verdict") or []],
        train_longer=bool(values.get("train_longer")),
    )


def _scores(values: dict[str, Any]) -> Scores:
    kinds = {"n": int, "features": str, "against": int, "no_interval": str, "no_floor": str}
    found: Scores = {}
    for name, one in values.items():
        if one.get("value") is not None:
            low, high = (None, None) if one.get("interval") is None else _numbers(one["interval"])[:2]
            others: dict[str, Any] = {key: _optional(kind, one.get(key)) for key, kind in kinds.items()}
            found[str(name)] = Score(float(one["value"]), None if low is None or high is None else (low, high), **others)
    return found


def _optional(kind: Callable[[Any], Value], value: Any) -> Value | None:
    return None if value is None else kind(value)


def _numbers(values: list[Any]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]
