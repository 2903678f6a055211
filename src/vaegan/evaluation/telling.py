"""What a conditional run is told while it is measured: the labels of real images, and as many of each for samples."""

from dataclasses import dataclass

import torch

from vaegan.evaluation.reference import RealImages, References
from vaegan.model import Model
from vaegan.randomness import keyed_seed
from vaegan.types import Labels, Latents

UNTOLD = "the model is told labels, and these images have none of them"


@dataclass(frozen=True)
class Telling:
    """Which label the networks were told, and its words in the order of their codes; neither for an unconditional run."""

    name: str | None
    words: tuple[str, ...]

    def of(self, real: RealImages) -> Labels | None:
        """The model's code of each image [images]; None if the model wants none, or an image lacks one."""
        values, theirs = real.dataset.labels.get(self.name or ""), real.dataset.label_words.get(self.name or "", ())
        if not self.words or values is None or not set(theirs) <= set(self.words):
            return None
        codes = torch.tensor([self.words.index(word) for word in theirs])
        return codes[torch.from_numpy(values[real.indices]).long()]

    def lacks(self, real: RealImages) -> bool:
        """Whether the model wants labels that the images do not have."""
        return bool(self.words) and self.of(real) is None

    def samples(self, chosen: References, count: int, seed: int) -> Labels | None:
        """Codes for samples in the data's proportions [count]: drawn from those of the training images.

        Where these are no longer at hand from the held-out images; None, which takes all labels in turn, if they have none.
        """
        found = None if chosen.train is None else self.of(chosen.train)
        found = self.of(chosen.heldout) if found is None else found
        if found is None:
            return None
        generator = torch.Generator().manual_seed(keyed_seed(seed, "labels"))
        return found[torch.randint(len(found), (count,), generator=generator)]

    def encode(self, model: Model, real: RealImages) -> Latents:
        """The latents of real images, in blocks, on the CPU."""
        return torch.cat([model.encode(block.images(), self.of(block)).cpu() for _, block in real.blocks()])
