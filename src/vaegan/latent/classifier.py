"""Short linear classifiers of latents, and how well a score separates two groups."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.types import Latents


def shrunk_covariance(residuals: Latents) -> Tensor:
    """A covariance that can be inverted however few the images are (Ledoit & Wolf 2004, Section 3.2).

    The sample covariance S is mixed with the sphere of the same size, m I: a S + (1 - a) m I, where the share 1 - a is the
    estimated error of S over its distance from the sphere. With the Frobenius norm: (1 - a) = min(b^2, d^2) / d^2,
    d^2 = |S - m I|^2, b^2 = mean_k |x_k x_k' - S|^2 / n.

    Args:
        residuals: [n, latent], of mean zero.
    """
    count, dimension = residuals.shape
    sample = residuals.T @ residuals / count
    sphere = torch.eye(dimension).to(sample) * sample.trace() / dimension
    distance = (sample - sphere).square().sum()
    # |x x' - S|^2 averaged is |x|^4 averaged minus |S|^2.
    error = (residuals.square().sum(1).square().mean() - sample.square().sum()) / count
    share = (error / distance).clamp(0, 1) if distance > 0 else torch.ones(()).to(sample)
    return (1 - share) * sample + share * sphere


def discriminant(latents: Latents, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Linear discriminant analysis with a shrunk common covariance: scores = latents @ weights' + biases, the highest wins.

    Weights S^-1 m_c, biases -1/2 m_c' S^-1 m_c + log p_c (Bishop 2006, Eq. 4.69 and 4.70), S over the distances to the own mean.

    Args:
        latents: [n, latent].
        codes: the class of each, 0 to classes - 1, every class at least once.

    Returns:
        Weights [classes, latent] and biases [classes], float64 on the CPU.
    """
    points, codes = latents.cpu().double(), codes.cpu().long()
    shares = codes.bincount().double() / len(codes)
    means = torch.stack([points[codes == code].mean(0) for code in range(len(shares))])
    weights = torch.linalg.solve(shrunk_covariance(points - means[codes]), means.T).T
    return weights, shares.log() - 0.5 * (weights * means).sum(1)


def logistic_regression(latents: Latents, labels: Tensor, penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """The weights and bias that minimise sum_i log(1 + exp(-y_i (w'x_i + b))) + penalty/2 |w|^2, y = -1 or 1.

    Args:
        latents: [n, latent].
        labels: [n], false or true.
        penalty: on the squared weights, over all images together.

    Returns:
        Weights [latent] and bias [], float64 on the CPU.
    """
    points, targets = latents.cpu().double(), labels.cpu().double()
    with torch.inference_mode(False), torch.enable_grad():
        weights = torch.zeros(points.shape[1], dtype=torch.double, requires_grad=True)
        bias = torch.zeros((), dtype=torch.double, requires_grad=True)
        points, targets = points.clone(), targets.clone()
        solver = torch.optim.LBFGS(
            [weights, bias], max_iter=500, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            solver.zero_grad()
            value = F.binary_cross_entropy_with_logits(points @ weights + bias, targets, reduction="sum")
            value = (value + penalty / 2 * weights.square().sum()) / len(points)
            value.backward()
            return value

        solver.step(loss)
    return weights.detach(), bias.detach()


def area_under_curve(positive: Tensor, negative: Tensor) -> float:
    """The chance that a positive's score is above a negative's, ties counting half: the area under the ROC curve.

    0.5 says nothing, 1 separates completely (Mann & Whitney 1947).
    """
    ordered = negative.sort().values.contiguous()
    below = torch.searchsorted(ordered, positive.contiguous())
    up_to = torch.searchsorted(ordered, positive.contiguous(), right=True)
    return float((below + up_to).double().mean() / 2 / len(negative))
