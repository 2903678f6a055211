"""Carries a study out: arm after arm, seed after seed, from wherever it stands; leaves study.json, pictures and a report."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from vaegan import api
from vaegan.config import TrainConfig
from vaegan.data import ImageDataset, open_dataset
from vaegan.describe import GAN_COST, measure_speed
from vaegan.errors import InterruptedTraining, ModelError, RequestError
from vaegan.files import write_json
from vaegan.settings import from_dictionary, to_dictionary
from vaegan.studies.page import write_report
from vaegan.studies.study import (
    Arm,
    ComputedArm,
    Look,
    Numbers,
    Result,
    Results,
    Setting,
    Story,
    Study,
    TrainedArm,
    Work,
    arm_folder,
)
from vaegan.training.engine import probe_precision
from vaegan.training.loop import Progress
from vaegan.training.run import RunFolder, disk_errors
from vaegan.types import ProgressCallback

FORMAT_VERSION = 1
TRAINING_SHARE = 0.7  # of --minutes: the rest goes into opening data, measuring and drawing
LEAST_IMAGES = 64  # an arm that sees fewer says nothing


@dataclass(frozen=True)
class StudyFolder:
    """What a finished study left behind."""

    path: Path
    story: Story

    @property
    def report(self) -> Path:
        """The page for a person."""
        return self.path / "report.html"


@dataclass(frozen=True)
class Plan:
    """The part of study.json that is settled before anything is trained, and kept when a study goes on."""

    study: str
    source: str
    fingerprint: str
    seeds: int
    minutes: float | None
    """As asked for; None when images were."""
    images_asked: int | None
    """As asked for, over all arms and seeds."""
    images: float
    """That an arm of share 1 sees with one seed."""
    config: TrainConfig


def run_study(
    study: Study,
    data: str | Path,
    config: TrainConfig,
    out: str | Path,
    *,
    minutes: float | None = None,
    images: int | None = None,
    seeds: int | None = None,
    preparing: ProgressCallback | None = None,
    progress: ProgressCallback | None = None,
    say: Callable[[str], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> StudyFolder:
    """Carries out a study, or what is left of it: the same call on the same folder goes on where it stopped.

    Args:
        study: which.
        data: images, as for `train`.
        config: settings that all arms share; its recipe is each arm's own affair.
        out: the study's folder.
        minutes: of the whole study, over all arms and seeds.
        images: seen in the whole study, over all arms and seeds, instead of minutes.
        seeds: of every arm; the study's own number when None.
        preparing: called while images are decoded.
        progress: called with (what, done, total) in images over the whole study.
        say: called with sentences worth showing.
        cancel: asked all the time; True saves and raises InterruptedTraining.

    Raises:
        RequestError: if the study cannot be made of these images and settings, or `out` holds something else.
        InterruptedTraining: when cancelled, after saving.
    """
    path, source = Path(out), _source(data)
    api.check_request(config, minutes, images)
    if seeds is not None and not 1 <= seeds <= 1000:
        raise RequestError(f"--seeds {seeds} is no number of repetitions; give 1 or more.")
    config = replace(config, guards="off")  # a guard would mend what a study is there to show
    before = _read(path)
    if before is not None:
        config = _same_or_refuse(before, study, source, config, minutes, images, seeds, path)
    tell, stop = progress or (lambda what, done, total: None), cancel or (lambda: False)
    dataset = open_dataset(source, config.data, progress=preparing)
    setting = Setting(dataset, config, path)
    arms = study.arms(setting)
    if before is None:
        setting = replace(setting, base=_with_precision(config))
        plan = _plan(study, source, setting, arms, minutes, images, seeds)
        arms = study.arms(setting)
    else:
        plan = before[0]
        if plan.fingerprint != dataset.fingerprint:
            raise RequestError(f"The images in {source} have changed since {path} began; give another --out.")
    _check_arms(arms, plan)
    runner = Runner(study, plan, setting, arms, [] if before is None else before[1], tell, say or (lambda text: None), stop)
    return runner.run()


class Runner:
    """One study on its way."""

    def __init__(
        self,
        study: Study,
        plan: Plan,
        setting: Setting,
        arms: Sequence[Arm],
        done: list[Result],
        progress: ProgressCallback,
        say: Callable[[str], None],
        stop: Callable[[], bool],
    ) -> None:
        """Args: study, plan, setting, arms: what; done: results there already; progress, say, stop: as for `run_study`."""
        self.study, self.plan, self.setting, self.arms, self.results = study, plan, setting, arms, done
        self.progress, self.say, self.stop = progress, say, stop
        self.folder = setting.folder
        self.jobs = [(arm, seed) for seed in range(plan.seeds) for arm in arms]
        self._finished = 0.0

    def run(self) -> StudyFolder:
        """Does what is left."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._write("running")
        for index, (arm, seed) in enumerate(self.jobs):
            if not any(result.label == arm.label and result.seed == seed for result in self.results):
                what = f"{index + 1} of {len(self.jobs)}: {arm.label}" + (f", seed {seed}" if self.plan.seeds > 1 else "")
                self._do(arm, seed, what)
            self._finished += self._weight(arm)
        order = {(arm.label, seed): place for place, (arm, seed) in enumerate(self.jobs)}
        self.results.sort(key=lambda result: order[result.label, result.seed])
        with disk_errors(self.folder):
            results = Results(self.setting, self.folder, self.results)
            story = self.study.tell(results)
            write_report(self.study, results, story, self._facts())
        self._write("finished", story)
        return StudyFolder(self.folder, story)

    def _do(self, arm: Arm, seed: int, what: str) -> None:
        began, spent = time.perf_counter(), _spent(self._path(arm.label, seed))

        def tick(share: float) -> None:
            total = sum(self._weight(job) for job, _ in self.jobs)
            self.progress(what, round(self._finished + share * self._weight(arm)), max(1, round(total)))
            if self.stop():
                self._interrupt()

        tick(0.0)
        images = round(self.plan.images * arm.images)
        if isinstance(arm, ComputedArm):
            folder = self._path(arm.label, seed)
            folder.mkdir(parents=True, exist_ok=True)
            measured = [arm.compute(Work(self.setting, seed, images, folder, tick))]
        else:
            measured = self._train(arm, seed, images, tick)
        seconds = round(spent + time.perf_counter() - began, 1)
        self.results.append(Result(arm.label, seed, images, seconds, measured))
        self._write("running")
        # A finished arm is never gone on with: its model stays, what only a resumed run needs goes.
        for checkpoint in self._path(arm.label, seed).glob("*/checkpoint.pt"):
            checkpoint.unlink()

    def _train(self, arm: TrainedArm, seed: int, images: int, tick: Callable[[float], None]) -> list[Numbers]:
        """Trains an arm from point to point and measures it at each; points measured before are not measured again."""
        run = RunFolder(self._path(arm.label, seed))
        notes = run.path.with_suffix(".json")
        measured: list[Numbers] = json.loads(notes.read_text("utf-8")) if notes.is_file() else []
        for point in range(len(measured), arm.points):
            until = images * (point + 1) / arm.points
            seen = self._train_until(arm, seed, run, images, until if point + 1 < arm.points else None, tick)
            model, last = api.load(run.path), point + 1 == arm.points
            look = Look(
                self.setting, arm, seed, run, model, self._dataset(arm), run.path, last, lambda share: tick(0.95 + 0.04 * share)
            )
            measured.append({"seen": seen} | self.study.measure(look))
            write_json(notes, measured)
        return measured

    def _train_until(
        self, arm: TrainedArm, seed: int, run: RunFolder, images: int, until: float | None, tick: Callable[[float], None]
    ) -> int:
        """Trains on until the run has seen `until` images (None: until it is finished); returns the images seen."""
        seen, passed, last_told = 0, False, 0.0

        def told(progress: Progress) -> None:
            nonlocal seen, passed, last_told
            seen = _seen_before(run, progress.stage) + progress.seen
            passed = until is not None and seen >= until
            if time.perf_counter() - last_told > 0.2:
                last_told = time.perf_counter()
                tick(0.95 * seen / max(1, images))

        def cancel() -> bool:
            return passed or self.stop()

        try:
            if not run.record_path.is_file():
                init = None if arm.start is None else self._path(arm.start, seed)
                source = arm.data or self.plan.source
                api.train(
                    source, replace(arm.config, seed=seed), images=images, out=run.path, init=init, progress=told, cancel=cancel
                )
            elif run.read().status != "finished":
                api.resume(run.path, progress=told, cancel=cancel)
        except InterruptedTraining:
            if not passed:
                self._interrupt()
            return seen
        return sum(plan.images or 0 for plan in run.read().plan)

    def _interrupt(self) -> None:
        self._write("interrupted")
        again = f"vaegan study {self.plan.study} {quote(self.plan.source)} --out {quote(str(self.folder))}"
        raise InterruptedTraining(
            f"Stopped; {len(self.results)} of {len(self.jobs)} arms are finished and everything is saved. Go on with the same "
            f"settings: {again}"
        )

    def _dataset(self, arm: TrainedArm) -> ImageDataset:
        return self.setting.dataset if arm.data is None else open_dataset(arm.data, arm.config.data)

    def _path(self, label: str, seed: int) -> Path:
        return arm_folder(self.folder, label, seed)

    def _weight(self, arm: Arm) -> float:
        return max(1.0, self.plan.images * arm.images * _cost(arm))

    def _facts(self) -> Numbers:
        keys = ("fingerprint", "seeds", "minutes", "images")
        facts = {name: getattr(self.plan, name) for name in keys}
        return facts | {"seconds": round(sum(result.seconds for result in self.results), 1)}

    def _write(self, status: str, story: Story | None = None) -> None:
        told = {} if story is None else {"answer": story.answer, "findings": story.sentences, "pictures": _names(story)}
        content = {"format_version": FORMAT_VERSION, "status": status} | to_dictionary(self.plan)
        content |= told | {"results": [asdict(result) for result in self.results]}
        with disk_errors(self.folder):
            write_json(self.folder / "study.json", _finite(content))


def _names(story: Story) -> list[str]:
    return [picture.name for picture in story.pictures]


def _finite(value: Any) -> Any:
    """JSON knows no infinities: they become null."""
    if isinstance(value, dict):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _source(data: str | Path) -> str:
    return str(data) if str(data).split(":")[0] == "faces" else str(Path(data).absolute())


def _spent(run: Path) -> float:
    """Seconds that an interrupted arm has trained already."""
    folder = RunFolder(run)
    return folder.read().spent_seconds if folder.record_path.is_file() else 0.0


def _seen_before(run: RunFolder, stage: str) -> int:
    """Images of the stages before `stage`."""
    plan = run.read().plan
    names = [entry.name for entry in plan]
    return sum(entry.images or 0 for entry in plan[: names.index(stage)])


def _cost(arm: Arm) -> float:
    """Time for an image relative to the VAE's."""
    if isinstance(arm, ComputedArm):
        return 1.0
    stages = arm.config.stages
    share = arm.config.budget.vae_share_of_images
    shares = (1.0,) if len(stages) == 1 else (share, 1 - share)
    costs = {"vae": 1.0, "ae": 1.0}
    return sum(part * costs.get(stage, GAN_COST) for stage, part in zip(stages, shares, strict=True))


def _with_precision(config: TrainConfig) -> TrainConfig:
    """Precision is probed once for the whole study, so that all arms run in the same."""
    if config.device.precision != "auto":
        return config
    device = torch.device("cuda" if config.device.accelerator in ("auto", "cuda") and torch.cuda.is_available() else "cpu")
    return replace(config, device=replace(config.device, precision=probe_precision(device)[0]))


def _plan(
    study: Study,
    source: str,
    setting: Setting,
    arms: Sequence[Arm],
    minutes: float | None,
    images: int | None,
    seeds: int | None,
) -> Plan:
    """Turns the budget of the study into images of an arm: the same number for all, so that noise in speed favours nobody."""
    repetitions = seeds or study.seeds
    minutes = study.minutes if minutes is None and images is None else minutes
    if images is not None:
        unit = images / (repetitions * max(1e-9, sum(arm.images for arm in arms)))
    else:
        assert minutes is not None
        speed = measure_speed(setting.base.network, setting.dataset.config.size, setting.dataset.channels)["vae"]
        cost = repetitions * max(1e-9, sum(arm.images * _cost(arm) for arm in arms))
        unit = 60 * minutes * TRAINING_SHARE * speed / cost
    return Plan(study.name, source, setting.dataset.fingerprint, repetitions, minutes, images, unit, setting.base)


def _check_arms(arms: Sequence[Arm], plan: Plan) -> None:
    """Refuses what would fail later, after hours."""
    for arm in arms:
        if isinstance(arm, TrainedArm):
            api.check_request(arm.config, None, LEAST_IMAGES)
            if plan.images * arm.images < LEAST_IMAGES:
                raise RequestError(
                    f"Each of {len(arms)} arms and {plan.seeds} seed(s) would see {plan.images * arm.images:.0f} images; give "
                    f"more --minutes or --images: at least {LEAST_IMAGES} each."
                )


def _read(folder: Path) -> tuple[Plan, list[Result]] | None:
    """The plan and results of the study that lies in `folder`; None when nothing does.

    Raises:
        RequestError: if something else lies there.
        ModelError: if study.json is damaged.
    """
    path = folder / "study.json"
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RequestError(f"{folder} already exists and is no study; give another --out.")
        return None
    try:
        values = json.loads(path.read_text("utf-8"))
        if values.pop("format_version") != FORMAT_VERSION:
            raise ModelError(f"{path} was written by another version of vaegan; give another --out.")
        results = [Result(**one) for one in values["results"]]
        plan = from_dictionary(Plan, {name: values[name] for name in Plan.__dataclass_fields__}, str(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} cannot be used: {error}. Give another --out.") from error
    return plan, results


def _same_or_refuse(
    before: tuple[Plan, list[Result]],
    study: Study,
    source: str,
    config: TrainConfig,
    minutes: float | None,
    images: int | None,
    seeds: int | None,
    path: Path,
) -> TrainConfig:
    """The settings of the study to go on with.

    Raises:
        RequestError: if something else is asked for than what was begun in this folder.
    """
    plan = before[0]
    asked = {"study": study.name, "DATA": source, "--seeds": seeds or plan.seeds}
    begun = {"study": plan.study, "DATA": plan.source, "--seeds": plan.seeds}
    if minutes is not None or images is not None:
        asked |= {"--minutes": minutes, "--images": images}
        begun |= {"--minutes": plan.minutes, "--images": plan.images_asked}
    precise = replace(config, device=replace(config.device, precision=plan.config.device.precision))
    differing = [name for name in asked if asked[name] != begun[name]]
    if precise != plan.config:
        differing.append("settings")
    if differing:
        known = " and ".join(f"{name} {begun[name]}" if name in begun else "other settings" for name in differing)
        raise RequestError(f"{path} holds a study that was begun with {known}; ask for the same, or give another --out.")
    return plan.config
