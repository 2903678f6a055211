"""GAN objectives against their closed forms, their published optima and autograd; which settings of them are refused."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from vaegan.config import ClassicGANConfig
from vaegan.errors import RequestError
from vaegan.objectives import penalties
from vaegan.objectives.adversarial import OBJECTIVES
from vaegan.randomness import Draws

FLOAT64 = torch.float64
logits = st.floats(-30, 30)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


CLOSED_FORMS: dict[str, tuple[Callable[[float, float], float], Callable[[float, float], float]]] = {
    "relativistic": (lambda r, f: math.log1p(math.exp(-(r - f))), lambda r, f: math.log1p(math.exp(-(f - r)))),
    "saturating": (
        lambda r, f: -math.log(sigmoid(r)) - math.log1p(-sigmoid(f)) if f < 30 else math.inf,
        lambda r, f: -math.log1p(math.exp(f)),
    ),
    "non-saturating": (
        lambda r, f: math.log1p(math.exp(-r)) + math.log1p(math.exp(f)),
        lambda r, f: math.log1p(math.exp(-f)),
    ),
    "hinge": (lambda r, f: max(0.0, 1 - r) + max(0.0, 1 + f), lambda r, f: -f),
    "least-squares": (lambda r, f: 0.5 * (r - 1) ** 2 + 0.5 * f**2, lambda r, f: 0.5 * (f - 1) ** 2),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@given(real=logits, fake=logits)
def test_losses_are_their_formulas(name: str, real: float, fake: float) -> None:
    critic, generator = CLOSED_FORMS[name]
    r, f = torch.tensor([real], dtype=FLOAT64), torch.tensor([fake], dtype=FLOAT64)
    if abs(fake) < 25:  # log(1 - s(f)) as written above loses its digits further out
        assert float(OBJECTIVES[name].critic_loss(r, f)) == pytest.approx(critic(real, fake), rel=1e-4, abs=1e-9)
    assert float(OBJECTIVES[name].generator_loss(r, f)) == pytest.approx(generator(real, fake), rel=1e-6, abs=1e-9)


def test_every_objective_has_its_formula_here() -> None:
    assert set(OBJECTIVES) == set(CLOSED_FORMS)


def generator_slope(name: str, fake: float, real: float = 0.0) -> float:
    f = torch.tensor([fake], dtype=FLOAT64, requires_grad=True)
    (slope,) = torch.autograd.grad(OBJECTIVES[name].generator_loss(torch.tensor([real], dtype=FLOAT64), f).sum(), f)
    return float(slope)


@given(fake=logits)
def test_the_saturating_gradient_vanishes_where_the_critic_is_sure_and_the_other_does_not(fake: float) -> None:
    assert generator_slope("saturating", fake) == pytest.approx(-sigmoid(fake), abs=1e-8)
    assert generator_slope("non-saturating", fake) == pytest.approx(-sigmoid(-fake), abs=1e-8)


def test_a_sure_critic_leaves_the_saturating_generator_without_direction() -> None:
    assert abs(generator_slope("saturating", -10)) < 1e-4
    assert abs(generator_slope("non-saturating", -10)) > 0.9999
    assert abs(generator_slope("relativistic", -5, 5)) > 0.9999


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_generator_always_wants_its_logit_higher(name: str) -> None:
    assert all(generator_slope(name, fake) < 0 for fake in (-3.0, -0.5, 0.0, 0.9))


@pytest.mark.parametrize(
    ("name", "optimum"),
    [
        ("saturating", lambda share: math.log(share / (1 - share))),  # D* = p/(p + q): Goodfellow et al. 2014, Proposition 1
        ("non-saturating", lambda share: math.log(share / (1 - share))),
        ("least-squares", lambda share: share),  # Mao et al. 2017, Eq. 5 with a = 0, b = 1
    ],
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_best_critic_is_the_published_one(name: str, optimum: Callable[[float], float], share: float) -> None:
    """Where a share of the images at one place is real, the critic's best logit there is known."""

    def expected(logit: float) -> float:
        # The two halves of the loss are read apart: what a real image costs, and what a generated one costs.
        x, zero = torch.tensor([logit], dtype=FLOAT64), torch.zeros(1, dtype=FLOAT64)
        loss = OBJECTIVES[name].critic_loss
        real, fake = loss(x, zero) - loss(zero, zero), loss(zero, x) - loss(zero, zero)
        return float(share * real + (1 - share) * fake)

    found = optimize.minimize_scalar(expected, bounds=(-6, 6), method="bounded", options={"xatol": 1e-8}).x
    assert found == pytest.approx(optimum(share), abs=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_relativistic_and_wasserstein_critics_see_only_differences(name: str) -> None:
    real, fake = torch.tensor([0.3, -1.2]), torch.tensor([0.7, 0.1])
    loss = OBJECTIVES[name].critic_loss
    moved = torch.allclose(loss(real, fake), loss(real + 2, fake + 2))
    assert moved == (name in ("relativistic", "wasserstein"))


class TestInterpolatedPenalty:
    def test_is_zero_for_a_critic_of_slope_one(self) -> None:
        weight = torch.randn(12, dtype=FLOAT64, generator=torch.Generator().manual_seed(0))
        real, fake = (torch.randn(5, 3, 2, 2, dtype=FLOAT64, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
        share = torch.rand(5, dtype=FLOAT64, generator=torch.Generator().manual_seed(3))
        for length in (1.0, 0.25, 3.0):
            w = length * weight / weight.norm()
            found = penalties.interpolated_penalty(lambda x, w=w: x.flatten(1) @ w, real, fake, share)
            torch.testing.assert_close(found, torch.full((5,), (length - 1) ** 2, dtype=FLOAT64))

    def test_looks_between_the_images(self) -> None:
        """For D(x) = |x|^2 / 2 the slope is |x^| itself."""
        real, fake = torch.full((2, 1, 1, 1), 3.0), torch.full((2, 1, 1, 1), 1.0)
        share = torch.tensor([0.25, 1.0])
        found = penalties.interpolated_penalty(lambda x: 0.5 * x.square().flatten(1).sum(1), real, fake, share)
        torch.testing.assert_close(found, torch.tensor([0.5**2, 2.0**2]))  # x^ = 1.5 and 3

    def test_a_flat_critic_gives_no_gradient_that_is_not_a_number(self) -> None:
        weight = torch.zeros(4, requires_grad=True)
        found = penalties.interpolated_penalty(lambda x: x.flatten(1) @ weight, *torch.ones(2, 3, 1, 2, 2), torch.rand(3))
        (gradient,) = torch.autograd.grad(found.sum(), weight)
        assert gradient.isfinite().all()


def test_uniform_draws_are_uniform_and_shared_among_processes() -> None:
    drawn = Draws(0, "gan").uniform("latents", 0, 20_000)
    assert 0 <= float(drawn.min()) < 0.001 < 0.999 < float(drawn.max()) < 1
    whole = Draws(3, "gan").uniform("latents", 96, 8, 5)
    for rank in range(2):
        assert torch.equal(Draws(3, "gan", "cpu", rank, 2).uniform("latents", 96, 4, 5), whole[rank::2])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": "wasserstein"}, r"--classic\.clip"),
        ({"critic_steps": 0}, r"--classic\.critic-steps"),
        ({"beta1": 1.0}, r"--classic\.beta1"),
        ({"clip": -1.0}, r"--classic\.clip"),
        ({"penalty": -1.0}, r"--classic\.penalty"),
        ({"batch_size": 1}, r"--classic\.batch-size"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        ClassicGANConfig(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bound", [{"clip": 0.01}, {"penalty": 10.0}])
def test_a_wasserstein_critic_needs_one_bound(bound: dict[str, Any]) -> None:
    assert ClassicGANConfig(objective="wasserstein", **bound).objective == "wasserstein"
