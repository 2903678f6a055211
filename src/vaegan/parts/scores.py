"""Scores of samples that are cheap enough to be taken while training: of an averaged generator, and of a kept model."""

from vaegan.metrics import watch
from vaegan.metrics.cheap import SampleScore
from vaegan.types import Images, Scalars


class SampleScores:
    """Measures samples against held-out images; real images are measured once as long as they stay the same."""

    def __init__(self) -> None:
        """Nothing is measured yet."""
        self._distances = SampleScore()

    def __call__(self, samples: Images, heldout: Images, known: Images | None) -> Scalars:
        """Kernel distance, sharpness, textures and recall; copying and nearness where `known` training images are given."""
        scalars = {"heldout_recall": watch.recall(heldout, samples)} | self._distances(heldout, samples)
        if known is not None:
            scalars["copying"] = watch.copying(samples, known, heldout)
            scalars["nearness"] = watch.nearness(samples, known, heldout)
        return scalars
