"""Priors as maps of normal noise; the mixture against torch.distributions and the moments of what it was fitted to."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from vaegan.config import PriorName
from vaegan.priors import COMPONENTS, PRIORS, Mixture, Normal, Prior, Scaled, Uniform, fit_mixture


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def used(mixture: Mixture) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and factors of the components that are drawn."""
    count = int((mixture.weights > 0).sum())
    return mixture.weights[:count], mixture.means[:count], mixture.factors[:count]


def likelihood(mixture: Mixture, x: Tensor) -> float:
    weights, means, factors = used(mixture)
    return float(MixtureSameFamily(Categorical(weights), MultivariateNormal(means, scale_tril=factors)).log_prob(x).mean())


@pytest.fixture(scope="module")
def two_clusters() -> Tensor:
    """30 % at (4, 4, 0) with correlated spread, 70 % at (-4, 0, 1)."""
    spread = torch.tensor([[0.5, 0.3, 0], [0, 0.4, 0], [0, 0, 0.2]])
    first = randn(300, 3) @ spread + torch.tensor([4.0, 4, 0])
    second = 0.3 * randn(700, 3, seed=1) + torch.tensor([-4.0, 0, 1])
    return torch.cat([first, second])[torch.randperm(1000, generator=torch.Generator().manual_seed(2))]


@pytest.fixture(scope="module")
def curved() -> Tensor:
    """No Gaussian: a noisy parabola."""
    x = randn(400, 2, seed=3)
    return torch.stack([2 * x[:, 0], x[:, 0] ** 2 + 0.2 * x[:, 1]], 1)


def test_finds_two_separated_clusters(two_clusters: Tensor) -> None:
    mixture = fit_mixture(two_clusters, components=2)
    first, second = two_clusters[two_clusters[:, 0] > 0], two_clusters[two_clusters[:, 0] < 0]
    weights, means, factors = used(mixture)
    order = means[:, 0].argsort(descending=True)
    np.testing.assert_allclose(weights[order], [0.3, 0.7], atol=0.01)
    for index, cluster in zip(order, (first, second), strict=True):
        np.testing.assert_allclose(means[index], cluster.mean(0), atol=0.02)
        np.testing.assert_allclose(factors[index] @ factors[index].T, np.cov(cluster.T.numpy()), atol=0.02)


@pytest.mark.parametrize("components", [2, 5, 10])
def test_is_not_below_the_best_single_gaussian(curved: Tensor, components: int) -> None:
    gaussian = MultivariateNormal(curved.mean(0), torch.cov(curved.T))
    single = float(gaussian.log_prob(curved).mean())
    assert likelihood(fit_mixture(curved, components), curved) > single + 0.2
    assert likelihood(fit_mixture(curved, 1), curved) == pytest.approx(single, abs=0.01)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_each_step_is_one_of_expectation_maximisation(two_clusters: Tensor, steps: int) -> None:
    """Bishop 2006, Equations 9.23 to 9.26, from one step before; 12 images of the mean covariance, and the floor, on top."""
    x = two_clusters.double() * 0.3  # close enough to each other that every weight counts
    before, after = (fit_mixture(x, 3, steps=count) for count in (steps, steps + 1))
    weights, means, factors = (part.double() for part in used(before))
    joint = MultivariateNormal(means, scale_tril=factors).log_prob(x[:, None]).exp() * weights
    shares = (joint / joint.sum(1, keepdim=True)).numpy()
    mass = shares.sum(0)
    np.testing.assert_allclose(used(after)[0], mass / len(x), rtol=1e-3)
    own = [np.cov(x.numpy().T, aweights=shares[:, k], ddof=0) for k in range(3)]
    common = sum(share * covariance for share, covariance in zip(mass / len(x), own, strict=True))
    for k in range(3):
        mean = shares[:, k] @ x.numpy() / mass[k]
        wanted = (mass[k] * own[k] + 12 * common) / (mass[k] + 12) + 1e-3 * np.eye(3)
        np.testing.assert_allclose(after.means[k], mean, atol=1e-3)
        np.testing.assert_allclose(after.factors[k] @ after.factors[k].T, wanted, rtol=1e-3, atol=1e-4)


def test_likelihood_does_not_fall_from_step_to_step(curved: Tensor) -> None:
    path = [likelihood(fit_mixture(curved, 2, steps=steps), curved) for steps in range(1, 10)]
    assert all(later > earlier - 5e-3 for earlier, later in itertools.pairwise(path))


@pytest.mark.parametrize("components", [1, 10])
def test_fit_keeps_the_moments_and_samples_have_them(curved: Tensor, components: int) -> None:
    mixture = fit_mixture(curved, components)
    samples = mixture.sample(40_000, torch.Generator().manual_seed(0))
    assert samples.shape == (40_000, 2)
    # At a fixed point of EM the mixture's mean and covariance are those of the data.
    np.testing.assert_allclose(mixture.weights @ mixture.means, curved.mean(0), atol=1e-3)
    np.testing.assert_allclose(samples.mean(0), curved.mean(0), atol=0.05)
    np.testing.assert_allclose(np.cov(samples.T.numpy()), np.cov(curved.T.numpy()), rtol=0.05, atol=0.06)


@pytest.mark.parametrize(("count", "components"), [(1, 1), (5, 1), (39, 1), (40, 2), (100, 5), (199, 9), (5000, 10)])
def test_few_images_get_fewer_components(count: int, components: int) -> None:
    mixture = fit_mixture(randn(count, 3))
    assert int((mixture.weights > 0).sum()) <= components
    assert float(mixture.weights[mixture.weights > 0].min()) * count > min(count, 20) * 0.9
    assert all(part.isfinite().all() for part in (mixture.weights, mixture.means, mixture.factors))
    assert float(mixture.weights.sum()) == pytest.approx(1)
    assert components <= COMPONENTS == 10


def test_latents_that_never_vary_do_not_break_it() -> None:
    latents = torch.cat([randn(200, 2), torch.zeros(200, 2)], 1)
    samples = fit_mixture(latents).sample(100, torch.Generator().manual_seed(0))
    assert samples[:, 2:].abs().max() < 0.2


def test_same_seed_gives_the_same_mixture_and_another_another(curved: Tensor) -> None:
    one, same, other = (fit_mixture(curved, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in one.state_dict().items())
    assert not torch.equal(one.means, other.means)
    draws = [one.sample(10, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_unused_components_are_never_drawn() -> None:
    means = torch.tensor([[0.0, 0], [9e9, 9e9]])
    mixture = Mixture.of(torch.tensor([1.0, 0]), means, torch.eye(2).repeat(2, 1, 1))
    assert mixture.sample(5000, torch.Generator().manual_seed(0)).abs().max() < 10
    almost = Mixture.of(torch.tensor([1 - 1e-7, 0]), means, torch.eye(2).repeat(2, 1, 1))
    assert almost(torch.full((1, 3), 9.0)).abs().max() < 10


def test_the_last_number_of_the_noise_chooses_the_component_with_its_probability() -> None:
    weights, means = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([[0.0, 0], [100, 0], [0, 100]])
    factors = torch.tensor([[1.0, 0], [2, 3]]).repeat(3, 1, 1)
    mixture, noise = Mixture.of(weights, means, factors), randn(20_000, 3)
    latents = mixture(noise)
    chosen = torch.cdist(latents, means).argmin(1)
    np.testing.assert_allclose(chosen.bincount() / len(noise), weights, atol=0.01)
    order = noise[:, 2].argsort()
    assert (chosen[order].diff() >= 0).all()  # in the order of that number
    torch.testing.assert_close(latents - means[chosen], noise[:, :2] @ factors[0].T, atol=1e-4, rtol=0)


def test_is_unfitted_until_it_is_fitted() -> None:
    assert not Mixture(3).is_fitted
    assert fit_mixture(randn(50, 3)).is_fitted


def test_heavy_tails_are_kept_that_one_gaussian_loses() -> None:
    """Half of the images lie twice as far out: a single Gaussian of the same covariance has none so far."""
    x = randn(4000, 16) * torch.tensor([0.6, 1.3]).repeat(2000)[:, None]
    single, mixture = (fit_mixture(x, count).sample(4000, torch.Generator().manual_seed(0)) for count in (1, 10))
    wanted = x.norm(dim=1).std()
    assert single.norm(dim=1).std() < 0.6 * wanted
    assert mixture.norm(dim=1).std() == pytest.approx(float(wanted), rel=0.15)


def test_a_temperature_narrows_each_gaussian_around_its_own_mean() -> None:
    mixture = fit_mixture(randn(400, 3) + torch.tensor([4.0, 0, -4]).repeat(400, 1) * (torch.arange(400) % 2)[:, None])
    noise = randn(100, 4)
    centre = mixture(torch.cat([torch.zeros(100, 3), noise[:, -1:]], 1))
    torch.testing.assert_close(mixture.tempered(0.5)(noise) - centre, 0.5 * (mixture(noise) - centre))
    torch.testing.assert_close(mixture.tempered(0.5).tempered(2)(noise), mixture(noise))


def fitted(name: PriorName, latent_dim: int = 4) -> Prior:
    """A prior of each kind; the mixture is fitted, or there is nothing to draw from."""
    return fit_mixture(2 * randn(200, latent_dim) + 1) if name == "mixture" else PRIORS[name](latent_dim)


@pytest.mark.parametrize("name", PRIORS)
def test_draws_are_the_map_of_normal_noise(name: PriorName) -> None:
    prior = fitted(name)
    noise = torch.randn(50, prior.noise_dim, generator=torch.Generator().manual_seed(3))
    drawn = prior.sample(50, torch.Generator().manual_seed(3))
    assert drawn.shape == (50, 4)
    assert torch.equal(drawn, prior(noise))
    assert len(drawn.unique(dim=0)) == 50


def test_normal_latents_are_the_noise() -> None:
    noise = randn(10, 3)
    assert torch.equal(Normal(3)(noise), noise)


class TestUniform:
    def test_latents_are_uniform_between_minus_one_and_one(self) -> None:
        drawn = Uniform(3).sample(20_000, torch.Generator().manual_seed(0))
        assert drawn.abs().max() <= 1
        for numbers in drawn.T:
            assert scipy.stats.kstest(numbers.numpy(), scipy.stats.uniform(-1, 2).cdf).pvalue > 0.01
        np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(3), atol=0.03)

    def test_the_map_is_that_of_the_normal_distribution_function(self) -> None:
        noise = torch.linspace(-6, 6, 241)[:, None]
        np.testing.assert_allclose(Uniform(1)(noise), 2 * scipy.stats.norm.cdf(noise) - 1, atol=1e-6)

    def test_latents_are_never_rounded_to_low_precision(self) -> None:
        noise = randn(10, 3)
        wanted = Uniform(3)(noise)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(Uniform(3)(noise), wanted)
        assert Uniform(3)(noise.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("name", ["normal", "uniform"])
def test_a_temperature_scales_draws_and_one_changes_nothing(name: PriorName) -> None:
    prior = PRIORS[name](4)
    noise = randn(50, prior.noise_dim)
    narrow = prior.tempered(0.5)
    assert isinstance(narrow, Scaled)
    assert narrow.noise_dim == prior.noise_dim
    assert torch.equal(narrow(noise), 0.5 * prior(noise))
    assert torch.equal(narrow.tempered(4)(noise), 2 * prior(noise))
    assert prior.tempered(1) is prior
