"""The critic's heads on a frozen network's features: one for each scale, with spectral normalisation (Miyato et al. 2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vaegan.networks.labels import chosen_bias
from vaegan.shapes import Shape
from vaegan.types import Labels

FINEST_LOGITS = 4
"""Larger maps are halved by strided convolutions until the shorter side is this: each logit then judges a quarter of it."""


class Heads(nn.Module):
    """Maps of features, flattened and joined, to the logits of every place of every scale."""

    def __init__(self, width: int, shapes: Sequence[Shape], classes: int = 0) -> None:
        super().__init__()
        self.width, self.shapes = width, tuple(shapes)
        self.heads = nn.ModuleList(Head(width, shape, classes) for shape in shapes)

    def forward(self, seen: Tensor, labels: Labels | None = None) -> Tensor:
        """[batch, all numbers of all maps] to logits [batch, places]."""
        parts = seen.split([self.width * shape.area for shape in self.shapes], 1)
        logits = [
            head(part.view(-1, self.width, *shape), labels)
            for head, part, shape in zip(self.heads, parts, self.shapes, strict=True)
        ]
        return torch.cat(logits, 1).float()


class Head(nn.Module):
    """Judges one scale."""

    def __init__(self, width: int, shape: Shape, classes: int) -> None:
        super().__init__()
        side = min(shape)
        layers: list[nn.Module] = []
        while side > FINEST_LOGITS:
            layers += [spectral_norm(nn.Conv2d(width, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
            side //= 2
        if not layers:
            layers = [spectral_norm(nn.Conv2d(width, width, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.last = spectral_norm(nn.Conv2d(width, 1, 3 if side > 2 else 1, padding=int(side > 2)))
        self.projection = chosen_bias(classes, width)

    def forward(self, maps: Tensor, labels: Labels | None) -> Tensor:
        """Logits [batch, places]; a label adds the product of its own direction with the features (Miyato & Koyama 2018)."""
        features = self.layers(maps)
        logits: Tensor = self.last(features)
        if self.projection is not None:
            logits = logits + (self.projection(labels)[:, :, None, None] * features).sum(1, keepdim=True)
        return logits.flatten(1)
