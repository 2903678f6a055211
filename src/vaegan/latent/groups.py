"""Images that a direction is learned from: read, encoded, and divided into two groups by folders or by labels."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.data import ImageDataset
from vaegan.errors import RequestError, did_you_mean
from vaegan.model import Model
from vaegan.types import Latents, ProgressCallback

FEWEST = 8
"""Images a group needs at least: fewer say nothing about anything else than themselves."""
MOST_IMAGES = 20_000
"""Images that are encoded of each group: the mean of so many is exact enough."""
BLOCK = 256


@dataclass(frozen=True)
class Groups:
    """Positions in a data set of the images that have something, and of those that have not, int64, ascending."""

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]


def encode_images(
    model: Model, dataset: ImageDataset, indices: NDArray[np.int64], progress: ProgressCallback | None = None
) -> Latents:
    """The latents of some images of a data set, in blocks, [n, latent] on the CPU.

    Raises:
        RequestError: if the model has no encoder or wants images of another shape.
    """
    latents = torch.empty(len(indices), model.latent_dim)
    for start in range(0, len(indices), BLOCK):
        block = indices[start : start + BLOCK]
        latents[start : start + len(block)] = model.encode(dataset.load(block)).cpu()
        if progress:
            progress("encoding images", start + len(block), len(indices))
    return latents


def evenly(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the positions, evenly spaced."""
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).round().astype(np.int64)]


def groups_of_label(dataset: ImageDataset, name: str, word: str | None = None) -> Groups:
    """Divides labelled images: those of a category and the others, or the top and bottom third of a number.

    Args:
        dataset: with labels.
        name: of the label.
        word: the category that counts as positive; not needed for numbers and for no/yes.

    Raises:
        RequestError: if there is no such label or word, saying which there are.
    """
    if name not in dataset.labels:
        known = ", ".join(dataset.labels) or "none: only folders with sub-folders, IDX, labelled .npz and faces bring any"
        raise RequestError(f"{dataset.source} has no label {name!r}; it has {known}.{did_you_mean(name, dataset.labels)}")
    values, words = dataset.labels[name], dataset.label_words.get(name)
    if words is None:
        return _by_thirds(values, name, word)
    if word is None and words != ("no", "yes"):
        raise RequestError(f"Which {name}? Give one of its words: --label {name}={words[-1]} ({', '.join(words[:40])}).")
    if word is not None and word not in words:
        raise RequestError(f"The label {name} has no word {word!r}; it has {', '.join(words[:40])}.{did_you_mean(word, words)}")
    has, known = values == words.index(word or "yes"), np.isfinite(values)
    return Groups(np.flatnonzero(has), np.flatnonzero(~has & known))


def _by_thirds(values: NDArray[np.float32], name: str, word: str | None) -> Groups:
    if word is not None:
        raise RequestError(f"The label {name} is a number, not words; leave ={word} out: the top third stands for much of it.")
    low, high = np.nanquantile(values, [1 / 3, 2 / 3])
    return Groups(np.flatnonzero(values > high), np.flatnonzero(values < low))


def check_groups(positive: Tensor | NDArray[np.uint64], negative: Tensor | NDArray[np.uint64]) -> None:
    """Refuses groups that no direction can be learned from.

    Args:
        positive: the hash of each image's content, `ImageDataset.contents` of the group.
        negative: the same of the other group.

    Raises:
        RequestError: on under 8 different images in a group, or images that are in both.
    """
    first, second = np.unique(np.asarray(positive)), np.unique(np.asarray(negative))
    for group, found in (("positive", first), ("negative", second)):
        if len(found) < FEWEST:
            raise RequestError(
                f"The {group} images are too few: {len(found)} different ones, and a direction needs at least {FEWEST}; "
                "with 50 or more of each it can be trusted."
            )
    if shared := len(np.intersect1d(first, second)):
        raise RequestError(f"{shared:,} images are in both groups, positive and negative; each may be in only one.")
