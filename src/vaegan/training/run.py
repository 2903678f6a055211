"""A run's folder: where everything of a run lies, and run.json, which says what it is."""

import json
import math
import os
import platform
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from vaegan.config import TrainConfig
from vaegan.errors import ModelError, RequestError, TrainingError, VaeganError
from vaegan.files import check_new_folder, held, remove_leavings, write_json
from vaegan.processes import is_first_process
from vaegan.settings import MOST_SEED, from_dictionary, to_dictionary

FORMAT_VERSION = 7
MAXIMUM_RECORD_BYTES = 50_000_000
MOST_SECONDS = 1e9  # thirty years
_ANOTHER = "copy the run again from where it came from; the models in its folders (STAGE/model) work without it"
# Kinds of the facts that steer a run or are shown with words of their own, and of those about a GAN's start.
STEERING: dict[str, Any] = {"images": int, "skipped": int, "finished": bool, "brought_forward": list, "handover": dict}
SHOWN: dict[str, Any] = {"objective": str, "heldout": dict, "inverse": dict, "kept": str, "ended": str}
SPEEDS: dict[str, Any] = {"mean_speed": int | float, "measured_speed": int | float}
INVERSE: dict[str, Any] = {"own_source_nearest": int | float | str, "latent_recovery": int | float}
PERCEPTION: dict[str, Any] = {"network": str, "trained_on": str}
HANDOVER: dict[str, Any] = {"verified_tensors": int, "vae_low_pass_error": int | float, "prior_gap": int | float}
LOCK = ".lock"  # an empty file in every run: whoever trains or evaluates it has it locked


@dataclass(frozen=True)
class StagePlan:
    """How long a stage lasts; `images` is None until `--minutes` has been turned into a number.

    Its schedules run from `schedule_start` to `schedule_end` [images]. Less time brings their end forward; an extension moves
    both, and their start may then lie before the first image.
    """

    name: str
    images: int | None
    schedule_start: int = 0
    schedule_end: int | None = None


@dataclass(frozen=True)
class RunRecord:
    """The content of run.json: everything needed to go on, or to start again."""

    source: str
    """DATA as given, made absolute if it is a path."""
    config: TrainConfig
    seconds_target: float | None
    """Training wall-clock that all sessions together may take, when `--minutes` was asked for."""
    plan: tuple[StagePlan, ...]
    init: str | None
    """Run or model whose weights were the start."""
    fingerprint: str
    """Fingerprint of the prepared images."""
    precision: str | None
    """Chosen once, never probed again."""
    facts: dict[str, Any]
    """Measured along the way: probe rates, speeds, handover checks, notes about the data."""
    status: str = "training"
    """training, interrupted or finished."""
    spent_seconds: float = 0.0
    """Training wall-clock of all sessions so far."""

    def plan_of(self, stage: str) -> StagePlan:
        """The plan of a stage."""
        return next(plan for plan in self.plan if plan.name == stage)

    def with_images(self, stage: str, images: int, seen: int = 0) -> "RunRecord":
        """The record with a stage's number of images settled after `seen` of them.

        The first time its schedules are settled too; fewer images than before bring their end forward. More go on as if so many
        had been planned from the start, but no earlier than in the middle of the schedules, or where they stand: at the rates of
        their end hardly anything would be learned, at those of their beginning what was learned would be lost.
        """
        plan = self.plan_of(stage)
        start, end = plan.schedule_start, plan.schedule_end
        if end is None:
            start, end = seen, images
        elif images <= max(end, seen):
            end = images
        else:
            progress = max(min(0.5, (seen - start) / max(1, end - start)), seen / images)
            start, end = round((seen - progress * images) / (1 - progress)), images
        settled = replace(plan, images=images, schedule_start=start, schedule_end=end)
        return replace(self, plan=tuple(settled if other.name == stage else other for other in self.plan))


def place_of(data: str | Path) -> str:
    """DATA as run.json keeps it: made absolute if it is a path."""
    return str(data) if is_drawn(str(data)) else str(Path(data).absolute())


def is_drawn(source: str) -> bool:
    """Whether the package draws these images, so that they lie nowhere."""
    return source.split(":")[0] == "faces"


def check_place(source: str, command: str) -> None:
    """Refuses images that are no longer where a run found them; in `command`, for the message, PLACE is where they are now."""
    if not is_drawn(source) and not Path(source).exists():
        raise RequestError(
            f"{source}, where the images of this run were, does not exist. If they were moved, say where they are now: {command} "
            "(they are known by their content, whatever their names)."
        )


class RunFolder:
    """Paths of a run, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def record_path(self) -> Path:
        """run.json."""
        return self.path / "run.json"

    def stage(self, name: str) -> Path:
        """Folder of a stage."""
        return self.path / name

    def model(self, stage: str) -> Path:
        """Folder of a stage's model."""
        return self.path / stage / "model"

    def checkpoint(self, stage: str) -> Path:
        """Resume state of a stage."""
        return self.path / stage / "checkpoint.pt"

    @contextmanager
    def alone(self) -> Generator[None]:
        """Keeps other commands that write out of this folder, and clears away what a killed one left half-written.

        VaeganError if another process is at work here.
        """
        if not is_first_process():  # the first process holds the folder for all of them
            yield
            return
        with ExitStack() as stack:
            with disk_errors(self.path):
                got = stack.enter_context(held(self.path / LOCK))
            if not got:
                raise VaeganError(f"Another command is at work in {self.path}; wait until it ends, or stop it.")
            remove_leavings(self.path)
            yield

    def write(self, record: RunRecord) -> None:
        """Writes run.json."""
        with disk_errors(self.path):
            write_json(self.record_path, {"format_version": FORMAT_VERSION, "versions": versions()} | to_dictionary(record))

    def read(self) -> RunRecord:
        """Reads run.json.

        ModelError if it is missing, damaged or of another version.
        """
        path = self.record_path
        try:
            if path.stat().st_size > MAXIMUM_RECORD_BYTES:
                raise ModelError(f"{path} is too large to be a run's record.")
            values = json.loads(path.read_text("utf-8"), parse_int=whole_number)
        except FileNotFoundError as error:
            raise ModelError(f"{self.path} is not a run: it has no run.json.") from error
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path} is damaged and cannot be read ({error}); {_ANOTHER}.") from error
        if not isinstance(values, dict):
            raise ModelError(f"{path} is damaged: it is no run's record; {_ANOTHER}.")
        if (version := values.pop("format_version", None)) != FORMAT_VERSION:
            raise ModelError(
                f"{path} has format {version!r:.40}; this version of vaegan reads {FORMAT_VERSION}. "
                "Install the version that wrote it, or train again."
            )
        values.pop("versions", None)
        try:
            record = from_dictionary(RunRecord, values, str(path))
        except RequestError as error:
            where = "" if str(path) in str(error) else f"{path}: "  # a setting's own check does not know the file
            raise ModelError(f"{where}{error} The file is damaged, or another version's; {_ANOTHER}.") from error
        stages = tuple(plan.name for plan in record.plan)
        if stages != record.config.stages or not all(_are_facts(record.facts.get(name, {})) for name in (*stages, "data")):
            raise ModelError(f"{path} is damaged: its plan, facts and settings are not of the same run; {_ANOTHER}.")
        if not _is_possible(record):
            raise ModelError(f"{path} is damaged: its times, numbers of images or precision are those of no run; {_ANOTHER}.")
        return record


def whole_number(digits: str) -> int:
    """A whole number in a run's files; ValueError if it is longer than a seed may be, and too large to be counted with."""
    if abs(number := int(digits)) > MOST_SEED:
        raise ValueError(f"the number {digits[:20]}... is too large")
    return number


def _is_possible(record: RunRecord) -> bool:
    return (
        all(0 <= seconds <= MOST_SECONDS for seconds in (record.spent_seconds, record.seconds_target or 0.0))
        and all(plan.images is None or plan.images > 0 for plan in record.plan)
        and all((plan.schedule_end or 0) >= 0 for plan in record.plan)
        and record.precision in (None, "float32", "bfloat16")
        and record.status in ("training", "interrupted", "finished")
    )


def _are_facts(found: Any) -> bool:
    """Whether facts are such that those of them can be used which steer a run; the others are only shown."""
    if not _holds(found, STEERING | SHOWN | SPEEDS):
        return False
    handover, inverse, perception = (found.get(name, {}) for name in ("handover", "inverse", "perception"))
    return (
        min(found.get("images", 0), found.get("skipped", 0)) >= 0
        and found.get("channels", 3) in (1, 3, 4)
        and _holds(handover, HANDOVER)
        and (not handover or "verified_tensors" in handover)
        and _holds(inverse, INVERSE)
        and (not inverse or inverse.keys() >= INVERSE.keys())
        and _holds(perception, PERCEPTION)
        and (not perception or perception.keys() >= PERCEPTION.keys())
        and math.isfinite(handover.get("vae_low_pass_error", 0.0))
    )


def _holds(found: Any, kinds: dict[str, Any]) -> bool:
    """Whether this is a dictionary whose values are of these kinds, as far as they are there."""
    return isinstance(found, dict) and all(isinstance(found[name], kind) for name, kind in kinds.items() if name in found)


def find_run(path: str | Path) -> RunFolder:
    """The run at `path`; `runs/last` and a link to a run work too. ModelError if there is none."""
    folder = RunFolder(Path(path))
    if not folder.record_path.is_file():
        why = "it has no run.json" if folder.path.exists() else "it does not exist"
        raise ModelError(f"{path} is not a run: {why}. Runs lie in runs/ where `vaegan train DATA` was started, or at its --out.")
    return folder


def check_new_run(out: Path | None) -> None:
    """Refuses, before any work, a folder that already holds something or cannot be made: RequestError saying why."""
    place = out or Path("runs/new")
    if place.is_dir() and any(entry.name != LOCK for entry in place.iterdir()):
        raise RequestError(
            f"{place} already exists; give another --out, or go on with: vaegan train --resume {quote(str(place))}"
        )
    check_new_folder(place, ignore=LOCK)


def new_run_folder(out: Path | None, source: str) -> RunFolder:
    """Creates the folder of a new run, without `out` the next number under runs/; RequestError if it already holds something."""
    check_new_run(out)
    if out is not None:
        with disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        return RunFolder(out)
    base = Path("runs")
    stem = Path(source).name.split(".")[0].replace(":", "-") or "images"
    while True:
        with disk_errors(base):
            base.mkdir(exist_ok=True)
            starts = (entry.name.partition("-")[0] for entry in base.iterdir())
            numbers = [int(start) for start in starts if start.isdecimal() and len(start) < 8]  # eight digits are a date
            path = base / f"{max(numbers, default=0) + 1:04d}-{stem}"
            with suppress(FileExistsError):  # another run took the number
                path.mkdir()
                return RunFolder(path)


def point_last_at(folder: RunFolder) -> None:
    """Makes runs/last lead to the newest run under runs/, where the system allows links."""
    if folder.path.parent != Path("runs"):
        return
    link, temporary = Path("runs/last"), Path(f"runs/.last-{os.getpid()}")
    try:
        if link.exists() and not link.is_symlink():
            return
        temporary.symlink_to(folder.path.name)
        os.replace(temporary, link)
    except OSError:
        temporary.unlink(missing_ok=True)  # Windows without developer mode: the run itself is unaffected


@contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Turns a full or read-only disk into one line."""
    try:
        yield
    except OSError as error:
        raise TrainingError(f"Cannot write to {path}: {error.strerror or error}. Make room there, or allow writing.") from error


def versions() -> dict[str, str]:
    """What made this run."""
    from importlib.metadata import version

    packages = ("vaegan", "torch", "numpy", "pillow", "lightning-fabric")
    return {"python": platform.python_version(), "platform": platform.platform()} | {
        package: version(package) for package in packages
    }
