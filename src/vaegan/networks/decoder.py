"""Decoder of the VAE and generator of the GAN: one class, so that the handover copies and nothing is converted."""

import itertools

import torch
from torch import Tensor, nn

from vaegan.config import NetworkConfig
from vaegan.networks.blocks import Residual, activation, crop_to, in_float32, initialise, start_residuals_as_identity
from vaegan.networks.classic import classic_stages
from vaegan.networks.even import EvenTransposed, even_layers
from vaegan.networks.labels import chosen_bias, folded, with_bias
from vaegan.networks.mlp import mlp_stages
from vaegan.networks.outputs import OUTPUTS
from vaegan.networks.stages import plan_stages, stage_widths
from vaegan.networks.subpixel import SubPixel
from vaegan.shapes import Shape, shape_of
from vaegan.types import Images, Labels, Latents


class Decoder(nn.Module):
    """Latents to images: a linear layer `start` onto the coarsest grid, then the stages of one family.

    Every family begins with `start`, so that labels can be folded in, in one place.
    """

    def __init__(self, config: NetworkConfig, size: int | Shape, channels: int, classes: int = 0) -> None:
        super().__init__()
        self.shape, self.latent_dim = shape_of(size), config.latent_dim
        self.start_channels, self.grid, self.stages = STAGES[config.kind](config, size, channels)
        self.start = nn.Linear(config.latent_dim, self.start_channels * self.grid.area)
        self.saturates = config.output == "tanh"
        self.output = OUTPUTS[config.output]()
        self.label_bias = chosen_bias(classes, self.start.out_features)
        initialise(self, config.weights)
        for layer in even_layers(self):
            if not layer.weight.is_meta:  # a model is read into such
                layer.even_out()
        start_residuals_as_identity(self)

    def forward(self, latents: Latents, labels: Labels | None = None, raw: bool = False) -> Images:
        """[batch, latent] to float32 images [batch, channel, height, width].

        With `raw` they are what the likelihood is told: a mean, or logits.
        """
        x = with_bias(in_float32(self.start, latents), self.label_bias, labels)
        x = x.unflatten(1, (self.start_channels, *self.grid))
        x = self.stages(x.contiguous(memory_format=torch.channels_last))
        x = crop_to(x.float(), self.shape)
        x = x.tanh() if self.saturates else x
        return x if raw else self.output(x)

    def for_label(self, label: int) -> dict[str, Tensor]:
        """The tensors of the unconditional decoder that decodes every latent to an image of `label`."""
        return folded(self, "label_bias", "start.bias", label)


def plain_stages(config: NetworkConfig, size: int | Shape, channels: int) -> tuple[int, Shape, nn.Sequential]:
    """Transposed convolutions up to half the size, each with residual blocks behind it, then one sub-pixel convolution.

    Returns:
        Channels and sides of the coarsest map, and the layers from there to the image; so do the other families.
    """
    plan = plan_stages(size)
    widths = stage_widths(config, plan.halvings)[::-1]
    layers: list[nn.Module] = [activation()]
    for coarse, fine in itertools.pairwise(widths):
        layers += [EvenTransposed(coarse, fine), activation()]
        for _ in range(config.blocks):
            layers += [Residual(fine), activation()]
    layers += [nn.Conv2d(widths[-1], 4 * channels, 3, padding=1), SubPixel(channels)]
    return widths[0], plan.grid, nn.Sequential(*layers)


def residual_stages(config: NetworkConfig, size: int | Shape, channels: int) -> tuple[int, Shape, nn.Sequential]:
    """Residual blocks on every grid, with bilinear upsampling between them."""
    plan = plan_stages(size)
    widths = stage_widths(config, plan.halvings + 1)[::-1]
    layers: list[nn.Module] = [Residual(widths[0]) for _ in range(config.blocks)]
    for coarse, fine in itertools.pairwise(widths):
        layers += [nn.Conv2d(coarse, fine, 1), nn.Upsample(scale_factor=2, mode="bilinear")]
        layers += [Residual(fine) for _ in range(config.blocks)]
    layers += [activation(), nn.Conv2d(widths[-1], channels, 3, padding=1)]
    return widths[0], plan.grid, nn.Sequential(*layers)


STAGES = {"plain": plain_stages, "residual": residual_stages, "classic": classic_stages, "mlp": mlp_stages}
