"""Walks, variations, neighbours and label-free directions, against closed forms and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from vaegan.config import NetworkConfig, PriorName
from vaegan.errors import RequestError
from vaegan.latent.directions import mean_gram, principal_directions
from vaegan.latent.similar import nearest
from vaegan.latent.walks import default_path, interpolate, lerp, loop, seed_latents, slerp, vary_latents, walk
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.types import Latents

LATENT, SIZE = 4, 16


class LinearDecoder(nn.Module):
    """decode(z) = W z, whose J'J is W'W everywhere."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, latents: Latents) -> Tensor:
        return (latents @ self.weight.T).unflatten(1, (1, SIZE, SIZE))


def build(stage: str = "vae", has_encoder: bool = True, weight: Tensor | None = None, prior: PriorName = "normal") -> Model:
    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=SIZE, channels=1, stage=stage, network=network, prior=prior, has_encoder=has_encoder)  # pyright: ignore[reportArgumentType]
    networks = Networks(config)
    if weight is not None:
        networks.decoder = LinearDecoder(weight)  # pyright: ignore[reportAttributeAccessIssue]
    return Model(config, networks)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestWalks:
    @given(st.integers(0, 10_000), st.integers(2, 70), st.floats(0, 1))
    def test_a_great_circle_has_constant_speed_and_keeps_the_norm(self, seed: int, dimension: int, position: float) -> None:
        first, second = random(2, dimension, seed=seed).double()
        second = second / second.norm() * first.norm()
        point = slerp(first, second, position)
        assert float(point.norm()) == pytest.approx(float(first.norm()), rel=1e-9)

        def angle(a: Tensor, b: Tensor) -> float:
            return math.acos(min(1.0, max(-1.0, float(a @ b / a.norm() / b.norm()))))

        assert angle(first, point) == pytest.approx(position * angle(first, second), abs=1e-6)

    @given(st.integers(0, 10_000), st.floats(0, 1))
    def test_norms_lie_between_those_of_the_ends(self, seed: int, position: float) -> None:
        first, second = random(2, 8, seed=seed) * torch.tensor([[1.0], [3.0]])
        norm = float(slerp(first, second, position).norm())
        assert norm == pytest.approx((1 - position) * float(first.norm()) + position * float(second.norm()), rel=1e-4)

    @given(st.integers(0, 10_000), st.integers(1, 70))
    def test_both_ways_end_where_they_should(self, seed: int, dimension: int) -> None:
        first, second = random(2, dimension, seed=seed)
        for way in (lerp, slerp):
            assert torch.allclose(way(first, second, 0.0), first, atol=1e-5)
            assert torch.allclose(way(first, second, 1.0), second, atol=1e-5)
            assert torch.allclose(way(first, second, 0.3), way(second, first, 0.7), atol=1e-4)

    @pytest.mark.parametrize("factor", [-1.0, -1.0 - 1e-7, -2.5])
    def test_opposite_latents_are_joined_by_a_half_circle(self, factor: float) -> None:
        first = random(1, 6)
        positions = torch.linspace(0, 1, 9)[:, None]
        way = slerp(first, factor * first, positions)
        assert way.isfinite().all()
        wanted = float(first.norm()) * (1 + (abs(factor) - 1) * positions[:, 0])
        assert torch.allclose(way.norm(dim=1), wanted, rtol=1e-3)
        assert float((way[4] @ first[0]).abs()) < 1e-3 * float(way[4].norm() * first.norm())

    def test_equal_parallel_and_zero_latents_go_straight(self) -> None:
        first = random(6)
        for second in (first, 2 * first, first + 1e-7, torch.zeros(6)):
            assert torch.allclose(slerp(first, second, 0.25), lerp(first, second, 0.25), atol=1e-6)
            assert torch.allclose(slerp(second, first, 0.25), lerp(second, first, 0.25), atol=1e-6)

    def test_a_walk_has_its_ends_exactly_and_a_loop_closes(self) -> None:
        stops = random(3, 5)
        for path in ("linear", "spherical"):
            way = walk(stops[0], stops[1], 7, path)
            assert torch.equal(way[0], stops[0])
            assert torch.equal(way[-1], stops[1])
            round_ = loop(stops, 4, path)
            assert round_.shape == (12, 5)
            assert torch.equal(round_[::4], stops)
            assert torch.equal(round_[9], walk(stops[2], stops[0], 5, path)[1])
        with pytest.raises(RequestError, match="at least 2"):
            walk(stops[0], stops[1], 1, "linear")
        with pytest.raises(RequestError, match="at least 2 images"):
            loop(stops[:1], 4, "linear")

    def test_a_vae_is_crossed_straight_and_a_gan_on_the_sphere(self) -> None:
        vae, gan = build(), build("gan", has_encoder=False)
        assert (default_path(vae), default_path(gan)) == ("linear", "spherical")
        ends = seed_latents(gan, [3, 7])
        assert torch.equal(ends[1], gan.latents(5, seed=7)[0])
        for model, way in ((vae, lerp), (gan, slerp)):
            images = interpolate(model, ends[0], ends[1], 5)
            assert torch.allclose(images[2], model.decode(way(ends[0], ends[1], 0.5)[None])[0], atol=1e-6)

    def test_a_uniform_prior_is_crossed_straight_because_it_fills_a_cube(self) -> None:
        uniform = build("gan", has_encoder=False, prior="uniform")
        assert default_path(uniform) == "linear"
        ends = seed_latents(uniform, [3, 7])
        assert torch.allclose(interpolate(uniform, ends[0], ends[1], 3)[1], uniform.decode(ends.mean(0)[None])[0], atol=1e-6)


class TestVariations:
    def test_distance_grows_with_strength_along_the_same_rays(self) -> None:
        latent = random(LATENT)
        strengths = (0.0, 0.25, 0.5, 1.0, 3.0)
        distances = torch.stack([(vary_latents(latent, 9, strength, 5) - latent).norm(dim=1) for strength in strengths])
        assert (distances.diff(dim=0) > 0).all()
        assert torch.allclose(distances[4], 3 * distances[3], rtol=1e-4)
        assert torch.equal(vary_latents(latent, 3, 0.5, 5), vary_latents(latent, 9, 0.5, 5)[:3])
        assert not torch.equal(vary_latents(latent, 3, 0.5, 6), vary_latents(latent, 3, 0.5, 5))
        assert vary_latents(latent, 0, 0.5).shape == (0, LATENT)

    def test_noise_is_standard_normal(self) -> None:
        noise = vary_latents(torch.zeros(50), 400, 1.0)
        assert float(noise.mean()) == pytest.approx(0, abs=0.03)
        assert float(noise.var()) == pytest.approx(1, abs=0.05)

    def test_images_move_further_from_the_reconstruction(self) -> None:
        model, image = build(), random(1, 1, SIZE, SIZE).clamp(-1, 1)
        varied = [model.decode(vary_latents(model.encode(image)[0], 32, strength)) for strength in (0, 0.3, 1, 2)]
        errors = [(images - model.reconstruct(image)).square().mean() for images in varied]
        assert errors[0] < 1e-10
        assert torch.stack(errors).diff().min() > 0

    @pytest.mark.parametrize("strength", [-0.1, math.nan, math.inf])
    def test_impossible_strengths_are_refused(self, strength: float) -> None:
        with pytest.raises(RequestError, match="strength"):
            vary_latents(torch.zeros(3), 1, strength)


class TestNearest:
    @pytest.mark.parametrize("block", [7, 1000])
    def test_equals_scikit_learn_whatever_the_block(self, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vaegan.latent.similar.PAIRS_AT_A_TIME", block)
        latents, query = random(200, 6), random(5, 6, seed=1)
        distances, indices = NearestNeighbors(n_neighbors=9, algorithm="brute").fit(latents.numpy()).kneighbors(query.numpy())
        found = nearest(latents, query, 9)
        assert np.array_equal(found.indices.numpy(), indices)
        assert np.allclose(found.distances.numpy(), distances, atol=1e-5)

    def test_tiny_distances_far_from_the_origin_are_exact(self) -> None:
        base = 1000 + random(1, 64)
        latents = base + torch.tensor([0.0, 0.002, 0.001])[:, None]
        assert nearest(latents, base, 3).indices[0].tolist() == [0, 2, 1]

    def test_fewer_latents_than_asked_for(self) -> None:
        assert nearest(random(3, 2), random(4, 2), 10).indices.shape == (4, 3)
        assert nearest(random(0, 2), random(4, 2), 10).indices.shape == (4, 0)


class TestPrincipalDirections:
    @pytest.mark.parametrize("stage", ["vae", "gan"])
    def test_pca_of_the_encoded_images_equals_scikit_learns(self, stage: str) -> None:
        model = build(stage, weight=0.01 * torch.eye(SIZE * SIZE, LATENT))
        latents = random(300, LATENT) * torch.tensor([1.0, 4, 0.5, 2]) @ torch.linalg.qr(random(LATENT, LATENT, seed=3)).Q
        found = principal_directions(model, latents)
        oracle = PCA().fit(latents.numpy())
        deviations = found.directions.norm(dim=1).numpy()
        assert np.allclose(deviations, np.sqrt(oracle.explained_variance_), rtol=1e-4)
        cosines = (found.directions.numpy() / deviations[:, None] * oracle.components_).sum(1)
        assert np.allclose(np.abs(cosines), 1, atol=1e-4)
        # All directions change pixels alike here, so the effect is the deviation: 0.01 |v| spread over 256 pixels.
        assert np.allclose(found.effects.numpy(), 0.01 * deviations / SIZE, rtol=1e-3)

    def test_the_decoder_tells_where_latents_are_only_drawn(self) -> None:
        axes = torch.linalg.qr(random(LATENT, LATENT, seed=2)).Q
        outputs = torch.linalg.qr(random(SIZE * SIZE, LATENT, seed=4)).Q
        strengths = torch.tensor([0.1, 0.8, 0.4, 0.2])
        weight = outputs * strengths @ axes
        model = build("gan", weight=weight, has_encoder=False)
        assert torch.allclose(mean_gram(model, random(3, LATENT)).float(), weight.T @ weight, atol=1e-4)
        latents = random(4000, LATENT)
        found = principal_directions(model, latents)
        assert (found.effects.diff() < 0).all()
        cosines = (nn.functional.normalize(found.directions) * axes[strengths.argsort(descending=True)]).sum(1).abs()
        assert torch.allclose(cosines, torch.ones(LATENT), atol=1e-3)

    def test_the_same_call_gives_the_same_signs_and_a_count_is_a_beginning(self) -> None:
        model, latents = build(), random(50, LATENT)
        first, again = principal_directions(model, latents), principal_directions(model, latents.clone())
        assert torch.equal(first.directions, again.directions)
        assert principal_directions(model, latents, count=2).directions.shape == (2, LATENT)
        with pytest.raises(RequestError, match="too few"):
            principal_directions(model, latents[:1])
