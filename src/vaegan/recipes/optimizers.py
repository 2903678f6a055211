"""The optimisers that a network can be given."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from vaegan.config import OptimizerName
from vaegan.networks.even import even_layers
from vaegan.recipes.muon import Muon


def build_optimizer(
    name: OptimizerName, networks: Iterable[nn.Module], rate: float, betas: tuple[float, float], momentum: float = 0.9
) -> Optimizer:
    """Muon, Adam (Kingma & Ba 2015), SGD with momentum, or RMSProp; after each step even transposed convolutions are evened out.

    Args:
        name: which.
        networks: to be trained.
        rate: learning rate.
        betas: decay of the first and second moment, for Adam and Muon.
        momentum: for SGD.
    """
    networks = list(networks)
    optimizer = _built(name, networks, rate, betas, momentum)
    even = [layer for network in networks for layer in even_layers(network)]

    def even_out(*_: object) -> None:
        for layer in even:
            layer.even_out()

    optimizer.register_step_post_hook(even_out)
    return optimizer


def _built(name: OptimizerName, networks: list[nn.Module], rate: float, betas: tuple[float, float], momentum: float) -> Optimizer:
    if name == "muon":
        return Muon(networks, rate, betas)
    parameters = [parameter for network in networks for parameter in network.parameters()]
    if name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=momentum)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, rate)
    return torch.optim.Adam(parameters, rate, betas=betas, fused=True)
