"""Reconstruction losses and likelihoods against torch.distributions, integrals and samples; bounds against known evidence."""

import math

import pytest
import torch
from scipy import integrate
from torch import Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli, Laplace, Normal, kl_divergence

from vaegan.objectives import bernoulli, gaussian, laplace, latent
from vaegan.objectives.likelihood import RECONSTRUCTIONS, draw, log_density, variance_of

FLOAT64 = torch.float64


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=FLOAT64)


IMAGES, RAW = randn(5, 3, 4, 4).clamp(-1, 1), 2 * randn(5, 3, 4, 4, seed=1)
SHARES = (IMAGES + 1) / 2


def test_cross_entropy_of_binary_images_is_their_negative_log_probability() -> None:
    binary = IMAGES.sign()
    wanted = -Bernoulli(logits=RAW).log_prob((binary + 1) / 2).flatten(1).sum(1)
    torch.testing.assert_close(bernoulli.cross_entropy(binary, RAW), wanted)


def test_cross_entropy_of_grey_images_follows_the_formula_and_its_gradient_is_the_difference() -> None:
    raw = RAW.clone().requires_grad_()
    loss = bernoulli.cross_entropy(IMAGES, raw)
    share = torch.sigmoid(RAW)
    wanted = -(SHARES * share.log() + (1 - SHARES) * (1 - share).log()).flatten(1).sum(1)
    torch.testing.assert_close(loss.detach(), wanted)
    (gradient,) = torch.autograd.grad(loss.sum(), raw)
    torch.testing.assert_close(gradient, share - SHARES)


def test_continuous_bernoulli_is_that_of_torch() -> None:
    wanted = -ContinuousBernoulli(logits=RAW).log_prob(SHARES).flatten(1).sum(1)
    torch.testing.assert_close(bernoulli.continuous_bernoulli(IMAGES, RAW), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("logit", [0.0, 1e-4, 0.05, -0.199, 0.201, -1.0, 3.0, -15.0, 40.0])
def test_continuous_bernoulli_integrates_to_one(logit: float) -> None:
    """The normaliser by numerical integration: C = 1 / int l^x (1-l)^(1-x) dx."""
    whole, _ = integrate.quad(lambda x: math.exp(x * logit - max(logit, 0)), 0, 1)
    log_integral = math.log(whole) + max(logit, 0) - math.log1p(math.exp(-abs(logit))) - max(logit, 0)
    found = bernoulli.log_normaliser(torch.tensor(logit, dtype=FLOAT64))
    assert float(found) == pytest.approx(-log_integral, abs=1e-8)
    assert float(bernoulli.log_normaliser(torch.tensor(logit))) == pytest.approx(-log_integral, abs=2e-6)  # float32


def test_log_normaliser_is_smooth_where_the_series_begins() -> None:
    assert float(bernoulli.log_normaliser(torch.zeros(()))) == pytest.approx(math.log(2))
    logits = torch.linspace(-1, 1, 42, dtype=FLOAT64).requires_grad_()
    assert torch.autograd.gradcheck(bernoulli.log_normaliser, (logits,))
    far = torch.tensor([-300.0, 300.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(bernoulli.log_normaliser(far).sum(), far)
    assert gradient.isfinite().all()


def test_laplace_is_that_of_torch() -> None:
    wanted = -Laplace(RAW, 0.3).log_prob(IMAGES).flatten(1).sum(1)
    error = laplace.absolute_error(IMAGES, RAW)
    torch.testing.assert_close(laplace.laplace_loss(error, 48, torch.tensor(0.3, dtype=FLOAT64)), wanted)


@pytest.mark.parametrize(("objective", "other"), [("calibrated", 1.2), ("laplace", 0.8)])
def test_the_batchs_own_variance_makes_it_most_likely(objective: str, other: float) -> None:
    chosen = RECONSTRUCTIONS[objective]
    error = chosen.error(IMAGES, RAW)
    best = variance_of(chosen.likelihood, error.mean() / 48)
    assert chosen.loss(error, 48, best).mean() < chosen.loss(error, 48, other * best).mean()
    assert (
        log_density(chosen.likelihood, IMAGES, RAW, best).mean()
        > log_density(chosen.likelihood, IMAGES, RAW, other * best).mean()
    )


def test_log_densities_are_those_of_torch_on_minus_one_to_one() -> None:
    variance = torch.tensor(0.4, dtype=FLOAT64)
    binary = IMAGES.sign()
    wanted = {
        "gaussian": Normal(RAW, math.sqrt(0.4)).log_prob(IMAGES),
        "laplace": Laplace(RAW, math.sqrt(0.2)).log_prob(IMAGES),
        "continuous-bernoulli": ContinuousBernoulli(logits=RAW).log_prob(SHARES) - math.log(2),
    }
    for likelihood, density in wanted.items():
        found = log_density(likelihood, IMAGES, RAW, variance)  # pyright: ignore
        torch.testing.assert_close(found, density.flatten(1).sum(1), rtol=1e-4, atol=1e-4)
    probability = Bernoulli(logits=RAW).log_prob((binary + 1) / 2).flatten(1).sum(1)
    torch.testing.assert_close(log_density("bernoulli", binary, RAW, variance), probability)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "bernoulli", "continuous-bernoulli"])
def test_draws_have_the_distributions_mean_and_variance(likelihood: str) -> None:
    raw = torch.tensor([-3.0, -1e-5, 0.7, 2.0]).view(1, 1, 2, 2).expand(20_000, 1, 2, 2)
    of_torch = {
        "gaussian": Normal(raw, math.sqrt(0.09)),
        "laplace": Laplace(raw, math.sqrt(0.045)),
        "bernoulli": Bernoulli(logits=raw),
        "continuous-bernoulli": ContinuousBernoulli(logits=raw.double()),
    }[likelihood]
    mean, variance = of_torch.mean[0].double(), of_torch.variance[0].double()
    if "bernoulli" in likelihood:
        mean, variance = 2 * mean - 1, 4 * variance
    images = mean.float().expand(20_000, 1, 2, 2)
    drawn = draw(likelihood, images, raw, 0.09, torch.Generator().manual_seed(0)).double()  # pyright: ignore
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=0.025)
    torch.testing.assert_close(drawn.var(0), variance, rtol=0.06, atol=1e-3)


@pytest.mark.parametrize(("objective", "beta"), [("calibrated", 0.07), ("squared-error", 0.5), ("mean-squared-error", 392.0)])
def test_effective_beta_is_what_the_gradients_say(objective: str, beta: float) -> None:
    """loss + KL has the gradient of 1/2 SE + beta KL up to one factor."""
    chosen, values = RECONSTRUCTIONS[objective], 784
    variance = torch.tensor(0.07, dtype=FLOAT64)
    assert chosen.beta is not None
    assert float(chosen.beta(values, variance)) == pytest.approx(beta)
    error = torch.tensor([37.0], dtype=FLOAT64, requires_grad=True)
    (slope,) = torch.autograd.grad(chosen.loss(error, values, variance).sum(), error)
    assert 0.5 / float(slope) == pytest.approx(beta)


def test_other_likelihoods_have_no_effective_beta() -> None:
    assert all(RECONSTRUCTIONS[name].beta is None for name in ("laplace", "cross-entropy", "continuous-bernoulli"))


class TestFreeBits:
    kl = randn(6, 4).square() * torch.tensor([0.01, 0.2, 1.0, 3.0], dtype=FLOAT64)

    def test_mean_is_the_sum_of_the_clamped_means(self) -> None:
        mean = self.kl.mean(0)
        found = latent.free_bits(self.kl, mean, 0.25).mean()
        assert float(found) == pytest.approx(sum(max(0.25, float(m)) for m in mean))

    def test_cheap_dimensions_have_no_gradient(self) -> None:
        kl = self.kl.clone().requires_grad_()
        mean = self.kl.mean(0)
        (gradient,) = torch.autograd.grad(latent.free_bits(kl, mean, 0.25).sum(), kl)
        assert torch.equal(gradient, (mean > 0.25).double().expand_as(kl))
        assert 0 < int((mean > 0.25).sum()) < 4

    def test_nothing_free_is_the_plain_divergence(self) -> None:
        torch.testing.assert_close(latent.free_bits(self.kl, self.kl.mean(0), 0.0), self.kl.sum(1))


def test_log_ratio_is_that_of_the_densities_and_expects_minus_the_divergence() -> None:
    mean, log_var, noise = 0.7 * randn(1, 3), 0.5 * randn(1, 3, seed=1), randn(200_000, 3, seed=2)
    z = mean + torch.exp(log_var / 2) * noise
    found = latent.log_ratio(z, mean, log_var, noise)
    q, p = Normal(mean, torch.exp(log_var / 2)), Normal(torch.zeros(1, 3, dtype=FLOAT64), torch.ones(1, 3, dtype=FLOAT64))
    torch.testing.assert_close(found, (p.log_prob(z) - q.log_prob(z)).sum(1))
    assert float(found.mean()) == pytest.approx(-float(kl_divergence(q, p).sum()), abs=0.01)
    assert float(-gaussian.kl_to_standard_normal(mean, log_var).sum()) == pytest.approx(float(found.mean()), abs=0.01)


class TestImportanceWeightedBound:
    def test_one_sample_is_its_weight(self) -> None:
        weights = randn(1, 6)
        assert torch.equal(latent.importance_weighted_bound(weights), weights[0])

    def test_is_the_log_of_the_mean_and_does_not_overflow(self) -> None:
        weights = randn(7, 6)
        torch.testing.assert_close(latent.importance_weighted_bound(weights), weights.exp().mean(0).log())
        torch.testing.assert_close(latent.importance_weighted_bound(weights - 5000), weights.exp().mean(0).log() - 5000)

    def test_climbs_to_the_evidence_of_a_linear_gaussian_model(self) -> None:
        """p(z) = N(0, 1), p(x|z) = N(w z, s^2), x in one dimension: log p(x) = log N(x; 0, w^2 + s^2)."""
        w, variance, x = 1.4, 0.25, torch.tensor([[0.9]], dtype=FLOAT64)
        evidence = float(Normal(0.0, math.sqrt(w**2 + variance)).log_prob(x[0, 0]))
        mean, log_var = torch.tensor([[0.3]], dtype=FLOAT64), torch.tensor([[-1.0]], dtype=FLOAT64)  # not the true posterior
        bounds = []
        for k in (1, 5, 500):
            noise = randn(k * 4000, 1, seed=k)
            z = mean + torch.exp(log_var / 2) * noise
            decoded = (w * z).view(-1, 1, 1, 1)
            density = log_density(
                "gaussian", x.view(1, 1, 1, 1).expand_as(decoded), decoded, torch.tensor(variance, dtype=FLOAT64)
            )
            weights = (density + latent.log_ratio(z, mean, log_var, noise)).view(k, 4000)
            bounds.append(float(latent.importance_weighted_bound(weights).mean()))
        assert bounds[0] < bounds[1] < bounds[2] < evidence + 0.01
        assert bounds[2] == pytest.approx(evidence, abs=0.01)
