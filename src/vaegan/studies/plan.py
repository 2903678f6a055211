"""The plan of a study, how its budget becomes images of an arm, what is refused beforehand, and study.json."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from vaegan import api
from vaegan.config import GAN_COST, TrainConfig
from vaegan.describe import measure_speed
from vaegan.errors import ModelError, RequestError
from vaegan.files import check_file_place, check_new_folder, write_json
from vaegan.report.comparing import flattened
from vaegan.settings import from_dictionary, to_dictionary
from vaegan.studies.study import Arm, Numbers, Result, Setting, Story, Study, TrainedArm
from vaegan.training.engine import chosen_device, probe_precision
from vaegan.training.run import MAXIMUM_RECORD_BYTES, disk_errors

TRAINING_SHARE = 0.7  # of --minutes: the rest goes into opening data, measuring and drawing
MOST_SEEDS = 1000
FORMAT_VERSION = 1  # of study.json
LEAST_IMAGES = 64  # an arm that sees fewer says nothing
MOST_NAMED = 3  # settings that a message names


@dataclass(frozen=True)
class StudyRequest:
    """How much of a study is asked for, and of which images."""

    source: str
    minutes: float | None  # for the whole study
    images: int | None  # seen in the whole study, instead of minutes
    seeds: int | None  # repetitions of every arm; the study's own number when None

    def __post_init__(self) -> None:
        if self.seeds is not None and not 1 <= self.seeds <= MOST_SEEDS:
            raise RequestError(f"--seeds {self.seeds} is no number of repetitions; give 1 or more.")


@dataclass(frozen=True)
class Plan:
    """The part of study.json that is settled before anything is trained, and stays when a study goes on."""

    study: str
    source: str
    fingerprint: str
    seeds: int
    minutes: float | None  # the minutes asked for; None when images were
    images_asked: int | None  # the images asked for, over all arms and seeds
    images: float  # that an arm of share 1 sees with one seed
    config: TrainConfig

    def images_of(self, arm: Arm) -> float:
        """What an arm sees with one seed [images]."""
        return self.images * arm.images


def make_plan(study: Study, asked: StudyRequest, setting: Setting, arms: Sequence[Arm]) -> Plan:
    """Turns the budget of the study into images of an arm: the same number for all, so that noise in speed favours nobody."""
    seeds, minutes = asked.seeds or study.seeds, asked.minutes
    if asked.images is not None:
        unit = asked.images / (seeds * max(1e-9, sum(arm.images for arm in arms)))
    else:
        minutes = study.minutes if minutes is None else minutes
        # The speed of a VAE as the arms train it: their device, precision and batch.
        device, dataset = setting.base.device, setting.dataset
        precision = "bfloat16" if device.precision == "bfloat16" else "float32"
        shape = setting.base.network, dataset.config.shape, dataset.channels, setting.base.vae.batch_size
        speed = measure_speed(*shape, chosen_device(device.accelerator), precision)["vae"]
        images = 60 * minutes * TRAINING_SHARE * speed
        unit = images / (seeds * max(1e-9, sum(arm.images * cost(arm) for arm in arms)))
    return Plan(study.name, asked.source, setting.dataset.fingerprint, seeds, minutes, asked.images, unit, setting.base)


def cost(arm: Arm) -> float:
    """Time for an image relative to the VAE's."""
    return GAN_COST if isinstance(arm, TrainedArm) and arm.config.recipe not in ("vae", "ae") else 1.0


def with_precision(config: TrainConfig) -> TrainConfig:
    """Precision is probed once for the whole study, so that all arms run in the same."""
    if config.device.precision != "auto":
        return config
    return replace(config, device=replace(config.device, precision=probe_precision(chosen_device(config.device.accelerator))[0]))


def check_arms(arms: Sequence[Arm], plan: Plan, results: Sequence[Result], folder: Path) -> None:
    """Refuses what would fail after hours: settings that cannot be trained, too few images, results of unknown arms."""
    for arm in arms:
        if isinstance(arm, TrainedArm):
            api.check_request(arm.config, None, LEAST_IMAGES)
            if plan.images_of(arm) < LEAST_IMAGES:
                raise RequestError(
                    f"Each of {len(arms)} arms and {plan.seeds} seed(s) would see {plan.images_of(arm):.0f} images; give "
                    f"more --minutes or --images: at least {LEAST_IMAGES} each."
                )
    known = [(arm.label, seed) for arm in arms for seed in range(plan.seeds)]
    there = [(result.label, result.seed) for result in results]
    wrong = [one for one in there if one not in known or there.count(one) > 1]
    if wrong:
        raise RequestError(
            f"{folder} holds a result of {wrong[0][0]!r} with seed {wrong[0][1]}, which this study has not, or has twice: "
            "another version of vaegan made it. Give another --out."
        )


def check_same(plan: Plan, study: Study, asked: StudyRequest, config: TrainConfig, folder: Path) -> None:
    """Refuses to go on with a plan when something else is asked for, naming what the study was begun with."""
    wanted = {"study": study.name, "DATA": asked.source, "--seeds": asked.seeds or plan.seeds}
    begun = {"study": plan.study, "DATA": plan.source, "--seeds": plan.seeds}
    if asked.minutes is not None or asked.images is not None:
        wanted |= {"--minutes": asked.minutes, "--images": asked.images}
        begun |= {"--minutes": plan.minutes, "--images": plan.images_asked}
    if config.device.precision != "auto":  # which leaves the choice to the study
        wanted["--precision"], begun["--precision"] = config.device.precision, plan.config.device.precision
    differing = [f"{name} {begun[name]}" for name in wanted if wanted[name] != begun[name]]
    precise = replace(config, device=replace(config.device, precision=plan.config.device.precision))
    first, second = flattened(to_dictionary(plan.config)), flattened(to_dictionary(precise))
    if others := [f"{name} {value}" for name, value in first.items() if value != second[name]]:
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        differing.append(f"other settings ({', '.join(others[:MOST_NAMED])}{more})")
    if differing:
        known = " and ".join(differing)
        raise RequestError(f"{folder} holds a study that was begun with {known}; ask for the same, or give another --out.")


def make_again(plan: Plan) -> list[str]:
    """The command that makes a study again, and where its settings stand."""
    asked = ["--minutes", f"{plan.minutes:g}"] if plan.images_asked is None else ["--images", str(plan.images_asked)]
    words = ["vaegan", "study", plan.study, plan.source, *asked, "--seeds", str(plan.seeds), "--config", "settings.toml"]
    comment = "# the settings lie in study.json under config; those that differ from the preset go into settings.toml"
    return [comment, " ".join(map(quote, words))]


def write_record(folder: Path, status: str, plan: Plan, results: Sequence[Result], story: Story | None = None) -> None:
    """Writes study.json into the folder of a study; `status` is running, interrupted or finished."""
    content = {"format_version": FORMAT_VERSION, "status": status} | to_dictionary(plan)
    if story is not None:
        pictures = [picture.name for picture in story.pictures]
        content |= {"answer": story.answer, "findings": story.sentences, "pictures": pictures}
    content["results"] = [asdict(result) for result in results]
    with disk_errors(folder):
        # JSON knows no infinities: they become null.
        write_json(folder / "study.json", json.loads(json.dumps(content), parse_constant=lambda name: None))


def read_record(folder: Path) -> tuple[Plan, list[Result]] | None:
    """The plan and results of the study in `folder`, None when nothing lies there; raises for other things and damage."""
    path = folder / "study.json"
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RequestError(f"{folder} already exists and is no study; give another --out.")
        check_new_folder(folder)
        return None
    check_file_place(path)
    try:
        values = _read(path)
        if not isinstance(values, dict) or "format_version" not in values:
            raise ValueError("it is no record of a study")
        if values.pop("format_version") != FORMAT_VERSION:
            raise ValueError("it was written by another version of vaegan")
        if lacking := {*Plan.__dataclass_fields__, "results"} - {*values}:
            raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
        results = [from_dictionary(Result, one, path.name, "results.") for one in values["results"]]
        if not all(result.failed or _are_measured(result.measurements) for result in results):
            raise ValueError("a result without measurements")
        plan = from_dictionary(Plan, {name: values[name] for name in Plan.__dataclass_fields__}, path.name)
        if not (1 <= plan.seeds <= MOST_SEEDS and 0 < plan.images < float("inf")):
            raise ValueError("a plan without seeds or images")
    except (RequestError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} cannot be used: {str(error).rstrip('.')}. Give another --out.") from error
    return plan, results


def read_measured(notes: Path, run: Path) -> list[Numbers]:
    """What was measured of an arm that was stopped, from the file `notes`; nothing where there is none."""
    if not notes.is_file():
        return []
    try:
        measured = _read(notes)
        if not _are_measured(measured):
            raise ValueError("no list of measurements")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{notes} is damaged ({error}); remove it and {run} to have this arm trained again.") from error
    return measured


def _read(path: Path) -> Any:
    if path.stat().st_size > MAXIMUM_RECORD_BYTES:
        raise ValueError("it is too large to be a study's")
    return json.loads(path.read_text("utf-8"))


def _are_measured(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values) and all(isinstance(one, dict) for one in values)
