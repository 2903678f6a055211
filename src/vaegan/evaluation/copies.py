"""Whether samples are copies of training images: distances to both kinds of real images, and the samples to look at."""

import math
from typing import Any

import torch
from torch import Tensor

from vaegan.evaluation.reference import RealImages, References
from vaegan.evaluation.tally import Findings, Share, Tally
from vaegan.metrics.features import SMALL, small_images
from vaegan.metrics.neighbours import Nearest, copying_share, median_ratio, most_suspicious, nearest_of_both
from vaegan.model import Model
from vaegan.types import Images

POOL, FULL_POOL = 20_000, 200_000  # training images that are searched at most, and held-out ones
MOST = 50_000  # samples whose neighbours are searched, the first ones
FEWEST_HELD_OUT = 50  # with fewer, one of them decides
FEWEST_HITS = 10  # samples that are nearest to a held-out image if none is a copy: with fewer expected, chance decides
PIXELS, ENCODER = "pixels-16", "encoder"


class CopyCheck:
    """Training and held-out images as two pools of candidates, in pixels at 16x16 and in an encoder's coordinates."""

    def __init__(self, references: References, encoder: Model | None, full: bool, share: Share | None = None) -> None:
        """Prepares both pools: all real images, whatever the number of samples; `full` searches more of them."""
        assert references.train is not None
        most = FULL_POOL if full else POOL
        self.train, self.heldout = references.train.first(most), references.heldout.first(most)
        self.encoder, self.mirrored = encoder, references.mirrored
        self.pools = {PIXELS: tuple(pool.features("small-16", small_images) for pool in (self.train, self.heldout))}
        if encoder is not None:
            # Not cached: the cache would have to know the weights.
            self.pools[ENCODER] = tuple(_encoded(encoder, pool, share or Share()) for pool in (self.train, self.heldout))

    def describe(self, tally: Tally, first: int, images: Images) -> None:
        """Records how near one block of images is to both pools; `first` is the position of its first image."""
        if first >= MOST:
            return
        for space in self.pools:
            distance, place = zip(*self._nearest(space, images), strict=True)
            tally.record_first(space, first, torch.stack([column.double() for column in (*distance, *place)], 1), MOST)

    def judge(self, tally: Tally, found: Findings, seed: int) -> dict[str, Any]:
        """Adds the numbers on the images that were described to `found` and names the most suspicious of them."""
        names = ("copying", "copying_encoder", "neighbour_distance")
        counts = len(self.train), len(self.heldout)
        (known, place), (unknown, _) = _both(tally.rows(PIXELS))
        if not found.lacks(names, FEWEST_HELD_OUT, len(self.heldout)):
            train, heldout = self.pools[PIXELS]
            mirrored = heldout.unflatten(1, (-1, SMALL, SMALL)).flip(3).flatten(1) if self.mirrored else heldout
            of_heldout = nearest_of_both(heldout, mirrored, train)[0]
            found.add("neighbour_distance", *median_ratio(known, of_heldout, seed), len(known), PIXELS, len(heldout))
            needed = math.ceil(FEWEST_HITS * sum(counts) / len(heldout))
            if not found.lacks(names[:2], needed, len(known), "samples beside so few held-out images"):
                for name, space in zip(names, self.pools, strict=False):
                    found.add(name, *copying_share(*_both(tally.rows(space)), *counts), len(known), space, len(heldout))
        worst = most_suspicious(known, unknown)
        values = self.pools[PIXELS][0].shape[1]
        return {
            "samples": worst.tolist(),
            "training_index": self.train.indices[place[worst].numpy()].tolist(),
            "pixel_distance": [round(float(one) / values**0.5, 5) for one in known[worst]],
        }

    def _nearest(self, space: str, images: Images) -> list[Nearest]:

        def describe(given: Images) -> Tensor:
            return small_images(given) if space == PIXELS or self.encoder is None else self.encoder.encode(given).cpu()

        described = describe(images)
        mirrored = describe(images.flip(3)) if self.mirrored else described
        return [nearest_of_both(described, mirrored, pool) for pool in self.pools[space]]


def _encoded(encoder: Model, pool: RealImages, share: Share) -> Tensor:
    tally = Tally()
    for first, block in pool.blocks(share.blocks):
        tally.record_first(ENCODER, first, encoder.encode(block.images()), len(pool))
    return share.merged(tally).rows(ENCODER)


def _both(rows: Tensor) -> tuple[Nearest, Nearest]:
    """Nearest training and nearest held-out image, of rows as `CopyCheck.describe` records them."""
    distance, place = rows[:, :2].float(), rows[:, 2:].long()
    return (distance[:, 0], place[:, 0]), (distance[:, 1], place[:, 1])
