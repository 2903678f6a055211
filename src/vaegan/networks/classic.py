"""The sources' convolutional networks: one convolution a stage, with or without batch normalisation, and two upsamplers.

They are here to be compared with. Our own networks have no normalisation, which ties an image to the others of its batch. That
breaks gradient penalties, training on several processes, and the handover.
"""

from itertools import pairwise

from torch import Tensor, nn

from vaegan.config import NetworkConfig
from vaegan.networks.blocks import encoder_activation, pad_to
from vaegan.networks.labels import chosen_bias, staged_features
from vaegan.networks.stages import GridPlan, halved, stage_widths
from vaegan.shapes import Shape, shape_of
from vaegan.types import Images, Labels

LEAST_GRID = 4  # [places]


def plan_grids(size: int | Shape, layers: int) -> GridPlan:
    """Halves `size` [pixels] as often as there are layers, but no side below 4: 64 and 4 layers -> 4, 28 -> 7 after two.

    The first convolutions halve, those after them keep the sides.
    """
    halvings = 0
    while halvings < layers and min(shape_of(size)) // 2 ** (halvings + 1) >= LEAST_GRID:
        halvings += 1
    return halved(size, halvings)


class ClassicTrunk(nn.Module):
    """Convolutions of kernel 4 and stride 2; normalised, where they are, from the second on (Radford et al. 2016, Section 3)."""

    def __init__(self, config: NetworkConfig, size: int | Shape, channels: int, classes: int) -> None:
        super().__init__()
        grids, widths = plan_grids(size, config.layers), stage_widths(config, config.layers)
        self.padded = grids.padded
        self.channels = widths[-1]
        self.out_features = widths[-1] * grids.grid.area
        stages: list[nn.Sequential] = []
        for index, (before, after) in enumerate(pairwise([channels, *widths])):
            normalised = config.norm == "batch" and index > 0
            kernel, stride = (4, 2) if index < grids.halvings else (3, 1)
            convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=1, bias=not normalised)
            stages.append(nn.Sequential(convolution, *_normalisation(after, normalised), encoder_activation(config)))
        self.stages = nn.ModuleList(stages)
        self.last_bias = f"stages.{len(stages) - 1}.{len(stages[-1]) - 2}.bias"
        self.label_bias = chosen_bias(classes, widths[-1])

    def forward(self, images: Images, labels: Labels | None = None) -> list[Tensor]:
        """Features of every stage, finest first."""
        return staged_features(self.stages, pad_to(images, self.padded), self.label_bias, labels)


def classic_stages(config: NetworkConfig, size: int | Shape, channels: int) -> tuple[int, Shape, nn.Sequential]:
    """The way back: transposed convolutions (kernel 4, stride 2), or nearest neighbours and a convolution (kernel 3).

    Returns:
        Channels and sides of the coarsest map, and the layers from there to the image.
    """
    grids = plan_grids(size, config.layers)
    widths = stage_widths(config, config.layers, config.decoder_width or config.width)[::-1]
    normalised = config.norm == "batch"
    layers: list[nn.Module] = [*_normalisation(widths[0], normalised), nn.ReLU()]
    for index, (before, after) in enumerate(pairwise([*widths, channels])):
        is_last = index == config.layers - 1
        doubles, bias = index >= config.layers - grids.halvings, is_last or not normalised
        if doubles and config.upsampling == "transposed":
            layers.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=bias))
        else:
            layers += [nn.Upsample(scale_factor=2, mode="nearest")] if doubles else []
            layers.append(nn.Conv2d(before, after, 3, padding=1, bias=bias))
        if not is_last:
            layers += [*_normalisation(after, normalised), nn.ReLU()]
    return widths[0], grids.grid, nn.Sequential(*layers)


def _normalisation(channels: int, wanted: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if wanted else []
