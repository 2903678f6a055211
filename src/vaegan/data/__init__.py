"""Images from anywhere to batches in [-1, 1]."""

from vaegan.config import DataConfig
from vaegan.data.batches import TrainingBatches
from vaegan.data.building import skipped_in_words
from vaegan.data.cache import default_cache_dir
from vaegan.data.collection import open_images
from vaegan.data.dataset import ImageDataset, open_dataset
from vaegan.data.decoding import Skipped
from vaegan.data.sides import SET_ASIDE, TEST, TRAIN, VALIDATION
from vaegan.data.single import image_from_bytes, load_images
from vaegan.data.sources import check_source
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
    "check_source",
    "default_cache_dir",
    "image_from_bytes",
    "load_images",
    "open_dataset",
    "open_images",
    "skipped_in_words",
    "to_tensor",
    "to_uint8",
]
