"""Terms: what else holds a generator, beside its critics."""

from typing import NamedTuple, Protocol

from torch import Tensor

from vaegan.types import Batch, Images, Labels, Latents, PerImage


class Targets(NamedTuple):
    """What a term wants decoded beside the samples, and what it compares the result with."""

    latents: Latents
    labels: Labels | None
    views: tuple[Tensor, ...]
    """The encoded images, in the coordinates in which decoded ones are compared with them."""
    log_vars: Latents
    """Log-variances of the posteriors."""


class Term(Protocol):
    """One more loss of the generator. A new one is a class of this form and one line in `training.build.TERMS`."""

    name: str
    """Name of the term's scalar in the journal."""

    def weight(self, progress: float) -> float:
        """Factor of the loss, by the share of the stage that is done."""
        ...

    def targets(self, batch: Batch) -> Targets | None:
        """Latents to be decoded beside the samples, in the same pass of the generator; None: none."""
        ...

    def loss(self, samples: Images, decoded: Images, targets: Targets | None, batch: Batch) -> PerImage:
        """One value an image: of samples from the prior, one for each real image of the batch, and what was decoded for it.

        `decoded` comes from the latents of this step's targets, and is empty without targets.
        """
        ...
