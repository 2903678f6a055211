"""What batch normalisation asks of those who train with it: an image's result depends on its batch, and the network remembers."""

from collections.abc import Generator
from contextlib import contextmanager

from torch import nn


def normalises_batches(network: nn.Module) -> bool:
    """Whether what the network makes of an image depends, in training, on the other images of the batch."""
    return any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


@contextmanager
def running_statistics(*networks: nn.Module) -> Generator[None]:
    """Lets the networks normalise by the statistics gathered so far, and gather none: each image counts for itself."""
    training = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, mode in zip(networks, training, strict=True):
            network.train(mode)
