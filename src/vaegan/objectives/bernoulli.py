"""Likelihoods of values in [0, 1]: Bernoulli (cross-entropy) and continuous Bernoulli. One value an image each [nats].

Images come in [-1, 1] as everywhere and stand for (x + 1)/2; the decoder's raw output is the logit of each value.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.types import Images, PerImage


def cross_entropy(images: Images, logits: Tensor) -> PerImage:
    """-[t log l + (1 - t) log(1 - l)] with t = (x + 1)/2 and l = s(logit), summed over an image's values.

    The negative log-likelihood of binary images; of grey ones it is a loss whose least value is not 0.
    """
    return F.binary_cross_entropy_with_logits(logits, (images + 1) / 2, reduction="none").flatten(1).sum(1)


def continuous_bernoulli(images: Images, logits: Tensor) -> PerImage:
    """The cross-entropy less log C(l), which makes it a density on [0, 1] (Loaiza-Ganem & Cunningham 2019, Eq. 5)."""
    return cross_entropy(images, logits) - log_normaliser(logits).flatten(1).sum(1)


def log_normaliser(logits: Tensor) -> Tensor:
    """Log C(l) with C = 2 artanh(1 - 2l)/(1 - 2l), l = s(logit); C(1/2) = 2.

    With x = logit/2 it is log(2 x / tanh x). Near 0 the quotient is 0/0, and its series x^2/3 - 7 x^4/90 + 62 x^6/2835 is used;
    far out tanh x is 1 and nothing overflows.
    """
    x = logits / 2
    near = x.abs() < 0.1
    safe = torch.where(near, torch.ones_like(x), x)
    square = x.square()
    series = square * (1 / 3 - square * (7 / 90 - square * (62 / 2835)))
    return torch.log(torch.tensor(2.0, device=x.device, dtype=x.dtype)) + torch.where(
        near, series, torch.log(safe / torch.tanh(safe))
    )
