"""`evaluate`: a run's stages and real images, measured alike; writes evaluation.json."""

import time
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any, cast

from torch import Tensor

import vaegan
from vaegan import api
from vaegan.config import Channels, DataConfig
from vaegan.data import VALIDATION, ImageDataset, open_dataset
from vaegan.errors import DataError, ModelError, RequestError
from vaegan.evaluation.copies import CopyCheck
from vaegan.evaluation.feature_files import INCEPTION, FeatureNetwork, check_features, open_feature_network
from vaegan.evaluation.inference import likelihood, reconstructions
from vaegan.evaluation.labelled import Labels
from vaegan.evaluation.numbers import Findings
from vaegan.evaluation.reference import RealImages, References, of_side, references
from vaegan.evaluation.samples import FEW, MOST_IN_PAIRS, Pictures, Yardstick, compare
from vaegan.evaluation.telling import UNTOLD, Telling
from vaegan.evaluation.verdict import verdict, wants_training
from vaegan.files import write_json
from vaegan.latent.stored import model_fingerprint
from vaegan.metrics.features import RANDOM_FEATURES
from vaegan.metrics.frechet import frechet_distance, frechet_with_interval
from vaegan.metrics.kernel import kernel_distance_with_interval
from vaegan.metrics.statistics import Moments
from vaegan.model import Model
from vaegan.training.card import refresh_cards
from vaegan.training.run import RunFolder, RunRecord, check_place, disk_errors, find_run, place_of
from vaegan.types import ProgressCallback

FORMAT_VERSION = 1
EVALUATION_FILE = "evaluation.json"
DEFAULT_COUNT, FULL_COUNT = 1_700, 10_000
FEWEST_SAMPLES, MOST_SAMPLES = 64, 50_000


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    stage: str | None = None,
    n: int | None = None,
    full: bool = False,
    features: str | Path | None = None,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Measures how good a run's models are and writes evaluation.json into its folder.

    Each stage's samples are compared with images that nobody trained on, and so are as many training images: that is the floor
    which no model can beat. The same run, seed and machine give the same numbers, bit for bit.

    Args:
        run: its folder.
        data: images to compare with; the test side of the run's own data when None. All images of other data count as unseen,
            except exact copies of training images.
        stage: vae or gan alone; every finished one when None.
        n: samples of each stage, and at most so many real images; 1,700 when None, 10,000 when full.
        full: more samples and more draws for the likelihood, for numbers that are published.
        features: an ONNX file or torch.export program that turns images into features, with a TOML beside it; adds the distances
            in its features.
        seed: of samples, patches, folds and intervals.
        progress: called with (what, done, total).

    Returns:
        The content of evaluation.json; docs/evaluation.md says what every number means.

    Raises:
        RequestError: if the run has no finished stage, or the request cannot be served.
        DataError: if there are no images to compare with.
    """
    began = time.perf_counter()
    count = n if n is not None else FULL_COUNT if full else DEFAULT_COUNT
    if not FEWEST_SAMPLES <= count <= MOST_SAMPLES:
        raise RequestError(f"-n {count} is not possible; give {FEWEST_SAMPLES} to {MOST_SAMPLES:,} samples.")
    network = None if features is None else open_feature_network(Path(features))
    told = progress or (lambda what, done, total: None)
    folder = find_run(run)
    record = folder.read()
    models = load_stages(folder, record, stage)
    channels = next(iter(models.values())).config.channels
    chosen, source, fingerprint = _real_images(folder, record, data, channels, told)
    telling = Telling(record.config.condition, next(iter(models.values())).config.labels)
    result = _measure(models, chosen, telling, network, count, full, seed, told)
    document = {
        "format_version": FORMAT_VERSION,
        "version": vaegan.__version__,
        "run": str(folder.path),
        "data": source,
        "fingerprint": fingerprint,
        "models": {name: model_fingerprint(model) for name, model in models.items()},
        "seed": seed,
        "n": count,
        "full": full,
        **result,
        "train_longer": list(models)[-1] == record.plan[-1].name and wants_training(result["stages"], result["floor"]),
        "seconds": round(time.perf_counter() - began, 1),
    }
    with disk_errors(folder.path):
        write_json(folder.path / EVALUATION_FILE, document)
    refresh_cards(folder, document)
    return document


def load_stages(folder: RunFolder, record: RunRecord, stage: str | None) -> dict[str, Model]:
    """The models of the finished stages, or of the one asked for, in the order they were trained.

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
        other = open_dataset(data, config, progress=told)
        if own is None and other.fingerprint == record.fingerprint:
            own = other  # the run's images, which were moved
        same = own is not None and (other.fingerprint == own.fingerprint or set(other.contents) == set(own.contents))
        chosen, fingerprint = references(own, None if same else other), other.fingerprint
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


def _measure(
    models: dict[str, Model],
    chosen: References,
    telling: Telling,
    network: FeatureNetwork | None,
    count: int,
    full: bool,
    seed: int,
    told: ProgressCallback,
) -> dict[str, Any]:
    """All numbers of all stages and of the floor."""
    steps, done = (2 if network is None else 3) + 4 * len(models), 0

    def step(what: str) -> None:
        nonlocal done
        told(f"measuring {what}", done, steps)
        done += 1

    step("real images")
    yard = Yardstick(chosen, count, seed)
    spectra: dict[str, list[float]] = {"real": yard.spectrum}
    floor, left_out = Findings(), {}
    if yard.train is None:
        left_out["floor"] = "the training images are not at hand"
    else:
        compare(yard, yard.train, floor)
    real_features = None
    if network is not None:
        step(f"real images in {network.description.name}")
        real_features = chosen.heldout.first(count).features(network.identity, network)
        check_features(real_features, network.description)
        if chosen.train is not None:
            train_features = chosen.train.first(count).features(network.identity, network)
            compare_features(network, real_features, train_features, floor, seed)
    step("real neighbours")
    # A conditional encoder is told what an image shows, so that its places leave out what a label says: no space to compare in.
    encoder = next((model for model in models.values() if model.has_encoder and not model.config.labels), None)
    copies = None if chosen.train is None else CopyCheck(chosen, encoder, full, count)
    if copies is None:
        left_out |= dict.fromkeys(("copying", "copying_encoder", "neighbour_distance"), "the training images are not at hand")
    elif (unseen := _validation(chosen)) is not None:
        copies.check(unseen.first(count).images(), floor, seed)
    labels = None if chosen.train is None or not chosen.train.dataset.labels else Labels(chosen, count)
    labels = labels if labels is not None and labels.factors else None
    if labels is not None and yard.train is not None:
        labels.mix(yard.train.images, floor, seed)
    stages: dict[str, Findings] = {}
    per_dimension: list[float] | None = None
    neighbours: dict[str, Any] = {"samples": [], "training_index": [], "pixel_distance": []}
    heldout, heldout_labels = yard.real.images, telling.of(chosen.heldout.first(count))
    unlabelled = telling.lacks(chosen.heldout)
    sample_labels = telling.samples(chosen, count, seed)
    for name, model in models.items():
        found = stages[name] = Findings()
        step(f"samples of the {name.upper()}")
        samples = model.sample(count, seed=seed, labels=sample_labels)
        spectra[name] = compare(yard, Pictures.of(samples), found)
        if real_features is not None and network is not None:
            compare_features(network, real_features, network(samples), found, seed)
        step(f"neighbours of the {name.upper()}")
        if copies is not None:
            neighbours = copies.check(samples, found, seed)
            if sample_labels is not None:
                neighbours["label"] = sample_labels[neighbours["samples"]].tolist()
        step(f"attributes of the {name.upper()}")
        if labels is not None:
            labels.mix(samples, found, seed)
            if model.has_encoder:
                labels.latent(model, telling, found)
        step(f"reconstructions of the {name.upper()}")
        if model.has_encoder and not unlabelled:
            reconstructions(model, heldout, heldout_labels, found, seed)
        if name == "vae" and not unlabelled:
            per_dimension = likelihood(model, heldout, heldout_labels, found, seed, full, lambda what, done, total: None)
    if unlabelled:
        left_out |= dict.fromkeys(("reconstruction_error", "psnr", "ssim", "elbo", "iwae", "kl"), UNTOLD)
    told("measuring", steps, steps)
    for found in (floor, *stages.values()):
        left_out |= found.left_out
    numbers = {name: found.as_json() for name, found in stages.items()}
    return {
        "reference": {"side": chosen.heldout.side, "count": len(yard.real)},
        "features": RANDOM_FEATURES if network is None else network.description.name,
        "stages": numbers,
        "floor": floor.as_json(),
        "left_out": left_out,
        "spectra": spectra,
        "per_dimension_kl": per_dimension or [],
        "neighbours": neighbours,
        "verdict": verdict(numbers, floor.as_json()),
    }


def compare_features(network: FeatureNetwork, real: Tensor, fake: Tensor, found: Findings, seed: int) -> None:
    """Distances in the features of the user's network; only Inception's are called FID and KID."""
    inception = network.description.name == INCEPTION
    frechet, kernel = ("fid", "kid") if inception else ("feature_frechet_distance", "feature_kernel_distance")
    name = network.description.name
    if not found.lacks(kernel, FEW["kernel"], len(real)):
        value, between = kernel_distance_with_interval(real[:MOST_IN_PAIRS], fake[:MOST_IN_PAIRS], seed)
        found.add(kernel, value, between, min(len(fake), MOST_IN_PAIRS), name)
    if not found.lacks(frechet, FEW["frechet"], len(real)):
        # Replicates of 2,048 dimensions would take longer than everything else together.
        if real.shape[1] <= 512:
            found.add(frechet, *frechet_with_interval(real, fake, seed), len(fake), name)
        else:
            found.add(frechet, frechet_distance(Moments.of(real), Moments.of(fake)), None, len(fake), name)


def _validation(chosen: References) -> RealImages | None:
    """Images that were not trained on and are not compared with: what copying looks like where there is none."""
    if chosen.train is None:
        return None
    images = of_side(chosen.train.dataset, VALIDATION, "validation")
    return images if len(images) >= FEWEST_SAMPLES and chosen.heldout.side != "validation" else None
