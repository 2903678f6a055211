"""Fully connected networks, such as the 784-400-20 of the MNIST tutorials: every pixel is a number on its own."""

from itertools import pairwise

from torch import Tensor, nn

from vaegan.config import NetworkConfig
from vaegan.networks.blocks import encoder_activation
from vaegan.networks.labels import chosen_bias, staged_features
from vaegan.shapes import Shape, shape_of
from vaegan.types import Images, Labels


class MLPTrunk(nn.Module):
    """Hidden layers of `width` numbers, as feature maps of a single place, so that everything built for maps can use them."""

    def __init__(self, config: NetworkConfig, size: int | Shape, channels: int, classes: int) -> None:
        super().__init__()
        self.channels = self.out_features = config.width
        widths = [channels * shape_of(size).area] + [config.width] * config.layers
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), encoder_activation(config)) for before, after in pairwise(widths)
        )
        self.last_bias = f"stages.{config.layers - 1}.0.bias"
        self.label_bias = chosen_bias(classes, config.width)

    def forward(self, images: Images, labels: Labels | None = None) -> list[Tensor]:
        """Features of every layer, [batch, width, 1, 1]."""
        features = staged_features(self.stages, images.flatten(1), self.label_bias, labels)
        return [feature[:, :, None, None] for feature in features]


def mlp_stages(config: NetworkConfig, size: int | Shape, channels: int) -> tuple[int, Shape, nn.Sequential]:
    """The way back from `width` numbers at one place: the remaining hidden layers, and one number for every pixel."""
    layers: list[nn.Module] = [nn.Flatten(), nn.ReLU()]
    for _ in range(config.layers - 1):
        layers += [nn.Linear(config.width, config.width), nn.ReLU()]
    layers += [nn.Linear(config.width, channels * shape_of(size).area), nn.Unflatten(1, (channels, *shape_of(size)))]
    return config.width, Shape(1, 1), nn.Sequential(*layers)
