"""`evaluate`: a run's stages and real images, measured alike; writes evaluation.json."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any, cast

import vaegan
from vaegan import api
from vaegan.config import Channels, DataConfig, DeviceConfig
from vaegan.data import ImageDataset, open_dataset
from vaegan.errors import DataError, ModelError, RequestError
from vaegan.evaluation.feature_files import INCEPTION, FeatureNetwork, open_feature_network
from vaegan.evaluation.inference import NO_POSTERIOR, has_posteriors, likelihood, posteriors, reconstructions
from vaegan.evaluation.labelled import Labels
from vaegan.evaluation.looking import NETWORK, Looked, Request, look
from vaegan.evaluation.numbers import Findings
from vaegan.evaluation.reference import References, references
from vaegan.evaluation.samples import FEW, Described, compare, log_spectrum
from vaegan.evaluation.tally import KEPT, Share
from vaegan.evaluation.telling import UNTOLD, Telling
from vaegan.evaluation.verdict import copies_images, copying, verdict, wants_training
from vaegan.files import write_json
from vaegan.latent.stored import model_fingerprint
from vaegan.metrics.features import RANDOM_FEATURES
from vaegan.metrics.frechet import frechet_interval_by_halves, frechet_with_interval
from vaegan.metrics.kernel import kernel_distance_with_interval
from vaegan.metrics.table import FEWEST_SAMPLES, METRICS, MOST_SAMPLES
from vaegan.model import Model
from vaegan.training.card import refresh_cards
from vaegan.training.engine import FabricEngine
from vaegan.training.run import RunFolder, RunRecord, check_place, disk_errors, find_run, place_of
from vaegan.types import ProgressCallback

FORMAT_VERSION = 1
EVALUATION_FILE = "evaluation.json"
DEFAULT_COUNT, FULL_COUNT = 1_700, 10_000
UNSURE = "The run's own images are not at hand: some of those compared with may have been trained on, which would flatter."


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
    count = n if n is not None else FULL_COUNT if full else DEFAULT_COUNT
    if not FEWEST_SAMPLES <= count <= MOST_SAMPLES:
        raise RequestError(f"-n {count} is not possible; give {FEWEST_SAMPLES} to {MOST_SAMPLES:,} samples.")
    network = None if features is None else open_feature_network(Path(features))
    request = Request(count, full, seed, network)
    folder = find_run(run)
    with folder.alone():
        return _measured(folder, data, stage, request, device or DeviceConfig(), progress, began)


def _measured(
    folder: RunFolder,
    data: str | Path | None,
    stage: str | None,
    request: Request,
    device: DeviceConfig,
    progress: ProgressCallback | None,
    began: float,
) -> dict[str, Any]:
    """Measures and writes; see `evaluate` for the arguments."""
    record = folder.read()
    models = load_stages(folder, record, stage)
    engine = FabricEngine(device, request.seed)
    models = {name: Model(model.config, model.networks, engine.device) for name, model in models.items()}
    told = progress if progress is not None and engine.is_first else lambda what, done, total: None
    first = next(iter(models.values())).config
    opened: list[tuple[References, str, str]] = []
    engine.first_does(lambda: opened.append(_real_images(folder, record, data, first.channels, told)))
    # What the first process decoded the others find in the cache.
    chosen, source, fingerprint = opened[0] if opened else _real_images(folder, record, data, first.channels, told)
    step, telling = _steps(told, 2 + 4 * len(models)), Telling(record.config.condition, first.labels)
    looked = look(models, chosen, telling, request, Share(engine.rank, engine.world_size, engine.gather), step)
    document: dict[str, Any] = {}

    def judge() -> None:
        result = _judge(looked, models, chosen, telling, request, step)
        last = list(models)[-1] == record.plan[-1].name
        document.update(
            format_version=FORMAT_VERSION,
            version=vaegan.__version__,
            run=str(folder.path),
            data=source,
            fingerprint=fingerprint,
            models={name: model_fingerprint(model) for name, model in models.items()},
            seed=request.seed,
            n=request.count,
            full=request.full,
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


def _steps(told: ProgressCallback, steps: int) -> Callable[[str], None]:
    """What says that the next of `steps` begins; nothing ("") begins at the end."""
    done = 0

    def step(what: str) -> None:
        nonlocal done
        told(f"measuring {what}".rstrip(), done, steps)
        done += 1

    return step


def load_stages(folder: RunFolder, record: RunRecord, stage: str | None) -> dict[str, Model]:
    """The model of every stage that has one, or of the one asked for, in the order they were trained.

    Raises:
        ModelError: if there is none.
    """
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
    folder: RunFolder, record: RunRecord, data: str | Path | None, channels: int, told: ProgressCallback
) -> tuple[References, str, str]:
    """What to compare with, where it came from, and its fingerprint."""
    source = record.source if data is None else place_of(data)
    own = _own_data(folder, record, told, required=source == record.source)
    if data is None:
        assert own is not None
        chosen, fingerprint = references(own, None), own.fingerprint
    else:
        config: DataConfig = replace(record.config.data, channels=cast(Channels, str(channels)))
        other = open_dataset(data, config, progress=told, for_training=False)
        if own is None and other.fingerprint == record.fingerprint:
            own = other  # the run's images, which were moved
        same = own is not None and (other.fingerprint == own.fingerprint or set(other.contents) == set(own.contents))
        chosen, fingerprint = references(own, None if same else other), other.fingerprint
    if len(chosen.heldout) < 2 and data is not None:
        raise DataError(
            f"{source} has {'1 image' if len(chosen.heldout) else 'no image'} that the run was not trained on, and it takes 2 at "
            f"least to judge by. Give other images: vaegan evaluate {quote(str(folder.path))} DATA"
        )
    if len(chosen.heldout) < 2:
        raise DataError(
            f"{source} has no image that was held out from training, so there is nothing to judge by. "
            f"Give other images: vaegan evaluate {quote(str(folder.path))} DATA"
        )
    return chosen, source, fingerprint


def _own_data(folder: RunFolder, record: RunRecord, told: ProgressCallback, required: bool) -> ImageDataset | None:
    """The run's own images as they were trained on; None if they are gone or have changed and are not required."""
    if required:
        check_place(record.source, f"vaegan evaluate {quote(str(folder.path))} PLACE")
    try:
        own = open_dataset(record.source, record.config.data, progress=told)
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


def _judge(
    looked: Looked,
    models: dict[str, Model],
    chosen: References,
    telling: Telling,
    request: Request,
    step: Callable[[str], None],
) -> dict[str, Any]:
    """All numbers of all stages and of the floor."""
    yard, copies, seed, network = looked.yard, looked.copies, request.seed, request.network
    floor, left_out = Findings(most=request.count), {}
    if yard.train is None:
        left_out["floor"] = "the training images are not at hand"
    else:
        compare(yard, yard.train, floor)
        if network is not None:
            compare_features(network, yard.real, yard.train, floor, seed)
    if copies is None:
        left_out |= dict.fromkeys(("copying", "copying_encoder", "neighbour_distance"), "the training images are not at hand")
    elif looked.unseen is not None:
        copies.judge(looked.unseen, floor, seed)
    labels = None if chosen.train is None or not chosen.train.dataset.labels else Labels(chosen, request.count)
    labels = labels if labels is not None and labels.factors else None
    if labels is not None and yard.train is not None:
        labels.mix(yard.train, floor, seed)
    stages: dict[str, Findings] = {}
    per_dimension: list[float] = []
    neighbours: dict[str, Any] = {"samples": [], "training_index": [], "pixel_distance": []}
    heldout, sample_labels = chosen.heldout.first(request.count), telling.samples(chosen, request.count, seed)
    for name, model in models.items():
        found, samples = stages.setdefault(name, Findings(most=request.count)), looked.samples[name]
        step(f"numbers of the {name.upper()}")
        compare(yard, samples, found)
        if network is not None:
            compare_features(network, yard.real, samples, found, seed)
        if copies is not None:
            neighbours = copies.judge(samples.tally, found, seed)
            if sample_labels is not None:
                neighbours["label"] = sample_labels[neighbours["samples"]].tolist()
        step(f"attributes of the {name.upper()}")
        if labels is not None:
            labels.mix(samples, found, seed)
            if model.has_encoder:
                labels.latent(model, telling, found, seed)
        if name in looked.inferred:
            reconstructions(looked.inferred[name], len(heldout), found, seed)
            if has_posteriors(model):
                per_dimension = posteriors(looked.inferred[name], len(heldout), found, seed)
                likelihood(model, heldout, telling, found, seed, request.full)
    if not any(has_posteriors(model) for model in models.values()):
        left_out |= dict.fromkeys(("elbo", "iwae", "bits_per_dimension", "kl", "active_units", "aggregate_gap"), NO_POSTERIOR)
    if telling.lacks(chosen.heldout):
        left_out |= dict.fromkeys(("reconstruction_error", "psnr", "ssim", "elbo", "iwae", "kl"), UNTOLD)
    for found in (floor, *stages.values()):
        left_out |= found.left_out
    for name in [name for name in left_out if any(name in found.numbers for found in stages.values())]:
        del left_out[name]  # what only the floor lacks says so in the floor's place
    numbers = {name: found.as_json() for name, found in stages.items()}
    missing = "the training images are not at hand" if yard.train is None else "too few validation images to stand for samples"
    for named in numbers.values():
        for name in named.keys() - floor.numbers.keys():
            named[name]["no_floor"] = METRICS[name].no_floor or missing
            if "chance" in named[name]:
                named[name]["no_floor"] = f"{named[name]['chance']:.2f} by chance, with latents of other images"
    return {
        "reference": {"side": chosen.heldout.side, "count": len(heldout)},
        "features": RANDOM_FEATURES if network is None else network.description.name,
        "kept": KEPT,
        "stages": numbers,
        "floor": floor.as_json(),
        "left_out": left_out,
        "spectra": {name: log_spectrum(one) for name, one in {"real": yard.real, **looked.samples}.items()},
        "per_dimension_kl": per_dimension,
        "neighbours": neighbours,
        "verdict": verdict(numbers, floor.as_json()) + ([] if chosen.train is not None else [UNSURE]),
        "copies": {name: copying(named) for name, named in numbers.items() if copies_images(named)},
    }


def compare_features(network: FeatureNetwork, real: Described, given: Described, found: Findings, seed: int) -> None:
    """Distances in the features of the user's network; only Inception's are called FID and KID."""
    name = network.description.name
    frechet, kernel = ("fid", "kid") if name == INCEPTION else ("feature_frechet_distance", "feature_kernel_distance")
    if not found.lacks(kernel, FEW["kernel"], real.count):
        one, two = real.tally.rows(NETWORK), given.tally.rows(NETWORK)
        found.add(kernel, *kernel_distance_with_interval(one, two, seed), len(two), name, len(one))
    if not found.lacks(frechet, FEW["frechet"], real.count):
        value, between = frechet_with_interval(real.tally.moments(NETWORK), given.tally.moments(NETWORK), seed)
        between = between or frechet_interval_by_halves(value, real.tally.rows(NETWORK), given.tally.rows(NETWORK), seed)
        found.add(frechet, value, between, given.count, name, real.count)
