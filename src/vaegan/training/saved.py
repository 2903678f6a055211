"""Models out of run folders, without what training needs: a command that only uses a model starts sooner."""

from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.data import TEST, VALIDATION, ImageDataset, open_dataset
from vaegan.errors import DataError, ModelError, RequestError
from vaegan.model import Model
from vaegan.shapes import LEAST_SIZE, Channels, DataConfig, Fit, Shape
from vaegan.training.run import RunFolder, find_run
from vaegan.types import ProgressCallback


def load(path: str | Path, stage: str | None = None, device: torch.device | str = "cpu") -> Model:
    """The model of a run, or a model saved on its own.

    Args:
        path: a run's folder, or a folder with config.json and model.safetensors.
        stage: ae, vae, gan or joint; the last one when None, and of an unfinished stage the model saved last.
        device: where it will run.

    Raises:
        ModelError: if there is none.
    """
    model = Model.from_pretrained(model_folder(path, stage), device)
    if stage not in (None, model.config.stage):
        raise ModelError(f"{path} holds the model of stage {model.config.stage}, not {stage}; leave --stage out.")
    return model


def model_folder(path: str | Path, stage: str | None = None) -> Path:
    """The folder that `load` reads a model from; what belongs to the model, like its named directions, lies there too."""
    path = Path(path)
    for place in (path, path / "model"):  # a model's own folder, or that of a run's stage
        if (place / "config.json").is_file():
            return place
    folder = find_run(path)
    there = [name for name in ("gan", "joint", "vae", "ae") if (folder.model(name) / "config.json").is_file()]
    if not there:
        raise ModelError(f"{path} has no finished stage yet. Go on with: vaegan train --resume {quote(str(path))}")
    if stage is not None and stage not in there:
        raise ModelError(f"{path} has no finished stage {stage}; it has {', '.join(there)}.")
    return folder.model(stage or there[0])


def images_config(model: Model, run: str | Path, fit: Fit | None = None, scale: int = 1) -> DataConfig:
    """How images that a person names are prepared for a model: as the run's held-out images were, binarised once for all.

    For a `scale` their sides are so many times smaller; RequestError where that does not go into them.
    """
    folder = RunFolder(Path(run))
    data = folder.read().config.data if folder.record_path.is_file() else DataConfig()
    channels = cast(Channels, str(model.config.channels))
    labels = data.labels if data.labels and Path(data.labels).is_file() else None  # other images can do without
    shown = {"levels": model.config.levels, "background": model.config.background, "labels": labels}
    config = replace(data, size=model.config.size, fit=fit or data.fit, channels=channels, **shown)
    if scale == 1:
        return config
    shape = config.shape
    possible = [n for n in range(2, min(shape) // LEAST_SIZE + 1) if not any(side % n for side in shape)]
    if scale not in possible:
        some = f"give {' or '.join(map(str, possible))}" if possible else f"none is, from {LEAST_SIZE} pixels on"
        raise RequestError(f"--scale {scale} is not possible with images of {shape}, which this model makes; {some}.")
    return replace(config, size=str(Shape(shape.height // scale, shape.width // scale)), binarize="none")


def run_images(run: str | Path, progress: ProgressCallback | None = None) -> ImageDataset:
    """The images that a run was trained on, prepared as they were then; DataError if they are no longer where they were.

    ModelError if `run` is a model saved on its own, which does not know its images.
    """
    record = find_run(run).read()
    return open_dataset(record.source, record.config.data, progress=progress)


def showing(run: str | Path, dataset: ImageDataset, label: str | None) -> NDArray[np.int64]:
    """Positions of the images that show the `label` a conditional model was told; of all where none was told or they do not say.

    The test side is left out: `evaluate` alone reads it. DataError if there is no other image.
    """
    everything = np.flatnonzero(dataset.sides != TEST)
    if not len(everything):
        raise DataError("All of these images are on the test side, which only evaluate reads; give others.")
    folder = RunFolder(Path(run))
    name = folder.read().config.condition if label is not None and folder.record_path.is_file() else None
    codes, words = dataset.coded(name) if name in dataset.label_words else (everything, ())
    return everything[codes[everything] == words.index(label)] if label in words else everything


def heldout_images(
    run: str | Path, progress: ProgressCallback | None = None, label: str | None = None
) -> tuple[ImageDataset, NDArray[np.int64]]:
    """The images that a run was trained on, and the positions of those on the validation side, which it never learned from.

    With `label` only those that show what a conditional model was told. Raises as `run_images` does, and DataError if there are
    none.
    """
    dataset = run_images(run, progress)
    indices = np.intersect1d(dataset.indices(VALIDATION), showing(run, dataset, label))
    if not len(indices):
        which = "" if label is None else f" of {label}"
        raise DataError(f"{run} held no images{which} out to compare with.")
    return dataset, indices


def its_vae(run: str | Path) -> str | None:
    """The stage vae where a run has trained one; None elsewhere."""
    return "vae" if (RunFolder(Path(run)).model("vae") / "config.json").is_file() else None
