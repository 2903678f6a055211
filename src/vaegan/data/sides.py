"""Which side an image stands on: decided by its own content, so that a growing folder moves nobody."""

import numpy as np
from numpy.typing import NDArray

TRAIN, VALIDATION, TEST, SET_ASIDE = 0, 1, 2, 3
SIDE_NAMES = ("train", "validation", "test", "set aside")

VALIDATION_SHARE = 0.05
TEST_SHARE = 0.05

# When equal pixels stand on several sides the most protected side keeps them: test, then validation, then train.
_PROTECTION = np.array([0, 1, 2, -1], dtype=np.int8)


def side_of(content: bytes, *, test_share: float = TEST_SHARE) -> int:
    """The side of an image with this content hash; depends on nothing else.

    Args:
        content: A hash of the image's own bytes, at least 8 bytes long, uniformly distributed.
        test_share: Share of the test side; 0 where the data come with a test side of their own.
    """
    place = int.from_bytes(content[:8], "big") / 2**64
    if place < VALIDATION_SHARE:
        return VALIDATION
    if place < VALIDATION_SHARE + test_share:
        return TEST
    return TRAIN


def set_duplicates_aside(sides: NDArray[np.uint8], pixel_hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Marks SET_ASIDE every image whose prepared pixels equal those of an image on a more protected side.

    Two files may hold the same picture in different bytes, as a PNG and a BMP do; their content hashes differ, so they
    may land on different sides, and the model would be judged on what it was taught.

    Args:
        sides: uint8 [count], by content.
        pixel_hashes: uint64 [count], hashes of the prepared pixels.

    Returns:
        uint8 [count]: a copy with the duplicates marked. Duplicates within one side stay.
    """
    _, group = np.unique(pixel_hashes, return_inverse=True)
    strongest = np.full(int(group.max(initial=-1)) + 1, -1, dtype=np.int8)
    protection = _PROTECTION[sides]
    np.maximum.at(strongest, group, protection)
    kept = sides.copy()
    kept[protection < strongest[group]] = SET_ASIDE
    return kept
