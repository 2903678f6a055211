"""The metrics against independent implementations, closed forms and what they must not confuse."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor

from vaegan.data import to_tensor, to_uint8
from vaegan.metrics.features import (
    frechet_distance,
    frechet_interval_by_halves,
    frechet_with_interval,
    kernel_distance_with_interval,
)
from vaegan.metrics.sliced import laplacian_pyramid, patch_places, sliced_distance, take_patches
from vaegan.metrics.statistics import Grouped, Moments, interval, mean_with_interval, ratio_with_interval, resampling_weights
from vaegan.metrics.watch import RealStatistics


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


def held(values: list[float], intervals: list[tuple[float, float]], truth: float | None = None) -> float:
    """Share of intervals that hold what is true in the long run."""
    truth = float(np.mean(values)) if truth is None else truth
    return float(np.mean([low <= truth <= high for low, high in intervals]))


def test_frechet_intervals_by_halves_hold_the_long_run_with_fewer_images_than_dimensions() -> None:
    values, intervals = [], []
    for draw in range(60):
        one, two = normal(80, 100, seed=2 * draw), 1.1 * normal(80, 100, seed=2 * draw + 1)
        values.append(frechet_distance(Moments.of(one), Moments.of(two)))
        intervals.append(frechet_interval_by_halves(values[-1], one, two, draw))
    assert held(values, intervals) >= 47 / 60
    assert np.mean([high - low for low, high in intervals]) < 2 * 3.2 * 2 * np.std(values)


def test_frechet_interval_contains_the_value_and_narrows() -> None:
    widths: list[float] = []
    for n in (100, 3000):
        clouds = normal(n, 4), normal(n, 4, seed=1) + 1
        shards = [[Moments.of(part) for part in cloud.split(-(-n // 25))] for cloud in clouds]
        value, between = frechet_with_interval(*shards)
        assert value == pytest.approx(frechet_distance(*map(Moments.of, clouds)), rel=1e-9)
        assert between is not None
        assert between[0] <= value <= between[1]
        widths.append(between[1] - between[0])
    assert widths[1] < 0.5 * widths[0]
    assert frechet_with_interval(*([Moments.of(cloud)] for cloud in clouds)) == (pytest.approx(value, rel=1e-9), None)


# The kernel distance, and that it is unbiased


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    return kernel_distance_with_interval(real, fake)[0]


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


def distance_of_octave(real: Tensor, fake: Tensor, replicates: int = 0) -> tuple[float, tuple[float, float] | None]:
    places = [patch_places(cloud, len(cloud), 0, given) for cloud, given in ((real, False), (fake, True))]
    one, two = (take_patches(*pair) for pair in zip((real, fake), places, strict=True))
    return sliced_distance(one, places[0].image, two, places[1].image, replicates=replicates)


def test_sliced_distance_agrees_with_scipy_along_one_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaegan.metrics import sliced

    # One pixel, one channel: every direction is +-1, so that the distance is that of the values.
    monkeypatch.setattr(sliced, "PATCH", 1)
    monkeypatch.setattr(sliced, "PATCHES", 900)
    real, fake = normal(30, 1, 8, 8), 1.5 * normal(20, 1, 8, 8, seed=1) + 0.3
    one, two = (
        sliced.take_patches(cloud, sliced.patch_places(cloud, len(cloud), 0, given)).flatten()
        for cloud, given in ((real, False), (fake, True))
    )
    expected = scipy.stats.wasserstein_distance(
        ((one - one.mean()) / one.std()).numpy(), ((two - one.mean()) / one.std()).numpy()
    )
    value, _ = distance_of_octave(real, fake)
    assert value == pytest.approx(1000 * expected, rel=1e-4)


def test_sliced_distance_sees_contrast_and_has_an_interval() -> None:
    real, fake = pictures(64), pictures(64, seed=9)
    same, _ = distance_of_octave(real, fake)
    flat, between = distance_of_octave(real, 0.5 * fake, replicates=20)
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
    value, (low, high) = ratio_with_interval(Grouped.of(normal(500).abs()), Grouped.of(normal(400, seed=1).abs()))
    assert low < 1 < high
    assert value == pytest.approx(float(normal(500).abs().mean() / normal(400, seed=1).abs().mean()), rel=1e-6)
    assert interval(1.0, []) == (1.0, 1.0)


def test_intervals_of_groups_are_those_of_images_and_hold_what_they_promise() -> None:
    few = normal(80) + 2
    (value, between), (mean, usual) = Grouped.of(few).mean_with_interval(3), mean_with_interval(few, 3)
    assert (value, *between) == pytest.approx((mean, *usual), rel=1e-9)
    hits, widths = 0, list[float]()
    for seed in range(100):
        values = normal(3000, seed=seed) + 2
        low, high = Grouped.of(values).mean_with_interval(seed)[1]
        hits += low <= 2 <= high
        widths.append(high - low)
    assert 88 <= hits <= 100  # fewer than 88 of 95 % come by chance once in 700 times
    assert np.mean(widths) == pytest.approx(2 * 1.96 / 3000**0.5, rel=0.05)


def test_cheap_score_knows_how_far_chance_moves_it() -> None:
    real = RealStatistics(pictures(128))
    scores = [real.score(pictures(64, seed=seed).mul(0.8)) for seed in range(1, 25)]
    spread = np.std([score["kernel_distance"] for score in scores], ddof=1)
    assert np.mean([score["kernel_error"] for score in scores]) == pytest.approx(spread, rel=0.4)  # 24 draws know it within 15 %


def test_cheap_score_orders_damage() -> None:
    real = RealStatistics(pictures(200))
    good = real.score(pictures(128, seed=5))
    blurred = real.score(torch.nn.functional.avg_pool2d(pictures(128, seed=5), 3, 1, 1))
    noisy = real.score((pictures(128, seed=5) + 0.3 * normal(128, 3, 32, 32)).clamp(-1, 1))
    assert good["kernel_distance"] < min(blurred["kernel_distance"], noisy["kernel_distance"]) / 5
    assert blurred["sharpness"] < 0.5 < 0.9 < good["sharpness"] < 1.1 < 2 < noisy["sharpness"]


# Neighbours


def test_manifold_scores_agree_with_scikit_learns_neighbours() -> None:
    from sklearn.neighbors import NearestNeighbors

    from vaegan.metrics.neighbours import Distances

    real, fake = normal(120, 6).double(), 0.7 * normal(90, 6, seed=1).double() + 0.4
    r, f = real.numpy(), fake.numpy()
    radius_r, radius_f = (NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x)[0][:, 5] for x in (r, f))
    distance = np.linalg.norm(r[:, None] - f[None], axis=2)
    expected = {
        "precision": (distance < radius_r[:, None]).any(0).mean(),
        "recall": (distance < radius_f[None]).any(1).mean(),
        "density": (distance < radius_r[:, None]).sum() / (5 * len(f)),
        "coverage": (distance.min(1) < radius_r).mean(),
    }
    found = Distances.of(real, fake).manifold()._asdict()
    for name, value in expected.items():
        assert float(found[name].mean()) == pytest.approx(value, rel=1e-9), name


def test_leave_one_out_accuracy_is_a_half_for_equal_and_one_for_separate_kinds() -> None:
    from sklearn.model_selection import LeaveOneOut, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    from vaegan.metrics.neighbours import Distances

    def accuracy(real: Tensor, fake: Tensor) -> float:
        return float(Distances.of(real, fake).alike().mean())

    real, fake = normal(60, 3), normal(60, 3, seed=1) + 0.8
    both, kind = torch.cat([real, fake]).numpy(), np.repeat([0, 1], 60)
    expected = cross_val_score(KNeighborsClassifier(1), both, kind, cv=LeaveOneOut()).mean()
    assert accuracy(real, fake) == pytest.approx(expected, rel=1e-9)
    assert accuracy(real, fake + 50) == 1
    assert abs(accuracy(normal(800, 3), normal(800, 3, seed=1)) - 0.5) < 0.05


@pytest.mark.parametrize(("dimension", "count"), [(2, 100), (64, 100)])
def test_intervals_of_neighbour_scores_hold_the_long_run_over_repeated_draws(dimension: int, count: int) -> None:
    """Redrawing the values of images as if they were independent held precision and recall in 62 % of draws of two dimensions."""
    from vaegan.metrics.neighbours import neighbour_scores

    draws = [
        neighbour_scores(normal(count, dimension, seed=2 * draw), normal(count, dimension, seed=2 * draw + 1), draw)
        for draw in range(60)
    ]
    for name in draws[0]:
        long_run = np.mean([draw[name][0] for draw in draws])
        right = sum(draw[name][1][0] <= long_run <= draw[name][1][1] for draw in draws)
        # Of 90 % in 60 draws fewer than 47 come by chance once in 300 times.
        assert right >= 47, (name, right)
        width = np.mean([draw[name][1][1] - draw[name][1][0] for draw in draws])
        assert width < 2 * 2.1 * 1.3 * np.std([draw[name][0] for draw in draws]), name  # and they are no wider than they must be


def test_neighbour_scores_are_the_means_of_what_each_image_says() -> None:
    from vaegan.metrics.neighbours import Distances, neighbour_scores

    real, fake = normal(120, 6), 0.7 * normal(91, 6, seed=1)
    distances = Distances.of(real, fake)
    expected = {name: float(values.mean()) for name, values in distances.manifold()._asdict().items()}
    expected["nearest_neighbour_accuracy"] = float(distances.alike().mean())
    assert {name: value for name, (value, _) in neighbour_scores(real, fake).items()} == pytest.approx(expected, rel=1e-12)


def test_nearest_in_blocks_is_nearest() -> None:
    from vaegan.metrics.neighbours import nearest

    queries, pool = normal(7, 5), normal(50, 5, seed=1)
    distance, place = nearest(queries, pool, block=8)
    whole = torch.cdist(queries, pool).min(1)
    assert torch.equal(place, whole.indices)
    torch.testing.assert_close(distance, whole.values)


# Classifiers


def test_logistic_classifier_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    from vaegan.metrics.classifier import LogisticClassifier

    features, noise = normal(300, 5), normal(300, 3, seed=1)
    codes = (features[:, :3] + 0.5 * noise).argmax(1)
    ours = LogisticClassifier(features, codes, 3, penalty=1.0)
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(features.double().numpy(), codes.numpy())
    expected = theirs.predict_proba(features.double().numpy())
    np.testing.assert_allclose(ours(features).softmax(1).numpy(), expected, atol=1e-4)


def test_two_sample_accuracy_is_within_its_error_of_a_half_when_nothing_differs() -> None:
    from vaegan.metrics.classifier import two_sample_correct

    accuracies = [float(two_sample_correct(normal(150, 8, seed=2 * s), normal(150, 8, seed=2 * s + 1)).mean()) for s in range(12)]
    assert abs(np.mean(accuracies) - 0.5) < 3 * 0.5 / math.sqrt(300 * 12)
    # Two Gaussians a distance d apart: the best any classifier can do is Phi(d / 2).
    real, fake = normal(1500, 4), normal(1500, 4, seed=1)
    fake[:, 0] += 2
    assert float(two_sample_correct(real, fake).mean()) == pytest.approx(scipy.stats.norm.cdf(1), abs=0.02)
    with pytest.raises(ValueError, match="equal"):
        two_sample_correct(real, fake[:10])


def test_the_interval_of_two_sample_accuracy_is_as_wide_as_chance_makes_it() -> None:
    """Redrawing the answers as if they were independent gave 1.5 deviations where nothing differs, and held in 80 to 88 %."""
    from vaegan.metrics.classifier import two_sample_accuracy, two_sample_correct

    clouds = [(normal(80, 8, seed=2 * draw), normal(80, 8, seed=2 * draw + 1)) for draw in range(16)]
    draws = [two_sample_accuracy(*pair, seed=draw) for draw, pair in enumerate(clouds)]
    assert draws[0][0] == float(two_sample_correct(*clouds[0], seed=0).mean())
    assert np.mean([(high - low) / 2 for _, (low, high) in draws]) > 1.8 * np.std([value for value, _ in draws])
    assert all(low < value < high <= 1 for value, (low, high) in draws)


# Duplicates and diversity


def test_near_duplicates_are_as_frequent_as_among_real_images_and_their_interval_knows_it() -> None:
    from vaegan.metrics.diversity import duplicate_ratio, duplicate_threshold

    def near(features: Tensor, threshold: float) -> Tensor:
        return (torch.cdist(features.double(), features.double()).fill_diagonal_(torch.inf) <= threshold).sum(1)

    real = normal(300, 4)
    threshold = duplicate_threshold(real, share=0.01)
    assert float(near(real, threshold).sum()) / 300 / 299 == pytest.approx(0.01, rel=0.01)
    repeated = near(normal(30, 4, seed=1).repeat(10, 1), threshold)
    assert duplicate_ratio(repeated, near(real, threshold))[0] > 3
    values, intervals = [], []
    for seed in range(100):
        real = normal(200, 6, seed=2 * seed)
        threshold = duplicate_threshold(real, share=1e-3)
        value, between = duplicate_ratio(near(normal(400, 6, seed=2 * seed + 1), threshold), near(real, threshold))
        values.append(value)
        intervals.append(between)
    assert np.mean(values) == pytest.approx(1, abs=0.15)
    assert held(values, intervals, 1.0) >= 0.9
    # None of 79,800 pairs where as many real ones have 80: at most 4.7 % as many.
    value, (low, high) = duplicate_ratio(torch.zeros(400), torch.full((400,), 0.4))
    assert (value, low) == (0.0, pytest.approx(0, abs=1e-9))
    assert high == pytest.approx(1.96**2 / 80, rel=1e-3)


def test_layout_features_are_low_frequencies_and_depend_on_no_other_image() -> None:
    from scipy.fft import dctn

    from vaegan.metrics.features import layout_features, small_images

    for channels, diagonals, count in ((3, 6, 63), (1, 11, 66)):
        small = small_images(pictures(5)[:, :channels])
        found = layout_features(small)
        whole = dctn(small.view(5, channels, 16, 16).numpy(), axes=(2, 3), norm="ortho")
        down, across = zip(*[(u, v) for u in range(16) for v in range(16) if u + v < diagonals], strict=True)
        assert found.shape == (5, count)
        np.testing.assert_allclose(found.numpy(), whole[:, :, down, across].reshape(5, -1), atol=1e-5)
        torch.testing.assert_close(layout_features(small[:2]), found[:2], rtol=1e-5, atol=1e-6)


# Spectrum


def test_spectrum_of_white_noise_is_flat_and_a_grid_stands_out() -> None:
    from vaegan.metrics.spectrum import detail_energy, power_spectrum, radial_spectrum, texture_power

    noise = normal(64, 3, 32, 32)
    power = power_spectrum(noise)
    assert radial_spectrum(power).mean(0).numpy() == pytest.approx(1, abs=0.15)
    assert float(power.mean(0).sum()) == pytest.approx(float(noise.var(dim=(2, 3), correction=0).mean()) * 32 * 32, rel=1e-4)
    place = torch.arange(32)
    checks = ((place[:, None] + place[None]) % 2 * 2 - 1).float()
    before, after = (texture_power(images, 2).mean() for images in (noise, noise + 0.5 * checks))
    # The sum of 32 x 32 cells of 0.5, squared, over 32 x 32, in one of the three places.
    assert float(after - before) == pytest.approx(0.25 * 32 * 32 / 3, rel=0.15)
    assert float(texture_power(noise + 0.5 * checks, 4).mean()) == pytest.approx(float(texture_power(noise, 4).mean()), rel=1e-3)
    for way in (place[:, None] + place[None], place[:, None] - place[None], place[:, None] + 0 * place[None]):
        wave = torch.cos(torch.pi / 2 * way).expand(1, 3, -1, -1)
        # Half of the square, over 32 x 32 values, at this frequency and at its negative, in one of four places.
        assert float(texture_power(wave, 4)) == pytest.approx(32 * 32 / 4 / 4, rel=1e-3)
    assert float(detail_energy(2 * noise).mean()) == pytest.approx(4 * float(detail_energy(noise).mean()), rel=1e-5)
    # By sums of blocks it is what the whole spectrum has there.
    found, at = texture_power(noise, 4), power[:, (0, 8, 8, 8), (8, 0, 8, -8)].mean(1)
    torch.testing.assert_close(found, at + 1e-6)


def test_details_are_what_halving_loses() -> None:
    from vaegan.metrics.spectrum import finest_octave

    even, checker = torch.full((1, 1, 8, 8), 0.3), torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)[None, None]
    torch.testing.assert_close(finest_octave(even + checker), checker)  # halving takes a checker away, so all of it is detail
    torch.testing.assert_close(finest_octave(even), torch.zeros_like(even))


@pytest.mark.parametrize("side", [28, 30, 31, 33])
def test_details_and_textures_of_any_side_are_those_of_its_whole_blocks(side: int) -> None:
    from vaegan.metrics.spectrum import detail_energy, texture_power

    place = torch.arange(float(side))
    slope = (place[:, None] + 2 * place[None]).expand(1, 3, -1, -1) / side
    # A slope comes back but at the border, where half a step is missing: of two sides of each way, 1 and 2 a pixel steep.
    assert float(detail_energy(slope)) == pytest.approx(2 / (side // 2 * 2) * (0.5**2 + 1) / side**2, rel=1e-2)
    for period in (2, 4):
        wave = torch.cos(2 * torch.pi / period * place).expand(1, 3, side, -1)
        whole = side // 4 * 4
        of_all = whole**2 * (1 if period == 2 else 0.25)  # in one of three places, or in one of four and its negative
        assert float(texture_power(wave, period)) == pytest.approx(of_all / (3 if period == 2 else 4), rel=1e-3)


def test_flat_share_counts_pixels_that_are_like_the_next_ones() -> None:
    from vaegan.metrics.spectrum import flat_share

    images = (0.05 * normal(3, 2, 9, 7, seed=4)).double()
    images[0] = 0.3
    expected = []
    for image in images.numpy():
        levels = image * 127.5
        alike = [
            max(abs(levels[:, y, x + 1] - levels[:, y, x]).max(), abs(levels[:, y + 1, x] - levels[:, y, x]).max()) < 8
            for y in range(8)
            for x in range(6)
        ]
        expected.append(np.mean(alike))
    assert expected[0] == 1
    assert 0 < expected[1] < 1
    assert flat_share(images).tolist() == pytest.approx(expected)


@pytest.mark.heavy
def test_flat_areas_show_grain_and_blur_and_are_left_out_where_there_are_none() -> None:
    from recorded import described
    from vaegan.evaluation.samples import Yardstick, compare
    from vaegan.evaluation.tally import Findings

    def flatness(real: torch.Tensor, fake: torch.Tensor) -> Findings:
        found = Findings()
        compare(Yardstick(described(real, given=False), None, 0), described(fake), found)
        return found

    drawn = pictures(20)
    drawn[:, :, :16] = drawn[:, :, :16].mean((2, 3), keepdim=True)  # half of each is paper
    grainy, blurred = drawn + 0.06 * normal(20, 3, 32, 32, seed=9), torch.nn.functional.avg_pool2d(drawn, 5, 1, 2)
    same, grain, blur = (flatness(drawn, fake).numbers["flatness"].value for fake in (drawn, grainy, blurred))
    assert grain < 0.4 < same == 1 < 1.1 < blur
    none = flatness(normal(20, 3, 32, 32), drawn)
    assert "flatness" not in none.numbers
    assert none.left_out["flatness"] == "the real images have no flat areas"


@pytest.mark.heavy
def test_details_are_alike_where_samples_share_a_stroke_whatever_its_sign() -> None:
    from recorded import described
    from vaegan.evaluation.samples import RECORDED_DETAILS, Yardstick, compare
    from vaegan.evaluation.tally import Findings
    from vaegan.metrics.spectrum import finest_octave

    def findings(real: torch.Tensor, fake: torch.Tensor) -> Findings:
        found = Findings()
        compare(Yardstick(described(real, given=False), None, 0), described(fake), found)
        return found

    count = RECORDED_DETAILS + 5  # more than are kept
    stroke, own, real = normal(1, 1, 16, 16, seed=1), normal(count, 1, 16, 16, seed=2), normal(count, 1, 16, 16, seed=3)
    signs = normal(count, 1, 1, 1, seed=4).sign()
    # White noise has as many directions as values, of which halving takes a quarter (more or less): cos^2 is 1/192 in the mean.
    most = 192**0.5
    common, single = (float(finest_octave(images).square().sum((1, 2, 3)).mean()) for images in (stroke, own))
    half = most * common / (common + single)
    for fake, expected in ((stroke.expand(count, -1, -1, -1), most), (signs * stroke, most), (stroke + own, half), (own, 1)):
        assert findings(real, fake).numbers["detail_likeness"].value == pytest.approx(expected, rel=0.08)
    even = torch.zeros(20, 1, 16, 16) + torch.rand(20, 1, 1, 1)
    even[0] = 3 * own[0]  # like no other: nothing to divide by
    assert findings(even, own).left_out["detail_likeness"] == "the real images have no fine details"


# Reconstructions


def test_reconstruction_metrics_agree_with_torchmetrics_and_scikit_image() -> None:
    from skimage.metrics import structural_similarity as theirs
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    from vaegan.metrics.posterior import mean_squared_error, peak_signal_to_noise, structural_similarity

    for channels in (1, 3):
        first = to_tensor(to_uint8(pictures(6)[:, :channels]))
        second = to_tensor(to_uint8(first + 0.1 + 0.1 * normal(*first.shape, seed=3)))  # noisier and brighter
        error = mean_squared_error(first, second)
        expected = torch.stack([peak_signal_noise_ratio(a, b, data_range=2.0) for a, b in zip(first, second, strict=True)])
        torch.testing.assert_close(peak_signal_to_noise(error), expected, rtol=1e-4, atol=0)
        ours = structural_similarity(first, second)
        # Torchmetrics also averages over a border that it fills by reflection; the definition stops at it.
        whole = structural_similarity_index_measure(
            (second + 1) / 2, (first + 1) / 2, data_range=1.0, reduction="none", return_full_image=True
        )[1]
        torch.testing.assert_close(ours, whole[..., 5:-5, 5:-5].flatten(1).mean(1), rtol=1e-4, atol=0)
        options = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        expected = [theirs(one, two, **options) for one, two in zip(to_uint8(first), to_uint8(second), strict=True)]
        assert ours.numpy() == pytest.approx(expected, rel=1e-4)
        assert structural_similarity(first, first).numpy() == pytest.approx(1, abs=1e-5)


# Posterior and likelihood


def test_posterior_numbers_have_their_closed_forms() -> None:
    from vaegan.metrics.posterior import active_units, aggregate_gap, bits_per_dimension

    mean, log_var = normal(40_000, 3).double(), torch.zeros(40_000, 3).double()
    mean = mean * torch.tensor([1.0, 0.5, 0.05]) + torch.tensor([0.0, 1.0, 0.0])
    log_var += torch.tensor([0.25, 0.75, 1.0]).log()
    assert active_units(mean) == 2
    assert active_units(mean[:1]) == 0
    # Independent dimensions: variance 1.25 at 0, 1 at 1, 1.0025 at 0; KL = (s + m^2 - 1 - ln s) / 2 each.
    expected = sum((s + m * m - 1 - math.log(s)) / 2 for s, m in ((1.25, 0.0), (1.0, 1.0), (1.0025, 0.0)))
    assert aggregate_gap(Moments.of(mean), log_var.exp().mean(0)) == pytest.approx(expected, rel=0.03)
    # One uniform value of 256 levels costs 8 bits: its density on [-1, 1] is that of a step, 127.5 / 256 a value.
    assert float(bits_per_dimension(torch.tensor(50 * math.log(127.5 / 256)), 50, "gaussian")) == pytest.approx(8, rel=1e-6)


def test_intervals_of_the_posteriors_use_hold_the_long_run() -> None:
    from vaegan.metrics.posterior import active_units_interval, aggregate_gap, aggregate_gap_reach

    values, intervals = [], []
    for draw in range(60):
        mean, variance = 0.9 * normal(100, 16, seed=draw), torch.full((100, 16), 0.2)
        values.append(aggregate_gap(Moments.of(mean), variance.double().mean(0)))
        reach = aggregate_gap_reach(mean, variance, draw)
        intervals.append((values[-1] - reach, values[-1] + reach))
    assert held(values, intervals) >= 50 / 60
    assert np.mean([high - low for low, high in intervals]) < 2 * 2.1 * 1.7 * np.std(values)
    # Three surely, one of a variance at the threshold, one surely not; a mean far from 0 is no variance.
    scale = torch.tensor([1.0, 1.0, 0.2, 0.1, 0.01])
    assert active_units_interval(10 + scale * normal(300, 5)) == (3, 4)


def test_dequantised_levels_fill_the_range_of_their_density() -> None:
    from vaegan.metrics.posterior import dequantised

    levels = torch.arange(256.0).repeat(1, 1, 40, 1)
    images, generator = 2 * levels / 255 - 1, torch.Generator().manual_seed(0)
    around = dequantised(images, "gaussian", generator)
    assert float((around - images).abs().max()) == pytest.approx(1 / 255, rel=0.01)
    inside = dequantised(images, "continuous-bernoulli", generator)
    assert -1 <= float(inside.min()) < -0.999
    assert 0.999 < float(inside.max()) <= 1
    assert torch.equal(((inside + 1) * 128).clamp(max=255.999).floor(), levels)
    assert torch.equal(dequantised(images, "bernoulli", generator), images)


# Copying


def test_copying_share_is_a_half_for_new_images_and_rises_with_the_share_of_copies() -> None:
    from vaegan.metrics.neighbours import copying_share, most_suspicious, nearest_of_both

    train, heldout, new = normal(2000, 6), normal(300, 6, seed=1), normal(1500, 6, seed=2)
    values: list[float] = []
    for copies in (0, 375, 750, 1500):
        samples = torch.cat([train[:copies], new[copies:]])
        known, unknown = (nearest_of_both(samples, samples, pool) for pool in (train, heldout))
        value, (low, high) = copying_share(known, unknown, len(train), len(heldout))
        assert low <= value <= high
        values.append(value)
        if copies == 0:
            assert low < 0.5 < high
        else:
            assert low > 0.5
    assert values == sorted(values)
    assert values[-1] > 0.95
    known, unknown = (
        nearest_of_both(torch.cat([new[:50], train[7:8]]), torch.cat([new[:50], train[7:8]]), pool) for pool in (train, heldout)
    )
    assert int(most_suspicious(known[0], unknown[0], 1)) == 50
    assert int(known[1][50]) == 7


@pytest.mark.parametrize(
    ("dimension", "train", "heldout", "samples"), [(2, 450, 50, 1700), (64, 450, 50, 1700), (8, 1500, 60, 64)]
)
def test_the_interval_of_copying_holds_the_truth_over_repeated_draws(
    dimension: int, train: int, heldout: int, samples: int
) -> None:
    """All three sets are of one distribution: 0.5 is right. In 64 dimensions a few images are nearest to most samples."""
    draws = 100
    found = torch.tensor([_copying_of_new_images(draw, dimension, train, heldout, samples) for draw in range(draws)])
    right = int(((found[:, 0] <= 0.5) & (found[:, 1] >= 0.5)).sum())
    # Of 95 % in 100 draws fewer than 88 come by chance once in 700 times.
    assert 88 <= right <= draws


def test_samples_that_are_all_alike_are_one_piece_of_evidence_on_copying() -> None:
    from vaegan.metrics.neighbours import copying_share, nearest

    samples = normal(1, 8).repeat(1700, 1)
    known, unknown = nearest(samples, normal(3000, 8, seed=1)), nearest(samples, normal(150, 8, seed=2))
    assert bool((known[0] < unknown[0]).all())
    value, (low, high) = copying_share(known, unknown, 3000, 150)
    assert value > 0.99
    assert low < 0.5 < high


def _copying_of_new_images(draw: int, dimension: int, *counts: int) -> tuple[float, float]:
    from vaegan.metrics.neighbours import copying_share, nearest

    generator = torch.Generator().manual_seed(draw)
    train, heldout, samples = (torch.randn(count, dimension, generator=generator) for count in counts)
    return copying_share(nearest(samples, train), nearest(samples, heldout), len(train), len(heldout))[1]


# Factors


def test_mutual_information_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import mutual_info_score

    from vaegan.metrics.posterior import in_bins, mutual_information

    values = normal(500)
    first, second = in_bins(values, 6), in_bins(values + normal(500, seed=1), 4)
    assert torch.bincount(first).tolist() == pytest.approx([500 / 6] * 6, abs=1)
    assert mutual_information(first, second) == pytest.approx(mutual_info_score(first.numpy(), second.numpy()), rel=1e-9)


def test_mig_and_dci_tell_axes_from_mixtures() -> None:
    from vaegan.metrics.posterior import disentanglement, lasso, mutual_information_gap, shared_mix

    codes = torch.randint(5, (4000, 3), generator=torch.Generator().manual_seed(0))
    factors = {str(j): codes[:, j] for j in range(3)}
    along = codes + 0.05 * normal(4000, 3)
    mixed = along @ torch.linalg.qr(normal(3, 3, seed=4)).Q
    assert mutual_information_gap(along, factors) > 0.9
    assert mutual_information_gap(mixed, factors) < 0.6 * mutual_information_gap(along, factors)
    assert disentanglement(torch.eye(4)) == (1, 1)
    assert disentanglement(torch.ones(4, 4)) == pytest.approx((0, 0), abs=1e-9)
    # A latent shared by two of two factors, each complete in it: not disentangled, but complete.
    assert disentanglement(torch.tensor([[1.0, 1.0], [0.0, 0.0]])) == pytest.approx((0, 1), abs=1e-9)
    from sklearn.linear_model import Lasso

    inputs, targets = normal(200, 6).double(), normal(200, 1, seed=1).double() + 2 * normal(200, 6).double()[:, :1]
    inputs, targets = inputs - inputs.mean(0), targets - targets.mean(0)
    theirs = Lasso(0.1, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(inputs.numpy(), targets.numpy()[:, 0])
    np.testing.assert_allclose(lasso(inputs, targets, 0.1)[:, 0].numpy(), theirs.coef_, atol=1e-6)
    assert shared_mix(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 0, 0]), 3) == pytest.approx(0.5)


def test_any_seed_resamples_and_each_differently() -> None:
    weights = [resampling_weights(30, 4, seed) for seed in (0, 1, 10**14, 10**30)]
    for index, drawn in enumerate(weights):
        assert drawn.shape == (4, 30)
        assert drawn.sum(1).eq(30).all()
        assert not any(torch.equal(drawn, other) for other in weights[:index])
