"""How a label enters a network: it chooses a bias. That of one label can therefore be folded into the weights for good.

A bias that a label chooses is what a linear layer makes of the label's one-hot code beside its other inputs (Sohn et al. 2015).
"""

from typing import cast

from torch import Tensor, nn

from vaegan.types import Labels


def chosen_bias(classes: int, channels: int) -> nn.Embedding | None:
    """One bias of `channels` numbers for each of `classes` labels, 0 at first; None without labels."""
    if classes == 0:
        return None
    bias = nn.Embedding(classes, channels)
    nn.init.zeros_(bias.weight)
    return bias


def with_bias(x: Tensor, bias: nn.Embedding | None, labels: Labels | None) -> Tensor:
    """Adds each label's bias to every place of its image, [batch, channels] or [batch, channels, height, width]."""
    if (bias is None) != (labels is None):
        raise ValueError("A conditional network needs labels, and another one cannot take any.")
    if bias is None or labels is None:
        return x
    chosen: Tensor = bias(labels).to(x.dtype)
    return x + chosen.view(*chosen.shape, *(1,) * (x.ndim - 2))


def staged_features(stages: nn.ModuleList, x: Tensor, bias: nn.Embedding | None, labels: Labels | None) -> list[Tensor]:
    """What every one of `stages` makes of `x`, first to last; each label's bias enters before the last activation."""
    features: list[Tensor] = []
    for stage in stages[:-1]:
        x = stage(x)
        features.append(x)
    last = cast(nn.Sequential, stages[-1])
    return [*features, last[-1](with_bias(last[:-1](x), bias, labels))]


def folded(network: nn.Module, bias: str, into: str, label: int) -> dict[str, Tensor]:
    """The tensors of `network` without its `bias`, of which the row of `label` is added to the tensor `into`."""
    state: dict[str, Tensor] = dict(network.state_dict())
    rows = state.pop(f"{bias}.weight")
    return state | {into: state[into] + rows[label]}
