"""How near reconstructions are to their originals: MSE, PSNR, SSIM. One value an image."""

import torch
import torch.nn.functional as F

from vaegan.types import Images, PerImage

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
    """SSIM with the usual Gaussian window, 11 pixels wide, deviation 1.5 (Wang et al. 2004, Eq. 13); 1 for equal images.

    Means, variances and covariance are taken where the window fits into the picture, a channel at a time. Black counts as 0:
    the comparison of brightness is for means that are not negative.
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
