"""The prepared images of a source: out of the cache, or put there the first time and when something has changed."""

import os
from contextlib import suppress
from pathlib import Path

from vaegan.caching import use
from vaegan.config import DataConfig
from vaegan.data.building import build
from vaegan.data.cache import CACHE_VERSION, CachedImages, open_cached
from vaegan.data.label_files import label_file
from vaegan.data.source import OnlyOwnError, Source, digest, file_stamp
from vaegan.errors import VaeganError
from vaegan.types import ProgressCallback


def prepared_images(
    found: Source, config: DataConfig, images: Path, progress: ProgressCallback | None, for_training: bool
) -> CachedImages:
    """Maps the images of a source that lie prepared in the folder `images`.

    Where all images were written by this program, they are taken, but not for training.

    Raises:
        DataError: the source is damaged, or holds no usable image; for training, under 64.
        VaeganError: the cache cannot be written.
    """

    def opened(with_own: bool) -> CachedImages:
        directory = images / _cache_name(found, config, with_own)
        cached = open_cached(directory)
        anew = cached is not None and not _is_settled(found, cached)
        if cached is None or anew:
            build(found, config, directory, progress, for_training, with_own, anew)
            cached = open_cached(directory)
        if cached is None:
            raise VaeganError(f"The prepared images in {directory} vanished while they were opened: try again.")
        use(directory)
        return cached

    if config.labels:
        label_file(Path(config.labels))  # refused before anything is decoded
    if for_training:
        return opened(with_own=False)
    # Pictures that this program wrote are in the cache where there were no others; a second look would find that again.
    own = open_cached(images / _cache_name(found, config, True))
    if own is None or not _is_settled(found, own):
        with suppress(OnlyOwnError):
            return opened(with_own=False)
    return opened(with_own=True)


def _is_settled(found: Source, cached: CachedImages) -> bool:
    """Whether no file that could not be read when the images were prepared can be read now."""
    return not any(one.for_now and found.readable(one.name) for one in cached.skipped)


def _cache_name(found: Source, config: DataConfig, with_own: bool) -> str:
    """What the folder of prepared images is called: alike up to the hyphen as long as it is the same place, prepared alike."""
    look = f"{config.size} {config.fit} {config.channels} {config.levels} {config.background}"
    prepared = f"{CACHE_VERSION} {look} {with_own}".encode()
    place = os.path.realpath(found.place) if os.path.exists(found.place) else found.place
    table = os.path.realpath(config.labels) if config.labels else ""
    family = digest(found.kind.encode(), os.fsencode(place), prepared, os.fsencode(table))
    labels = file_stamp(Path(config.labels)) if config.labels else b""
    return f"{family[:16]}-{digest(found.kind.encode(), found.identity, prepared, labels)}"
