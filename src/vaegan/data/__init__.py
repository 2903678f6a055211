"""Images from anywhere to batches in [-1, 1].

The names are imported when they are first asked for: the command line reads the settings without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaegan.data.batches import TrainingBatches
    from vaegan.data.cache import default_cache_dir
    from vaegan.data.dataset import ImageDataset, open_dataset
    from vaegan.data.decoding import Skipped
    from vaegan.data.settings import DataConfig
    from vaegan.data.sides import SET_ASIDE, TEST, TRAIN, VALIDATION
    from vaegan.data.tensors import to_tensor, to_uint8

__all__ = [
    "SET_ASIDE",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "DataConfig",
    "ImageDataset",
    "Skipped",
    "TrainingBatches",
    "default_cache_dir",
    "open_dataset",
    "to_tensor",
    "to_uint8",
]

_MODULES = {
    "batches": ("TrainingBatches",),
    "cache": ("default_cache_dir",),
    "dataset": ("ImageDataset", "open_dataset"),
    "decoding": ("Skipped",),
    "settings": ("DataConfig",),
    "sides": ("SET_ASIDE", "TEST", "TRAIN", "VALIDATION"),
    "tensors": ("to_tensor", "to_uint8"),
}
_HOMES = {name: f"vaegan.data.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
