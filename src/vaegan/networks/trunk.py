"""The downsampling half that encoder and critic share: images to features, finest first."""

import itertools

from torch import Tensor, nn

from vaegan.config import NetworkConfig
from vaegan.networks.blocks import Residual, activation, pad_to
from vaegan.networks.stages import plan_stages, stage_widths
from vaegan.types import Images


class PlainTrunk(nn.Module):
    """Space-to-depth, then one strided convolution a stage.

    The first stage sees all four pixels of a 2x2 block as channels (PixelUnshuffle): a strided first convolution
    overlooks the highest octave, and a generator then fills it with texture.
    """

    def __init__(self, config: NetworkConfig, size: int, channels: int) -> None:
        """Args: config: widths; size: of the square images [pixels]; channels: 1 grey or 3 colour."""
        super().__init__()
        stages = plan_stages(size)
        widths = stage_widths(config, stages.halvings)
        self.padded = stages.padded
        self.out_features = widths[-1] * stages.grid**2
        first = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, widths[0], 3, padding=1), activation())
        later = [
            nn.Sequential(nn.Conv2d(fine, coarse, 4, stride=2, padding=1), activation())
            for fine, coarse in itertools.pairwise(widths)
        ]
        self.stages = nn.ModuleList([first, *later])

    def forward(self, images: Images) -> list[Tensor]:
        """Features of every stage, at 1/2, 1/4, ... of the padded side."""
        x = pad_to(images, self.padded)
        features: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class ResidualTrunk(nn.Module):
    """Norm-free residual stages with average pooling between them."""

    def __init__(self, config: NetworkConfig, size: int, channels: int) -> None:
        """Args: config: widths and blocks; size: of the square images [pixels]; channels: 1 grey or 3 colour."""
        super().__init__()
        stages = plan_stages(size)
        widths = stage_widths(config, stages.halvings + 1)
        self.padded = stages.padded
        self.out_features = widths[-1] * stages.grid**2
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.finest = nn.Sequential(*(Residual(widths[0]) for _ in range(config.blocks)))
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(fine, coarse, 1), *(Residual(coarse) for _ in range(config.blocks)))
            for fine, coarse in itertools.pairwise(widths)
        )
        self.last = activation()

    def forward(self, images: Images) -> list[Tensor]:
        """Features of every stage, at 1/2, 1/4, ... of the padded side."""
        x = self.finest(self.stem(pad_to(images, self.padded)))
        features: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        features[-1] = self.last(features[-1])
        return features


Trunk = PlainTrunk | ResidualTrunk

TRUNKS = {"plain": PlainTrunk, "residual": ResidualTrunk}


def build_trunk(config: NetworkConfig, size: int, channels: int) -> Trunk:
    """The trunk that `config.kind` names."""
    return TRUNKS[config.kind](config, size, channels)
