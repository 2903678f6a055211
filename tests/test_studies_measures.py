"""What the studies measure, against closed forms and other people's code."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from vaegan.config import DataConfig, NetworkConfig
from vaegan.data import open_dataset
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.priors import fit_mixture
from vaegan.studies.collapse import Classifier, count_modes
from vaegan.studies.latent_size import recommended
from vaegan.studies.measures import Place, manifold, neighbour_accuracy, principal_error, sampling, unevenness
from vaegan.studies.points import PointGAN, Rules, objectives_table, ring, square, train_points
from vaegan.studies.vae_vs_gan import jpeg_at, rounded


def test_samples_of_studies_are_the_priors_also_where_a_mixture_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path))
    dataset = open_dataset("faces:96", DataConfig(size=16))
    config = ModelConfig(16, 3, "vae", NetworkConfig(latent_dim=4, width=4, width_limit=8))
    model = Model(config, Networks(config))
    wanted = sampling(model, dataset, count=50)
    model.networks.mixture = fit_mixture(torch.full((20, 4), 3.0))
    assert model.samplers[0] == "mixture"
    assert sampling(model, dataset, count=50) == wanted


class Linear:
    """A model whose decoder is linear."""

    def __init__(self, weight: torch.Tensor, bend: float = 0.0) -> None:
        self.weight, self.bend, self.latent_dim = weight, bend, weight.shape[1]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        latents = latents + self.bend * latents.sign() * latents.square()
        return (latents @ self.weight.T).reshape(len(latents), 1, 4, 4)


class TestPoints:
    def test_real_samples_find_every_mode(self) -> None:
        for modes, count in ((ring(), 8), (square(), 25)):
            samples = modes.draw(20_000, torch.Generator().manual_seed(0))
            found, good = modes.found(samples)
            assert found == len(modes.centres) == count
            assert good == pytest.approx(1 - math.exp(-(3.0**2) / 2), abs=0.003)  # a round Gaussian's mass within 3 deviations
            assert samples.abs().max() < modes.reach

    def test_a_mode_needs_a_fifth_of_its_share(self) -> None:
        modes = ring()
        samples = modes.centres[:2].repeat_interleave(torch.tensor([985, 15]), 0)
        assert modes.found(samples) == (1, 1.0)
        samples = modes.centres[:2].repeat_interleave(torch.tensor([970, 30]), 0)
        assert modes.found(samples) == (2, 1.0)
        assert modes.found(torch.zeros(100, 2)) == (0, 0.0)

    def test_samples_spread_evenly_find_nothing_of_the_grid(self) -> None:
        modes = square()
        spread = modes.reach * (2 * torch.rand(2500, 2, generator=torch.Generator().manual_seed(0)) - 1)
        assert modes.found(spread)[0] == 0

    def test_a_slow_critic_steps_in_proportion(self) -> None:
        moved = []
        for rate in (1.0, 0.1):
            game = PointGAN(Rules("hinge"), ring(), seed=0, critic_rate=rate)
            before = [each.detach().clone() for each in (game.critic[0].weight, game.generator[0].weight)]
            game.step(0)
            both = zip((game.critic[0].weight, game.generator[0].weight), before, strict=True)
            moved.append([float((now.detach() - then).abs().max()) for now, then in both])
        assert moved[1][0] == pytest.approx(0.1 * moved[0][0], rel=1e-3)
        assert moved[1][1] == pytest.approx(moved[0][1], rel=1e-3)

    def test_the_saturating_slope_vanishes_where_the_critic_is_sure(self) -> None:
        slopes = {}
        for name in ("saturating", "non-saturating"):
            game = PointGAN(Rules(name), ring(), seed=0, critic_rate=0.0)
            with torch.no_grad():
                game.critic[-1].bias.fill_(-12.0)  # every sample is taken for generated
            slopes[name] = game.step(0)
        # sigmoid(D) against sigmoid(-D), in units of the same gradient of D.
        assert slopes["saturating"] / slopes["non-saturating"] == pytest.approx(math.exp(-12.0), rel=0.2)

    def test_the_same_seed_gives_the_same_game(self) -> None:
        first, second, other = (
            train_points(objectives_table()["hinge + R1 + R2"], ring(), 6, seed, 2, lambda share: None) for seed in (0, 0, 1)
        )
        slopes = [[moment.slope for moment in moments] for moments in (first, second, other)]
        assert slopes[0] == slopes[1] != slopes[2]
        assert len(first) == 2
        assert first[0].picture.tobytes() == second[0].picture.tobytes()

    def test_every_row_of_the_table_takes_steps(self) -> None:
        for rules in objectives_table().values():
            game = PointGAN(rules, square(), seed=0)
            before = game.sample(10)
            slopes = [game.step(index) for index in range(6)]
            assert all(math.isfinite(slope) for slope in slopes[:: rules.critic_steps])
            assert not torch.equal(before, game.sample(10))
            if rules.clip:
                assert max(float(weight.detach().abs().max()) for weight in game.critic.parameters()) <= rules.clip + 1e-6


class TestStacks:
    def test_modes_are_combinations(self) -> None:
        codes = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, 1], [2, 2, 2]])
        modes, divergence = count_modes(codes, 3)
        assert modes == 3
        assert divergence == pytest.approx(entropy([0.25, 0.5, 0.25] + [0.0] * 24, [1 / 27] * 27))

    def test_channels_are_named_one_by_one(self) -> None:
        bright = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(1, 2))
        with torch.no_grad():
            bright[2].weight.copy_(torch.tensor([[-1.0], [1.0]]))
            bright[2].bias.zero_()
        images = torch.tensor([[-1.0, 1.0, -1.0], [1.0, 1.0, 1.0]])[:, :, None, None].expand(2, 3, 8, 8)
        assert Classifier(bright, 2, 1.0).codes(images).tolist() == [[0, 1, 0], [1, 1, 1]]


class TestPlane:
    def test_principal_components_are_sklearns(self) -> None:
        generator = torch.Generator().manual_seed(0)
        train, heldout = (torch.randn(60, 1, 4, 4, generator=generator).cumsum(3) for _ in range(2))
        oracle = PCA(2).fit(train.flatten(1).double().numpy())
        flat = heldout.flatten(1).double().numpy()
        expected = ((oracle.inverse_transform(oracle.transform(flat)) - flat) ** 2).mean()
        assert principal_error(train, heldout, 2) == pytest.approx(expected)

    def test_a_linear_decoder_is_even_and_a_bent_one_is_not(self) -> None:
        weight = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
        ends = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
        assert unevenness(Linear(weight), 0 * ends, ends) == pytest.approx(1, abs=1e-4)
        # z + z^2 along [0, 3]: the last of 32 steps over the mean one.
        steps = [k / 32 * 3 + (k / 32 * 3) ** 2 for k in range(33)]
        expected = (steps[32] - steps[31]) / (steps[32] / 32)
        assert unevenness(Linear(weight, 1.0), 0 * ends[:1], ends[:1]) == pytest.approx(expected, rel=1e-3)

    def test_the_manifold_runs_from_low_to_high(self) -> None:
        weight = torch.eye(16)[:, :2]
        images = manifold(Linear(weight), Place.prior(2), side=4).flatten(1)[:, :2].reshape(4, 4, 2)
        assert (images[:, 1:, 0] > images[:, :-1, 0]).all()  # the first latent grows to the right
        assert (images[1:, :, 1] < images[:-1, :, 1]).all()  # the second upwards
        place = Place.of(torch.randn(5000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 0.5]) + 7)
        drawn = place.draw(20_000, 0)
        assert torch.allclose(drawn.mean(0), torch.tensor([7.0, 7.0]), atol=0.1)
        assert torch.allclose(drawn.std(0), torch.tensor([3.0, 0.5]), rtol=0.05)

    def test_neighbours_vote_as_sklearns_do(self) -> None:
        generator = torch.Generator().manual_seed(1)
        classes = torch.randint(0, 3, (80,), generator=generator)
        latents = torch.randn(80, 2, generator=generator) + classes[:, None]
        right = [
            KNeighborsClassifier(5)
            .fit(torch.cat([latents[:k], latents[k + 1 :]]).numpy(), torch.cat([classes[:k], classes[k + 1 :]]).numpy())
            .predict(latents[k : k + 1].numpy())[0]
            == classes[k]
            for k in range(80)
        ]
        assert neighbour_accuracy(latents, classes) == pytest.approx(sum(map(bool, right)) / 80, abs=0.03)  # ties differ


class TestCompression:
    def test_rounding_errs_by_half_a_level_at_most(self) -> None:
        latents = torch.rand(100, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10.0, 0.0])
        back = rounded(latents, latents.amin(0), latents.amax(0))
        assert ((back - latents).abs() <= torch.tensor([1.0, 10.0, 1.0]) / 255 / 2 + 1e-5).all()
        assert len(back[:, 1].unique()) <= 256
        assert rounded(torch.tensor([[99.0]]), torch.tensor([0.0]), torch.tensor([1.0])).item() == 1

    def test_jpeg_is_the_smallest_that_is_good_enough(self) -> None:
        x, y = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
        images = torch.stack([x * y, x, (6 * x).sin() * (5 * y).cos()])[:, None]
        coarse, fine = jpeg_at(images, 0.05), jpeg_at(images, 0.0005)
        assert coarse[0] < fine[0]
        assert coarse[2] < fine[2]
        assert 0 < coarse[1] < coarse[0]
        assert jpeg_at(images.expand(-1, 3, -1, -1), 0.0)[2] == 95  # never good enough: the best there is


def test_the_recommended_size_is_the_smallest_that_is_nearly_best() -> None:
    bounds = {2: -200.0, 8: -110.0, 16: -104.0, 32: -100.0, 64: -101.0}
    assert recommended(bounds) == 16
    assert recommended(bounds, near=0.0) == 32
    assert recommended({2: -5.0}) == 2
