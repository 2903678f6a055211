"""The discrepancy of fine details: against matrices of second moments, and what it says of samples that share strokes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.parts import details
from vaegan.parts.details import FAINT, OCTAVES, detail_discrepancy, finest_octave


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def checkers(count: int, side: int) -> Tensor:
    return torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).repeat(side // 2, side // 2).expand(count, 1, side, side)


def test_details_are_what_halving_loses() -> None:
    even, checker = torch.full((1, 1, 8, 8), 0.3, dtype=torch.float64), checkers(1, 8)
    octave, halved = finest_octave(even + checker)
    torch.testing.assert_close(octave, checker.flatten(1))  # halving takes a checker away, so all of it is detail
    torch.testing.assert_close(halved, even[..., ::2, ::2])
    torch.testing.assert_close(finest_octave(even)[0], torch.zeros_like(octave))


@pytest.mark.parametrize("side", [24, 25, 50, 90])
def test_a_slope_has_no_details_at_any_side(side: int) -> None:
    slope = torch.linspace(-1, 1, side, dtype=torch.float64).expand(1, 1, side, side)
    octave, halved = finest_octave(slope)
    assert octave.square().mean().sqrt() < 0.6 / side  # what is left is at the border
    assert finest_octave(halved)[0].square().mean().sqrt() < 1.2 / side


def test_its_gradient_is_that_of_the_distance_of_second_moments() -> None:
    """|E uu' - E vv'|^2 of unit vectors by the matrices themselves, without what an image is to itself."""
    samples, reals = normal(7, 2, 8, 8, seed=1).requires_grad_(), normal(7, 2, 8, 8, seed=2)
    (found,) = torch.autograd.grad(detail_discrepancy(samples, reals).mean(), samples)
    fakes, distance, n = samples, torch.zeros((), dtype=torch.float64), 7
    for _ in range(OCTAVES):
        (u, fakes), (v, reals) = finest_octave(fakes), finest_octave(reals)
        u, v = (rows / (rows.square().sum(1, keepdim=True) + FAINT**2 * rows.shape[1]).sqrt() for rows in (u, v))
        of_fakes, of_reals = u.T @ u / n, v.T @ v / n
        distance = distance + (of_fakes - of_reals).square().sum()
        distance = distance - (u.square().sum(1).square().sum() - 2 * (u * v).sum(1).square().sum()) / n**2
    (wanted,) = torch.autograd.grad(distance * n / (n - 1), samples)
    torch.testing.assert_close(found, wanted)


def test_it_is_unbiased_on_any_batch() -> None:
    """The mean over all pairs of eight images is what is said of all eight."""
    fakes, reals = normal(8, 1, 8, 8, seed=3), normal(8, 1, 8, 8, seed=4)
    pairs = [detail_discrepancy(fakes[[i, j]], reals[[i, j]]).mean() for i in range(8) for j in range(i)]
    torch.testing.assert_close(torch.stack(pairs).mean(), detail_discrepancy(fakes, reals).mean())


@pytest.mark.parametrize("count", [2, 4, 32])
def test_samples_of_the_right_kinds_are_right_however_many_share_a_label(count: int) -> None:
    """Each kind has a stroke of its own, and a sample is of the kind of its real image: in the mean it is 0 all the same."""
    strokes, values = normal(3, 1, 16, 16, seed=5), []
    for batch in range(200):
        kinds = torch.randint(3, (count,), generator=torch.Generator().manual_seed(batch))
        fakes, reals = (strokes[kinds] + normal(count, 1, 16, 16, seed=2 * batch + k) for k in range(2))
        values.append(detail_discrepancy(fakes, reals).mean())
    found = torch.stack(values)
    assert abs(float(found.mean())) < 4 * float(found.std()) / 200**0.5
    assert abs(float(found.mean())) < 0.1


def test_one_stroke_in_all_samples_costs_with_either_sign_and_other_strokes_do_not() -> None:
    reals, own = normal(64, 1, 16, 16, seed=5), normal(64, 1, 16, 16, seed=8)
    stroke, signs = normal(1, 1, 16, 16, seed=6), normal(64, 1, 1, 1, seed=7).sign()
    costs = [float(detail_discrepancy(samples, reals).mean()) for samples in (stroke.expand(64, -1, -1, -1), signs * stroke, own)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)
    assert costs[0] == pytest.approx(2 * OCTAVES, rel=0.05)  # in each octave all are alike, and nothing is like the real ones
    assert abs(costs[2]) < 0.05


def test_strokes_that_real_images_share_are_right() -> None:
    stroke = normal(1, 1, 16, 16, seed=9)
    reals, alike = (stroke + 0.1 * normal(16, 1, 16, 16, seed=seed) for seed in (10, 11))
    assert abs(float(detail_discrepancy(alike, reals).mean())) < 0.1
    assert float(detail_discrepancy(normal(1, 1, 16, 16, seed=12).expand(16, -1, -1, -1), reals).mean()) > 2


def test_a_generator_is_pushed_away_from_what_is_common() -> None:
    """A step down the gradient takes the common stroke down in every sample and leaves coarse values alone."""
    stroke = normal(1, 1, 16, 16, seed=13)
    samples = (0.5 + 0.3 * stroke + 0.1 * normal(8, 1, 16, 16, seed=14)).requires_grad_()
    detail_discrepancy(samples, normal(8, 1, 16, 16, seed=15)).mean().backward()
    assert samples.grad is not None
    assert (samples.grad.flatten(1) @ finest_octave(stroke)[0][0] > 0).all()
    assert samples.grad.mean((1, 2, 3)).abs().max() < 1e-6


def test_faint_details_count_for_less() -> None:
    """Alike, and as strong as `FAINT`: each cosine is 1/2, and its square 1/4."""
    checker, even = checkers(2, 16), torch.full((2, 1, 16, 16), 0.3, dtype=torch.float64)
    assert float(detail_discrepancy(even + FAINT * checker, even).mean()) == pytest.approx(2 * 0.25)
    assert float(detail_discrepancy(even + checker, even).mean()) == pytest.approx(2, rel=1e-3)
    still = even.clone().requires_grad_()
    detail_discrepancy(still, even).mean().backward()
    assert still.grad is not None
    assert (still.grad == 0).all()


def test_one_image_alone_is_like_nothing_and_large_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    one = normal(1, 3, 8, 8, seed=16)
    assert detail_discrepancy(one, normal(1, 3, 8, 8, seed=17)).tolist() == [0]
    fakes, reals = normal(9, 1, 8, 8, seed=18), normal(9, 1, 8, 8, seed=19)
    monkeypatch.setattr(details, "MOST", 4)
    torch.testing.assert_close(detail_discrepancy(fakes, reals), detail_discrepancy(fakes[:4], reals[:4]))


def test_low_precision_is_near_enough() -> None:
    fakes = (F.interpolate(normal(32, 3, 16, 16, seed=20), 32) + 0.5 * normal(1, 3, 32, 32, seed=21)).float()
    reals = F.interpolate(normal(32, 3, 16, 16, seed=22), 32).float()
    grads = []
    for low in (False, True):
        samples = fakes.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = detail_discrepancy(samples, reals).mean()
        loss.backward()
        assert samples.grad is not None
        grads.append(samples.grad)
    assert float((grads[1] - grads[0]).norm() / grads[0].norm()) < 0.03
