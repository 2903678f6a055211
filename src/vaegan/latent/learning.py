"""From images with and without something to a named direction, with how good it is and what else it changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.data import ImageDataset
from vaegan.errors import RequestError, did_you_mean, first_of, meant
from vaegan.latent.directions import Method, direction_effects, discriminant, find_direction, heldout_area, principal_directions
from vaegan.latent.stored import Direction
from vaegan.metrics.neighbours import own_source_share
from vaegan.model import Model
from vaegan.types import Latents, ProgressCallback

FEWEST_IMAGES = 8  # images a group needs at least: fewer say nothing about anything else than themselves
MOST_SHARED = 0.1
"""Share of a group that may also be in the other one, as images do that lie twice in a collection; more are a mix-up."""
MOST_IMAGES = 20_000  # images of each group that are encoded: the mean of so many is exact enough
BLOCK = 256
MOST_JUDGED = 200  # images without the attribute on which a direction's side effects are measured


Groups = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions in a data set of the images that have something, and of those that have not, ascending."""


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
    """Divides labelled images: those of a category (`word`) and the others, or the top and bottom third of a number."""
    label = meant(name, dataset.labels)
    if label is None:
        known = ", ".join(dataset.labels) or "none: sub-folders, a table (labels.csv), IDX, labelled .npz and faces bring some"
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
    return np.flatnonzero(has), np.flatnonzero(~has & known)


def _by_thirds(values: NDArray[np.float32], name: str, word: str | None) -> Groups:
    if word is not None:
        raise RequestError(f"The label {name} is a number, not words; leave ={word} out: the top third stands for much of it.")
    low, high = np.nanquantile(values, [1 / 3, 2 / 3])
    top = values >= high if low < high else values > high  # many images may have the same number, as a closed mouth's 0
    return np.flatnonzero(top), np.flatnonzero(values <= low)


def shared_images(
    positive: NDArray[np.uint64], negative: NDArray[np.uint64], names: Sequence[str]
) -> tuple[NDArray[np.uint64], list[str]]:
    """Hashes of the images in both groups, given as `ImageDataset.contents`, and a name of each from `names` of the positive."""
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


@dataclass(frozen=True)
class Examples:
    """Images of a data set that all have something, or all lack it."""

    dataset: ImageDataset
    indices: NDArray[np.int64]


def learn_direction(
    model: Model,
    name: str,
    positive: Examples,
    negative: Examples,
    method: Method = "whitened",
    beside: Mapping[str, Direction] | None = None,
    others: Mapping[str, Direction] | None = None,
    progress: ProgressCallback | None = None,
    label: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Direction:
    """Learns the direction from images without something to images with it, and measures it; images in both groups are left out.

    It is made orthogonal to `beside`, and its effect on `others` is measured; `label` is that of the images which tells the
    groups apart, and `say` is called with a sentence worth showing. RequestError if the groups are too small, share over a tenth
    of their images, or are the same to the model.

    The direction's facts: `in_both` (images left out), `auc` (held out), `identity_kept` and `identity_of` (share and number of
    edited images that stay nearest to their source), `pixel_change`, `moves` (of other directions), `kept` (of other labels).
    """
    contents = [group.dataset.contents[group.indices] for group in (positive, negative)]
    shared, names = shared_images(contents[0], contents[1], [positive.dataset.names[int(index)] for index in positive.indices])
    if names and say:
        were = "1 image in both groups was" if len(names) == 1 else f"{len(names):,} images in both groups were"
        say(f"{were} left out: {first_of(names)}.")
    groups = [
        Examples(group.dataset, evenly(group.indices[~np.isin(hashes, shared)], MOST_IMAGES))
        for group, hashes in zip((positive, negative), contents, strict=True)
    ]
    encoded = [encode_images(model, group.dataset, group.indices, progress) for group in groups]
    apart = {direction: found.vector for direction, found in (beside or {}).items()}
    vector = find_direction(encoded[0], encoded[1], method, list(apart.values()))
    facts: dict[str, Any] = {
        "method": method,
        "positive": len(encoded[0]),
        "negative": len(encoded[1]),
        "in_both": len(names),
        "length": float(vector.norm()),
        "auc": heldout_area(encoded[0], encoded[1], method, list(apart.values())),
        "beside": sorted(apart),
    }
    others = {other: found for other, found in (others or {}).items() if other != name}
    return Direction(name, vector, facts | _side_effects(model, vector, groups, encoded, others, label))


def _side_effects(
    model: Model,
    vector: Tensor,
    groups: list[Examples],
    encoded: list[Latents],
    others: Mapping[str, Direction],
    label: str | None,
) -> dict[str, Any]:
    negative = groups[1]
    judged = evenly(np.arange(len(negative.indices)), MOST_JUDGED)
    before = encoded[1][torch.from_numpy(judged)]
    sources, edited = negative.dataset.load(negative.indices[judged]), model.decode(before + vector)
    return {
        "identity_kept": own_source_share(edited, sources),
        "identity_of": len(judged),
        "pixel_change": float(direction_effects(model, before, vector[None])[0]),
        "moves": {other: strength_along(vector, found.vector) for other, found in others.items()},
        "kept": _labels_unchanged(groups, encoded, torch.stack([before, before + vector]), label),
    }


def strength_along(direction: Tensor, other: Tensor) -> float:
    """How much of another direction is added with strength 1 of this one, in strengths of the other."""
    return float(direction @ other / other.square().sum())


def _labels_unchanged(groups: list[Examples], encoded: list[Latents], moved: Tensor, own: str | None) -> dict[str, float]:
    """The `unchanged_share` of each other label, for data that came with labels."""
    dataset = groups[0].dataset
    if dataset is not groups[1].dataset:
        return {}
    latents, indices = torch.cat(encoded), np.concatenate([group.indices for group in groups])
    unchanged: dict[str, float] = {}
    for label, values in dataset.labels.items():
        known = np.isfinite(values[indices])
        codes = values[indices][known]
        if label not in dataset.label_words:
            codes = np.searchsorted(np.nanquantile(values, [1 / 3, 2 / 3]), codes)  # numbers: low, middle, high
        if label != own and len(np.unique(codes)) > 1:
            unchanged[label] = unchanged_share(latents[torch.from_numpy(known)], torch.from_numpy(codes).long(), moved)
    return unchanged


def unchanged_share(latents: Latents, codes: Tensor, moved: Latents) -> float:
    """Share of `moved` [before and after, m, latent] whose category, by a discriminant of `latents` and `codes`, is the same."""
    _, dense = codes.unique(return_inverse=True)
    weights, biases = discriminant(latents, dense)
    before, after = ((points.cpu().double() @ weights.T + biases).argmax(1) for points in moved)
    return float((before == after).double().mean())


def learn_principal(model: Model, latents: Latents, count: int, prefix: str = "principal") -> list[Direction]:
    """Directions found without labels, the one that changes images most first; RequestError if the latents do not differ."""
    found = principal_directions(model, latents, count)
    if not found.directions.any():
        raise RequestError("These images are all the same to the model; no direction leads from one to another.")
    return [
        Direction(f"{prefix}-{index}", vector, {"method": "principal", "pixel_change": float(effect)})
        for index, (vector, effect) in enumerate(zip(found.directions, found.effects, strict=True), 1)
        if vector.any()  # few latents span few directions
    ]
