"""Images from parts of them: against closed forms where the decoder is linear, and against the mean image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from vaegan.config import NetworkConfig
from vaegan.data import DataConfig, open_dataset
from vaegan.errors import RequestError
from vaegan.latent.restoring import ALIKE, View, in_grey, reduced, restore, through_mask, through_noise
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.priors import Mixture, Normal

LATENT, SIZE, VARIANCE = 3, 16, 0.04
SHARES = {"mask": 1.0, "reduced": 1 / 16, "grey": 0.299**2 + 0.587**2 + 0.114**2, "noise": 1.0}
"""Of a pixel's variance, what a seen number has."""


class Linear(nn.Module):
    """A decoder x = W z + b, [n, 3, 16, 16]."""

    def __init__(self, weights: Tensor, bias: Tensor | float = 0.0) -> None:
        super().__init__()
        self.weights, self.bias, self.latent_dim = weights, bias, weights.shape[1]

    def forward(self, latents: Tensor, labels: Tensor | None = None, raw: bool = False) -> Tensor:
        return (latents @ self.weights.T + self.bias).unflatten(1, (3, SIZE, SIZE))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def linear() -> tuple[Model, Tensor]:
    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=SIZE, channels=3, stage="vae", network=network, variance=VARIANCE)
    model = Model(config, Networks(config))
    weights = random(3 * SIZE**2, LATENT) * 0.02
    model.networks.decoder = Linear(weights)  # pyright: ignore[reportAttributeAccessIssue]
    return model, weights


def views() -> dict[str, View]:
    mask = torch.zeros(SIZE, SIZE)
    mask[:, :5] = 1
    return {"mask": through_mask(mask), "reduced": reduced(4), "grey": in_grey(), "noise": through_noise(0.3)}


@pytest.mark.parametrize("name", ["mask", "reduced", "grey", "noise"])
class TestLinear:
    def posterior(self, weights: Tensor, name: str, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [n, latent] and covariance of p(z | seen) under N(0, I) (Bishop 2006, Eq. 2.116 and 2.117)."""
        columns = views()[name].see(weights.T.unflatten(1, (3, SIZE, SIZE))).flatten(1).double().T
        noise = ALIKE * VARIANCE * SHARES[name] + views()[name].noise ** 2
        precision = torch.eye(LATENT).double() + columns.T @ columns / noise
        covariance = torch.linalg.inv(precision)
        return seen.flatten(1).double() @ columns @ covariance / noise, covariance

    def test_the_first_answer_is_the_posteriors_mean(self, linear: tuple[Model, Tensor], name: str) -> None:
        model, weights = linear
        view = views()[name]
        seen = view.see(model.decode(random(5, LATENT, seed=1)) + VARIANCE**0.5 * random(5, 3, SIZE, SIZE, seed=2))
        found = restore(model, seen, view)
        assert torch.allclose(found.latents[0].double(), self.posterior(weights, name, seen)[0], atol=0.01)
        assert found.images.shape == (1, 5, 3, SIZE, SIZE)

    def test_the_others_are_draws_from_the_posterior(self, linear: tuple[Model, Tensor], name: str) -> None:
        model, weights = linear
        view = views()[name]
        seen = view.see(model.decode(random(1, LATENT, seed=1)))
        mean, covariance = self.posterior(weights, name, seen)
        many = restore(model, seen.expand(150, -1, -1, -1), view, answers=2, seed=3).latents[1].double()
        standard = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (many - mean).T, upper=False)
        assert stats.kstest(standard.flatten().numpy(), "norm").pvalue > 1e-3
        again = restore(model, seen, view, answers=2, seed=3).latents[1].double()
        assert torch.allclose(again[0], many[0], atol=5e-3)


@pytest.mark.parametrize("name", ["mask", "reduced", "grey"])
def test_what_was_seen_is_seen(linear: tuple[Model, Tensor], name: str) -> None:
    model, view = linear[0], views()[name]
    seen = view.see(0.3 * random(2, 3, SIZE, SIZE).clamp(-1, 1))
    for images in restore(model, seen, view, answers=2, steps=5).images:
        assert torch.allclose(view.see(images), seen, atol=1e-5)


@pytest.mark.parametrize("name", ["mask", "reduced"])
def test_ways_back_are_smooth(name: str) -> None:
    slope = torch.linspace(-1, 1, SIZE).expand(1, 3, SIZE, SIZE)
    view = through_mask((torch.arange(SIZE) - 8).abs().ge(2).float().expand(SIZE, -1)) if name == "mask" else reduced(4)
    back = view.lift(view.see(slope))
    assert (back.diff(dim=3)[..., 2:-2] > 0).all()  # neither an edge nor a square
    assert (back - slope).abs().max() < 0.15
    assert torch.allclose(view.lift(view.see(torch.ones_like(slope))), torch.ones_like(slope), atol=1e-5)


def test_noise_is_taken_away_and_the_image_stays() -> None:
    down, across = torch.meshgrid(torch.arange(64) / 64, torch.arange(64) / 64, indexing="ij")
    image = (torch.sin(12 * down) * torch.cos(9 * across)).expand(1, 3, -1, -1) * 0.8
    left = through_noise(0.3).lift(image + 0.3 * random(1, 3, 64, 64)) - image
    assert left.square().mean() < 0.1 * 0.3**2
    assert torch.allclose(through_noise(1e-4).lift(image), image, atol=1e-3)


def test_densities_of_priors_are_scipys() -> None:
    factors = torch.stack([torch.eye(LATENT) * 0.5, torch.tensor([[1.0, 0, 0], [0.5, 2, 0], [-1, 0.3, 0.7]])])
    weights, means, points = torch.tensor([0.25, 0.75]), random(2, LATENT, seed=4), random(6, LATENT, seed=5)
    wanted = sum(
        float(weight) * stats.multivariate_normal(mean.numpy(), (factor @ factor.T).numpy()).pdf(points.numpy())
        for weight, mean, factor in zip(weights, means, factors, strict=True)
    )
    assert np.allclose(Mixture.of(weights, means, factors).log_density(points).exp().numpy(), wanted, rtol=1e-4)
    assert np.allclose(Normal(LATENT).log_density(points).numpy(), stats.norm.logpdf(points.numpy()).sum(1), rtol=1e-5)


@pytest.mark.parametrize("knows_its_variance", [True, False])
def test_unseen_faces_come_out_better_than_by_the_mean_image(
    linear: tuple[Model, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows_its_variance: bool
) -> None:
    """By the linear VAE at its optimum, which needs no training: probabilistic PCA (Tipping & Bishop 1999, Eq. 3.7 and 3.8)."""
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    model, dataset = linear[0], open_dataset("faces:400", DataConfig(size=SIZE))
    faces = dataset.load(range(400))
    known, images = faces[:360].flatten(1).double(), faces[360:]
    spread, axes = torch.linalg.eigh(torch.cov(known.T))
    variance = spread[:-16].mean()
    weights = axes[:, -16:] * (spread[-16:] - variance).sqrt()
    known_variance = float(variance) if knows_its_variance else None
    config = replace(model.config, variance=known_variance, network=replace(model.config.network, latent_dim=16))
    model = Model(config, Networks(config))
    model.networks.decoder = Linear(weights.float(), known.mean(0).float())  # pyright: ignore[reportAttributeAccessIssue]
    mean = known.mean(0).float().view(1, 3, SIZE, SIZE).expand_as(images)
    for name in ("mask", "reduced"):  # nobody can tell from their brightness in which colours these faces are drawn
        view = views()[name]
        seen = view.see(images)
        guesses = (restore(model, seen, view, steps=60).images[0], view.completed(seen, mean).clamp(-1, 1))
        ours, baseline = (float((guess - images).square().mean()) for guess in guesses)
        assert ours < 0.85 * baseline, name


def test_what_cannot_be_restored(linear: tuple[Model, Tensor]) -> None:
    model = linear[0]
    with pytest.raises(RequestError, match="0 answers"):
        restore(model, torch.zeros(1, 3, SIZE, SIZE), in_grey(), answers=0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=SIZE, channels=3, stage="gan", network=network, has_encoder=False)
    with pytest.raises(RequestError, match="no encoder"):
        restore(Model(config, Networks(config)), torch.zeros(1, 1, SIZE, SIZE), in_grey())
