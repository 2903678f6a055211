"""The real images an evaluation compares with: held-out ones, training ones as the floor, their labels and cached features."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaegan.caching import make_room, use
from vaegan.data import TEST, TRAIN, VALIDATION, ImageDataset, default_cache_dir
from vaegan.files import atomic_path
from vaegan.model import Model
from vaegan.randomness import keyed_seed
from vaegan.types import Images, Labels, Latents

BLOCK = 512  # [images]
VERSION = 6  # version of what is cached; raised when a fixed feature space or what is recorded of images changes
WITHOUT_LABELS = "the model is told labels, and these images have none of them"


@dataclass(frozen=True)
class RealImages:
    """Some images of a data set; features of them are computed once and cached beside the data."""

    dataset: ImageDataset
    indices: NDArray[np.int64]
    side: str

    def __len__(self) -> int:
        return len(self.indices)

    def images(self) -> Images:
        """[count, channel, height, width]."""
        return self.dataset.load(self.indices).contiguous()

    def first(self, count: int) -> "RealImages":
        """The first ones: a random choice, because the order is that of content hashes."""
        return RealImages(self.dataset, self.indices[:count], self.side)

    def blocks(self, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[int, "RealImages"]]:
        """Parts that fit into memory, each with the position of its first image; every w-th from the r-th on for (r, w)."""
        for at in range(share[0] * BLOCK, len(self), share[1] * BLOCK):
            yield at, RealImages(self.dataset, self.indices[at : at + BLOCK], self.side)

    def features(self, name: str, compute: Callable[[Images], Tensor]) -> Tensor:
        """What `compute` gives of the images [count, dimension], cached by a name: of one network with the same weights."""
        path = self.cache_file(name)
        found = read_cached(path)
        if "features" not in found:
            found = {"features": torch.cat([compute(block.images()).cpu().float() for _, block in self.blocks()]).contiguous()}
            write_cached(path, found)
        return found["features"]

    def cache_file(self, name: str) -> Path:
        """Where features of exactly these images are cached; `name` says which, by which network with which weights."""
        contents = self.dataset.contents[self.indices].tobytes().hex()
        # The fingerprint is that of the grey cache, which runs with and without binarisation share.
        key = keyed_seed(VERSION, name, self.dataset.fingerprint, self.dataset.config.binarize, contents)
        return default_cache_dir() / "features" / f"{key:016x}.safetensors"


def read_cached(path: Path) -> dict[str, Tensor]:
    """What `write_cached` wrote; nothing if it is not there or damaged."""
    try:
        found = load_file(path)
        use(path)
        return found
    except (OSError, SafetensorError):
        return {}


def write_cached(path: Path, tensors: dict[str, Tensor]) -> None:
    """Caches tensors, for which others make room; no cache costs time, nothing else."""
    # On a full disk safetensors raises an error of its own.
    with suppress(OSError, SafetensorError):
        make_room(path.parent.parent, sum(tensor.nbytes for tensor in tensors.values()))
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)


def of_side(dataset: ImageDataset, side: int, name: str) -> RealImages:
    """All images of a side, in the order of their contents."""
    return RealImages(dataset, dataset.first_by_content(side, len(dataset)), name)


@dataclass(frozen=True)
class References:
    """What a run is compared with."""

    heldout: RealImages  # what samples are compared with; nobody trained on them or chose by them
    train: RealImages | None  # what was trained on; None where those images are no longer at hand
    mirrored: bool  # whether half of the training images were mirrored

    @property
    def validation(self) -> RealImages | None:
        """Images that were neither trained on nor are compared with: they show how copying looks where there is none."""
        if self.train is None or self.heldout.side == "validation":
            return None
        return of_side(self.train.dataset, VALIDATION, "validation")


def references(own: ImageDataset | None, other: ImageDataset | None) -> References:
    """Chooses what is held out: another data set, less the images trained on; else the own test side, or validation without."""
    train = None if own is None else of_side(own, TRAIN, "train")
    mirrored = own is not None and own.flips
    if other is None:
        assert own is not None
        test = of_side(own, TEST, "test")
        return References(test if len(test) > 1 else of_side(own, VALIDATION, "validation"), train, mirrored)
    order = np.argsort(other.contents, kind="stable")
    if own is not None:
        seen = own.contents[own.indices(TRAIN)]
        order = order[~np.isin(other.contents[order], seen)]
    return References(RealImages(other, order.astype(np.int64), "other"), train, mirrored)


@dataclass(frozen=True)
class Condition:
    """Which label the networks are conditioned on, and its words in the order of their codes; neither for other runs."""

    name: str | None
    words: tuple[str, ...]

    def labels(self, real: RealImages) -> Labels | None:
        """The model's code of each image [images]; None if the model wants none, or an image lacks one."""
        if not self.words or self.name not in real.dataset.label_words:
            return None
        values, theirs = real.dataset.coded(self.name)
        if not set(theirs) <= set(self.words):
            return None
        codes = torch.tensor([self.words.index(word) for word in theirs])
        return codes[torch.from_numpy(values[real.indices])]

    def lacks(self, real: RealImages) -> bool:
        """Whether the model wants labels that the images do not have."""
        return bool(self.words) and self.labels(real) is None

    def sample_labels(self, real: References, count: int, seed: int) -> Labels | None:
        """Codes for samples [count], drawn from the training images', else the held-out ones'; None (all in turn) without."""
        found = None if real.train is None else self.labels(real.train)
        found = self.labels(real.heldout) if found is None else found
        if found is None:
            return None
        generator = torch.Generator().manual_seed(keyed_seed(seed, "labels"))
        return found[torch.randint(len(found), (count,), generator=generator)]

    def encode(self, model: Model, real: RealImages) -> Latents:
        """The latents of real images, in blocks, on the CPU."""
        return torch.cat([model.encode(block.images(), self.labels(block)).cpu() for _, block in real.blocks()])
