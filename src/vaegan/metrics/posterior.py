"""What encodings say of images: errors, use of the latent, distance from the prior, bits, and known factors."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.metrics.statistics import Interval, Moments, clipped, interval, reach_by_halves, resampling_weights
from vaegan.types import Images, Latents, PerImage

ACTIVE = 0.01  # variance of the posterior mean, from which on a dimension counts as used
BLACK, SPAN = -1.0, 2.0  # images lie in [-1, 1]
PENALTY = 0.6  # of the lasso, in deviations that a weight has by chance
BINS = 20  # Chen et al. 2018, Appendix; Locatello et al. 2019


@torch.no_grad()
def mean_squared_error(first: Images, second: Images) -> PerImage:
    """Mean squared difference a value, on [-1, 1]."""
    return (first - second).square().flatten(1).mean(1)


def peak_signal_to_noise(error: PerImage) -> PerImage:
    """PSNR [dB] of `mean_squared_error`s; the peak is the span of the pixels, 2."""
    return 10 * torch.log10(SPAN**2 / error.clamp_min(1e-12))


@torch.no_grad()
def structural_similarity(first: Images, second: Images) -> PerImage:
    """SSIM with the standard Gaussian window, 11 pixels wide, deviation 1.5 (Wang et al. 2004, Eq. 13); 1 for equal images.

    The window stays inside the picture. Black counts as 0: the comparison of brightness is for means that are not negative.
    """
    first, second = first - BLACK, second - BLACK
    channels = first.shape[1]
    place = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(place**2) / (2 * 1.5**2))
    window = torch.outer(line, line)
    window = (window / window.sum()).to(first).expand(channels, 1, 11, 11)

    def local(values: Images) -> Images:
        return F.conv2d(values, window, groups=channels)

    one, two = local(first), local(second)
    variance_one, variance_two = local(first * first) - one * one, local(second * second) - two * two
    covariance = local(first * second) - one * two
    small, large = (0.01 * SPAN) ** 2, (0.03 * SPAN) ** 2
    likeness = (2 * one * two + small) * (2 * covariance + large)
    return (likeness / ((one * one + two * two + small) * (variance_one + variance_two + large))).flatten(1).mean(1)


def active_units(mean: Latents) -> Tensor:
    """Number of dimensions whose posterior mean varies over the images by more than 0.01 (Burda et al. 2016, Section 4.2)."""
    return (mean.var(0, correction=min(1, len(mean) - 1)) > ACTIVE).sum()


def active_units_interval(mean: Latents, seed: int = 0) -> tuple[int, int]:
    """How many dimensions surely are active, and how many may be: by the ends of each one's 95 % bootstrap interval."""
    mean, count = mean.double(), len(mean)
    weights = resampling_weights(count, seed=seed) / count
    # A redrawn variance is smaller than the unbiased one in the mean, once for the images and once for their being redrawn.
    variance = (weights @ mean.square() - (weights @ mean).square()) * (count / (count - 1)) ** 2
    low, high = (torch.quantile(variance, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0) > ACTIVE).sum(1).tolist()
    return low, high


def aggregate_gap(means: Moments, variance: Tensor) -> float:
    """KL(N(m, C) || N(0, I)) [nats] with the aggregated posterior's mean m and covariance C = Cov(mean) + diag(mean `variance`).

    A lower bound on KL(q(z) || N(0, I)): of all densities with these moments the Gaussian has the largest entropy. So 0 speaks of
    two moments alone; clusters and holes are not seen.
    """
    covariance, middle = means.covariance + variance.diag(), means.mean
    return float(0.5 * (covariance.trace() + middle @ middle - len(middle) - torch.logdet(covariance)))


def aggregate_gap_reach(mean: Latents, variance: Tensor, seed: int = 0) -> float:
    """Half the width of the 95 % interval of `aggregate_gap` [nats], by halves; both arguments [image, latent]."""

    def gap(half: Tensor) -> Tensor:
        return torch.tensor(aggregate_gap(Moments.of(mean[half]), variance[half].double().mean(0)))

    return float(reach_by_halves(gap, (len(mean),), seed))


def dequantised(images: Images, likelihood: str, generator: Generator) -> Images:
    """8-bit images on [-1, 1] with uniform noise of one level's width, so that a density is a code length; binary ones stay.

    A level k of 0 to 255 is spread over [k - 1/2, k + 1/2] / 127.5 - 1. The continuous Bernoulli's density ends at -1 and 1, and
    half of the end levels would lie outside: for it a level is spread over [k, k + 1] / 128 - 1 (Theis et al. 2016, Section 3.1).
    """
    if likelihood == "bernoulli":
        return images
    noise = torch.rand(images.shape, generator=generator)
    if likelihood == "continuous-bernoulli":
        return ((127.5 * (images + 1)).round() + noise) / 128 - 1
    return images + (2 * noise - 1) / 255


def bits_per_dimension(log_likelihood: Tensor, values: int, likelihood: str) -> Tensor:
    """Bits to store one of `values` 8-bit values of `dequantised` images: -log p / (D ln 2) + log2(levels in a length of 1)."""
    levels = torch.tensor(128.0 if likelihood == "continuous-bernoulli" else 127.5)
    return -log_likelihood / (values * torch.tensor(2.0).log()) + levels.log2()


def in_bins(values: Tensor, bins: int = BINS) -> Tensor:
    """Codes 0 .. bins - 1 of equally many values each, int64 as `values` [count] or [count, columns]; ties share a bin."""
    edges = torch.quantile(values.double(), torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1], dim=0)
    return (values.double()[None] > edges.reshape(bins - 1, *([1] if values.ndim == 1 else [1, -1]))).sum(0)


def mutual_information(first: Tensor, second: Tensor) -> float:
    """Mutual information of two columns of codes [nats], from their joint counts."""
    joint = torch.zeros(int(first.max()) + 1, int(second.max()) + 1, dtype=torch.float64)
    joint.index_put_((first, second), torch.ones(len(first), dtype=torch.float64), accumulate=True)
    joint /= len(first)
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float(torch.where(joint > 0, joint * (joint / independent.clamp_min(1e-300)).log(), 0.0).sum())


def mutual_information_gap(latents: Latents, factors: dict[str, Tensor]) -> float:
    """MIG: mean over factors of (largest - second largest I(z_j; factor)) / H(factor) (Chen et al. 2018, Eq. 6)."""
    codes = in_bins(latents)
    gaps: list[float] = []
    for factor in factors.values():
        entropy = mutual_information(factor, factor)
        if entropy > 0:
            shared = sorted(mutual_information(codes[:, j], factor) for j in range(codes.shape[1]))
            gaps.append((shared[-1] - (shared[-2] if len(shared) > 1 else 0.0)) / entropy)
    return sum(gaps) / len(gaps) if gaps else 0.0


def disentanglement(importance: Tensor) -> tuple[float, float]:
    """D and C of Eastwood & Williams 2018, Section 2, from R [latent, factor] >= 0: how important each latent is to each factor.

    1 - entropy of a row in units of log K, and of a column, each weighted by how much it matters.
    """
    importance = importance.double()
    total = importance.sum().clamp_min(1e-300)

    def evenness(shares: Tensor) -> Tensor:
        count = shares.shape[1]
        shares = shares / shares.sum(1, keepdim=True).clamp_min(1e-300)
        entropy = -torch.where(shares > 0, shares * shares.clamp_min(1e-300).log(), 0.0).sum(1)
        return 1 - entropy / math.log(max(2, count))

    rows, columns = evenness(importance), evenness(importance.T)
    weights_rows, weights_columns = importance.sum(1) / total, importance.sum(0) / total
    return float((weights_rows * rows).sum()), float((weights_columns * columns).sum())


def lasso(inputs: Tensor, targets: Tensor, penalty: float, steps: int = 500) -> Tensor:
    """Weights [dimension, targets] minimising |y - x w|^2 / (2 count) + penalty |w|_1, by FISTA (Beck & Teboulle 2009)."""
    count = len(inputs)
    gram, cross = inputs.T @ inputs / count, inputs.T @ targets / count
    rate = 1 / torch.linalg.eigvalsh(gram)[-1].clamp_min(1e-12)
    weights = torch.zeros_like(cross)
    ahead, momentum = weights, 1.0
    for _ in range(steps):
        moved = ahead - rate * (gram @ ahead - cross)
        following = moved.sign() * (moved.abs() - rate * penalty).clamp_min(0)
        faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = following + (momentum - 1) / faster * (following - weights)
        weights, momentum = following, faster
    return weights


def importance(latents: Latents, targets: Tensor) -> Tensor:
    """Absolute lasso weights [latent] for a factor's targets [count, columns] of deviation 1, averaged over the columns."""
    targets = targets.double() - targets.double().mean(0)
    targets = targets / targets.std(0).clamp_min(1e-9) * (targets.std(0) > 0)
    # The penalty shrinks as chance in a weight does, so that with more images both vanish.
    return lasso(latents, targets, penalty=PENALTY / len(latents) ** 0.5).abs().mean(1)


def shared_mix(real: Tensor, fake: Tensor, classes: int) -> float:
    """Sum over the classes of the smaller of both shares: 1 for equal mixes, less the more kinds are missing or too rare."""
    one, two = (torch.bincount(codes, minlength=classes).double() / len(codes) for codes in (real, fake))
    return float(torch.minimum(one, two).sum())


def shared_mix_with_interval(pairs: Sequence[tuple[Tensor, Tensor, int]], seed: int = 0) -> tuple[float, Interval]:
    """`shared_mix` averaged over factors, each as (real codes, fake codes, classes), and its bootstrap interval."""
    weights = [resampling_weights(len(codes), 100, seed) / len(codes) for codes in pairs[0][:2]]
    replicates = torch.zeros(100, dtype=torch.float64)
    for *codes, classes in pairs:
        drawn = [weight @ F.one_hot(kind, classes).double() for weight, kind in zip(weights, codes, strict=True)]
        replicates += torch.minimum(*drawn).sum(1)
    value = sum(shared_mix(*pair) for pair in pairs) / len(pairs)
    return value, clipped(interval(value, replicates / len(pairs)), 1.0)
