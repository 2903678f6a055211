"""Images from anywhere to batches in [-1, 1]."""

from vaegan.caching import default_cache_dir
from vaegan.config import DataConfig
from vaegan.data.batches import TrainingBatches
from vaegan.data.building import SET_ASIDE, SIDE_NAMES, TEST, TRAIN, VALIDATION, skipped_in_words
from vaegan.data.dataset import ImageDataset, check_source, image_from_bytes, load_images, open_dataset, open_images
from vaegan.data.decoding import Skipped
from vaegan.data.given import given_images
from vaegan.data.pixels import to_tensor, to_uint8

__all__ = [
    "SET_ASIDE",
    "SIDE_NAMES",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "DataConfig",
    "ImageDataset",
    "Skipped",
    "TrainingBatches",
    "check_source",
    "default_cache_dir",
    "given_images",
    "image_from_bytes",
    "load_images",
    "open_dataset",
    "open_images",
    "skipped_in_words",
    "to_tensor",
    "to_uint8",
]
