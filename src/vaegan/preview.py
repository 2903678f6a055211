"""What training will see, before any training: a contact sheet and the counts."""

from collections import Counter
from typing import Any

import numpy as np
from PIL import Image

from vaegan.data import SIDE_NAMES, TRAIN, ImageDataset, TrainingBatches, to_uint8
from vaegan.pictures import grid


def contact_sheet(dataset: ImageDataset, count: int = 64, seed: int = 0) -> Image.Image:
    """Shows the first training images of a seed exactly as a recipe gets them: fitted, mirrored, binarised.

    Args:
        dataset: The images.
        count: How many are shown; fewer when the train side is smaller [images].
        seed: Key of the training order.

    Returns:
        An image of mode L or RGB, nearly square, white between the tiles; small images are enlarged.
    """
    count = min(count, len(dataset.indices(TRAIN)))
    pixels = to_uint8(TrainingBatches(dataset, batch_size=count, seed=seed).at(0).images)
    return grid(pixels)


def summary(dataset: ImageDataset) -> dict[str, Any]:
    """Counts what is there, ready to be shown or written as JSON.

    Returns:
        "source", "size", "channels", "usable", "sides" {name: count}, "skipped" {reason: count}, "flips", "notes",
        "warnings", and "labels": for a category {word: count}, for a number {"lowest", "mean", "highest"}.
    """
    counts = np.bincount(dataset.sides, minlength=len(SIDE_NAMES))
    reasons = Counter(one.reason.split(":")[0] for one in dataset.skipped)
    return {
        "source": dataset.source,
        "size": dataset.config.size,
        "channels": dataset.channels,
        "usable": len(dataset),
        "sides": {name: int(count) for name, count in zip(SIDE_NAMES, counts, strict=True)},
        "skipped": dict(reasons.most_common()),
        "flips": dataset.flips,
        "labels": {name: _label_summary(dataset, name) for name in dataset.labels},
        "notes": list(dataset.notes),
        "warnings": list(dataset.warnings),
    }


def _label_summary(dataset: ImageDataset, name: str) -> dict[str, float]:
    values = dataset.labels[name]
    words = dataset.label_words.get(name)
    if words is None:
        return {"lowest": float(values.min()), "mean": float(values.mean()), "highest": float(values.max())}
    counts = np.bincount(values.astype(np.int64), minlength=len(words))
    return {word: int(count) for word, count in zip(words, counts, strict=True)}
