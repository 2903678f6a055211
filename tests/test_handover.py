"""The handover: what is carried over, what latents are drawn from, what the anchor and the gap measure; numpy and scipy judge."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaegan.config import GANConfig, NetworkConfig
from vaegan.errors import TrainingError
from vaegan.metrics.sliced import sliced_wasserstein
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.networks import Critic, Decoder, Encoder, Gaussian
from vaegan.parts.anchor import Anchor
from vaegan.parts.refit import low_pass_error
from vaegan.priors import Mixture, Normal, Prior, fit_mixture
from vaegan.recipes import handover
from vaegan.recipes.handover import Grown, hand_over
from vaegan.training.handover_facts import handover_facts, inverse_facts
from vaegan.types import Batch

LATENT = 4
CONFIG = NetworkConfig(width=8, width_limit=16, latent_dim=LATENT)
SIZE = 32


@pytest.fixture(autouse=True)
def _same_draws_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(CONFIG, SIZE, 3).eval().requires_grad_(False)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(CONFIG, SIZE, 3).eval().requires_grad_(False)


@pytest.fixture
def probe() -> Tensor:
    return torch.randn(8, LATENT)


@pytest.fixture
def means() -> Tensor:
    """Encodings far from N(0, I), and correlated."""
    mixing = torch.tensor([[2.0, 0, 0, 0], [1, 0.5, 0, 0], [0, 0.3, 1, 0], [0.5, 0, 0, 0.2]])
    return torch.randn(2000, LATENT) @ mixing + torch.tensor([1.0, -2, 0, 3])


def pictures(count: int = 16) -> Tensor:
    return F.interpolate(torch.rand(count, 3, 8, 8), SIZE) * 2 - 1


class TestGrownGenerator:
    def test_draws_what_the_decoder_draws_and_can_be_trained(self, decoder: Decoder, probe: Tensor) -> None:
        generator = handover.trainable_copy(decoder)
        assert torch.equal(generator(probe), decoder(probe))
        assert generator.training
        assert all(parameter.requires_grad for parameter in generator.parameters())
        assert not any(parameter.requires_grad for parameter in decoder.parameters())

    def test_is_independent_of_the_decoder(self, decoder: Decoder, probe: Tensor) -> None:
        before = decoder(probe)
        generator = handover.trainable_copy(decoder)
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.1)
        assert torch.equal(decoder(probe), before)
        assert not torch.allclose(generator(probe), before)

    def test_equal_decoders_pass(self, decoder: Decoder, probe: Tensor) -> None:
        handover.verify_same(decoder, handover.trainable_copy(decoder), probe)

    @pytest.mark.parametrize("name", ["start.weight", "start.bias", "stages.1.weight"])
    def test_one_changed_weight_is_noticed(self, decoder: Decoder, probe: Tensor, name: str) -> None:
        other = handover.trainable_copy(decoder)
        tensor = other.state_dict()[name].view(-1)
        tensor[-1] = torch.nextafter(tensor[-1], torch.tensor(9.0))
        with pytest.raises(TrainingError, match=name.replace(".", r"\.")):
            handover.verify_same(decoder, other, probe)

    def test_a_missing_and_an_extra_tensor_are_noticed(self, decoder: Decoder, probe: Tensor) -> None:
        other = handover.trainable_copy(decoder)
        other.start.register_parameter("bias", None)
        for pair in ((decoder, other), (other, decoder)):
            with pytest.raises(TrainingError, match=r"start\.bias"):
                handover.verify_same(*pair, probe)

    def test_a_difference_beside_the_tensors_is_noticed(self, decoder: Decoder, probe: Tensor) -> None:
        other = handover.trainable_copy(decoder)
        other.output = nn.Tanh()
        with pytest.raises(TrainingError, match="changed the decoder"):
            handover.verify_same(decoder, other, probe)


class TestGrownCritic:
    @pytest.mark.parametrize("kind", ["plain", "residual"])
    def test_has_the_encoders_trunk_and_its_own_head(self, kind: str) -> None:
        config = NetworkConfig(kind=kind, width=8, width_limit=16, latent_dim=LATENT)
        encoder, critic = Encoder(config, SIZE, 3), Critic(config, SIZE, 3)
        head = critic.head.weight.detach().clone()

        grown = handover.grow_critic(encoder, critic)

        assert grown is critic
        images = pictures(2)
        for mine, its in zip(critic.trunk(images), encoder.trunk(images), strict=True):
            assert torch.equal(mine, its)
        assert torch.equal(critic.head.weight, head)
        assert float(head.std()) == pytest.approx(0.01, rel=0.3)
        assert critic.head.bias.abs().max() == 0

    def test_shares_nothing_with_the_encoder(self, encoder: Encoder) -> None:
        critic = handover.grow_critic(encoder, Critic(CONFIG, SIZE, 3))
        before = [parameter.clone() for parameter in encoder.parameters()]
        with torch.no_grad():
            for parameter in critic.parameters():
                parameter.add_(1)
        assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))

    @pytest.mark.parametrize("size", [16, 64])
    def test_a_trunk_of_another_depth_is_an_error_in_one_line(self, encoder: Encoder, size: int) -> None:
        with pytest.raises(TrainingError, match="trunk does not fit") as caught:
            handover.grow_critic(encoder, Critic(CONFIG, size, 3))
        assert "\n" not in str(caught.value)


class TestAnchor:
    @pytest.fixture(params=["plain", "residual"])
    def anchor(self, request: pytest.FixtureRequest) -> Anchor:
        config = NetworkConfig(kind=request.param, width=8, width_limit=16, latent_dim=LATENT)
        anchor = Anchor(Encoder(config, SIZE, 3), 1.0)
        anchor.calibrate(Batch(pictures(64)))
        return anchor

    def test_is_frozen_and_shares_nothing(self, encoder: Encoder) -> None:
        encoder.requires_grad_(True)
        anchor = Anchor(encoder, 1.0)
        images = pictures()
        before = anchor.observe(Batch(images)).latents
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(0.1)
        assert torch.equal(anchor.observe(Batch(images)).latents, before)
        assert not any(parameter.requires_grad for parameter in anchor.parameters())
        assert all(parameter.requires_grad for parameter in encoder.parameters())

    def test_variances_are_those_of_the_low_passed_image_and_two_stages_of_features(self, anchor: Anchor) -> None:
        images = pictures(64)
        anchor.calibrate(Batch(images))
        features = anchor.encoder.trunk(images)[1:3]
        assert [feature.shape[-1] for feature in features] == [SIZE // 4, SIZE // 8]
        blocks = images.numpy().reshape(64, 3, SIZE // 4, 4, SIZE // 4, 4).mean((3, 5))
        wanted = [view.var(0, ddof=1).mean() for view in (blocks, *(feature.numpy() for feature in features))]
        np.testing.assert_allclose(anchor.variances, wanted, rtol=1e-4)

    def test_distance_is_the_relative_error_of_the_low_passed_image_and_of_the_features(self, anchor: Anchor) -> None:
        one, other = pictures(5), pictures(5)
        errors = [
            (mine - its).square().mean((1, 2, 3)) / variance
            for mine, its, variance in zip(
                anchor.encoder.trunk(one)[1:3], anchor.encoder.trunk(other)[1:3], anchor.variances[1:], strict=True
            )
        ]
        wanted = low_pass_error(one, other) / anchor.variances[0] + (errors[0] + errors[1]) / 2
        torch.testing.assert_close(anchor.distance(one, anchor.observe(Batch(other))), wanted)

    def test_identical_images_are_at_distance_0_and_others_are_not(self, anchor: Anchor) -> None:
        images = pictures()
        assert torch.equal(anchor.distance(images, anchor.observe(Batch(images))), torch.zeros(16))
        assert (anchor.distance(images.roll(1, 0), anchor.observe(Batch(images))) > 0.1).all()

    def test_unrelated_images_differ_by_twice_the_variance_in_each_of_both_terms(self, anchor: Anchor) -> None:
        assert float(anchor.distance(pictures(200), anchor.observe(Batch(pictures(200)))).mean()) == pytest.approx(4, rel=0.15)

    def test_distance_pulls_the_generated_image_towards_the_original(self, anchor: Anchor) -> None:
        images = pictures(4)
        generated = (images + 0.2 * pictures(4)).requires_grad_()
        distance = anchor.distance(generated, anchor.observe(Batch(images))).sum()
        (gradient,) = torch.autograd.grad(distance, generated)
        assert (gradient.flatten(1).norm(dim=1) > 0).all()
        with torch.no_grad():
            closer = generated - 0.1 * gradient
            assert float(anchor.distance(closer, anchor.observe(Batch(images))).sum()) < float(distance)

    def test_identical_training_images_do_not_make_it_infinite(self, anchor: Anchor) -> None:
        anchor.calibrate(Batch(pictures(1).expand(8, -1, -1, -1)))
        assert anchor.distance(pictures(2), anchor.observe(Batch(pictures(2)))).isfinite().all()

    def test_latents_and_their_variances_are_the_encoders(self, encoder: Encoder) -> None:
        images = pictures()
        targets, wanted = Anchor(encoder, 1.0).observe(Batch(images)), encoder(images)
        np.testing.assert_allclose(targets.latents, wanted.mean, atol=1e-4)
        np.testing.assert_allclose(targets.log_vars, wanted.log_var, atol=1e-4)


class TestLowPassError:
    def test_is_blind_to_a_checkerboard_and_sees_a_shift_of_brightness(self) -> None:
        images = pictures(3)
        board = (torch.arange(SIZE)[:, None] + torch.arange(SIZE)) % 2 * 2 - 1
        torch.testing.assert_close(low_pass_error(images + board, images), torch.zeros(3))
        torch.testing.assert_close(low_pass_error(images + 0.3, images), torch.full((3,), 0.09))

    def test_is_the_error_of_block_means(self) -> None:
        a, b = torch.randn(3, 1, 16, 16), torch.randn(3, 1, 16, 16)
        blocks = (a - b).numpy().reshape(3, 1, 4, 4, 4, 4).mean((3, 5))
        np.testing.assert_allclose(low_pass_error(a, b), (blocks**2).mean((1, 2, 3)), rtol=1e-4)


def vae_of(posterior: Gaussian) -> Any:
    """A model that says this of whatever images it is shown, and gives them back at half their contrast."""
    return SimpleNamespace(posterior=lambda *_: posterior, reconstruct=lambda images, labels: 0.5 * images)


def narrow(means: Tensor) -> Gaussian:
    return Gaussian(means, torch.full_like(means, -20))


class TestFactsOfTheStart:
    def gap(self, decoder: Decoder, posterior: Gaussian, prior: Prior, images: Tensor) -> float:
        grown = Grown(decoder, Encoder(CONFIG, SIZE, 3), prior)
        return handover_facts(vae_of(posterior), grown, Batch(images))["prior_gap"]

    def test_gap_is_near_0_where_encoded_images_are_distributed_as_the_prior(self, decoder: Decoder) -> None:
        posterior = narrow(torch.randn(512, LATENT))
        gap = self.gap(decoder, posterior, Normal(LATENT), decoder(torch.randn(512, LATENT)))
        assert abs(gap) < 0.02

    def test_gap_is_positive_where_the_decoder_only_works_near_the_given_latents(self, decoder: Decoder) -> None:
        latents = torch.tensor([2.0, -1, 0, 1]) + 0.2 * torch.randn(256, LATENT)
        images = decoder(latents)
        gap = self.gap(decoder, narrow(latents), Normal(LATENT), images)
        small = [F.avg_pool2d(decoder(z), 4) for z in (torch.randn(256, LATENT), latents)]
        assert gap == pytest.approx(sliced_wasserstein(*small), rel=0.2)
        assert gap > 0.1
        # A prior that is fitted to the latents closes it, too.
        assert abs(self.gap(decoder, narrow(latents), fit_mixture(latents), images)) < 0.1 * gap

    def test_tensors_are_counted_and_the_vaes_error_is_that_of_what_it_gives_back(self, decoder: Decoder) -> None:
        posterior, images = narrow(torch.randn(300, LATENT)), pictures(300)
        grown = Grown(decoder, Encoder(CONFIG, SIZE, 3), Normal(LATENT))
        facts = handover_facts(vae_of(posterior), grown, Batch(images))
        assert facts["verified_tensors"] == len(decoder.state_dict())
        wanted = low_pass_error(0.5 * images[:256], images[:256]).mean()
        assert facts["vae_low_pass_error"] == pytest.approx(float(wanted), rel=1e-5)


class TestSlicedWasserstein:
    def test_is_the_mean_of_scipys_distance_over_directions(self) -> None:
        a, b = torch.randn(40, 1, 4, 4), 2 * torch.randn(40, 1, 4, 4) + 0.5
        axes = torch.randn(16, 256, generator=torch.Generator().manual_seed(0)).numpy()
        axes /= np.linalg.norm(axes, axis=0)
        first, second = (x.flatten(1).numpy() @ axes for x in (a, b))
        wanted = [scipy.stats.wasserstein_distance(u, v) for u, v in zip(first.T, second.T, strict=True)]
        assert sliced_wasserstein(a, b) == pytest.approx(np.mean(wanted), rel=1e-4)

    def test_a_shift_costs_its_mean_projection(self) -> None:
        """On directions uniform on the sphere in d dimensions, E|v.u| = |v| sqrt(2 / (pi d)) for large d."""
        a, shift = torch.randn(64, 3, 8, 8), torch.randn(3, 8, 8)
        wanted = float(shift.norm()) * np.sqrt(2 / (np.pi * 192))
        assert sliced_wasserstein(a, a + shift, directions=4000) == pytest.approx(wanted, rel=0.05)

    def test_does_not_depend_on_order_or_sides(self) -> None:
        a, b = torch.randn(64, 3, 4, 4), torch.randn(64, 3, 4, 4) + 1
        distance = sliced_wasserstein(a, b)
        assert sliced_wasserstein(a[torch.randperm(64)], b[torch.randperm(64)]) == pytest.approx(distance, rel=1e-5)
        assert sliced_wasserstein(b, a) == pytest.approx(distance, rel=1e-5)
        assert sliced_wasserstein(a, a.flip(0)) == pytest.approx(0, abs=1e-6)


class TestFactsOfTheEnd:
    """On a model whose images are its latents, written large."""

    def model(self, scale: float = 1.0) -> Any:
        def decode(z: Tensor, labels: Tensor | None = None) -> Tensor:
            return z.view(-1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)

        def encode(x: Tensor, labels: Tensor | None = None) -> Tensor:
            return scale * x[:, 0, ::4, ::4].flatten(1)

        return SimpleNamespace(
            device=torch.device("cpu"),
            latents=lambda count, seed: torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)),
            decode=decode,
            encode=encode,
            reconstruct=lambda x, labels=None: decode(encode(x)),
        )

    def test_a_perfect_inverse(self) -> None:
        found = inverse_facts(self.model(), 0.1, Batch(self.model().decode(torch.randn(50, 4))))
        assert found == {"latent_recovery": 1, "low_pass_ratio": 0, "own_source_nearest": 1}

    def test_half_the_latent_loses_a_quarter_of_its_variance(self) -> None:
        heldout = self.model().decode(torch.randn(50, 4))
        found = inverse_facts(self.model(0.5), 0.1, Batch(heldout))
        assert found["latent_recovery"] == pytest.approx(0.75)
        assert found["low_pass_ratio"] == pytest.approx(float((0.5 * heldout).square().mean()) / 0.1, rel=1e-4)

    def test_an_encoder_that_sees_nothing(self) -> None:
        found = inverse_facts(self.model(0), 0.1, Batch(self.model().decode(torch.randn(50, 4))))
        assert found["latent_recovery"] == 0
        assert found["own_source_nearest"] == pytest.approx(0.02)

    @pytest.mark.parametrize("count", [1, 19])
    def test_among_few_images_the_nearest_one_says_nothing(self, count: int) -> None:
        found = inverse_facts(self.model(), 0.1, Batch(self.model().decode(torch.randn(count, 4))))
        assert str(count) in found["own_source_nearest"]
        assert found["latent_recovery"] == 1


class TestHandOver:
    """The steps together, in their order."""

    def vae(self, **settings: Any) -> Model:
        config = ModelConfig(**{"size": SIZE, "channels": 3, "stage": "vae", "network": CONFIG, "variance": 0.1} | settings)
        return Model(config, Networks(config))

    def grown(self, vae: Model, means: Tensor, critic: Critic | None = None, **settings: Any) -> Grown:
        return hand_over(vae, means, critic or Critic(CONFIG, SIZE, 3), GANConfig(**settings), seed=0)

    @pytest.mark.parametrize("stage", ["vae", "joint", "gan"])
    def test_the_generator_draws_what_the_vae_draws(self, means: Tensor, stage: str) -> None:
        vae = self.vae(stage=stage)
        before = {name: tensor.clone() for name, tensor in vae.networks.state_dict().items()}
        generator, encoder, _ = self.grown(vae, means)
        assert torch.equal(generator(means[:8]), vae.decode(means[:8]))
        assert all(parameter.requires_grad for parameter in generator.parameters())
        assert encoder is vae.networks.encoder
        assert all(torch.equal(tensor, before[name]) for name, tensor in vae.networks.state_dict().items())

    def test_the_prior_is_a_mixture_of_encodings(self, means: Tensor) -> None:
        prior = self.grown(self.vae(), means).prior
        assert isinstance(prior, Mixture)
        assert torch.equal(prior.means, fit_mixture(means, seed=0).means)
        drawn = prior.sample(4000, torch.Generator().manual_seed(0))
        np.testing.assert_allclose(drawn.mean(0), means.mean(0), atol=0.2)
        np.testing.assert_allclose(np.cov(drawn.T), np.cov(means.T), atol=0.4)

    def test_the_prior_may_be_normal(self, means: Tensor) -> None:
        assert type(self.grown(self.vae(), means, prior="normal").prior) is Normal

    def test_the_critic_starts_on_the_encoders_trunk(self, means: Tensor) -> None:
        vae, critic = self.vae(), Critic(CONFIG, SIZE, 3)
        fresh = handover.trainable_copy(critic)
        self.grown(vae, means, critic)
        assert vae.networks.encoder is not None
        trunk = vae.networks.encoder.trunk
        images = pictures(2)
        for mine, its in zip(critic.trunk(images), trunk(images), strict=True):
            assert torch.equal(mine, its)
        assert torch.equal(critic.head.weight, fresh.head.weight)
