"""Small parts shared by the networks: initialisation, padding, the residual block."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaegan.shapes import NetworkConfig, Shape, Weights
from vaegan.types import Images

SLOPE = 0.2  # of the leaky ReLU, as in DCGAN (Radford et al. 2016)


def activation() -> nn.Module:
    """The leaky ReLU used everywhere."""
    return nn.LeakyReLU(SLOPE)


def encoder_activation(config: NetworkConfig) -> nn.Module:
    """The activation of encoders and critics in the sources' networks, by the settings; their decoders have a ReLU."""
    return nn.ReLU() if config.activation == "relu" else activation()


def initialise(module: nn.Module, weights: Weights = "he") -> None:
    """Draws the weights before training, as `NetworkConfig.weights` says.

    He initialisation for the leaky ReLU (He et al. 2015, Eq. 14): without normalisation the scale must be right.
    A transposed convolution of kernel 4 and stride 2 adds 4 of its 16 taps into each output pixel.
    """
    if weights == "uniform":
        return  # as torch has drawn them
    if weights == "normal":
        _initialise_as_dcgan(module)
        return
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            if isinstance(layer, nn.ConvTranspose2d):
                taps = layer.kernel_size[0] * layer.kernel_size[1] // (layer.stride[0] * layer.stride[1])
                fan_in = layer.in_channels * taps
            else:
                fan_in = layer.weight[0].numel()
            draw_normal(layer.weight, math.sqrt(2 / (1 + SLOPE**2) / fan_in))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def draw_normal(weight: Tensor, std: float, mean: float = 0.0) -> None:
    """Draws a weight from N(mean, std^2), if it has any content to be drawn."""
    if not weight.is_meta:  # a model is read into such; torch would load its compiler to draw them: a second of every command
        nn.init.normal_(weight, mean, std)


def _initialise_as_dcgan(module: nn.Module) -> None:
    """N(0, 0.02) for weights (Radford et al. 2016, Section 4), and N(1, 0.02) for the scales of normalisation."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            draw_normal(layer.weight, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            draw_normal(layer.weight, 0.02, mean=1.0)


def pad_to(images: Images, shape: Shape) -> Images:
    """Repeats the border until the image has this shape; an extra row or column goes to the end."""
    height, width = images.shape[-2:]
    missing_rows, missing_columns = shape.height - height, shape.width - width
    if missing_rows == 0 and missing_columns == 0:
        return images
    left, top = missing_columns // 2, missing_rows // 2
    return F.pad(images, (left, missing_columns - left, top, missing_rows - top), mode="replicate")


def crop_to(images: Images, shape: Shape) -> Images:
    """The centre of `images`, undoing `pad_to`."""
    if images.shape[-2:] == shape:
        return images
    top, left = ((has - wanted) // 2 for has, wanted in zip(images.shape[-2:], shape, strict=True))
    return images[..., top : top + shape.height, left : left + shape.width]


def in_float32(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What `layer` makes of [batch, numbers], in float32 also under autocast.

    It is for a network's ends, where numbers are few and their rounding counts. bfloat16 has three digits. By finite differences
    the slope of a critic whose logits are near 10 would be a quarter too large.
    """
    x = x if x.dtype == torch.float64 else x.float()
    if not torch.is_autocast_enabled(x.device.type):  # as where a graph is exported, which had better not know of it
        return layer(x).float()
    with torch.autocast(x.device.type, enabled=False):
        return layer(x).float()


class Residual(nn.Module):
    """Two convolutions beside an identity; the second starts at zero, so that a deep stack starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to the same shape."""
        hidden = self.first(F.leaky_relu(x, SLOPE))
        return x + self.second(F.leaky_relu(hidden, SLOPE))

    def start_as_identity(self) -> None:
        """Zeroes the second convolution (called after the general initialisation)."""
        nn.init.zeros_(self.second.weight)


def start_residuals_as_identity(module: nn.Module) -> None:
    """Zeroes the last convolution of every residual block in `module`."""
    for layer in module.modules():
        if isinstance(layer, Residual):
            layer.start_as_identity()
