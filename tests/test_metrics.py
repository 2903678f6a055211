"""The metrics against independent implementations, closed forms and what they must not confuse."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor

from vaegan.metrics.cheap import cheap_score, real_statistics
from vaegan.metrics.frechet import frechet_distance, frechet_with_interval
from vaegan.metrics.kernel import kernel_distance
from vaegan.metrics.sliced import laplacian_pyramid, sliced_distance_of_octave
from vaegan.metrics.statistics import Moments, interval, mean_with_interval, ratio_with_interval


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(count: int, side: int = 32, seed: int = 0) -> Tensor:
    """Smooth coloured noise, in [-1, 1]."""
    rough = normal(count, 3, side // 4, side // 4, seed=seed)
    smooth = torch.nn.functional.interpolate(rough, size=(side, side), mode="bilinear")
    return (0.4 * smooth + 0.1 * normal(count, 3, side, side, seed=seed + 1)).clamp(-1, 1)


# Moments and the Frechet distance


def test_moments_in_shards_are_those_of_the_whole() -> None:
    features = normal(301, 7).double() * 3 + 5
    whole = Moments.of(features)
    merged = Moments.of(features[:1])
    for part in features[1:].split(37):
        merged = merged.merge(Moments.of(part))
    assert merged.count == 301
    torch.testing.assert_close(merged.mean, features.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(merged.covariance, torch.cov(features.T), rtol=1e-10, atol=1e-12)
    assert frechet_distance(whole, merged) == pytest.approx(0, abs=1e-8)


def test_frechet_distance_agrees_with_scipys_matrix_root() -> None:
    one, two = normal(400, 12), normal(300, 12, seed=1) @ normal(12, 12, seed=2) + 1
    first, second = Moments.of(one), Moments.of(two)
    root = scipy.linalg.sqrtm(first.covariance.numpy() @ second.covariance.numpy())
    gap = (first.mean - second.mean).numpy()
    expected = gap @ gap + np.trace(first.covariance.numpy() + second.covariance.numpy() - 2 * np.real(root))
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


def test_frechet_interval_contains_the_value_and_narrows() -> None:
    wide, narrow = (frechet_with_interval(normal(n, 4), normal(n, 4, seed=1) + 1) for n in (100, 3000))
    for value, (low, high) in (wide, narrow):
        assert low <= value <= high
    assert narrow[1][1] - narrow[1][0] < 0.5 * (wide[1][1] - wide[1][0])


# The kernel distance, and that it is unbiased


def test_kernel_distance_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    real, fake = normal(200, 10), normal(200, 10, seed=1) * 1.2 + 0.1
    kernels = [((a @ b.T) / 10 + 1) ** 3 for a, b in ((real, real), (real, fake), (fake, fake))]
    from torchmetrics.image.kid import maximum_mean_discrepancy

    assert kernel_distance(real, fake) == pytest.approx(float(maximum_mean_discrepancy(*kernels)), rel=1e-3)
    assert kernel_distance(real, fake) == pytest.approx(float(poly_mmd(real, fake)), rel=1e-3)


def test_kernel_distance_of_equal_distributions_is_zero_in_the_mean_where_the_biased_one_is_not() -> None:
    def biased(real: Tensor, fake: Tensor) -> float:
        k = [((a.double() @ b.double().T) / 8 + 1) ** 3 for a, b in ((real, real), (fake, fake), (real, fake))]
        return float(k[0].mean() + k[1].mean() - 2 * k[2].mean())

    pairs = [(normal(30, 8, seed=2 * s), normal(40, 8, seed=2 * s + 1)) for s in range(200)]
    for distance, is_unbiased in ((kernel_distance, True), (biased, False)):
        values = np.array([distance(*pair) for pair in pairs])
        z = values.mean() / (values.std() / math.sqrt(len(values)))
        assert (abs(z) < 3) == is_unbiased, (distance, z)


# Sliced Wasserstein


def test_octaves_add_up_to_the_image() -> None:
    images = pictures(4, 64)
    fine, middle, rest = laplacian_pyramid(images)
    assert [octave.shape[-1] for octave in (fine, middle, rest)] == [64, 32, 16]
    up = torch.nn.functional.interpolate
    back = middle + up(rest, size=(32, 32), mode="bilinear")
    torch.testing.assert_close(fine + up(back, size=(64, 64), mode="bilinear"), images, atol=1e-5, rtol=0)


def test_sliced_distance_agrees_with_scipy_along_one_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaegan.metrics import sliced

    # One pixel, one channel: every direction is +-1, so that the distance is that of the values.
    monkeypatch.setattr(sliced, "PATCH", 1)
    monkeypatch.setattr(sliced, "PATCHES", 900)
    real, fake = normal(30, 1, 8, 8), 1.5 * normal(20, 1, 8, 8, seed=1) + 0.3
    generator = torch.Generator().manual_seed(0)
    one, two = (sliced._patches(cloud, generator)[0].flatten() for cloud in (real, fake))
    expected = scipy.stats.wasserstein_distance(
        ((one - one.mean()) / one.std()).numpy(), ((two - one.mean()) / one.std()).numpy()
    )
    value, _ = sliced_distance_of_octave(real, fake)
    assert value == pytest.approx(1000 * expected, rel=1e-4)


def test_sliced_distance_sees_contrast_and_has_an_interval() -> None:
    real, fake = pictures(64), pictures(64, seed=9)
    same, _ = sliced_distance_of_octave(real, fake)
    flat, between = sliced_distance_of_octave(real, 0.5 * fake, replicates=20)
    assert flat > 5 * same
    assert between is not None
    assert between[0] < flat < between[1]


# Intervals


def test_intervals_hold_what_they_promise() -> None:
    hits = 0
    for seed in range(200):
        value, (low, high) = mean_with_interval(normal(80, seed=seed) + 2, seed)
        assert low <= value <= high
        hits += low <= 2 <= high
    assert 180 <= hits <= 198  # 95 %, a little less with so few
    value, (low, high) = ratio_with_interval(normal(500).abs(), normal(400, seed=1).abs())
    assert low < 1 < high
    assert value == pytest.approx(float(normal(500).abs().mean() / normal(400, seed=1).abs().mean()), rel=1e-6)
    assert interval(1.0, []) == (1.0, 1.0)


def test_cheap_score_orders_damage() -> None:
    real = real_statistics(pictures(200))
    good = cheap_score(real, pictures(128, seed=5))
    blurred = cheap_score(real, torch.nn.functional.avg_pool2d(pictures(128, seed=5), 3, 1, 1))
    noisy = cheap_score(real, (pictures(128, seed=5) + 0.3 * normal(128, 3, 32, 32)).clamp(-1, 1))
    assert good["kernel_distance"] < min(blurred["kernel_distance"], noisy["kernel_distance"]) / 5
    assert blurred["sharpness"] < 0.5 < 0.9 < good["sharpness"] < 1.1 < 2 < noisy["sharpness"]
