"""A folder of images becomes a VAE, and the VAE's decoder becomes a GAN's generator.

Names are imported when first used, so that `import vaegan` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaegan.api import load, resume, train
    from vaegan.config import TrainConfig
    from vaegan.config_files import load_preset
    from vaegan.data import open_dataset
    from vaegan.errors import (
        DataError,
        InterruptedTraining,
        ModelError,
        RequestError,
        TrainingError,
        VaeganError,
    )
    from vaegan.evaluation import evaluate
    from vaegan.model import Model

__version__ = "0.1.0"

_HOMES = {
    "DataError": "errors",
    "InterruptedTraining": "errors",
    "Model": "model",
    "ModelError": "errors",
    "RequestError": "errors",
    "TrainConfig": "config",
    "TrainingError": "errors",
    "VaeganError": "errors",
    "evaluate": "evaluation",
    "load": "training.saved",
    "load_preset": "config_files",
    "open_dataset": "data",
    "resume": "api",
    "train": "api",
}

__all__ = [
    "DataError",
    "InterruptedTraining",
    "Model",
    "ModelError",
    "RequestError",
    "TrainConfig",
    "TrainingError",
    "VaeganError",
    "evaluate",
    "load",
    "load_preset",
    "open_dataset",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    """Imports a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vaegan' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"vaegan.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
