"""The optimisers that a network can be given."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from vaegan.config import GANConfig, OptimizerName


def build_optimizer(name: OptimizerName, parameters: Iterable[nn.Parameter], config: GANConfig) -> Optimizer:
    """Adam (Kingma & Ba 2015), SGD with momentum, or RMSProp, at the learning rate of `config`."""
    rate = config.learning_rate
    if name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=config.momentum)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, rate)
    return torch.optim.Adam(parameters, rate, betas=(config.beta1, config.beta2), fused=True)
