"""The optimisers that a network can be given."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer

from vaegan.networks.even import even_layers
from vaegan.parts.muon import Muon

OptimizerName = Literal["muon", "adam", "sgd", "rmsprop"]
MOMENTUM = 0.9  # of sgd


def optimizer_of(name: OptimizerName, betas: tuple[float, float]) -> Callable[[nn.Module], Optimizer]:
    """Makes Muon, Adam (Kingma & Ba 2015), SGD with momentum, or RMSProp for a network, whose player sets the learning rate.

    After each step even transposed convolutions are evened out. `betas` are for Adam and Muon.
    """

    def build(network: nn.Module) -> Optimizer:
        parameters, rate = list(network.parameters()), 0.0
        optimizer: Optimizer
        if name == "muon":
            optimizer = Muon([network], rate, betas)
        elif name == "sgd":
            optimizer = torch.optim.SGD(parameters, rate, momentum=MOMENTUM)
        elif name == "rmsprop":
            optimizer = torch.optim.RMSprop(parameters, rate)
        else:
            optimizer = torch.optim.Adam(parameters, rate, betas=betas, fused=True)
        even = even_layers(network)

        def even_out(*_: object) -> None:
            for layer in even:
                layer.even_out()

        optimizer.register_step_post_hook(even_out)
        return optimizer

    return build
