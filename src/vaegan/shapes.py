"""Settings of images and networks: what both look like. Without torch, as all settings."""

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

from vaegan.errors import RequestError

LEAST_SIZE, MOST_SIZE = 16, 256
"""Shape that images can be trained at [pixels]."""
AUTO = "auto"
Fit = Literal["crop", "pad", "stretch"]
Channels = Literal["auto", "1", "3", "4"]
Flip = Literal["auto", "on", "off"]
Binarize = Literal["none", "dynamic"]
Weights = Literal["he", "uniform", "normal"]
Range = tuple[float, float]
USUAL_LEVELS: dict[str, Range] = {"8-bit": (0, 255), "16-bit": (0, 65535), "integer": (0, 65535), "float": (0, 1)}
"""Black and white of each kind of number that image files hold, as photographs have it."""


@cache
def parse_levels(levels: str) -> dict[str, Range]:
    """The numbers of black and white by kind, as LOW:HIGH says for all kinds and KIND=LOW:HIGH,KIND=LOW:HIGH for some.

    Empty for "" and "auto", which leave them to the images. RequestError for anything else.
    """
    found: dict[str, Range] = {}
    try:
        for part in levels.split(",") if levels not in ("", "auto") else ():
            kind, named, numbers = part.rpartition("=")
            black, white = map(float, numbers.split(":"))
            if not 0 < white - black < math.inf or (named and kind not in USUAL_LEVELS):
                raise ValueError
            found |= dict.fromkeys([kind] if named else USUAL_LEVELS, (black, white))
    except ValueError:
        raise RequestError(
            f"--levels {levels} is not possible: give auto, or the numbers of black and white as LOW:HIGH, like 0:4095."
        ) from None
    return found


class Shape(NamedTuple):
    """Height and width of an image or a map [pixels or places]."""

    height: int
    width: int

    @property
    def area(self) -> int:
        """How many pixels or places there are."""
        return self.height * self.width

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def shape_of(size: int | str | Shape) -> Shape:
    """The shape that a size stands for: 64 is a square, 96x64 is 96 high and 64 wide; ValueError for another text."""
    if isinstance(size, Shape):
        return size
    found = re.fullmatch(r"\s*(\d{1,6})\s*(?:[x×X]\s*(\d{1,6})\s*)?", str(size))
    if not found:
        raise ValueError(f"{size} is no size")
    return Shape(int(found[1]), int(found[2] or found[1]))


def plain_size(size: int | str) -> int | str:
    """A size as it is written and compared: one number for a square, HEIGHTxWIDTH otherwise, or auto.

    RequestError where a side is not possible.
    """
    if size == AUTO:
        return size
    try:
        shape = shape_of(size)
    except ValueError:
        raise RequestError(f"--size {size} is not possible: give a side as 64, HEIGHTxWIDTH as 96x64, or auto.") from None
    if not all(LEAST_SIZE <= side <= MOST_SIZE for side in shape):
        raise RequestError(f"The size {size} is not possible: choose {LEAST_SIZE} to {MOST_SIZE} pixels a side (--size).")
    return shape.height if shape.height == shape.width else str(shape)


@dataclass(frozen=True)
class DataConfig:
    """How images are prepared before training. Raises RequestError for a value that cannot be served."""

    size: int | str = 64
    """Side of the square that every image becomes [pixels], 16 to 256, or HEIGHTxWIDTH: 64x96 for landscapes. auto: 64, and the
    longer side as most of the images have it. 64 trains in minutes on a CPU and still shows a face."""
    fit: Fit = "crop"
    """How images of another shape are made to fit: crop the centre, pad (--background), or stretch. Crop keeps shapes true."""
    channels: Channels = "auto"
    """1 (grey), 3 (colour) or 4 (with transparency: icons, sprites). auto takes 1 where every image is grey, and else 3."""
    flip: Flip = "auto"
    """Mirror half of the training images left to right. auto does so except for IDX data: mirrored digits are other signs."""
    binarize: Binarize = "none"
    """dynamic draws every grey pixel anew as black or white, with its brightness as the probability: binarised MNIST."""
    labels: str | None = None
    """A table of file names and labels, or StyleGAN's dataset.json, where none lies beside the images (labels.csv)."""
    levels: str = ""
    """Which of the files' numbers are black and white: LOW:HIGH, or auto for the lowest and highest that the images use. By
    default as the kind of file has it; 16-bit files may use 8, 10, 12 or 14 bits, floats [0, 1], [-1, 1] or a range of theirs."""
    background: str = "white"
    """What lies behind transparency, and beside images with --fit pad: white, black, grey or '#rrggbb'. black for white icons."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", plain_size(self.size))
        choices = (("fit", self.fit, Fit), ("channels", self.channels, Channels), ("flip", self.flip, Flip))
        for name, value, allowed in (*choices, ("binarize", self.binarize, Binarize)):
            if value not in get_args(allowed):
                known = ", ".join(get_args(allowed))
                raise RequestError(f"--{name} {value} is not known: choose one of {known}.")
        parse_levels(self.levels)
        if not re.fullmatch("white|black|grey|#[0-9a-fA-F]{6}", self.background):
            raise RequestError(
                f"--background {self.background} is not known: choose white, black, grey or a colour as '#rrggbb'."
            )
        if self.binarize == "dynamic" and self.channels in ("3", "4"):
            raise RequestError("--binarize dynamic is for grey images: use it with --channels 1, or leave it out.")

    @property
    def shape(self) -> Shape:
        """Height and width of every image; `size` must not be auto any more."""
        return shape_of(self.size)


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the networks. Encoder, critic and decoder mirror each other, but for the residual blocks of plain decoders."""

    kind: Literal["plain", "residual", "classic", "mlp"] = "plain"
    """plain: one strided convolution a stage, fastest on a CPU; residual: norm-free residual stages, for GPUs or patience;
    classic and mlp: the sources' convolutional and fully connected networks, to compare with."""
    latent_dim: int = 64
    """Numbers that describe one image. More keep more detail; `study latent-size` measures what your images need."""
    width: int = 16
    """Channels of the finest stage, doubled at every coarser one. Wider is better and slower: 32 from a quarter of an hour on."""
    width_limit: int = 128
    """Channels of the coarsest stages, where the doubling ends."""
    blocks: int = 1
    """Residual blocks a stage; of plain networks only the decoder has them. With 0 it is quicker and draws worse."""
    layers: int = 4
    """Convolutions of the encoder and of the decoder (classic), or hidden layers of `width` numbers (mlp)."""
    decoder_width: int = 0
    """Channels of the decoder's finest stage where they differ from the encoder's (classic only); 0: the same."""
    norm: Literal["none", "batch"] = "none"
    """Batch normalisation (classic only), as some sources have it. It allows no handover, no joint model, one process only."""
    upsampling: Literal["transposed", "nearest"] = "transposed"
    """How a classic decoder doubles the side: transposed convolution, or nearest neighbours and a convolution."""
    activation: Literal["leaky", "relu"] = "leaky"
    """Activation of encoder and critic (classic and mlp). leaky passes a fifth of what is below 0."""
    weights: Weights = "he"
    """Initial weights. he: for networks without normalisation; uniform: torch's own; normal: N(0, 0.02), DCGAN's."""
    output: Literal["linear", "tanh", "sigmoid", "continuous-bernoulli"] = "linear"
    """Last operation of the decoder. linear and tanh: for Gaussian and Laplace objectives; sigmoid: for cross-entropy;
    continuous-bernoulli: for the objective of its name."""

    def __post_init__(self) -> None:
        limits = {"latent_dim": 8192, "width": 1024, "width_limit": 4096, "blocks": 16, "layers": 8, "decoder_width": 1024}
        for name, limit in limits.items():
            value, least = getattr(self, name), 0 if name == "decoder_width" or (name, self.kind) == ("blocks", "plain") else 1
            if not least <= value <= limit:
                raise RequestError(f"--network.{name.replace('_', '-')} is {value}; it must be between {least} and {limit}.")
        choices: dict[str, tuple[Any, str]] = {"norm": ("none", "classic"), "upsampling": ("transposed", "classic")}
        choices |= {"decoder_width": (0, "classic"), "blocks": (1, "plain and residual")}
        choices |= {"activation": ("leaky", "classic and mlp"), "layers": (4, "classic and mlp")}
        for name, (default, kinds) in choices.items():
            value = getattr(self, name)
            if value != default and self.kind not in kinds:
                option = f"--network.{name.replace('_', '-')}"
                raise RequestError(f"{option} {value} does not fit --network.kind {self.kind}: it is for {kinds}.")
