"""Muon (Jordan et al. 2024): steps whose matrices are orthogonalised, so that every direction of a layer moves equally far.

Adam scales each number on its own. The gradient of a layer's weights is nearly of low rank, and so is Adam's step.
Orthogonalised, the rare directions count as much as the common ones.

PyTorch has a Muon of its own since 2.9, for matrices only; here convolutions are the point.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MATRICES = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
QUINTIC = (3.4445, -4.7750, 2.0315)  # of those that end near 1 the steepest at 0 (Jordan et al. 2024)
ITERATIONS = 5
MOST_ROWS = 256  # orthogonalised at once: 1,024 rows of 4,096 take 0.5 s at once and 0.06 s in four blocks (one core)


class Muon(Optimizer):
    """Muon for the weights of convolutions and linear layers; Adam for the others: biases, scales, embeddings of labels."""

    def __init__(self, networks: Iterable[nn.Module], rate: float, betas: tuple[float, float]) -> None:
        """Sets up both parts: `rate` is the root mean square of a matrix's step, and Adam's learning rate for the rest.

        `betas` are Adam's; the first is also the momentum of the matrices, taken in Nesterov's way.
        """
        networks = list(networks)
        matrices = [layer.weight for network in networks for layer in network.modules() if isinstance(layer, MATRICES)]
        known = {id(weight) for weight in matrices}
        others = [each for network in networks for each in network.parameters() if id(each) not in known]
        super().__init__([{"params": matrices, "matrices": True}, {"params": others, "matrices": False}], {"lr": rate})
        self.betas = betas

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Moves every parameter that has a gradient; `closure` is not used."""
        for group in self.param_groups:
            move = self._move_matrix if group["matrices"] else self._move_other
            for parameter in group["params"]:
                if parameter.grad is not None:
                    move(parameter, parameter.grad, group["lr"])

    def _move_matrix(self, weight: nn.Parameter, gradient: Tensor, rate: float) -> None:
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean = state["mean"].lerp_(gradient, 1 - self.betas[0])
        direction = orthogonalised(gradient.lerp(mean, self.betas[0]).flatten(1))
        # An orthogonal matrix has a root mean square of one over the root of its longer side (Liu et al. 2025, Section 2.2).
        weight.add_(direction.view(weight.shape), alpha=-rate * math.sqrt(max(direction.shape)))

    def _move_other(self, parameter: nn.Parameter, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"], state["mean"], state["square"] = torch.zeros(()), *(torch.zeros_like(parameter) for _ in range(2))
        state["step"] += 1
        first, second = (1 - beta ** float(state["step"]) for beta in self.betas)
        mean = state["mean"].lerp_(gradient, 1 - self.betas[0]) / first
        deviation = (state["square"].lerp_(gradient.square(), 1 - self.betas[1]) / second).sqrt_().add_(1e-8)
        parameter.addcdiv_(mean, deviation, value=-rate)


def orthogonalised(matrix: Tensor) -> Tensor:
    """`matrix` [rows, columns] with its singular values near 1 (0.7 to 1.2), its singular vectors as they are.

    Singular values below some two thousandths of the matrix's norm grow by a factor of 460 only and stay below that.

    The iteration is Newton and Schulz's, X <- (a + b X X^T + c (X X^T)^2) X. Its factors are polynomials of one square matrix, no
    larger than the shorter side. They are therefore multiplied with each other first, and with X once. That takes two fifths of
    the multiply-adds for the preset tiny's networks, and a fifth for endlessly long matrices. A large matrix is taken apart into
    blocks of rows (the shorter side), each orthogonalised for itself (Khaled et al. 2025).
    """
    rows, columns = matrix.shape
    if rows > columns:
        return orthogonalised(matrix.T).T.contiguous()
    if rows > MOST_ROWS:
        return torch.cat([orthogonalised(block) for block in matrix.chunk(math.ceil(rows / MOST_ROWS))])
    with torch.autocast(matrix.device.type, enabled=False):
        matrix = matrix.float() / matrix.float().norm().clamp_min(1e-12)
        gram, product, (first, second, third) = matrix @ matrix.T, None, QUINTIC
        for left in reversed(range(ITERATIONS)):
            factor = torch.addmm(gram, gram, gram, beta=second, alpha=third)
            factor.diagonal().add_(first)
            product = factor if product is None else factor @ product
            if left:
                gram = factor @ gram @ factor
        assert product is not None
        return product @ matrix
