"""Whether samples are copies of training images: distances to both kinds of real images, and the samples to look at."""

from typing import Any

import torch
from torch import Tensor

from vaegan.evaluation.numbers import Findings
from vaegan.evaluation.reference import RealImages, References
from vaegan.evaluation.tally import Share, Tally
from vaegan.metrics.copying import Nearest, copying_share, most_suspicious, nearest_of_both
from vaegan.metrics.features import small_images
from vaegan.metrics.statistics import interval, resampling_weights
from vaegan.model import Model
from vaegan.types import Images

POOL, FULL_POOL = 20_000, 200_000  # training images that are looked through at most, and held-out ones
MOST = 50_000  # samples that are looked up in them, the first ones
FEWEST = 50  # held-out images: with fewer, one of them decides
PIXELS, ENCODER = "pixels-16", "encoder"


class CopyCheck:
    """Training and held-out images as two pools of candidates, in pixels at 16x16 and in an encoder's coordinates."""

    def __init__(self, references: References, encoder: Model | None, full: bool, count: int, share: Share | None = None) -> None:
        """Prepares both pools.

        Args:
            references: real images.
            encoder: a model that encodes.
            full: look through more training images.
            count: held-out images, at most as many as training images.
            share: of the images to encode; all of them when None.
        """
        assert references.train is not None
        most = FULL_POOL if full else POOL
        self.train: RealImages = references.train.first(most)
        self.heldout, self.mirrored = references.heldout.first(min(count, most)), references.mirrored
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
        enough = not found.lacks(("copying", "copying_encoder", "neighbour_distance"), FEWEST, len(self.heldout))
        known, unknown = _both(tally.rows(PIXELS))
        if enough:
            self._add("copying", PIXELS, known, unknown, found)
            usual = nearest_of_both(self.pools[PIXELS][1], self.pools[PIXELS][1], self.pools[PIXELS][0])[0].median()
            ratios = known[0] / usual
            value = float(ratios.median())
            weights = resampling_weights(len(ratios), 100, seed)
            redrawn = [ratios.repeat_interleave(row.long()).median() for row in weights]
            found.add("neighbour_distance", value, interval(value, torch.stack(redrawn)), len(ratios), PIXELS)
            if ENCODER in self.pools:
                self._add("copying_encoder", ENCODER, *_both(tally.rows(ENCODER)), found)
        worst = most_suspicious(known[0], unknown[0])
        values = self.pools[PIXELS][0].shape[1]
        return {
            "samples": worst.tolist(),
            "training_index": self.train.indices[known[1][worst].numpy()].tolist(),
            "pixel_distance": [round(float(one) / values**0.5, 5) for one in known[0][worst]],
        }

    def _add(self, name: str, space: str, in_train: Nearest, in_heldout: Nearest, found: Findings) -> None:
        value, between = copying_share(in_train, in_heldout, len(self.train), len(self.heldout))
        found.add(name, value, between, len(in_train[0]), space)

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


def _both(rows: Tensor) -> tuple[Nearest, Nearest]:
    """Nearest training and nearest held-out image, of rows as `CopyCheck.describe` keeps them."""
    distance, place = rows[:, :2].float(), rows[:, 2:].long()
    return (distance[:, 0], place[:, 0]), (distance[:, 1], place[:, 1])
