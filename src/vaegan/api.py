"""What the commands do, as functions that never print: train, resume, load."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from vaegan.config import TrainConfig
from vaegan.config_files import load_preset
from vaegan.data import ImageDataset, check_source, open_dataset
from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.networks.perception import PACKAGE, find_weights
from vaegan.processes import is_first_process, is_launched, number_of_processes
from vaegan.training.checks import check_fits, check_settings, check_start
from vaegan.training.engine import FabricEngine, together
from vaegan.training.loop import Progress
from vaegan.training.run import (
    RunFolder,
    RunRecord,
    StagePlan,
    check_new_run,
    check_place,
    find_run,
    new_run_folder,
    place_of,
    point_last_at,
)
from vaegan.training.saved import its_vae, load
from vaegan.training.session import Listener, Session
from vaegan.training.timing import whole_batches
from vaegan.types import ProgressCallback

__all__ = ["DEFAULT_MINUTES", "check_new", "check_request", "load", "resume", "train"]

DEFAULT_MINUTES = 4.0


def train(
    data: str | Path,
    config: TrainConfig | None = None,
    *,
    minutes: float | None = None,
    images: int | None = None,
    out: str | Path | None = None,
    init: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    preparing: ProgressCallback | None = None,
    say: Callable[[str], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    checkpoint_seconds: float = 60.0,
) -> RunFolder:
    """Trains a model on a collection of images.

    Args:
        data: "faces", a folder, an archive, IDX files, .npy or .npz.
        config: settings; the preset tiny when None.
        minutes: training wall-clock over all stages; 4 when neither is given.
        images: images seen over all stages, instead of minutes.
        out: folder of the run; the next one under runs/ when None.
        init: an earlier run or model whose weights are the start.
        progress: called a few times a second while training.
        preparing: called while images are decoded.
        say: called with sentences worth showing.
        cancel: asked before every step, of several processes before every tenth; True saves and raises InterruptedTraining.
        checkpoint_seconds: between checkpoints.

    Returns the run; `load(run.path)` gives its model. Raises RequestError, or TrainingError if training broke down.
    """
    config, place = config or load_preset("tiny"), None if out is None else Path(out)
    minutes = DEFAULT_MINUTES if minutes is None and images is None else minutes
    check_request(config, minutes, images)
    if is_first_process():
        check_new_run(place)
    config = _with_eyes(config, say)
    engine = _started(config)
    start = None if init is None else load_start(init, config, engine.device)
    dataset = _open_everywhere(engine, data, config, preparing)
    config = _settled(config, dataset)
    if start is not None:
        check_fits(start, config, dataset)
    record = RunRecord(
        source=place_of(data),
        config=config,
        seconds_target=None if minutes is None else 60 * minutes,
        plan=_plan(config, images),
        init=None if init is None else str(Path(init).absolute()),
        fingerprint=dataset.fingerprint,
        precision=None,
        facts={"data": _data_facts(dataset)},
    )
    # The first process chooses the folder, so that all of them mean the same.
    folder: RunFolder = engine.share(engine.first_does(lambda: new_run_folder(place, record.source)))
    listener = _listener(engine, progress, say, cancel)
    with folder.alone():
        engine.first_does(lambda: _begin(folder, record, dataset, listener))
        Session(folder, record, dataset, engine, listener, start, checkpoint_seconds).run()
    return folder


def _with_eyes(config: TrainConfig, say: Callable[[str], None] | None) -> TrainConfig:
    """Settings that this machine can carry out: without the frozen network's weights no critic looks through it."""
    if not config.has_eyes or find_weights() is not None:
        return config
    if say is not None and is_first_process():
        say(f"Without the package {PACKAGE} no critic looks through a pretrained network; with it images are far better.")
    return replace(config, gan=replace(config.gan, perception="none"))


def resume(
    run: str | Path,
    data: str | Path | None = None,
    *,
    minutes: float | None = None,
    images: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    preparing: ProgressCallback | None = None,
    say: Callable[[str], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    checkpoint_seconds: float = 60.0,
) -> RunFolder:
    """Goes on with a run where it stopped, or extends a finished one. On a CPU the weights are those of a run never stopped.

    `data` says where its images are now, if they were moved; the run remembers it. With `minutes` it trains so many more, without
    them it ends where it was planned to; `images` are so many in all, over all stages. The rest is as for `train`.

    Raises:
        RequestError: if the run is finished and no more is asked for, or its images were moved or have changed.
        InterruptedTraining: when cancelled, after saving.
    """
    folder = find_run(run)
    with folder.alone():
        record = folder.read()
        check_request(record.config, minutes, images)
        if minutes is None and images is None and record.status == "finished":
            raise RequestError(f"{run} is finished; to go on add --minutes 10 (more), or --images N (in all, over all stages).")
        record = replace(_extended(record, minutes, images), source=record.source if data is None else place_of(data))
        if data is None:
            check_place(record.source, f"vaegan train PLACE --resume {quote(str(run))}")
        engine = _started(record.config)
        # Checkpoints hold everything; only a GAN is built around the model it started from.
        whole = any(folder.checkpoint(stage).is_file() for stage in ("ae", "vae", "joint"))
        start = None if record.init is None or whole else load_start(record.init, record.config, engine.device)
        dataset = _open_everywhere(engine, record.source, record.config, preparing)
        if dataset.fingerprint != record.fingerprint:
            what = f"have changed since {run} began" if data is None else f"are not those that {run} was trained on"
            raise RequestError(
                f"The images in {record.source} {what}. Start a new run from it: "
                f"vaegan train {quote(record.source)} --init {quote(str(run))} --size {record.config.data.size}"
            )
        listener = _listener(engine, progress, say, cancel)
        Session(folder, record, dataset, engine, listener, start, checkpoint_seconds).run()
    return folder


def check_new(data: str | Path, config: TrainConfig, out: str | Path | None, init: str | Path | None) -> None:
    """Refuses images, settings, a folder or a start that no new run can be made of, without decoding anything: RequestError."""
    check_source(data)
    check_new_run(None if out is None else Path(out))
    if init is not None:
        load_start(init, config)


def check_request(config: TrainConfig, minutes: float | None, images: int | None) -> None:
    """Refuses settings and lengths that cannot work, before anything is made: RequestError naming what is wrong."""
    check_settings(config, number_of_processes("LOCAL_WORLD_SIZE", config.device.devices) * config.device.nodes)
    if config.device.nodes > 1 and not is_launched():
        raise RequestError(
            f"--nodes {config.device.nodes} needs the same command started on every machine, by torchrun or SLURM; "
            "nothing of either is set here."
        )
    if minutes is not None and images is not None:
        raise RequestError("Give --minutes or --images, not both.")
    if minutes is not None and not 0 < minutes < 1e6:
        raise RequestError(f"--minutes {minutes:g} is no training time; give a positive number, under a million.")
    if images is not None and not 1 <= images <= 10**12:
        raise RequestError(f"--images {images} is no training; give a positive number, at most a million million.")


def _started(config: TrainConfig) -> FabricEngine:
    engine = FabricEngine(config.device, config.seed)
    check_settings(config, engine.world_size)  # once more: a launcher may have started other processes than were asked for
    return engine


def _settled(config: TrainConfig, dataset: ImageDataset) -> TrainConfig:
    """Settings in which what only the images can tell is settled: their size, and the name of the label that is told."""
    data = dataset.config
    if data.labels:  # a resumed run may be started from elsewhere
        data = replace(data, labels=str(Path(data.labels).absolute()))
    condition = dataset.categories(config.condition)[0] if config.is_conditional else config.condition
    return replace(config, data=data, condition=condition)


def _begin(folder: RunFolder, record: RunRecord, dataset: ImageDataset, listener: Listener) -> None:
    """What a new run's folder begins with, and what is worth saying of its images."""
    folder.write(record)
    dataset.write_skipped(folder.path / "skipped.csv")
    point_last_at(folder)
    for sentence in (*dataset.notes, *dataset.warnings):
        listener.say(sentence)
    if count := len(dataset.skipped):
        listener.say(f"{count:,} of {count + len(dataset):,} files were skipped; why: {folder.path / 'skipped.csv'}")


def _listener(
    engine: FabricEngine,
    progress: Callable[[Progress], None] | None,
    say: Callable[[str], None] | None,
    cancel: Callable[[], bool] | None,
) -> Listener:
    """Everybody may be told to stop; only the first process tells."""
    told, said = (progress, say) if engine.is_first else (None, None)
    return Listener(told or (lambda _: None), said or (lambda _: None), cancel or (lambda: False))


def load_start(init: str | Path, config: TrainConfig, device: torch.device | str = "cpu") -> Model:
    """The model that a run starts from: the one named, or of a run its VAE, and its last one where it has none.

    ModelError if there is none, RequestError if it does not fit the settings.
    """
    start = load(init, its_vae(init), device)
    check_start(start, config)
    return start


def _data_facts(dataset: ImageDataset) -> dict[str, Any]:
    return {
        "images": len(dataset),
        "channels": dataset.channels,
        "levels": dataset.levels,
        "skipped": len(dataset.skipped),
        "notes": list(dataset.notes),
        "warnings": list(dataset.warnings),
    }


def _plan(config: TrainConfig, images: int | None) -> tuple[StagePlan, ...]:
    stages = config.stages
    if images is None:
        return tuple(StagePlan(stage, None) for stage in stages)
    vae = config.budget.vae_images(images)
    parts = {stages[0]: images} if len(stages) == 1 else {"vae": vae, "gan": images - vae}
    planned = {stage: whole_batches(parts[stage], config.batch_size(stage)) for stage in stages}
    return tuple(StagePlan(stage, count, schedule_end=count) for stage, count in planned.items())


def _extended(record: RunRecord, minutes: float | None, images: int | None) -> RunRecord:
    last = record.plan[-1]
    if minutes is None and images is None:
        return record
    # The rest is true of the model that was kept, which stays until there is another.
    stage_facts = {name: value for name, value in record.facts.get(last.name, {}).items() if name not in ("finished", "ended")}
    record = replace(record, facts=record.facts | {last.name: stage_facts}, status="training")
    if minutes is not None:
        # A stage that is under way shares the new time, whatever it was to see before.
        over = {name for name, facts in record.facts.items() if isinstance(facts, dict) and facts.get("finished")}
        plan = tuple(stage if stage.name in over else replace(stage, images=None) for stage in record.plan)
        return replace(record, plan=plan, seconds_target=record.spent_seconds + 60 * minutes)
    assert images is not None
    if any(plan.images is None for plan in record.plan[:-1]):  # the minutes had not become images yet
        return replace(record, plan=_plan(record.config, images), seconds_target=None)
    before = sum(plan.images or 0 for plan in record.plan[:-1])
    done = before + (last.images or 0)
    if images <= done:
        raise RequestError(f"--images counts all stages, and {done:,} are planned already; ask for more than that.")
    more = whole_batches(images - before, record.config.batch_size(last.name))
    return replace(record, plan=(*record.plan[:-1], replace(last, images=more)))  # the session settles its schedules


@together("Try again, or with fewer --devices.")
def _open_everywhere(
    engine: FabricEngine, data: str | Path, config: TrainConfig, preparing: ProgressCallback | None
) -> ImageDataset:
    """The first process decodes, the others then find the cache."""
    dataset = engine.first_does(lambda: open_dataset(data, config.data, progress=preparing))
    return dataset or open_dataset(data, config.data)
