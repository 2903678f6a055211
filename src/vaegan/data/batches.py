"""Training batches as a function of (seed, images seen): endless, resumable anywhere, sliced among processes."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.data.building import TRAIN
from vaegan.data.cache import take
from vaegan.data.dataset import ImageDataset
from vaegan.data.pixels import binarized, random_bits, to_tensor
from vaegan.errors import DataError, RequestError
from vaegan.types import Batch

_ORDER, _FLIP, _BINARIZE = 1, 2, 3  # streams of random numbers, so that no draw explains another


@dataclass(eq=False)
class TrainingBatches:
    """The train side in a new random order every epoch, as float batches.

    Nothing is stored between calls: the place of an image in the order, whether it is mirrored, and the noise that
    binarises it depend only on the seed and on how many images came before it. Epochs follow each other without a
    border, so every batch is full. The order starts from the images' content, not from their names, so that the same
    images give the same run from a folder and from a zip.
    """

    dataset: ImageDataset
    """The images; only the train side is used."""
    _: KW_ONLY
    batch_size: int
    """Images in the batch of all processes together."""
    seed: int
    """Key of every draw."""
    rank: int = 0
    """This process, 0 to world_size - 1."""
    world_size: int = 1
    codes: NDArray[np.int64] | None = None
    """The label of every image of the dataset."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.batch_size % self.world_size:
            raise RequestError(
                f"A batch of {self.batch_size} cannot be shared by {self.world_size} processes: choose a multiple."
            )
        self._train = self.dataset.first_by_content(TRAIN, len(self.dataset))
        if not len(self._train):
            raise DataError(f"{self.dataset.source} has no images to train on: add more.")
        self._orders: dict[int, NDArray[np.int64]] = {}

    def at(self, images_seen: int) -> Batch:
        """This process's share of the batch that starts after `images_seen` images.

        Returns:
            Images float32 [batch_size / world_size, channel, height, width] in [-1, 1], channels last, and their label
            codes, int64; None unless `codes` were given.
        """
        positions = np.arange(images_seen + self.rank, images_seen + self.batch_size, self.world_size, dtype=np.uint64)
        indices = self.indices_at(positions)
        pixels = take(self.dataset.images, indices)
        if self.dataset.flips:
            mirrored = np.flatnonzero(random_bits(positions, self.seed, _FLIP) >> np.uint64(63))
            # Torch mirrors channels-last bytes four times faster than NumPy does.
            pixels[mirrored] = torch.from_numpy(pixels[mirrored]).permute(0, 3, 1, 2).flip(3).permute(0, 2, 3, 1).numpy()
        if self.dataset.config.binarize == "dynamic":
            pixels = binarized(pixels, random_bits(positions, self.seed, _BINARIZE))
        return Batch(to_tensor(pixels), None if self.codes is None else torch.from_numpy(self.codes[indices]))

    def indices_at(self, positions: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Which images stand at these positions of the endless order."""
        epochs, places = np.divmod(positions.astype(np.int64), len(self._train))
        chosen = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            chosen[here] = self._order(int(epoch))[places[here]]
        return chosen

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            bits = random_bits(np.arange(len(self._train), dtype=np.uint64), self.seed, _ORDER, epoch)
            # Two epochs stay in memory, because a batch may reach from one into the next.
            self._orders = {known: order for known, order in self._orders.items() if known == epoch - 1}
            self._orders[epoch] = self._train[np.argsort(bits, kind="stable")]
        return self._orders[epoch]
