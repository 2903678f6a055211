"""Images in memory, described as an evaluation describes those that pass by in blocks."""

from vaegan.evaluation.samples import Described, describe
from vaegan.evaluation.tally import Tally
from vaegan.types import Images


def described(images: Images, seed: int = 0, given: bool = True) -> Described:
    """What is recorded of images that are all in memory."""
    tally = Tally()
    describe(tally, 0, images, len(images), seed, given)
    return Described(len(images), tally)
