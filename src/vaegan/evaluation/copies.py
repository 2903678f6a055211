"""Whether samples are copies of training images: distances to both kinds of real images, and the samples to look at."""

import math
from typing import Any

import torch
from torch import Tensor

from vaegan.evaluation.numbers import Findings
from vaegan.evaluation.reference import RealImages, References
from vaegan.evaluation.tally import Share, Tally
from vaegan.metrics.copying import Nearest, copying_share, most_suspicious, nearest_of_both
from vaegan.metrics.features import SMALL, small_images
from vaegan.metrics.statistics import interval, resampling_weights
from vaegan.model import Model
from vaegan.types import Images

POOL, FULL_POOL = 20_000, 200_000  # training images that are looked through at most, and held-out ones
MOST = 50_000  # samples that are looked up in them, the first ones
FEWEST = 50  # held-out images: with fewer, one of them decides
FEW_HITS = 10  # samples that are nearest to a held-out image if none is a copy: with fewer expected, chance decides
PIXELS, ENCODER = "pixels-16", "encoder"


class CopyCheck:
    """Training and held-out images as two pools of candidates, in pixels at 16x16 and in an encoder's coordinates."""

    def __init__(self, references: References, encoder: Model | None, full: bool, share: Share | None = None) -> None:
        """Prepares both pools: all real images, whatever the number of samples.

        Args:
            references: real images.
            encoder: a model that encodes.
            full: look through more of them.
            share: of the images to encode; all of them when None.
        """
        assert references.train is not None
        most = FULL_POOL if full else POOL
        self.train: RealImages = references.train.first(most)
        self.heldout, self.mirrored = references.heldout.first(most), references.mirrored
        self.encoder, share = encoder, share or Share()
        self.pools = {PIXELS: tuple(pool.features("small-16", small_images) for pool in (self.train, self.heldout))}
        if encoder is not None:
            # Not cached: it would have to be known by the weights.
            self.pools[ENCODER] = tuple(self._encoded(pool, share) for pool in (self.train, self.heldout))

    def describe(self, tally: Tally, first: int, images: Images) -> None:
        """Notes how near one block of images is to both pools; `first` is the position of its first image."""
        if first >= MOST:
            return
        for space in self.pools:
            distance, place = zip(*self._distances(space, images), strict=True)
            tally.keep_first(space, first, torch.stack([column.double() for column in (*distance, *place)], 1), MOST)

    def judge(self, tally: Tally, found: Findings, seed: int) -> dict[str, Any]:
        """Adds the numbers on the images that were described to `found` and names the most suspicious of them."""
        names = ("copying", "copying_encoder", "neighbour_distance")
        known, unknown = _both(tally.rows(PIXELS))
        if not found.lacks(names, FEWEST, len(self.heldout)):
            found.add("neighbour_distance", *self._neighbour_distance(known[0], seed), len(known[0]), PIXELS, len(self.heldout))
            needed = math.ceil(FEW_HITS * (len(self.train) + len(self.heldout)) / len(self.heldout))
            if not found.lacks(names[:2], needed, len(known[0]), "samples beside so few held-out images"):
                self._add("copying", PIXELS, known, unknown, found)
                if ENCODER in self.pools:
                    self._add("copying_encoder", ENCODER, *_both(tally.rows(ENCODER)), found)
        worst = most_suspicious(known[0], unknown[0])
        values = self.pools[PIXELS][0].shape[1]
        return {
            "samples": worst.tolist(),
            "training_index": self.train.indices[known[1][worst].numpy()].tolist(),
            "pixel_distance": [round(float(one) / values**0.5, 5) for one in known[0][worst]],
        }

    def _neighbour_distance(self, distances: Tensor, seed: int) -> tuple[float, tuple[float, float]]:
        """Median distance to the nearest training image, over that of held-out images; the interval redraws both."""
        train, heldout = self.pools[PIXELS]
        usual = nearest_of_both(heldout, _turned(heldout) if self.mirrored else heldout, train)[0]
        value = float(distances.median() / usual.median())
        drawn = [
            [one.repeat_interleave(row.long()).median() for row in resampling_weights(len(one), 100, seed + at)]
            for at, one in enumerate((distances, usual))
        ]
        low, high = interval(value, torch.stack(drawn[0]) / torch.stack(drawn[1]))
        return value, (max(0.0, low), high)

    def _add(self, name: str, space: str, in_train: Nearest, in_heldout: Nearest, found: Findings) -> None:
        value, between = copying_share(in_train, in_heldout, len(self.train), len(self.heldout))
        found.add(name, value, between, len(in_train[0]), space, len(self.heldout))

    def _encoded(self, pool: RealImages, share: Share) -> Tensor:
        assert self.encoder is not None
        tally = Tally()
        for first, block in pool.blocks(share.blocks):
            tally.keep_first(ENCODER, first, self.encoder.encode(block.images()), len(pool))
        return share.whole(tally).rows(ENCODER)

    def _distances(self, space: str, images: Images) -> list[Nearest]:
        """Distance and position of the nearest training and the nearest held-out image."""

        def describe(given: Images) -> Tensor:
            if space == PIXELS:
                return small_images(given)
            assert self.encoder is not None
            return self.encoder.encode(given).cpu()

        described = describe(images)
        turned = describe(images.flip(3)) if self.mirrored else described
        return [nearest_of_both(described, turned, pool) for pool in self.pools[space]]


def _turned(small: Tensor) -> Tensor:
    """`small_images` of the mirror images."""
    return small.unflatten(1, (-1, SMALL, SMALL)).flip(3).flatten(1)


def _both(rows: Tensor) -> tuple[Nearest, Nearest]:
    """Nearest training and nearest held-out image, of rows as `CopyCheck.describe` keeps them."""
    distance, place = rows[:, :2].float(), rows[:, 2:].long()
    return (distance[:, 0], place[:, 0]), (distance[:, 1], place[:, 1])
