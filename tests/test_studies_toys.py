"""The toys of the studies against closed forms."""

import math
from types import SimpleNamespace

import pytest
import scipy.stats
import torch

from vaegan.config import NetworkConfig
from vaegan.evaluation.inference import log_weights
from vaegan.metrics.posterior import bits_per_dimension, dequantised
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.networks import Gaussian
from vaegan.objectives.latent import importance_weighted_bound
from vaegan.randomness import keyed_seed
from vaegan.studies.likelihood import DIAGONAL, EXACT, PRIOR, WIDE, LinearGaussian, bits_of_model, iwae, measure
from vaegan.studies.measures import autoencoding

TOY = LinearGaussian.make(values=12, latents=4, deviation=0.4, seed=3)


@pytest.fixture
def x() -> torch.Tensor:
    return TOY.draw(50, torch.Generator().manual_seed(0))


def test_the_evidence_is_that_of_a_gaussian(x: torch.Tensor) -> None:
    covariance = (TOY.weight @ TOY.weight.T + 0.16 * torch.eye(12)).numpy()
    oracle = scipy.stats.multivariate_normal(cov=covariance).logpdf(x.numpy())
    assert torch.allclose(TOY.log_evidence(x), torch.from_numpy(oracle))


def test_with_the_exact_posterior_every_weight_is_the_evidence(x: torch.Tensor) -> None:
    weights = TOY.log_weights(x, TOY.proposals()[EXACT], 7, torch.Generator().manual_seed(1))
    assert torch.allclose(weights, TOY.log_evidence(x)[:, None].expand_as(weights))


@pytest.mark.parametrize("name", [EXACT, DIAGONAL, WIDE, PRIOR])
def test_the_mean_weight_is_the_closed_elbo_and_many_approach_the_evidence(x: torch.Tensor, name: str) -> None:
    proposal, truth = TOY.proposals()[name], float(TOY.log_evidence(x).mean())
    weights = TOY.log_weights(x, proposal, 20_000, torch.Generator().manual_seed(1))
    elbo = proposal.elbo(TOY, x)
    assert float(weights.mean()) == pytest.approx(elbo, abs=0.02 * (1 + truth - elbo))
    bounds = [float(iwae(weights, count).mean()) for count in (1, 10, 100, 20_000)]
    assert bounds == pytest.approx(sorted(bounds))
    if name != PRIOR:
        assert bounds[-1] == pytest.approx(truth, abs=0.01)


def test_the_best_diagonal_posterior_is_the_best(x: torch.Tensor) -> None:
    best = TOY.proposals()[DIAGONAL]
    for factor in (0.9, 1.1):
        assert type(best)(best.gain, factor * best.root).elbo(TOY, x) < best.elbo(TOY, x)


def test_iwae_averages_over_whole_groups() -> None:
    weights = torch.tensor([[1.0, 2.0, 3.0, 4.0, 100.0]]).log()
    assert float(iwae(weights, 2)) == pytest.approx((math.log(1.5) + math.log(3.5)) / 2)
    assert float(iwae(weights, 5)) == pytest.approx(math.log(22))


def test_the_model_weights_are_those_of_its_own_densities() -> None:
    config = ModelConfig(16, 1, "vae", NetworkConfig(width=4, width_limit=4, latent_dim=2), variance=0.3)
    model = Model(config, Networks(config))
    images = torch.linspace(-1, 1, 512).reshape(2, 1, 16, 16)
    weights = log_weights(model, images, 3, 0, lambda *_: None)
    generator = torch.Generator().manual_seed(keyed_seed(0, "likelihood"))
    images = dequantised(images, "gaussian", generator)
    posterior = model.posterior(images)
    z = posterior.mean + torch.exp(posterior.log_var / 2) * torch.stack(
        [torch.randn(2, 2, generator=generator) for _ in range(3)]
    )
    normal = torch.distributions.Normal
    oracle = (
        normal(model.networks.decoder(z.flatten(0, 1), raw=True).unflatten(0, (3, 2)), math.sqrt(0.3))
        .log_prob(images)
        .flatten(2)
        .sum(2)
        + normal(0, 1).log_prob(z).sum(2)
        - normal(posterior.mean, torch.exp(posterior.log_var / 2)).log_prob(z).sum(2)
    )
    assert torch.allclose(weights.float(), oracle, rtol=1e-4)


def test_noise_costs_eight_bits_a_value() -> None:
    # Uniform on 256 levels of [-1, 1] dequantised by +-1/255 has density 1 / (2 * 256 / 255) everywhere.
    log_evidence = torch.tensor(-10 * math.log(2 * 256 / 255), dtype=torch.float64)
    assert float(bits_per_dimension(log_evidence, 10, "gaussian")) == pytest.approx(8, abs=1e-6)


class Constant(torch.nn.Module):
    """A decoder that gives the same number everywhere."""

    def __init__(self, raw: float) -> None:
        super().__init__()
        self.raw = raw

    def forward(self, latents: torch.Tensor, raw: bool = False) -> torch.Tensor:
        return torch.full((len(latents), 1, 16, 16), self.raw)


def constant_model(likelihood: str, raw: float, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose posterior is the prior, so that log p(x) is log p(x|z)."""
    variance = 0.3 if likelihood == "gaussian" else None
    network = NetworkConfig(width=4, width_limit=4, latent_dim=2)
    config = ModelConfig(16, 1, "vae", network, variance=variance, likelihood=likelihood)
    model = Model(config, Networks(config))
    model.networks.decoder = Constant(raw)
    monkeypatch.setattr(
        model, "posterior", lambda images, labels=None: Gaussian(torch.zeros(len(images), 2), torch.zeros(len(images), 2))
    )
    return model


@pytest.mark.parametrize("logit", [-2000.0, -30.0, 0.0])
def test_a_black_image_costs_what_the_continuous_bernoulli_says(logit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = constant_model("continuous-bernoulli", logit, monkeypatch), -torch.ones(8, 1, 16, 16)
    # On [0, 1] the density is r exp(-r y) / (1 - exp(-r)) with r = -logit; a black value is spread over [0, 1/256].
    rate = -logit
    expected = 8.0 if rate == 0 else 8 - (math.log(rate) - math.log1p(-math.exp(-rate)) - rate / 512) / math.log(2)
    assert expected > 0
    weights = log_weights(model, images, 5, 0, lambda *_: None)
    evaluated = bits_per_dimension(importance_weighted_bound(weights.double()), 256, "continuous-bernoulli").mean()
    assert float(evaluated) == pytest.approx(expected, abs=0.1 + rate / 1e4)
    assert bits_of_model(model, images, 5, 0) == pytest.approx(expected, abs=0.1 + rate / 1e4)


def test_binary_likelihoods_have_no_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = SimpleNamespace(seed=0, setting=SimpleNamespace(dataset=None), tick=lambda share: None)
    monkeypatch.setattr("vaegan.studies.likelihood.heldout_images", lambda dataset, count: torch.ones(1, 1, 16, 16))
    for likelihood, has in (("bernoulli", False), ("continuous-bernoulli", True)):
        subject.model = constant_model(likelihood, 3.0, monkeypatch)
        assert ("bits_per_dim" in measure(subject)) == has
    # A white image is white with probability s(3) a value: no noise was added to it.
    subject.model = constant_model("bernoulli", 3.0, monkeypatch)
    assert measure(subject)["elbo"] == pytest.approx(-256 * math.log1p(math.exp(-3)), rel=1e-4)


def test_the_bound_of_a_study_is_around_the_raw_output(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = constant_model("gaussian", 1.5, monkeypatch), torch.ones(8, 1, 16, 16)
    # Half a unit from white to the decoder's 1.5, which is no pixel's value; the noise of a level is +-1/255.
    error = 0.25 + 1 / 255**2 / 3
    expected = -256 * (error / 0.6 + 0.5 * math.log(2 * math.pi * 0.3))
    assert autoencoding(model, images)["elbo"] == pytest.approx(expected, abs=0.2)
    weights = log_weights(model, images, 5, 0, lambda *_: None)
    assert float(weights.mean()) == pytest.approx(expected, abs=0.2)
