"""The discrepancy of fine details: against matrices of second moments, and what it says of samples that share strokes."""

import pytest
import torch
from torch import Tensor

from vaegan.config import GANConfig
from vaegan.objectives.details import FAINT, OCTAVES, detail_discrepancy, finest_octave


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_details_are_what_halving_loses() -> None:
    even = torch.full((1, 3, 8, 8), 0.3, dtype=torch.float64)
    checker = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).repeat(4, 4).expand(1, 3, 8, 8)
    details, halved = finest_octave(even + checker)
    torch.testing.assert_close(details, checker.flatten(1))  # halving takes a checker away, so all of it is detail
    torch.testing.assert_close(halved, even[..., ::2, ::2])
    torch.testing.assert_close(finest_octave(even)[0], torch.zeros_like(details))


def test_faint_details_count_for_less() -> None:
    """Alike, and as strong as `FAINT`: each cosine is 1/2, its square 1/4, and at the real images' own checkers 1/2 times 1."""
    checker = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).repeat(8, 8).expand(2, 1, 16, 16)
    even = torch.full((2, 1, 16, 16), 0.3, dtype=torch.float64)
    assert float(detail_discrepancy(even + FAINT * checker, even)) == pytest.approx(0.25)
    assert float(detail_discrepancy(even + FAINT * checker, even + 100 * checker)) == pytest.approx(0.25 - 2 * 0.5, rel=1e-3)
    assert float(detail_discrepancy(even + checker, even)) == pytest.approx(1, rel=1e-3)


def test_the_discrepancy_is_the_distance_of_second_moments() -> None:
    """|E uu' - E vv'|^2 of unit vectors by the matrices themselves, which the kernel spares."""
    fakes, reals = normal(7, 2, 8, 8, seed=1), normal(5, 2, 8, 8, seed=2)
    found, expected = float(detail_discrepancy(fakes, reals)), 0.0
    for _ in range(OCTAVES):
        (u, fakes), (v, reals) = finest_octave(fakes), finest_octave(reals)
        u, v = ((rows.T / (rows.square().sum(1) + 1e-4 * rows.shape[1]).sqrt()).T for rows in (u, v))
        of_fakes, of_reals = u.T @ u / len(u), v.T @ v / len(v)
        whole = float((of_fakes - of_reals).square().sum() - of_reals.square().sum())
        # Both sides know an image's likeness with itself, |u|^4, of which the U-statistic says nothing.
        own, n = float(u.norm(dim=1).pow(4).mean()), len(u)
        expected += whole - float(of_fakes.square().sum()) + (float(of_fakes.square().sum()) - own / n) * n / (n - 1)
    assert found == pytest.approx(expected, rel=1e-9)


def test_it_is_unbiased_on_any_batch() -> None:
    """The mean over all pairs of eight images is what is said of all eight."""
    fakes, reals = normal(8, 1, 8, 8, seed=3), normal(4, 1, 8, 8, seed=4)
    pairs = [detail_discrepancy(fakes[[i, j]], reals) for i in range(8) for j in range(i)]
    torch.testing.assert_close(torch.stack(pairs).mean(), detail_discrepancy(fakes, reals))


def test_one_stroke_in_all_samples_costs_with_either_sign_and_other_strokes_do_not() -> None:
    coarse, reals = torch.zeros(64, 1, 16, 16, dtype=torch.float64), normal(64, 1, 16, 16, seed=5)
    stroke, signs = normal(1, 1, 16, 16, seed=6), normal(64, 1, 1, 1, seed=7).sign()
    same, either, own = coarse + stroke, coarse + signs * stroke, coarse + normal(64, 1, 16, 16, seed=8)
    costs = [float(detail_discrepancy(samples, reals)) for samples in (same, either, own)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)
    assert costs[0] > 1.5 * (1 - 0.05)  # of two octaves, each 1 when all are alike
    assert abs(costs[2]) < 0.05


def test_strokes_that_real_images_share_are_right() -> None:
    stroke = normal(1, 1, 16, 16, seed=9)
    reals, alike = stroke + 0.1 * normal(16, 1, 16, 16, seed=10), stroke + 0.1 * normal(16, 1, 16, 16, seed=11)
    assert float(detail_discrepancy(alike, reals)) < float(detail_discrepancy(normal(16, 1, 16, 16, seed=12), reals)) - 1


def test_a_generator_is_pushed_away_from_what_is_common() -> None:
    """One step down the gradient takes the common stroke down and leaves coarse values alone."""
    stroke = normal(1, 1, 16, 16, seed=13)
    samples = (0.5 + 0.3 * stroke + 0.1 * normal(8, 1, 16, 16, seed=14)).requires_grad_()
    detail_discrepancy(samples, normal(8, 1, 16, 16, seed=15)).backward()
    assert samples.grad is not None
    common = finest_octave(stroke)[0][0]
    toward = samples.grad.flatten(1) @ common
    assert (toward > 0).all()  # so that a step against it lessens the stroke in every sample
    assert samples.grad.mean((1, 2, 3)).abs().max() < 1e-6


def test_few_and_even_images_are_no_trouble() -> None:
    even = torch.zeros(4, 3, 8, 8, requires_grad=True)
    cost = detail_discrepancy(even, torch.zeros(3, 3, 8, 8))
    cost.backward()
    assert float(cost.detach()) == 0
    assert even.grad is not None
    assert even.grad.isfinite().all()
    assert float(detail_discrepancy(torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8))) == 0


def test_it_is_on_unless_turned_off() -> None:
    assert GANConfig().details > 0
    assert GANConfig(details=0.0).details == 0
