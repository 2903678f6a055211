"""Carries a study out: arm after arm, seed after seed, from wherever it stands; leaves study.json, pictures and a report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from shlex import quote

from vaegan import api
from vaegan.config import TrainConfig
from vaegan.data import open_dataset
from vaegan.errors import InterruptedTraining, RequestError, TrainingError
from vaegan.files import write_json
from vaegan.studies import plan as planning
from vaegan.studies.page import write_report
from vaegan.studies.study import (
    Arm,
    ComputedArm,
    Numbers,
    Result,
    Results,
    Setting,
    Story,
    Study,
    Subject,
    TrainedArm,
    Work,
    arm_folder,
    tell,
)
from vaegan.training.loop import Progress
from vaegan.training.run import RunFolder, disk_errors
from vaegan.types import ProgressCallback


@dataclass(frozen=True)
class StudyFolder:
    """What a finished study left behind."""

    path: Path
    story: Story

    @property
    def report(self) -> Path:
        """The page for a person."""
        return self.path / "report.html"


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
    cancel: Callable[[], bool] | None = None,
) -> StudyFolder:
    """Carries out a study, or what is left of it: the same call on the same folder `out` goes on where it stopped.

    All arms share the settings `config`, but for the recipe; `minutes`, `images` and what `progress` is told [images] are of the
    whole study, over all arms and seeds. `cancel` is asked all the time: True saves and raises InterruptedTraining. RequestError
    if `out` holds something else or the study cannot be made.
    """
    path = Path(out)
    api.check_request(config, minutes, images)
    source = str(data) if str(data).split(":")[0] == "faces" else str(Path(data).absolute())
    asked = planning.StudyRequest(source, minutes, images, seeds)
    if config.data.channels == "4":
        raise RequestError("Studies are of images without transparency: leave --channels 4 out.")
    if config.is_conditional:
        raise RequestError("A study's models are given no labels: leave conditional and condition out of the settings.")
    # A guard would mend what a study is there to show, and with patience arms would see different numbers of images.
    config = replace(config, guards="off", patience=0.0)
    before = planning.read_record(path)
    if before is not None:
        planning.check_same(before[0], study, asked, config, path)
        config = before[0].config
    dataset = open_dataset(asked.source, config.data, progress=preparing)
    config = replace(config, data=dataset.config)
    setting = Setting(dataset, config, path)
    arms = study.arms(setting)
    if before is None:
        setting = replace(setting, base=planning.with_precision(config))
        plan, results = planning.make_plan(study, asked, setting, arms), list[Result]()
        arms = study.arms(setting)
    else:
        plan, results = before
        if plan.fingerprint != dataset.fingerprint:
            raise RequestError(f"The images in {asked.source} have changed since {path} began; give another --out.")
    planning.check_arms(arms, plan, results, path)
    on_progress, stop = progress or (lambda what, done, total: None), cancel or (lambda: False)
    return Runner(study, plan, setting, arms, results, on_progress, stop).run()


@dataclass
class Runner:
    """One study on its way."""

    study: Study
    plan: planning.Plan
    setting: Setting
    arms: Sequence[Arm]
    results: list[Result]  # at first what is there already
    progress: ProgressCallback
    stop: Callable[[], bool]

    def __post_init__(self) -> None:
        """Lays out the jobs: all arms with the first seed, then with the next."""
        self.folder = self.setting.folder
        self.jobs = [(arm, seed) for seed in range(self.plan.seeds) for arm in self.arms]
        self._finished = 0.0

    def run(self) -> StudyFolder:
        """Does what is left, while no other process may: two would write over each other's results."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with RunFolder(self.folder).alone():
            return self._run()

    def _run(self) -> StudyFolder:
        self._write("running")
        for index, (arm, seed) in enumerate(self.jobs):
            if not any((result.label, result.seed) == (arm.label, seed) for result in self.results):
                what = f"{index + 1} of {len(self.jobs)}: {arm.label}" + (f", seed {seed}" if self.plan.seeds > 1 else "")
                self._do(arm, seed, what)
            self._finished += self._weight(arm)
        order = {(arm.label, seed): place for place, (arm, seed) in enumerate(self.jobs)}
        self.results.sort(key=lambda result: order[result.label, result.seed])
        with disk_errors(self.folder):
            results = Results(self.setting, self.folder, [result for result in self.results if not result.failed])
            story = tell(self.study, results, [result for result in self.results if result.failed])
            write_report(self.study, results, story, self.plan, sum(result.seconds for result in self.results))
        self._write("finished", story)
        return StudyFolder(self.folder, story)

    def _do(self, arm: Arm, seed: int, what: str) -> None:
        folder = arm_folder(self.folder, arm.label, seed)
        run, began = RunFolder(folder), time.perf_counter()
        spent = run.read().spent_seconds if run.record_path.is_file() else 0.0  # by an arm that was stopped

        def tick(share: float) -> None:
            total = sum(self._weight(job) for job, _ in self.jobs)
            self.progress(what, round(self._finished + share * self._weight(arm)), max(1, round(total)))
            if self.stop():
                self._interrupt()

        tick(0.0)
        work, failed = Work(self.setting, seed, round(self.plan.images_of(arm)), folder, tick), None
        measured: list[Numbers] = []
        if isinstance(arm, ComputedArm):
            folder.mkdir(parents=True, exist_ok=True)
            measured = [arm.compute(work)]
        else:
            try:
                measured = self._train(arm, work)
            except TrainingError as error:
                if isinstance(error.__cause__, OSError):
                    raise  # a full disk says nothing about the arm
                failed = str(error)
        seconds = round(spent + time.perf_counter() - began, 1)
        self.results.append(Result(arm.label, seed, work.images, seconds, tuple(measured), failed))
        self._write("running")
        # A finished arm is never gone on with: its model stays, what only a resumed run needs goes.
        for checkpoint in folder.glob("*/checkpoint.pt"):
            checkpoint.unlink()

    def _train(self, arm: TrainedArm, work: Work) -> list[Numbers]:
        """Trains an arm from point to point and measures it at each; points measured before are not measured again."""
        if any(result.failed and (result.label, result.seed) == (arm.start, work.seed) for result in self.results):
            raise TrainingError(f"It starts from {arm.start}, which has broken down.")
        run, notes = RunFolder(work.folder), work.folder.with_suffix(".json")
        measured = planning.read_measured(notes, run.path)
        dataset = self.setting.dataset
        for point in range(len(measured), arm.points):
            is_last = point + 1 == arm.points
            seen = self._train_until(arm, work, None if is_last else work.images * (point + 1) / arm.points)
            dataset = dataset if arm.data is None else open_dataset(arm.data, arm.config.data)
            shared = replace(work, tick=lambda share: work.tick(0.95 + 0.04 * share))
            subject = Subject(**vars(shared), arm=arm, run=run, model=api.load(run.path), dataset=dataset, is_last=is_last)
            measured.append({"seen": seen} | self.study.measure(subject))
            write_json(notes, measured)
        return measured

    def _train_until(self, arm: TrainedArm, work: Work, until: float | None) -> int:
        """Trains on until the run has seen `until` images (None: until it is finished); returns the images seen."""
        run, seen, passed, last_tick = RunFolder(work.folder), 0, False, 0.0

        def on_progress(progress: Progress) -> None:
            nonlocal seen, passed, last_tick
            earlier = takewhile(lambda entry: entry.name != progress.stage, run.read().plan)
            seen = sum(entry.images or 0 for entry in earlier) + progress.seen
            passed = until is not None and seen >= until
            if time.perf_counter() - last_tick > 0.2:
                last_tick = time.perf_counter()
                work.tick(0.95 * seen / max(1, work.images))

        def cancel() -> bool:
            return passed or self.stop()

        try:
            if not run.record_path.is_file():
                init = None if arm.start is None else arm_folder(self.folder, arm.start, work.seed)
                source, config = arm.data or self.plan.source, replace(arm.config, seed=work.seed)
                api.train(source, config, images=work.images, out=run.path, init=init, progress=on_progress, cancel=cancel)
            elif run.read().status != "finished":
                api.resume(run.path, progress=on_progress, cancel=cancel)
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

    def _weight(self, arm: Arm) -> float:
        return max(1.0, self.plan.images_of(arm) * planning.cost(arm))

    def _write(self, status: str, story: Story | None = None) -> None:
        planning.write_record(self.folder, status, self.plan, self.results, story)
