"""Logistic regression, and the classifier two-sample test that it makes possible."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.metrics.statistics import FEW_SPLITS, Interval, with_interval_by_halves


class LogisticClassifier:
    """Multinomial logistic regression, fitted in float64 until the largest gradient is below `tolerance`.

    `penalty` times half the squared weights (not the bias) stands against the summed negative log-likelihood. With two classes it
    is twice that of a regression on the difference of their weights.
    """

    def __init__(
        self, features: Tensor, codes: Tensor, classes: int, penalty: float = 1.0, iterations: int = 60, tolerance: float = 1e-6
    ) -> None:
        with torch.inference_mode(False), torch.enable_grad():
            points, codes = features.detach().cpu().double().clone(), codes.cpu().clone()
            weights = torch.zeros(points.shape[1], classes, dtype=torch.float64, requires_grad=True)
            bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
            optimiser = torch.optim.LBFGS(
                [weights, bias],
                max_iter=iterations,
                history_size=10,
                tolerance_grad=tolerance,
                tolerance_change=1e-3 * tolerance,
                line_search_fn="strong_wolfe",
            )

            def loss() -> Tensor:
                optimiser.zero_grad()
                fit = F.cross_entropy(points @ weights + bias, codes, reduction="sum")
                total = (fit + 0.5 * penalty * weights.square().sum()) / len(points)
                total.backward()
                return total

            optimiser.step(loss)
        self.weights, self.bias = weights.detach(), bias.detach()

    def __call__(self, features: Tensor) -> Tensor:
        """Logits [count, classes]."""
        return features.detach().cpu().double() @ self.weights + self.bias


def two_sample_correct(real: Tensor, fake: Tensor, seed: int = 0, folds: int = 4) -> Tensor:
    """Whether a linear classifier that never saw an image tells its kind (Lopez-Paz & Oquab 2017): 0 or 1, [real + fake].

    The mean is 1/2 when kinds cannot be told apart. Each fold of the standardised features is judged by a classifier of the
    others.
    """
    if len(real) != len(fake):
        raise ValueError(f"{len(real)} real and {len(fake)} generated: the counts must be equal.")
    count = len(real)
    features, kind = torch.cat([real, fake]).double(), torch.cat([torch.zeros(count), torch.ones(count)]).long()
    # Image i of both kinds is in the same fold, so that every fold is balanced.
    fold = (torch.randperm(count, generator=Generator().manual_seed(seed)) % folds).repeat(2)
    correct = torch.zeros(2 * count, dtype=torch.float64)
    for part in range(folds):
        held = fold == part
        scores = LogisticClassifier(features[~held], kind[~held], 2, penalty=10.0)(features[held])
        correct[held] = (scores.argmax(1) == kind[held]).double()
    return correct


def two_sample_accuracy(real: Tensor, fake: Tensor, seed: int = 0) -> tuple[float, Interval]:
    """The mean of `two_sample_correct` and its 95 % interval by halves: a bootstrap would be too narrow, as images are shared."""

    def accuracy(reals: Tensor, fakes: Tensor) -> Tensor:
        return two_sample_correct(real[reals], fake[fakes], seed).mean()

    return with_interval_by_halves(accuracy, (len(real), len(fake)), seed, FEW_SPLITS, most=1.0)
