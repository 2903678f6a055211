"""The downsampling half that encoder and critic share: images to features, finest first."""

import itertools

from torch import Tensor, nn

from vaegan.config import NetworkConfig
from vaegan.networks.blocks import Residual, activation, pad_to
from vaegan.networks.classic import ClassicTrunk
from vaegan.networks.labels import chosen_bias, staged_features, with_bias
from vaegan.networks.mlp import MLPTrunk
from vaegan.networks.stages import plan_stages, stage_widths
from vaegan.shapes import Shape
from vaegan.types import Images, Labels


class PlainTrunk(nn.Module):
    """Space-to-depth, then one strided convolution a stage.

    The first stage sees all four pixels of a 2x2 block as channels (PixelUnshuffle). A strided first convolution overlooks the
    highest octave, and a generator then fills it with texture.
    """

    def __init__(self, config: NetworkConfig, size: int | Shape, channels: int, classes: int) -> None:
        super().__init__()
        stages = plan_stages(size)
        widths = stage_widths(config, stages.halvings)
        self.padded = stages.padded
        self.channels = widths[-1]
        self.out_features = widths[-1] * stages.grid.area
        first = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, widths[0], 3, padding=1), activation())
        later = [
            nn.Sequential(nn.Conv2d(fine, coarse, 4, stride=2, padding=1), activation())
            for fine, coarse in itertools.pairwise(widths)
        ]
        self.stages = nn.ModuleList([first, *later])
        self.last_bias = f"stages.{len(later)}.0.bias"
        self.label_bias = chosen_bias(classes, widths[-1])

    def forward(self, images: Images, labels: Labels | None = None) -> list[Tensor]:
        """Features of every stage, at 1/2, 1/4, ... of the padded side."""
        return staged_features(self.stages, pad_to(images, self.padded), self.label_bias, labels)


class ResidualTrunk(nn.Module):
    """Norm-free residual stages with average pooling between them."""

    def __init__(self, config: NetworkConfig, size: int | Shape, channels: int, classes: int) -> None:
        super().__init__()
        stages = plan_stages(size)
        widths = stage_widths(config, stages.halvings + 1)
        self.padded = stages.padded
        self.channels = widths[-1]
        self.out_features = widths[-1] * stages.grid.area
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.finest = nn.Sequential(*(Residual(widths[0]) for _ in range(config.blocks)))
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(fine, coarse, 1), *(Residual(coarse) for _ in range(config.blocks)))
            for fine, coarse in itertools.pairwise(widths)
        )
        self.last = activation()
        self.last_bias = f"stages.{len(self.stages) - 1}.{1 + config.blocks}.second.bias"
        self.label_bias = chosen_bias(classes, widths[-1])

    def forward(self, images: Images, labels: Labels | None = None) -> list[Tensor]:
        """Features of every stage, at 1/2, 1/4, ... of the padded side."""
        x = self.finest(self.stem(pad_to(images, self.padded)))
        features: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        features[-1] = self.last(with_bias(features[-1], self.label_bias, labels))
        return features


Trunk = PlainTrunk | ResidualTrunk | ClassicTrunk | MLPTrunk

TRUNKS: dict[str, type[Trunk]] = {"plain": PlainTrunk, "residual": ResidualTrunk, "classic": ClassicTrunk, "mlp": MLPTrunk}


def build_trunk(config: NetworkConfig, size: int | Shape, channels: int, classes: int) -> Trunk:
    """The trunk that `config.kind` names."""
    return TRUNKS[config.kind](config, size, channels, classes)
