"""`evaluate`: a run's stages and real images, measured alike; writes evaluation.json."""

import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Any, cast

import vaegan
from vaegan import api
from vaegan.config import DeviceConfig
from vaegan.data import ImageDataset, open_dataset
from vaegan.errors import DataError, ModelError, RequestError
from vaegan.evaluation.feature_files import open_feature_network
from vaegan.evaluation.measure import Measurement, Options
from vaegan.evaluation.reference import Condition, References, references
from vaegan.evaluation.tally import Share
from vaegan.evaluation.verdict import wants_training
from vaegan.files import write_json
from vaegan.latent.stored import model_fingerprint
from vaegan.metrics.table import FEWEST_SAMPLES, MOST_SAMPLES
from vaegan.model import Model
from vaegan.model_files import ModelConfig
from vaegan.shapes import Channels, DataConfig
from vaegan.training.card import refresh_cards
from vaegan.training.engine import FabricEngine, together
from vaegan.training.run import RunFolder, RunRecord, check_place, disk_errors, find_run, place_of
from vaegan.types import ProgressCallback

FORMAT_VERSION = 2
EVALUATION_FILE = "evaluation.json"
DEFAULT_COUNT, FULL_COUNT = 1_700, 10_000


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    stage: str | None = None,
    n: int | None = None,
    full: bool = False,
    features: str | Path | None = None,
    seed: int = 0,
    device: DeviceConfig | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Measures how good a run's models are and writes evaluation.json into its folder.

    Each stage's samples are compared with images that nobody trained on, and so are as many training images: that is the floor
    which no model can beat. The same run, seed and machine give the same numbers, bit for bit.

    Args:
        run: its folder.
        data: images to compare with; the test side of the run's own data when None. All images of other data count as unseen,
            except exact copies of training images.
        stage: vae or gan alone; every one that has a model when None: of an unfinished stage the last one saved.
        n: samples of each stage, and at most so many real images; 1,700 when None, 10,000 when full.
        full: more samples and more draws for the likelihood, for numbers that are published.
        features: an ONNX file or torch.export program that turns images into features, with a TOML beside it; adds the distances
            in its features.
        seed: of samples, patches, folds and intervals.
        device: where the models run, and how many processes share the images; one process, and a GPU if there is one, when None.
        progress: called with (what, done, total).

    Returns:
        The content of evaluation.json; docs/evaluation.md says what every number means.

    Raises:
        RequestError: if the run has no model yet, or the request cannot be served.
        VaeganError: if another command is at work in the run.
        DataError: if there are no images to compare with.
    """
    began = time.perf_counter()
    samples = n if n is not None else FULL_COUNT if full else DEFAULT_COUNT
    if not FEWEST_SAMPLES <= samples <= MOST_SAMPLES:
        raise RequestError(f"-n {samples} is not possible; give {FEWEST_SAMPLES} to {MOST_SAMPLES:,} samples.")
    network = None if features is None else open_feature_network(Path(features))
    options = Options(samples, full, seed, network)
    folder = find_run(run)
    with folder.alone():
        return _measured(folder, data, stage, options, device or DeviceConfig(), progress, began)


@together("Try again, or with fewer --devices.")
def _measured(
    folder: RunFolder,
    data: str | Path | None,
    stage: str | None,
    options: Options,
    device: DeviceConfig,
    progress: ProgressCallback | None,
    began: float,
) -> dict[str, Any]:
    record = folder.read()
    models = load_stages(folder, record, stage)
    engine = FabricEngine(device, options.seed)
    models = {name: Model(model.config, model.networks, engine.device) for name, model in models.items()}
    report = progress if progress is not None and engine.is_first else lambda what, done, total: None
    first = next(iter(models.values())).config
    opened: list[tuple[References, str, str]] = []
    engine.first_does(lambda: opened.append(_real_images(folder, record, data, first, report)))
    # What the first process decoded the others find in the cache.
    real, source, fingerprint = opened[0] if opened else _real_images(folder, record, data, first, report)
    share, done = Share(engine.rank, engine.world_size, engine.gather), count()

    def step(what: str) -> None:
        """Says that the next part begins; nothing ("") begins at the end."""
        report(f"measuring {what}".rstrip(), next(done), 2 + 4 * len(models))

    measurement = Measurement(models, real, Condition(record.config.condition, first.labels), options, share, step)
    measurement.observe()
    document: dict[str, Any] = {}

    def judge() -> None:
        result = measurement.result()
        last = list(models)[-1] == record.plan[-1].name
        document.update(
            format_version=FORMAT_VERSION,
            version=vaegan.__version__,
            run=str(folder.path),
            data=source,
            fingerprint=fingerprint,
            models={name: model_fingerprint(model) for name, model in models.items()},
            seed=options.seed,
            n=options.count,
            full=options.full,
            **result,
            train_longer=last and wants_training(result["stages"], result["floor"]),
            seconds=round(time.perf_counter() - began, 1),
        )
        with disk_errors(folder.path):
            write_json(folder.path / EVALUATION_FILE, document)
        refresh_cards(folder, document)
        step("")

    engine.first_does(judge)
    return engine.share(document)


def load_stages(folder: RunFolder, record: RunRecord, stage: str | None) -> dict[str, Model]:
    """The model of every stage that has one, or of the one asked for, in the order they were trained."""
    names = [plan.name for plan in record.plan if (folder.model(plan.name) / "config.json").is_file()]
    if stage is not None or not names:
        return {stage or "": api.load(folder.path, stage)}
    missing = [plan.name for plan in record.plan if plan.name not in names]
    if missing and record.status == "finished":
        raise ModelError(
            f"{folder.model(missing[0])} is missing, although the run is finished. Copy the run again, or evaluate what is there "
            f"with --stage {names[-1]}."
        )
    return {name: api.load(folder.path, name) for name in names}


def _real_images(
    folder: RunFolder, record: RunRecord, data: str | Path | None, model: ModelConfig, report: ProgressCallback
) -> tuple[References, str, str]:
    source = record.source if data is None else place_of(data)
    own = _own_data(folder, record, report, required=source == record.source)
    if data is None:
        assert own is not None
        chosen, fingerprint = references(own, None), own.fingerprint
    else:
        config: DataConfig = replace(record.config.data, channels=cast(Channels, str(model.channels)), levels=model.levels)
        other = open_dataset(data, config, progress=report, for_training=False)
        if own is None and other.fingerprint == record.fingerprint:
            own = other  # the run's images, which were moved
        same = own is not None and (other.fingerprint == own.fingerprint or set(other.contents) == set(own.contents))
        chosen, fingerprint = references(own, None if same else other), other.fingerprint
    if len(chosen.heldout) < 2:
        few = "no image that was held out from training, so there is nothing to judge by"
        if data is not None:
            there = "1 image" if len(chosen.heldout) else "no image"
            few = f"{there} that the run was not trained on, and it takes 2 at least to judge by"
        raise DataError(f"{source} has {few}. Give other images: vaegan evaluate {quote(str(folder.path))} DATA")
    return chosen, source, fingerprint


def _own_data(folder: RunFolder, record: RunRecord, report: ProgressCallback, required: bool) -> ImageDataset | None:
    """The run's own images as they were trained on; None if they are gone or have changed and are not required."""
    if required:
        check_place(record.source, f"vaegan evaluate {quote(str(folder.path))} PLACE")
    try:
        own = open_dataset(record.source, record.config.data, progress=report)
    except (RequestError, OSError):
        if required:
            raise
        return None
    if own.fingerprint == record.fingerprint:
        return own
    if required:
        raise RequestError(
            f"The images in {record.source} have changed since the run was trained, so it is not known which were held out. "
            f"Give images it never saw: vaegan evaluate {quote(str(folder.path))} DATA"
        )
    return None
