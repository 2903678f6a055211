"""Models out of run folders, without what training needs: a command that only uses a model starts sooner."""

from pathlib import Path
from shlex import quote

import torch

from vaegan.config import Fit
from vaegan.errors import ModelError
from vaegan.model import Model
from vaegan.training.run import RunFolder, find_run


def load(path: str | Path, stage: str | None = None, device: torch.device | str = "cpu") -> Model:
    """The model of a run, or a model saved on its own.

    Args:
        path: a run's folder, or a folder with config.json and model.safetensors.
        stage: ae, vae or gan; the last one trained when None.
        device: where it will run.

    Raises:
        ModelError: if there is none.
    """
    model = Model.from_pretrained(model_folder(path, stage), device)
    if stage not in (None, model.config.stage):
        raise ModelError(f"{path} holds the model of stage {model.config.stage}, not {stage}; leave --stage out.")
    return model


def model_folder(path: str | Path, stage: str | None = None) -> Path:
    """The folder that `load` reads a model from; what belongs to the model, like its named directions, lies there too.

    Args:
        path: a run's folder, or a folder with config.json and model.safetensors.
        stage: vae or gan; the last one trained when None.

    Raises:
        ModelError: if there is none.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return path
    folder = find_run(path)
    there = [name for name in ("gan", "joint", "vae", "ae") if (folder.model(name) / "config.json").is_file()]
    if not there:
        raise ModelError(f"{path} has no finished stage yet. Go on with: vaegan train --resume {quote(str(path))}")
    if stage is not None and stage not in there:
        raise ModelError(f"{path} has no finished stage {stage}; it has {', '.join(there)}.")
    return folder.model(stage or there[0])


def fit_of(path: str | Path) -> Fit:
    """How a run made squares of its training images; crop for a model saved on its own."""
    folder = RunFolder(Path(path))
    return folder.read().config.data.fit if folder.record_path.is_file() else "crop"
