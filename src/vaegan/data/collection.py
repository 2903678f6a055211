"""Images that a person points at to look at them, not to train on them: one folder or archive, or some files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vaegan.config import DataConfig
from vaegan.data.building import Progress
from vaegan.data.dataset import ImageDataset, open_dataset
from vaegan.data.sides import TRAIN
from vaegan.data.single import read_images
from vaegan.errors import RequestError

MOST_FILES = 10_000


def open_images(places: Sequence[str | Path], config: DataConfig, progress: Progress | None = None) -> ImageDataset:
    """One folder, archive, array file or the word faces; or some image files. A single image is enough.

    Args:
        places: as a person gave them.
        config: how images are prepared; `channels` must be 1 or 3.
        progress: called while images are prepared.

    Raises:
        DataError: a file is missing or cannot be used, or no image is found.
        RequestError: nothing was given, or files and folders were mixed.
    """
    if not places:
        raise RequestError("Which images? Give image files, or one folder.")
    if len(places) == 1 and not _is_image_file(Path(places[0])):
        return open_dataset(places[0], config, progress=progress, for_training=False)
    if len(places) > MOST_FILES:
        raise RequestError(f"{len(places):,} files are too many to name one by one; give the folder that they lie in.")
    folders = [place for place in places if Path(place).is_dir()]
    if folders:
        raise RequestError(f"{folders[0]} is a folder: give image files, or one folder alone.")
    pixels, contents = read_images([Path(place) for place in places], config)
    return ImageDataset(
        images=pixels,
        sides=np.full(len(pixels), TRAIN, np.uint8),
        contents=contents,
        labels={},
        label_words={},
        names=[str(place) for place in places],
        skipped=(),
        notes=(),
        warnings=(),
        fingerprint="",
        source=", ".join(map(str, places[:3])),
        config=config,
        flips=False,
    )


def _is_image_file(path: Path) -> bool:
    return not path.is_dir() and path.suffix.lower() in Image.registered_extensions()
