"""The toys of the studies against closed forms."""

import math

import pytest
import scipy.stats
import torch

from vaegan.studies.likelihood import bits_per_value, iwae
from vaegan.studies.linear_gaussian import LinearGaussian

TOY = LinearGaussian.make(values=12, latents=4, deviation=0.4, seed=3)


@pytest.fixture
def x() -> torch.Tensor:
    return TOY.draw(50, torch.Generator().manual_seed(0))


def test_the_evidence_is_that_of_a_gaussian(x: torch.Tensor) -> None:
    covariance = (TOY.weight @ TOY.weight.T + 0.16 * torch.eye(12)).numpy()
    oracle = scipy.stats.multivariate_normal(cov=covariance).logpdf(x.numpy())
    assert torch.allclose(TOY.log_evidence(x), torch.from_numpy(oracle))


def test_with_the_exact_posterior_every_weight_is_the_evidence(x: torch.Tensor) -> None:
    weights = TOY.log_weights(x, TOY.posterior, 7, torch.Generator().manual_seed(1))
    assert torch.allclose(weights, TOY.log_evidence(x)[:, None].expand_as(weights))


@pytest.mark.parametrize("name", ["posterior", "diagonal_posterior", "wide_posterior", "prior"])
def test_the_mean_weight_is_the_closed_elbo_and_many_approach_the_evidence(x: torch.Tensor, name: str) -> None:
    proposal, truth = getattr(TOY, name), float(TOY.log_evidence(x).mean())
    weights = TOY.log_weights(x, proposal, 20_000, torch.Generator().manual_seed(1))
    elbo = proposal.elbo(TOY, x)
    assert float(weights.mean()) == pytest.approx(elbo, abs=0.02 * (1 + truth - elbo))
    bounds = [float(iwae(weights, count).mean()) for count in (1, 10, 100, 20_000)]
    assert bounds == pytest.approx(sorted(bounds))
    if name != "prior":
        assert bounds[-1] == pytest.approx(truth, abs=0.01)


def test_the_best_diagonal_posterior_is_the_best(x: torch.Tensor) -> None:
    best = TOY.diagonal_posterior
    for factor in (0.9, 1.1):
        assert type(best)(best.gain, factor * best.root).elbo(TOY, x) < best.elbo(TOY, x)


def test_iwae_averages_over_whole_groups() -> None:
    weights = torch.tensor([[1.0, 2.0, 3.0, 4.0, 100.0]]).log()
    assert float(iwae(weights, 2)) == pytest.approx((math.log(1.5) + math.log(3.5)) / 2)
    assert float(iwae(weights, 5)) == pytest.approx(math.log(22))


def test_the_model_weights_are_those_of_its_own_densities() -> None:
    from vaegan.config import NetworkConfig
    from vaegan.model import Model
    from vaegan.model_files import ModelConfig, Networks
    from vaegan.studies.likelihood import model_log_weights

    config = ModelConfig(16, 1, "vae", NetworkConfig(width=4, width_limit=4, latent_dim=2), variance=0.3)
    model = Model(config, Networks(config))
    image = torch.linspace(-1, 1, 256).reshape(1, 16, 16)
    weights = model_log_weights(model, image, 3, torch.Generator().manual_seed(5))
    posterior = model.posterior(image[None])
    noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(5))
    z = posterior.mean + torch.exp(posterior.log_var / 2) * noise
    normal = torch.distributions.Normal
    oracle = (
        normal(model.networks.decoder(z), math.sqrt(0.3)).log_prob(image).flatten(1).sum(1)
        + normal(0, 1).log_prob(z).sum(1)
        - normal(posterior.mean, torch.exp(posterior.log_var / 2)).log_prob(z).sum(1)
    )
    assert torch.allclose(weights.float(), oracle, rtol=1e-4)


def test_noise_costs_eight_bits_a_value() -> None:
    # Uniform on 256 levels of [-1, 1] dequantised by +-1/255 has density 1 / (2 * 256 / 255) everywhere.
    assert bits_per_value(-10 * math.log(2 * 256 / 255), 10) == pytest.approx(8, abs=1e-9)
