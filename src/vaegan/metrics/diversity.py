"""How many directions a cloud of features spreads over."""

import torch
from torch import Tensor

from vaegan.metrics.statistics import Moments


def effective_rank(moments: Moments) -> float:
    """Exp of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli 2007): between 1 and the dimension.

    Blind to dropped modes as long as the rest spreads as widely: read it with recall and coverage.
    """
    values = torch.linalg.eigvalsh(moments.covariance).clamp_min(0)
    shares: Tensor = values / values.sum().clamp_min(1e-300)
    return float(torch.exp(-(shares * shares.clamp_min(1e-300).log()).sum()))
