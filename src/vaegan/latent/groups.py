"""Images that a direction is learned from: read, encoded, and divided into two groups by folders or by labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.data import ImageDataset
from vaegan.errors import RequestError, did_you_mean, first_of, meant
from vaegan.model import Model
from vaegan.types import Latents, ProgressCallback

FEWEST_IMAGES = 8
"""Images a group needs at least: fewer say nothing about anything else than themselves."""
MOST_SHARED = 0.1
"""Share of a group that may also be in the other one, as images do that lie twice in a collection; more are a mix-up."""
MOST_IMAGES = 20_000
"""Images of each group that are encoded: the mean of so many is exact enough."""
BLOCK = 256


@dataclass(frozen=True)
class Groups:
    """Positions in a data set of the images that have something, and of those that have not, int64, ascending."""

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]


def encode_images(
    model: Model, dataset: ImageDataset, indices: NDArray[np.int64], progress: ProgressCallback | None = None
) -> Latents:
    """The latents of some images of a data set, in blocks, [n, latent] on the CPU."""
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
    """Divides labelled images: those of a category (`word`) and the others, or the top and bottom third of a number.

    Spaces, hyphens and underscores are the same in names and words. RequestError says which there are.
    """
    label = meant(name, dataset.labels)
    if label is None:
        known = ", ".join(dataset.labels) or "none: only folders with sub-folders, IDX, labelled .npz and faces bring any"
        raise RequestError(f"{dataset.source} has no label {name!r}; it has {known}.{did_you_mean(name, dataset.labels)}")
    values, words = dataset.labels[label], dataset.label_words.get(label)
    if words is None:
        return _by_thirds(values, label, word)
    if word is None and words != ("no", "yes"):
        raise RequestError(f"Which {label}? Give one of its words: --label {label}={words[-1]} ({', '.join(words[:40])}).")
    chosen = meant(word or "yes", words)
    if chosen is None:
        hint = did_you_mean(word or "", words)
        raise RequestError(f"The label {label} has no word {word!r}; it has {', '.join(words[:40])}.{hint}")
    has, known = values == words.index(chosen), np.isfinite(values)
    return Groups(np.flatnonzero(has), np.flatnonzero(~has & known))


def _by_thirds(values: NDArray[np.float32], name: str, word: str | None) -> Groups:
    if word is not None:
        raise RequestError(f"The label {name} is a number, not words; leave ={word} out: the top third stands for much of it.")
    low, high = np.nanquantile(values, [1 / 3, 2 / 3])
    top = values >= high if low < high else values > high  # many images may have the same number, as a closed mouth's 0
    return Groups(np.flatnonzero(top), np.flatnonzero(values <= low))


def shared_images(
    positive: NDArray[np.uint64], negative: NDArray[np.uint64], names: Sequence[str]
) -> tuple[NDArray[np.uint64], list[str]]:
    """Hashes of the images in both groups, which say nothing about what tells the groups apart, and a name of each.

    Groups are given as `ImageDataset.contents`; `names` are those of the positive images. RequestError if the groups are too
    small or share too much.
    """
    (first, at), second = np.unique(positive, return_index=True), np.unique(negative)
    for group, found in (("positive", first), ("negative", second)):
        if len(found) < FEWEST_IMAGES:
            raise RequestError(
                f"The {group} images are too few: {len(found)} different ones, and a direction needs at least {FEWEST_IMAGES}; "
                "with 50 or more of each it can be trusted."
            )
    is_shared = np.isin(first, second)
    shared, called = first[is_shared], [names[int(index)] for index in np.sort(at[is_shared])]
    if len(shared) > MOST_SHARED * min(len(first), len(second)):  # else at least 8 of each are left
        raise RequestError(
            f"Images in both groups: {len(shared):,}, over {MOST_SHARED:.0%} of the smaller one ({first_of(called)}). "
            "Leave each in one group only; vaegan duplicates finds images that are the same."
        )
    return shared, called
