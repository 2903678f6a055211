"""What encoding says of images: reconstruction errors, use of the latent, distance from the prior, bits. Pure functions."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.metrics.statistics import Moments, reach_by_halves, resampling_weights
from vaegan.types import Images, Latents, PerImage

ACTIVE = 0.01  # variance of the posterior mean, from which on a dimension counts as used
BLACK, SPAN = -1.0, 2.0  # images lie in [-1, 1]


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
