"""The recipes, run on a plain engine: one process by default, two threads where two processes have to equal one."""

import io
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from vaegan.networks.views import Augmentation, View, gaussian_blur
from vaegan.recipes.engine import unwrapped
from vaegan.recipes.levers import Levers
from vaegan.recipes.schedule import Clock

from engines import OneProcess
from vaegan.config import AEConfig, GANConfig, JointConfig, NetworkConfig, VAEConfig
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.networks.whitening import Whitening
from vaegan.priors import fit_mixture
from vaegan.randomness import Draws, keyed_seed
from vaegan.recipes.ae import AE
from vaegan.recipes.gan import GAN
from vaegan.recipes.handover import Anchor
from vaegan.recipes.joint import Joint
from vaegan.recipes.vae import VAE
from vaegan.training.checkpoint import copied, put_back, state_of

LATENT, SIZE, BATCH = 4, 16, 16
NETWORK = NetworkConfig(width=8, width_limit=16, latent_dim=LATENT)
NOTHING = 1e-30  # a learning rate too small to move a weight
STILL = GANConfig(
    learning_rate=NOTHING,
    final_learning_rate=NOTHING,
    encoder_learning_rate=NOTHING,
    blur=0,
    jitter=0,
    augmentation=0,
    critic_warmup=0,
    refit_every=0,
    anchor=0,
)
"""Nothing moves and nothing fades, so that gradients can be computed again afterwards."""


def smooth_images(count: int = BATCH, seed: int = 0) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(coarse, SIZE, mode="bilinear")


def build_vae(config: VAEConfig | None = None, engine: Any = None, weights: int = 0) -> VAE:
    torch.manual_seed(weights)
    parts = Encoder(NETWORK, SIZE, 3), Decoder(NETWORK, SIZE, 3)
    return VAE(config or VAEConfig(batch_size=BATCH), *parts, engine or OneProcess())


def build_joint(engine: Any) -> Joint:
    torch.manual_seed(0)
    parts = Encoder(NETWORK, SIZE, 3), Decoder(NETWORK, SIZE, 3), Critic(NETWORK, SIZE, 3)
    nn.init.normal_(parts[2].head.weight, std=0.2)
    return Joint(JointConfig(learning_rate=NOTHING, final_learning_rate=NOTHING), *parts, engine, flips=True)


def build_gan(config: GANConfig | None = None, engine: Any = None, weights: int = 0, grown: bool = True, **rest: Any) -> GAN:
    torch.manual_seed(weights)
    encoder, critic, generator = Encoder(NETWORK, SIZE, 3), Critic(NETWORK, SIZE, 3), Decoder(NETWORK, SIZE, 3)
    nn.init.normal_(critic.head.weight, std=0.2)
    anchor = None
    if grown:
        whitening = Whitening.of(torch.randn(50, LATENT) * 2 + 1, torch.zeros(50, LATENT) - 1)
        anchor = Anchor(encoder, whitening)
        anchor.calibrate(smooth_images(64, seed=9))
    options = {"flips": True} | rest
    return GAN(
        config or GANConfig(), generator, critic, encoder if grown else None, anchor, smooth_images(32, seed=8),
        engine or OneProcess(), **options,
    )  # fmt: skip


def copies(network: nn.Module) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in network.state_dict().values()]


def same(before: list[Tensor], network: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values(), strict=True))


def gradients(network: nn.Module) -> list[Tensor | None]:
    return [None if parameter.grad is None else parameter.grad.clone() for parameter in network.parameters()]


def equal_gradients(first: list[Tensor | None], second: list[Tensor | None]) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(first, second, strict=True)
    )


def run(recipe: VAE | GAN, steps: int, start: int = 0, total: int = 100) -> list[dict[str, Tensor]]:
    """Steps `start` to `start + steps` of `total`, each on its own images."""
    return [
        recipe.step(smooth_images(seed=step), Clock(step * BATCH, total * BATCH, BATCH)) for step in range(start, start + steps)
    ]


class TestVAE:
    def test_loss_falls_on_a_fixed_batch(self) -> None:
        vae, images = build_vae(VAEConfig(kl_warmup=0, learning_rate=3e-3)), smooth_images(32)
        scalars = [vae.step(images, Clock(step * 32, 60 * 32, 32)) for step in range(60)]
        for name, share in (("loss", 0.8), ("error", 0.5)):
            values = torch.stack([line[name] for line in scalars])
            assert values.isfinite().all()
            first, last = float(values[:5].mean()), float(values[-10:].mean())
            assert last < (share * first if name == "error" else first - 100)

    def test_step_changes_both_networks_and_their_averages(self) -> None:
        vae = build_vae()
        before = {name: copies(network) for name, network in vae.networks().items()}
        run(vae, 1)
        assert set(before) == {"encoder", "decoder", "average_encoder", "average_decoder"}
        for name, network in vae.networks().items():
            assert not same(before[name], network), name

    def test_gradient_is_that_of_the_formula(self) -> None:
        """(D/2) ln MSE + beta KL, with the same noise and beta on its way up."""
        vae, images = (
            build_vae(VAEConfig(learning_rate=NOTHING, final_learning_rate=NOTHING, kl_weight=3, kl_warmup=0.5)),
            smooth_images(),
        )
        clock, values = Clock(BATCH * 10, BATCH * 40, BATCH), 3 * SIZE * SIZE
        scalars = vae.step(images, clock)

        mean, log_var = vae.encoder(images)
        noise = Draws(0, "vae").normal("posterior", clock.seen, BATCH, LATENT)
        decoded = vae.decoder(mean + log_var.exp().sqrt() * noise, raw=True)
        error, seen = ((images - each).square().mean() for each in (decoded, decoded.clamp(-1, 1)))
        kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean()
        parameters = [*vae.encoder.parameters(), *vae.decoder.parameters()]
        wanted = torch.autograd.grad(values / 2 * error.log() + 3 * 0.5 * kl, parameters)

        for parameter, gradient in zip(parameters, wanted, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-3)
        assert scalars["error"].item() == pytest.approx(seen.item(), rel=1e-5)
        assert scalars["kl"].item() == pytest.approx(kl.item(), rel=1e-4)
        assert float(scalars["beta"]) == pytest.approx(1.5 * error.item(), rel=1e-5)

    def test_learning_rate_follows_the_cosine(self) -> None:
        vae = build_vae(VAEConfig(learning_rate=1e-3, final_learning_rate=1e-4))
        for seen, rate in ((0, 1e-3), (BATCH * 50, 5.5e-4), (BATCH * 100, 1e-4)):
            vae.step(smooth_images(), Clock(seen, BATCH * 100, BATCH))
            assert vae.optimizer.param_groups[0]["lr"] == pytest.approx(rate)

    def test_stored_variance_is_a_running_mean_of_the_error(self) -> None:
        vae = build_vae()
        vae.decoder.stages[-2].weight.data.mul_(0.1)  # nothing beyond black and white, where the picture is not the mean
        errors = [float(line["error"]) for line in run(vae, 5)]
        wanted = errors[0]
        for error in errors[1:]:
            wanted = 0.98 * wanted + 0.02 * error
        assert float(vae.variance) == pytest.approx(wanted, rel=1e-5)
        assert vae.averaged().variance == float(vae.variance)

    def test_validation_reports_what_the_averaged_networks_do(self) -> None:
        vae, images = build_vae(), smooth_images(64, seed=5)
        run(vae, 3)
        before = copies(vae.encoder)
        found = vae.validate(images)
        assert same(before, vae.encoder)
        encoder, decoder = (vae.networks()[f"average_{name}"] for name in ("encoder", "decoder"))
        mean, log_var = encoder(images)
        assert found["heldout_error"].item() == pytest.approx(F.mse_loss(decoder(mean), images).item(), rel=1e-4)
        assert found["heldout_kl"].item() == pytest.approx(
            0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean().item(), rel=1e-4
        )
        assert found["active_units"].item() == sum(mean.numpy().var(0, ddof=1) > 0.01)
        assert found == vae.validate(images)

    def test_heldout_loss_and_bound_are_those_of_one_posterior_sample(self) -> None:
        """At the stored variance the bound is -loss - (D/2) ln 2 pi; at the images' own variance the loss is least."""
        vae, images, values = build_vae(VAEConfig(kl_weight=1)), smooth_images(64, seed=5), 3 * SIZE * SIZE
        run(vae, 3)
        found = vae.validate(images)
        mean, log_var = vae.networks()["average_encoder"](images)
        noise = torch.randn(mean.shape, generator=Draws(0, "vae").generator("validation", 0))
        decoded = vae.networks()["average_decoder"](mean + (log_var / 2).exp() * noise, raw=True)
        error = (decoded - images).square().mean().item()
        kl = found["heldout_kl"].item()
        assert found["heldout_loss"].item() == pytest.approx(values / 2 * (1 + math.log(error)) + kl, rel=1e-4)
        at_stored = values / 2 * (error / float(vae.variance) + math.log(2 * math.pi * float(vae.variance))) + kl
        assert found["heldout_elbo"].item() == pytest.approx(-at_stored, rel=1e-4)


class TestGANSteps:
    def test_only_the_critic_and_the_encoder_move_while_the_critic_warms_up(self) -> None:
        config = GANConfig(critic_warmup=4, critic_warmup_accuracy=1, generator_ramp=0, refit_every=2)
        gan = build_gan(config)
        before = {name: copies(network) for name, network in gan.networks().items()}
        assert gan.warming_up
        scalars = run(gan, 4)
        moved = {name for name, network in gan.networks().items() if not same(before[name], network)}
        assert moved == {"critic", "encoder", "average_encoder"}
        assert gan.warming_up
        assert not any("generator_loss" in line for line in scalars)
        assert ["recovery" in line for line in scalars] == [True, False, True, False]

        scalars = run(gan, 1, start=4)
        assert not gan.warming_up
        assert int(gan.released_at) == 4 * BATCH
        assert "generator_loss" in scalars[0]
        for name in ("generator", "average_generator"):
            assert not same(before[name], gan.networks()[name])
        assert same(before["anchor"], gan.networks()["anchor"])

    def test_a_roll_back_to_the_start_warms_the_critic_up_again(self) -> None:
        gan = build_gan(GANConfig(critic_warmup=4, critic_warmup_accuracy=1, generator_ramp=0))
        start = copied(state_of(gan))
        run(gan, 10)
        assert not gan.warming_up
        put_back(gan, start)
        run(gan, 4, start=10)
        assert gan.warming_up
        run(gan, 1, start=14)
        assert int(gan.released_at) == 14 * BATCH

    def test_a_critic_that_tells_pairs_apart_lets_the_generator_go(self) -> None:
        gan = build_gan(GANConfig(critic_warmup=500, critic_warmup_accuracy=0.0))
        run(gan, 10)
        assert gan.warming_up  # asked every ten steps
        run(gan, 1, start=10)
        assert int(gan.released_at) == 10 * BATCH

    def test_generator_learning_rate_ramps_up_from_its_release(self) -> None:
        gan = build_gan(
            replace(
                GANConfig(),
                critic_warmup=3,
                critic_warmup_accuracy=1,
                generator_ramp=0.1,
                learning_rate=3e-4,
                final_learning_rate=3e-4,
                generator_rate=2,
            )
        )
        run(gan, 3)
        for step, share in ((3, 0), (8, 0.5), (13, 1), (40, 1)):
            run(gan, 1, start=step)
            assert gan.generator_optimizer.param_groups[0]["lr"] == pytest.approx(share * 6e-4)
            assert gan.critic_optimizer.param_groups[0]["lr"] == pytest.approx(3e-4)

    def test_the_encoder_has_a_learning_rate_of_its_own(self) -> None:
        rates = {"learning_rate": 6e-4, "encoder_learning_rate": 3e-4, "generator_rate": 1}
        gan = build_gan(GANConfig(critic_warmup=0, generator_ramp=0, refit_every=1, **rates))
        run(gan, 1, total=40)
        assert gan.encoder_optimizer is not None
        players = (gan.generator_optimizer, gan.critic_optimizer, gan.encoder_optimizer)
        assert [player.param_groups[0]["lr"] for player in players] == pytest.approx([6e-4, 6e-4, 3e-4])
        gan.levers = Levers(generator_rate=1 / 4, critic_rate=1 / 2)
        run(gan, 1, total=40)
        assert [player.param_groups[0]["lr"] for player in players] == pytest.approx([1.5e-4, 3e-4, 0.75e-4])

    @pytest.mark.parametrize("grown", [True, False])
    @pytest.mark.parametrize("kind", ["finite-difference", "exact"])
    def test_both_penalties_run_and_keep_everything_finite(self, kind: str, grown: bool) -> None:
        gan = build_gan(GANConfig(penalty_kind=kind, critic_warmup=2, refit_every=2), grown=grown)
        for line in run(gan, 6):
            assert all(value.isfinite() and value.ndim == 0 and not value.requires_grad for value in line.values())
        assert ("encoder" in gan.networks()) == grown
        assert all(tensor.isfinite().all() for network in gan.networks().values() for tensor in network.state_dict().values())

    @pytest.mark.parametrize(
        "switch", ["penalty", "anchor", "augmentation", "blur", "blur_until", "details", "drift_weight", "jitter", "refit_every"]
    )
    def test_every_weight_can_be_switched_off(self, switch: str) -> None:
        config = replace(GANConfig(critic_warmup=0), **{switch: 0})
        assert all(value.isfinite() for line in run(build_gan(config), 3) for value in line.values())

    def test_frozen_encoder_of_the_anchor_never_changes(self) -> None:
        gan = build_gan(GANConfig(critic_warmup=2, refit_every=1, generator_ramp=0))
        assert gan.anchor is not None
        before, refitted = copies(gan.anchor), copies(gan.networks()["encoder"])
        run(gan, 8)
        assert same(before, gan.anchor)
        assert not same(refitted, gan.networks()["encoder"])
        assert all(parameter.grad is None for parameter in gan.anchor.parameters())

    def test_each_loss_reaches_its_own_player_alone(self) -> None:
        gan = build_gan(GANConfig(critic_warmup=0, refit_every=1, generator_ramp=0))
        players = {"critic": gan.critic, "generator": gan.generator, "encoder": gan.encoder}
        reached: list[set[str]] = []

        def backward(loss: Tensor) -> None:
            before = {name: gradients(player) for name, player in players.items()}
            loss.backward()
            reached.append({name for name, player in players.items() if not equal_gradients(before[name], gradients(player))})

        gan.engine.backward = backward
        for _ in range(2):
            run(gan, 1)
            assert reached == [{"critic"}, {"generator"}, {"encoder"}]
            assert all(parameter.requires_grad for player in players.values() for parameter in player.parameters())
            reached.clear()

    def test_averages_are_what_is_kept(self) -> None:
        gan = build_gan(GANConfig(critic_warmup=0))
        run(gan, 2)
        kept = gan.averaged()
        assert kept.decoder is gan.networks()["average_generator"]
        assert kept.encoder is gan.networks()["average_encoder"]
        assert kept.whitening is gan.anchor.whitening
        assert kept.variance is None
        assert build_gan(grown=False).averaged().encoder is None
        unfitted = build_gan(GANConfig(refit_every=0))
        assert unfitted.averaged().encoder is unfitted.anchor.encoder

    def test_what_is_kept_draws_from_a_narrower_mixture_than_training(self) -> None:
        mixture = fit_mixture(torch.randn(100, LATENT), components=2)
        gan = build_gan(GANConfig(batch_size=BATCH, temperature=0.5), mixture=mixture)
        kept, noise = gan.averaged().mixture, torch.randn(64, LATENT + 1)
        assert kept is not None
        centre = kept(torch.cat([torch.zeros(64, LATENT), noise[:, -1:]], 1))
        torch.testing.assert_close(kept(noise) - centre, 0.5 * (mixture(noise) - centre))
        assert torch.equal(gan.networks()["mixture"](noise), mixture(noise))

    def test_average_of_an_encoder_that_is_refitted_every_few_steps_forgets_as_fast(self) -> None:
        gan = build_gan(replace(STILL, refit_every=4, average_cap=8 * BATCH))
        average = gan.networks()["average_encoder"]
        with torch.no_grad():
            for parameter in average.parameters():
                parameter.zero_()
        gan.step(smooth_images(), Clock(10_000 * BATCH, None, BATCH))
        for averaged, parameter in zip(average.parameters(), gan.networks()["encoder"].parameters(), strict=True):
            torch.testing.assert_close(averaged, (1 - 0.5 ** (4 / 8)) * parameter)

    def test_average_of_a_generator_that_moves_every_few_steps_forgets_as_fast(self) -> None:
        gan = build_gan(replace(STILL, critic_steps=4, average_cap=8 * BATCH))
        average = gan.networks()["average_generator"]
        with torch.no_grad():
            for parameter in average.parameters():
                parameter.zero_()
        gan.step(smooth_images(), Clock(10_003 * BATCH, None, BATCH))
        for averaged, parameter in zip(average.parameters(), gan.networks()["generator"].parameters(), strict=True):
            torch.testing.assert_close(averaged, (1 - 0.5 ** (4 / 8)) * parameter)

    def test_validation_looks_at_the_encoder_where_there_is_one(self) -> None:
        images = smooth_images(64, seed=5)
        grown = {"heldout_pair_accuracy", "heldout_recall", "latent_recovery", "heldout_low_pass_error"}
        assert set(build_gan().validate(images)) == grown
        assert set(build_gan(grown=False).validate(images)) == {"heldout_pair_accuracy", "heldout_recall"}


def details_of_pairs(fake: Tensor, real: Tensor) -> Tensor:
    """Mean squared likeness of two samples' details, less twice that of a sample's and another one's real image, pair by pair."""
    total = torch.zeros(())
    for _ in range(2):
        fine = [images - F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="bilinear") for images in (fake, real)]
        (f, r) = ([one / (one.square().sum() + 1e-4 * one.numel()).sqrt() for one in kind] for kind in fine)
        pairs = [(i, j) for i in range(len(f)) for j in range(len(f)) if i != j]
        total = total + sum((f[i] * f[j]).sum() ** 2 - 2 * (f[i] * r[j]).sum() ** 2 for i, j in pairs) / len(pairs)
        fake, real = F.avg_pool2d(fake, 2), F.avg_pool2d(real, 2)
    return total


class TestGANGradients:
    """Without a learning rate the gradients of a step stay and can be computed again from the formulas."""

    clock = Clock(10 * BATCH, 40 * BATCH, BATCH)

    def pairs(self, gan: GAN) -> tuple[Tensor, Tensor]:
        latents = Draws(0, "gan").normal("latents", self.clock.seen, BATCH, LATENT)
        return smooth_images(), gan.generator(latents)

    def test_critic(self) -> None:
        """Mean softplus + gamma/2 (R1 + R2) on a quarter + drift (Huang et al. 2024)."""
        config = replace(STILL, penalty_kind="exact", penalty=4.0, final_penalty=1.0, drift_weight=0.5)
        gan = build_gan(config)
        scalars = gan.step(smooth_images(), self.clock)
        real_images, fake_images = (images.detach().requires_grad_() for images in self.pairs(gan))
        real, fake = gan.critic(real_images), gan.critic(fake_images)
        slopes = [
            torch.autograd.grad(logits.sum(), images, create_graph=True)[0][: BATCH // 4].square().sum((1, 2, 3)).mean()
            for logits, images in ((real, real_images), (fake, fake_images))
        ]
        gamma = 4.0 * 0.25**0.25
        loss = F.softplus(fake - real).mean() + gamma / 2 * sum(slopes) + 0.5 * (real.mean() + fake.mean()) ** 2
        wanted = torch.autograd.grad(loss, list(gan.critic.parameters()), allow_unused=True)
        for parameter, gradient in zip(gan.critic.parameters(), wanted, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)
        assert scalars["critic_loss"].item() == pytest.approx(loss.item(), rel=1e-4)
        assert scalars["pair_accuracy"].item() == pytest.approx(sum(float(r > f) for r in real for f in fake) / BATCH**2)

    @pytest.mark.parametrize("step", [0.01, 0.02])
    def test_critic_by_finite_differences(self, step: float) -> None:
        gan = build_gan(replace(STILL, penalty_step=step))
        scalars = gan.step(smooth_images(), self.clock)
        real, fake = self.pairs(gan)
        noise = Draws(0, "gan").normal("penalty", self.clock.seen, BATCH // 2, 3, SIZE, SIZE)
        chosen = torch.cat([real[: BATCH // 4], fake[: BATCH // 4]])
        slope = ((gan.critic(chosen + step * noise) - gan.critic(chosen)) / step).square().mean()
        assert scalars["slope"].item() == pytest.approx(slope.item(), rel=1e-2)

    def test_low_precision_widens_the_step(self) -> None:
        assert build_gan(STILL, low_precision=True).penalty_step == pytest.approx(0.05)

    @pytest.mark.parametrize(("anchor", "details"), [(0.0, 0.0), (3.0, 0.0), (0.0, 5.0), (3.0, 5.0)])
    def test_generator(self, anchor: float, details: float) -> None:
        gan = build_gan(replace(STILL, anchor=anchor, final_anchor=anchor / 16, details=details))
        gan.step(smooth_images(), self.clock)
        real, fake = self.pairs(gan)
        loss = F.softplus(gan.critic(real) - gan.critic(fake)).mean()
        if anchor:
            quarter = real[: BATCH // 4]
            with torch.no_grad():
                latents = gan.anchor.whitening(gan.anchor.encoder(quarter).mean)
            loss = loss + anchor / 2 * gan.anchor.distance(gan.generator(latents), gan.anchor.observe(quarter)).mean()
        loss = loss + details * details_of_pairs(fake, real)
        wanted = torch.autograd.grad(loss, list(gan.generator.parameters()))
        for parameter, gradient in zip(gan.generator.parameters(), wanted, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)

    def test_the_watched_gradient_at_a_sample_is_the_critics_alone(self) -> None:
        """Guards ask whether the critic still says something; what else moves the generator must not hide that it does not."""
        without, beside = (build_gan(replace(STILL, details=weight)).step(smooth_images(), self.clock) for weight in (0.0, 50.0))
        assert beside["image_gradient"].item() == pytest.approx(without["image_gradient"].item(), rel=1e-4)
        assert beside["generator_gradient"].item() > 1.1 * without["generator_gradient"].item()

    def test_encoder(self) -> None:
        """|mu(G(z)) - z|^2 a value + half the anchor + a tenth of what the variances moved; the generator stays."""
        gan = build_gan(replace(STILL, refit_every=1))
        with torch.no_grad():
            for parameter in gan.encoder.parameters():  # as after some refitting
                parameter.add_(0.02 * torch.randn_like(parameter))
        scalars = gan.step(smooth_images(), self.clock)
        real, fake = self.pairs(gan)
        latents = Draws(0, "gan").normal("latents", self.clock.seen, BATCH, LATENT)
        half = real[: BATCH // 2]

        def encode(images: Tensor) -> Tensor:
            return gan.anchor.whitening(gan.encoder(images).mean)

        recovery = (encode(fake.detach()) - latents).square().mean()
        loss = recovery + 0.5 * gan.anchor.distance(gan.generator(encode(half)), gan.anchor.observe(half)).mean()
        kept = (gan.encoder(half).log_var - gan.anchor.encoder(half).log_var.detach()).square().mean()
        assert kept.item() > 1e-3
        loss = loss + 0.1 * kept
        wanted = torch.autograd.grad(loss, list(gan.encoder.parameters()))
        for parameter, gradient in zip(gan.encoder.parameters(), wanted, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)
        assert scalars["recovery"].item() == pytest.approx(recovery.item(), rel=1e-4)

    def test_views_fade_in_and_out_and_are_shared_by_both_players(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[int, float, Augmentation | None]] = []
        original = View.__call__

        def spy(view: View, images: Tensor) -> Tensor:
            seen.append((id(view), view.blur, view.augmentation))
            return original(view, images)

        monkeypatch.setattr(View, "__call__", spy)
        gan = build_gan(replace(STILL, blur=2.0, blur_until=0.5, augmentation=0.3))
        for progress, blur in ((0, 2.0), (0.25, 1.0), (0.5, 0.0), (1.0, 0.0)):
            gan.step(smooth_images(), Clock(int(progress * 40) * BATCH, 40 * BATCH, BATCH))
            assert len(seen) == 3  # reals, generated for the critic, generated for the generator
            assert len({view for view, _, _ in seen}) == 1
            assert seen[0][1] == pytest.approx(blur)
            assert (seen[0][2] is None) == (progress == 0)
            seen.clear()

    def test_critic_sees_blurred_images(self) -> None:
        gan = build_gan(replace(STILL, blur=1.0, blur_until=1.0, penalty=1e-9, final_penalty=1e-9, drift_weight=0))
        scalars = gan.step(smooth_images(), Clock(0, 40 * BATCH, BATCH))
        latents = Draws(0, "gan").normal("latents", 0, BATCH, LATENT)
        real, fake = (gan.critic(gaussian_blur(x, 1.0)) for x in (smooth_images(), gan.generator(latents)))
        assert scalars["critic_loss"].item() == pytest.approx(F.softplus(fake - real).mean().item(), rel=1e-4)

    @pytest.mark.parametrize("jitter", [2, 100])
    def test_critic_sees_each_pair_moved_alike(self, jitter: int) -> None:
        """By 2 pixels of 16 at most, an eighth."""
        gan = build_gan(replace(STILL, jitter=jitter, penalty=1e-9, final_penalty=1e-9, drift_weight=0))
        scalars = gan.step(smooth_images(), Clock(0, 40 * BATCH, BATCH))
        rows, columns = ((Draws(0, "gan").uniform("jitter", 0, BATCH, 2) * 5).floor().long().T - 2).tolist()
        assert {*rows, *columns} == {-2, -1, 0, 1, 2}
        latents = Draws(0, "gan").normal("latents", 0, BATCH, LATENT)

        def moved(images: Tensor) -> Tensor:
            side, around = images.shape[-1], F.pad(images, [2] * 4, mode="replicate")
            corners = zip(around, rows, columns, strict=True)
            return torch.stack([image[:, 2 - row :, 2 - column :][:, :side, :side] for image, row, column in corners])

        real, fake = (gan.critic(moved(x)) for x in (smooth_images(), gan.generator(latents)))
        assert scalars["critic_loss"].item() == pytest.approx(F.softplus(fake - real).mean().item(), rel=1e-4)


class TestResuming:
    """A freshly built recipe that is given the saved state takes the same next steps, bit for bit."""

    @pytest.mark.parametrize(
        "build",
        [
            build_vae,
            lambda **k: build_gan(GANConfig(critic_warmup=2, critic_warmup_accuracy=1, refit_every=2), **k),
            lambda **k: build_gan(GANConfig(critic_warmup=100), **k),
            lambda **k: build_gan(GANConfig(critic_warmup=0, penalty_kind="exact"), grown=False, **k),
        ],
        ids=["vae", "gan", "gan while the critic warms up", "gan from scratch"],
    )
    def test_is_exact(self, build: Callable[..., VAE | GAN]) -> None:
        first = build(weights=0)
        run(first, 5)
        file = io.BytesIO()
        torch.save(
            {
                "networks": {name: network.state_dict() for name, network in first.networks().items()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in first.optimizers().items()},
                "tensors": first.tensors(),
            },
            file,
        )
        file.seek(0)
        state = torch.load(file, weights_only=True)

        second = build(weights=1)
        for name, network in second.networks().items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in second.optimizers().items():
            optimizer.load_state_dict(state["optimizers"][name])
        second.set_tensors(state["tensors"])

        one, other = run(first, 3, start=5), run(second, 3, start=5)
        for mine, its in zip(one, other, strict=True):
            assert mine.keys() == its.keys()
            assert all(torch.equal(torch.as_tensor(mine[name]), torch.as_tensor(its[name])) for name in mine)
        for name, network in first.networks().items():
            assert same(copies(network), second.networks()[name]), name
        assert first.warming_up == second.warming_up
        assert first.averaged().variance == second.averaged().variance

    def test_repeats_with_the_same_seed_and_not_with_another(self) -> None:
        one, same_seed, other = (build_vae(engine=OneProcess(seed)) for seed in (0, 0, 1))
        for recipe in (one, same_seed, other):
            run(recipe, 2)
        assert same(copies(one.decoder), same_seed.decoder)
        assert not same(copies(one.decoder), other.decoder)


class TestDraws:
    def test_two_processes_share_what_one_would_draw(self) -> None:
        whole = Draws(3, "gan").normal("latents", 96, 8, 5)
        shares = [Draws(3, "gan", "cpu", rank, 2).normal("latents", 96, 4, 5) for rank in range(2)]
        for rank, share in enumerate(shares):
            assert torch.equal(share, whole[rank::2])
        assert torch.equal(torch.stack(shares, 1).flatten(0, 1), whole)

    def test_every_part_of_the_key_counts(self) -> None:
        base = {"seed": 0, "stage": "vae", "stream": "posterior", "seen": 32}
        keys = [base, base | {"seed": 1}, base | {"stage": "gan"}, base | {"stream": "latents"}, base | {"seen": 64}]
        drawn = [Draws(k["seed"], k["stage"]).normal(k["stream"], k["seen"], 4) for k in keys]
        assert len({tuple(numbers.tolist()) for numbers in drawn}) == len(keys)
        assert torch.equal(drawn[0], Draws(0, "vae").normal("posterior", 32, 4))

    def test_numbers_are_standard_normal(self) -> None:
        numbers = Draws(0, "vae").normal("posterior", 0, 20_000)
        assert float(numbers.mean()) == pytest.approx(0, abs=0.03)
        assert float(numbers.std()) == pytest.approx(1, abs=0.03)

    def test_seeds_fit_a_generator_and_do_not_mix_up_their_parts(self) -> None:
        assert 0 <= keyed_seed("a") < 2**63
        keys = [(1, "1"), ("1", 1), ("11",), (11,), ("1", "1"), (1, 1), ("1, 1",), ("a", "b"), ("ab",)]
        assert len({keyed_seed(*key) for key in keys}) == len(keys)


class Meeting:
    """Two threads that stand for two processes: what one gives the other can have."""

    def __init__(self) -> None:
        self.barrier, self.given = threading.Barrier(2, timeout=60), [torch.zeros(()), torch.zeros(())]

    def mean(self, value: Tensor, rank: int) -> Tensor:
        one, other = self.of_both(value.detach().clone(), rank)
        return (one + other) / 2

    def of_both(self, value: Tensor, rank: int) -> list[Tensor]:
        self.given[rank] = value
        self.barrier.wait()
        both = list(self.given)
        self.barrier.wait()
        return both


class HalfEngine(OneProcess):
    """One of two processes; averages gradients before every optimiser's step, as DDP would have."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        super().__init__(rank=rank, world_size=2)
        self.meeting = meeting

    def mean(self, value: Tensor) -> Tensor:
        return self.meeting.mean(value, self.rank)

    def everyones(self, rows: Tensor) -> Tensor:
        assert not rows.requires_grad
        return torch.cat(self.meeting.of_both(rows, self.rank))

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        def average(optimizer: Optimizer, *_: Any) -> None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = self.meeting.mean(parameter.grad, self.rank)

        optimizer.register_step_pre_hook(average)
        return optimizer


def step_together(halves: list[Any], meeting: Meeting, images: Tensor, clock: Clock) -> list[dict[str, Tensor]]:
    def half(rank: int) -> dict[str, Tensor]:
        try:
            return halves[rank].step(images[rank::2], clock)
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(half, range(2)))


class TestTwoProcesses:
    """Each takes every other image of a batch; their averaged gradients are those of one process on all of it."""

    @pytest.mark.parametrize(
        "build",
        [
            lambda engine: build_vae(VAEConfig(learning_rate=NOTHING, final_learning_rate=NOTHING), engine),
            lambda engine: build_gan(replace(STILL, anchor=1.0, refit_every=1, drift_weight=0.5), engine),
            lambda engine: build_gan(replace(STILL, penalty_kind="exact", augmentation=1.0, blur=0.5, jitter=3), engine),
            build_joint,
        ],
        ids=["vae", "gan", "gan, exact and augmented", "joint"],
    )
    def test_equal_one(self, build: Callable[[Any], VAE | GAN | Joint]) -> None:
        images, clock = smooth_images(), Clock(4 * BATCH, 40 * BATCH, BATCH)
        one = build(OneProcess())
        meeting = Meeting()
        halves = [build(HalfEngine(meeting, rank)) for rank in range(2)]

        one.step(images, clock)
        step_together(halves, meeting, images, clock)
        compared = 0
        for name, network in one.networks().items():
            if name.startswith("average_") or name == "anchor":
                continue
            for rank in range(2):
                pairs = zip(network.named_parameters(), unwrapped(halves[rank].networks()[name]).parameters(), strict=True)
                for (tensor, wanted), found in pairs:
                    scale = float(wanted.grad.abs().max())
                    torch.testing.assert_close(
                        found.grad,
                        wanted.grad,
                        rtol=1e-3,
                        atol=1e-4 * scale + 1e-7,
                        msg=lambda m, t=tensor, n=name: f"{n}.{t}: {m}",
                    )
                    compared += scale > 0
        assert compared > 10
        if isinstance(one, VAE):
            assert [float(part.variance) for part in halves] == pytest.approx([float(one.variance)] * 2, rel=1e-5)
        assert math.isfinite(float(one.networks()[name].state_dict().popitem()[1].sum()))

    @pytest.mark.parametrize("learns", [True, False])
    def test_agree_on_whether_the_critic_learns(self, learns: bool) -> None:
        config, meeting = GANConfig(critic_warmup=0, critic_optimizer="sgd"), Meeting()
        halves = [build_gan(config, HalfEngine(meeting, rank)) for rank in range(2)]
        judged = [build_gan(config, HalfEngine(meeting, rank)) for rank in range(2)]
        images, clock = smooth_images(seed=1), Clock(0, 100, BATCH)  # whose halves are told apart differently well
        first, second = (float(each["pair_accuracy"]) for each in step_together(judged, meeting, images, clock))
        limit = (first + second) / 2 + (1 if learns else -1) * abs(first - second) / 4
        assert (first > limit) != (second > limit)  # each on its own would do another thing
        for half in halves:
            half.levers = Levers(critic_limit=limit)
        before = copies(halves[0].critic)
        step_together(halves, meeting, images, clock)
        assert [same(before, half.critic) for half in halves] == [not learns] * 2


@pytest.mark.parametrize("kind", ["ae", "vae", "gan"])
def test_models_are_compared_by_a_number_of_the_validation(kind: str) -> None:
    torch.manual_seed(0)
    parts = Encoder(NETWORK, SIZE, 3), Decoder(NETWORK, SIZE, 3)
    recipe = {"ae": lambda: AE(AEConfig(), *parts, OneProcess()), "vae": build_vae, "gan": build_gan}[kind]()
    assert recipe.deciding.scalar in recipe.validate(smooth_images(recipe.deciding.fewest))


def test_held_out_objective_weighs_the_kl_divergence_as_the_guards_do() -> None:
    vae, images = build_vae(), smooth_images(12)
    whole = vae.validate(images)
    vae.levers = Levers(kl_weight=1001.0)  # so much that it stands out of a loss of some hundred nats in single precision
    heavier = vae.validate(images)
    assert float(heavier["heldout_loss"] - whole["heldout_loss"]) == pytest.approx(1000 * float(whole["heldout_kl"]), rel=1e-4)


def test_a_critic_that_is_fixed_labels_adds_their_projection() -> None:
    torch.manual_seed(0)
    critic, images, labels = Critic(replace(NETWORK, classes=3), SIZE, 3), smooth_images(6), torch.arange(6) % 3
    directions = critic.projection.weight
    unmoved = critic(images, labels)  # as drawn, no label says anything
    with torch.no_grad():
        directions.normal_()
        features = critic.trunk(images, labels)[-1].mean((2, 3))
        torch.testing.assert_close(critic(images, labels) - unmoved, (directions[labels] * features).sum(1))


def test_each_draw_of_a_posterior_is_decoded_with_its_image_s_label() -> None:
    torch.manual_seed(0)
    network, told = replace(NETWORK, classes=3), list[Tensor]()
    vae = VAE(VAEConfig(samples=2), Encoder(network, SIZE, 3), Decoder(network, SIZE, 3), OneProcess())
    vae.decoder.register_forward_pre_hook(lambda _, given: told.append(given[1]))
    labels = torch.arange(BATCH) % 3
    vae.step(smooth_images(), Clock(0, 100, BATCH), labels)
    assert torch.equal(told[0].view(2, BATCH), labels.expand(2, BATCH))


class TestLevers:
    """What a guard moves does what the setting does that it stands for: else its words would be all that it did."""

    CLOCK = Clock(50 * BATCH, 100 * BATCH, BATCH)  # half of the stage, where schedules have run for half of their way

    def stepped(self, recipe: Any, levers: Levers) -> list[Tensor]:
        """Everything that one step says and leaves behind."""
        recipe.levers, recipe.released_at = levers, torch.tensor(0)  # whose generator was let go long ago
        scalars = recipe.step(smooth_images(), self.CLOCK)
        return [*scalars.values(), *(tensor for network in recipe.networks().values() for tensor in copies(network))]

    def check(self, build: Callable[[Any], Any], plain: Any, configured: Any, levers: Levers) -> None:
        ours, theirs, untouched = (
            self.stepped(build(config), moved) for config, moved in ((plain, levers), (configured, Levers()), (plain, Levers()))
        )
        assert all(map(torch.equal, ours, theirs))
        assert not all(map(torch.equal, ours, untouched))

    @pytest.mark.parametrize(
        ("levers", "plain", "configured"),
        [
            ({"generator_rate": 0.5}, {"generator_rate": 1}, {"generator_rate": 0.5}),
            ({"critic_rate": 0.5}, {}, {"critic_rate": 0.5}),
            ({"penalty": 2}, {"penalty": 0.2, "final_penalty": 0.03}, {"penalty": 0.4, "final_penalty": 0.06}),
            ({"least_penalty": 0.1}, {"penalty": 0, "final_penalty": 0}, {"penalty": 0.1, "final_penalty": 0.1}),
            ({"augmentation": 0.25}, {"augmentation": 0}, {"augmentation": 0.5}),
            ({"blur": 1}, {"blur": 0}, {"blur": 2, "blur_until": 1}),
            ({"anchor": 0.5}, {"anchor": 6, "final_anchor": 6}, {"anchor": 3, "final_anchor": 3}),
        ],
    )
    def test_of_a_gan(self, levers: dict[str, float], plain: dict[str, Any], configured: dict[str, Any]) -> None:
        first, second = (GANConfig(**{"critic_warmup": 0} | settings) for settings in (plain, configured))
        self.check(build_gan, first, second, Levers(**levers))

    @pytest.mark.parametrize(
        ("levers", "plain", "configured"),
        [
            ({"generator_rate": 0.5}, {}, {"learning_rate": 7.5e-4, "final_learning_rate": 1e-5}),
            ({"kl_weight": 0.5}, {}, {"kl_weight": 0.5}),
            ({"free_bits": 0.25}, {"free_bits": 0.1}, {"free_bits": 0.25}),
            ({"kl_warmup": 1}, {"kl_warmup": 0.1}, {"kl_warmup": 1}),
            (
                {"kl_warmup": 1},
                {"kl_schedule": "cyclical", "kl_cycles": 3},
                {"kl_schedule": "cyclical", "kl_cycles": 3, "kl_warmup": 1},
            ),
        ],
    )
    def test_of_a_vae(self, levers: dict[str, float], plain: dict[str, Any], configured: dict[str, Any]) -> None:
        self.check(build_vae, VAEConfig(**plain), VAEConfig(**configured), Levers(**levers))

    def test_of_an_autoencoder(self) -> None:
        def build(config: AEConfig) -> AE:
            torch.manual_seed(0)
            return AE(config, Encoder(NETWORK, SIZE, 3), Decoder(NETWORK, SIZE, 3), OneProcess())

        self.check(build, AEConfig(), AEConfig(learning_rate=7.5e-4, final_learning_rate=1e-5), Levers(generator_rate=0.5))


def test_an_autoencoder_learns_beyond_black_and_white() -> None:
    """The picture is cut there, and a cut has no gradient: a decoder that starts out too bright would never come back."""
    torch.manual_seed(0)
    encoder, decoder = Encoder(NETWORK, SIZE, 3), Decoder(NETWORK, SIZE, 3)
    decoder.stages[-2].bias.data.fill_(5.0)
    autoencoder = AE(AEConfig(batch_size=BATCH), encoder, decoder, OneProcess())
    before, images = copies(decoder), smooth_images()
    assert decoder(encoder(images).mean).min() == 1
    autoencoder.step(images, Clock(0, BATCH * 100, BATCH))
    assert not same(before, decoder)
    assert decoder(encoder(images).mean, raw=True).mean() < 5
