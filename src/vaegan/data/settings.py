"""What a person may choose about the data: one frozen dataclass whose attribute docstrings are the help text."""

from dataclasses import dataclass
from typing import Literal, get_args

from vaegan.errors import RequestError

Fit = Literal["crop", "pad", "stretch"]
Channels = Literal["auto", "1", "3"]
Flip = Literal["auto", "on", "off"]
Binarize = Literal["none", "dynamic"]


@dataclass(frozen=True)
class DataConfig:
    """How images are prepared before training. Raises RequestError for a value that cannot be served."""

    size: int = 64
    """Side of the square that every image becomes [pixels], 16 to 256. 64 trains in minutes on a CPU and still shows a
    face."""

    fit: Fit = "crop"
    """How a rectangle becomes a square: crop its centre, pad it with white, or stretch it. Crop keeps shapes true and
    leaves no bars for the model to learn."""

    channels: Channels = "auto"
    """1 (grey) or 3 (colour); auto takes 1 only when every image is grey, so that no colour is lost unasked."""

    flip: Flip = "auto"
    """Mirror half of the training images left to right. Auto does so except for IDX data, because mirrored digits and
    letters are other signs, while a mirrored face or landscape is as good as a new one."""

    binarize: Binarize = "none"
    """Dynamic draws every grey pixel anew as black or white with its brightness as the probability, which is how
    binarised MNIST is defined. None by default because photographs and drawings are not binary."""

    def __post_init__(self) -> None:
        """Refuses impossible values before anything is read."""
        if not 16 <= self.size <= 256:
            raise RequestError(f"The size {self.size} is not possible: choose 16 to 256 pixels (--size).")
        choices = (("fit", self.fit, Fit), ("channels", self.channels, Channels), ("flip", self.flip, Flip))
        for name, value, allowed in (*choices, ("binarize", self.binarize, Binarize)):
            if value not in get_args(allowed):
                known = ", ".join(get_args(allowed))
                raise RequestError(f"--{name} {value} is not known: choose one of {known}.")
        if self.binarize == "dynamic" and self.channels == "3":
            raise RequestError("--binarize dynamic is for grey images: use it with --channels 1, or leave it out.")
