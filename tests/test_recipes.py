"""The recipes, run on a plain engine: one process by default, two threads where two processes have to equal one."""

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

from engines import OneProcess
from vaegan.config import ClassicGANConfig, GANConfig, JointConfig, NetworkConfig, VAEConfig
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.parts import refit as refitting
from vaegan.parts.anchor import Anchor
from vaegan.parts.critics import PixelCritic
from vaegan.parts.engine import frozen
from vaegan.parts.player import Player
from vaegan.parts.refit import Refit
from vaegan.parts.schedule import Clock, cosine
from vaegan.parts.views import Augmentation, View
from vaegan.priors import Normal
from vaegan.randomness import Draws, keyed_seed
from vaegan.recipes.ae import AE
from vaegan.recipes.classic_gan import ClassicGAN
from vaegan.recipes.gan import AVERAGE_CAP, GAN
from vaegan.recipes.joint import Joint
from vaegan.recipes.recipe import Recipe
from vaegan.recipes.vae import VAE
from vaegan.training.checkpoint import copied
from vaegan.types import Batch, joined

LATENT, SIZE, BATCH = 4, 16, 16
NETWORK = NetworkConfig(width=8, width_limit=16, latent_dim=LATENT)
NOTHING = 1e-30  # a learning rate too small to move a weight
STILL = GANConfig(learning_rate=NOTHING, final_learning_rate=NOTHING, jitter=0, augmentation=0, refit_every=0, anchor=0)
"""Nothing moves, so that gradients can be computed again afterwards."""


def smooth_images(count: int = BATCH, seed: int = 0) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(coarse, SIZE, mode="bilinear")


def batch(seed: int = 0, count: int = BATCH) -> Batch:
    return Batch(smooth_images(count, seed))


def autoencoder(weights: int = 0) -> tuple[Encoder, Decoder]:
    torch.manual_seed(weights)
    return Encoder(NETWORK, SIZE, 3), Decoder(NETWORK, SIZE, 3)


@pytest.fixture(autouse=True)
def _the_encoder_is_fitted_from_the_start_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refitting, "BEGINS", 0.0)


def build_ae(config: VAEConfig | None = None, engine: Any = None) -> AE:
    return AE(config or VAEConfig(batch_size=BATCH), *autoencoder(), engine or OneProcess())


def build_vae(config: VAEConfig | None = None, engine: Any = None, weights: int = 0) -> VAE:
    return VAE(config or VAEConfig(batch_size=BATCH), *autoencoder(weights), engine or OneProcess())


def confident_critic() -> Critic:
    """With logits that differ between images."""
    critic = Critic(NETWORK, SIZE, 3)
    nn.init.normal_(critic.head.weight, std=0.2)
    return critic


def build_joint(config: JointConfig | None = None, engine: Any = None) -> Joint:
    parts = *autoencoder(), confident_critic()
    return Joint(config or JointConfig(learning_rate=NOTHING), *parts, engine or OneProcess(), flips=True)


def build_classic(config: ClassicGANConfig | None = None, engine: Any = None) -> ClassicGAN:
    torch.manual_seed(0)
    generator, critic = Decoder(NETWORK, SIZE, 3), confident_critic()
    return ClassicGAN(config or ClassicGANConfig(batch_size=BATCH), generator, critic, engine or OneProcess())


def build_gan(config: GANConfig | None = None, engine: Any = None, grown: bool = True, precision: str = "float32") -> GAN:
    config, engine = config or GANConfig(), engine or OneProcess()
    (encoder, generator), critic = autoencoder(), confident_critic()
    player = PixelCritic(
        critic, engine, engine.draws("gan"), rates=(config.learning_rate, config.final_learning_rate),
        penalty=config.penalty, augmentation=config.augmentation, jitter=config.jitter, flips=True, precision=precision,
    )  # fmt: skip
    prior, known = Normal(LATENT), batch(seed=8, count=32)
    if not grown:
        return GAN(config, generator, [player], prior, engine, known=known)
    anchor = Anchor(encoder, config.anchor)
    anchor.calibrate(batch(seed=9, count=64))
    return GAN(
        config, generator, [player], prior, engine, terms=[anchor] if config.anchor else [],
        refit=Refit(encoder, anchor, config.refit_every, AVERAGE_CAP, engine) if config.refit_every else None,
        encoder=anchor.encoder, known=known,
    )  # fmt: skip


def critic_of(gan: GAN) -> Critic:
    return gan.critics[0].player.network


def anchor_of(gan: GAN) -> Anchor:
    (anchor,) = (term for term in gan.terms if isinstance(term, Anchor))
    return anchor


def refitted(gan: GAN) -> Player[Encoder]:
    assert gan.refit is not None
    return gan.refit.player


def copies(network: nn.Module) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in network.state_dict().values() if isinstance(tensor, Tensor)]


def same(before: list[Tensor], network: nn.Module) -> bool:
    return all(map(torch.equal, before, copies(network)))


def gradients(network: nn.Module) -> list[Tensor | None]:
    return [None if parameter.grad is None else parameter.grad.clone() for parameter in network.parameters()]


def equal_gradients(first: list[Tensor | None], second: list[Tensor | None]) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(first, second, strict=True)
    )


def check_gradients(network: nn.Module, loss: Tensor, atol: float = 1e-6) -> None:
    """The gradients that a step left are those of `loss`."""
    wanted = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    for (name, parameter), gradient in zip(network.named_parameters(), wanted, strict=True):
        gradient = torch.zeros_like(parameter) if gradient is None else gradient
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


def run(recipe: Recipe, steps: int, start: int = 0, total: int = 100) -> list[dict[str, Tensor]]:
    """Steps `start` to `start + steps` of `total`, each on its own images."""
    return [recipe.step(batch(seed=step), Clock(step * BATCH, total * BATCH, BATCH)) for step in range(start, start + steps)]


class TestVAE:
    def test_loss_falls_on_a_fixed_batch(self) -> None:
        vae, images = build_vae(VAEConfig(kl_warmup=0, learning_rate=3e-3)), batch(count=32)
        scalars = [vae.step(images, Clock(step * 32, 60 * 32, 32)) for step in range(60)]
        for name, share in (("loss", 0.8), ("error", 0.5)):
            values = torch.stack([line[name] for line in scalars])
            assert values.isfinite().all()
            first, last = float(values[:5].mean()), float(values[-10:].mean())
            assert last < (share * first if name == "error" else first - 100)

    def test_gradient_is_that_of_the_formula(self) -> None:
        """(D/2) ln MSE + beta KL, with the same noise and beta on its way up."""
        vae = build_vae(VAEConfig(learning_rate=NOTHING, final_learning_rate=NOTHING, kl_weight=3, kl_warmup=0.5))
        images, clock, values = smooth_images(), Clock(BATCH * 10, BATCH * 40, BATCH), 3 * SIZE * SIZE
        scalars = vae.step(Batch(images), clock)

        encoder, decoder = vae.encoder.network, vae.decoder.network
        mean, log_var = encoder(images)
        noise = Draws(0, "vae").normal("posterior", clock.seen, BATCH, LATENT)
        decoded = decoder(mean + log_var.exp().sqrt() * noise, raw=True)
        error, seen = ((images - each).square().mean() for each in (decoded, decoded.clamp(-1, 1)))
        kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean()
        check_gradients(nn.ModuleList([encoder, decoder]), values / 2 * error.log() + 3 * 0.5 * kl, atol=1e-3)
        assert scalars["error"].item() == pytest.approx(seen.item(), rel=1e-5)
        assert scalars["kl"].item() == pytest.approx(kl.item(), rel=1e-4)
        assert float(scalars["beta"]) == pytest.approx(1.5 * error.item(), rel=1e-5)
        found = torch.cat([p.grad.flatten() for p in [*encoder.parameters(), *decoder.parameters()] if p.grad is not None])
        assert scalars["gradient"].item() == pytest.approx(float(found.norm()), rel=1e-4)

    def test_learning_rate_follows_the_cosine(self) -> None:
        vae = build_vae(VAEConfig(learning_rate=1e-3, final_learning_rate=1e-4))
        for seen, rate in ((0, 1e-3), (BATCH * 50, 5.5e-4), (BATCH * 100, 1e-4)):
            vae.step(batch(), Clock(seen, BATCH * 100, BATCH))
            for player in (vae.encoder, vae.decoder):
                assert [group["lr"] for group in player.optimizer.param_groups] == pytest.approx([rate, rate])

    def test_stored_variance_is_a_running_mean_of_the_error(self) -> None:
        vae = build_vae()
        vae.decoder.network.stages[-2].weight.data.mul_(0.1)  # nothing beyond black and white, where the picture is not the mean
        errors = [float(line["error"]) for line in run(vae, 5)]
        wanted = errors[0]
        for error in errors[1:]:
            wanted = 0.98 * wanted + 0.02 * error
        assert float(vae.variance) == pytest.approx(wanted, rel=1e-5)
        assert vae.trained().variance == float(vae.variance)

    def test_validation_reports_what_the_averaged_networks_do(self) -> None:
        vae, images = build_vae(), smooth_images(64, seed=5)
        run(vae, 3)
        found = vae.validate(Batch(images))
        trained = vae.trained()
        assert trained.encoder is not None
        mean, log_var = trained.encoder(images)
        assert found["heldout_error"].item() == pytest.approx(F.mse_loss(trained.decoder(mean), images).item(), rel=1e-4)
        assert found["heldout_kl"].item() == pytest.approx(
            0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean().item(), rel=1e-4
        )
        assert found["active_units"].item() == sum(mean.detach().numpy().var(0, ddof=1) > 0.01)
        assert found != build_vae().validate(Batch(images))

    def test_heldout_loss_and_bound_are_those_of_one_posterior_sample(self) -> None:
        """At the stored variance the bound is -loss - (D/2) ln 2 pi; at the images' own variance the loss is least."""
        vae, images, values = build_vae(VAEConfig(kl_weight=1)), smooth_images(64, seed=5), 3 * SIZE * SIZE
        run(vae, 3)
        found = vae.validate(Batch(images))
        mean, log_var = vae.encoder.averaged(images)
        noise = torch.randn(mean.shape, generator=Draws(0, "vae").generator("validation", 0))
        decoded = vae.decoder.averaged(mean + (log_var / 2).exp() * noise, raw=True)
        error = (decoded - images).square().mean().item()
        kl = found["heldout_kl"].item()
        assert found["heldout_loss"].item() == pytest.approx(values / 2 * (1 + math.log(error)) + kl, rel=1e-4)
        at_stored = values / 2 * (error / float(vae.variance) + math.log(2 * math.pi * float(vae.variance))) + kl
        assert found["heldout_elbo"].item() == pytest.approx(-at_stored, rel=1e-4)

    def test_held_out_loss_weighs_the_kl_divergence_as_training_does(self) -> None:
        vae, images = build_vae(), batch(count=12)
        before = vae.validate(images)
        # So much that it stands out of a loss of some hundred nats in single precision.
        vae.relief[0] = 1001.0
        heavier = vae.validate(images)
        assert float(heavier["heldout_loss"] - before["heldout_loss"]) == pytest.approx(
            1000 * float(before["heldout_kl"]), rel=1e-4
        )

    def test_each_draw_of_a_posterior_is_decoded_with_its_image_s_label(self) -> None:
        torch.manual_seed(0)
        given = list[Tensor]()
        vae = VAE(VAEConfig(samples=2), Encoder(NETWORK, SIZE, 3, 3), Decoder(NETWORK, SIZE, 3, 3), OneProcess())
        vae.decoder.network.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
        labels = torch.arange(BATCH) % 3
        vae.step(Batch(smooth_images(), labels), Clock(0, 100, BATCH))
        assert torch.equal(given[0].view(2, BATCH), labels.expand(2, BATCH))


def stepped(recipe: Recipe, slowdown: float = 1.0) -> list[Tensor]:
    """Everything that a step a quarter into a stage says and leaves behind."""
    scalars = recipe.step(batch(), Clock(25 * BATCH, 100 * BATCH, BATCH, slowdown=slowdown))
    return [*scalars.values(), *copies(recipe)]


class TestRelief:
    """What a collapsed posterior is relieved of is what the settings say that stand for it."""

    @pytest.mark.parametrize(
        ("plain", "times", "configured"),
        [
            ({}, 1, {"kl_weight": 0.25, "free_bits": 0.25, "kl_warmup": 0.5}),
            ({}, 2, {"kl_weight": 0.25, "free_bits": 0.5, "kl_warmup": 0.5}),  # the weight is divided once
            ({"kl_warmup": 0.75}, 1, {"kl_weight": 0.25, "free_bits": 0.25, "kl_warmup": 0.75}),
            ({"free_bits": 1.0, "kl_cycles": 3}, 1, {"kl_weight": 0.25, "free_bits": 1.0, "kl_cycles": 3, "kl_warmup": 0.5}),
        ],
    )
    def test_is_a_lower_weight_free_bits_and_a_longer_warm_up(
        self, plain: dict[str, Any], times: int, configured: dict[str, Any]
    ) -> None:
        relieved, untouched, other = (build_vae(VAEConfig(**settings)) for settings in (plain, plain, configured))
        for _ in range(times):
            relieved.relieve(4.0)
        relieved_state, untouched_state, other_state = map(stepped, (relieved, untouched, other))
        # All but the buffer that says what was relieved.
        pairs = [(a, b) for a, b in zip(relieved_state, other_state, strict=True) if a.dtype != torch.float64]
        assert len(pairs) == len(relieved_state) - 1
        assert all(torch.equal(a, b) for a, b in pairs)
        assert not all(map(torch.equal, relieved_state, untouched_state))

    def test_is_saved(self) -> None:
        vae, resumed = build_vae(), build_vae()
        vae.relieve(4.0)
        resumed.load_state_dict(copied(vae.state_dict()))
        assert all(map(torch.equal, stepped(vae), stepped(resumed)))


class TestSlowdown:
    """Dividing the learning rates does what lower ones do, bit for bit."""

    @pytest.mark.parametrize(
        ("build", "config", "half"),
        [
            (build_ae, VAEConfig(), VAEConfig(learning_rate=7.5e-4, final_learning_rate=1e-5)),
            (build_vae, VAEConfig(), VAEConfig(learning_rate=7.5e-4, final_learning_rate=1e-5)),
            (build_joint, JointConfig(), JointConfig(learning_rate=1.5e-4)),
            (build_classic, ClassicGANConfig(), ClassicGANConfig(learning_rate=1e-4)),
            (
                lambda config: build_gan(config, grown=False),
                GANConfig(),
                GANConfig(learning_rate=9e-4, final_learning_rate=2e-5),
            ),
        ],
        ids=["ae", "vae", "joint", "classic gan", "gan"],
    )
    def test_halves_every_rate(self, build: Callable[[Any], Recipe], config: Any, half: Any) -> None:
        slow, wanted, fast = stepped(build(config), 2.0), stepped(build(half)), stepped(build(config))
        assert all(map(torch.equal, slow, wanted))
        assert not all(map(torch.equal, slow, fast))


class TestGANSteps:
    def test_every_player_has_its_own_learning_rate(self) -> None:
        gan = build_gan(GANConfig(learning_rate=6e-4, final_learning_rate=2e-4, refit_every=1))
        players = (gan.critics[0].player, gan.generator, refitted(gan))
        for seen, rate in ((0, 6e-4), (50 * BATCH, 4e-4), (100 * BATCH, 2e-4)):
            for slowdown in (1, 8):
                gan.step(batch(), Clock(seen, 100 * BATCH, BATCH, slowdown=slowdown))
                encoder = cosine(1e-3, 1.3e-4, seen / (100 * BATCH))
                found = [player.optimizer.param_groups[0]["lr"] * slowdown for player in players]
                assert found == pytest.approx([rate, 2 * rate, encoder])

    def test_the_encoder_follows_in_the_second_half(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(refitting, "BEGINS", 0.5)
        gan, moved = build_gan(GANConfig(refit_every=1)), []
        for step in range(4):
            before = copies(refitted(gan).network)
            gan.step(batch(), Clock(step * BATCH, 4 * BATCH, BATCH))
            moved.append(not same(before, refitted(gan).network))
        assert moved == [False, False, True, True]
        assert refitted(gan).optimizer.param_groups[0]["lr"] == pytest.approx((1e-3 + 1.3e-4) / 2)
        timed = [bool(gan.step(batch(), Clock(step * BATCH, None, BATCH)).get("recovery", 0)) for step in range(4)]
        assert timed == [True, False, True, False]  # half as often while the speed is measured: as over the whole stage

    def test_the_encoder_follows_once_in_so_many_steps(self) -> None:
        gan, moved = build_gan(GANConfig(refit_every=2)), []
        for step in range(4):
            before = copies(refitted(gan).network)
            (scalars,) = run(gan, 1, start=step)
            moved.append(not same(before, refitted(gan).network))
            assert ("recovery" in scalars) == moved[-1]
        assert moved == [True, False, True, False]

    @pytest.mark.parametrize("switch", ["penalty", "anchor", "augmentation", "jitter", "refit_every"])
    def test_every_weight_can_be_switched_off(self, switch: str) -> None:
        config = replace(GANConfig(), **{switch: 0})
        assert all(value.isfinite() for line in run(build_gan(config), 3) for value in line.values())

    def test_frozen_encoder_of_the_anchor_never_changes(self) -> None:
        gan = build_gan(GANConfig(refit_every=1))
        anchor, encoder = anchor_of(gan), refitted(gan).network
        before, follows = copies(anchor), copies(encoder)
        run(gan, 4)
        assert same(before, anchor)
        assert not same(follows, encoder)
        assert all(parameter.grad is None for parameter in anchor.parameters())

    def test_each_loss_reaches_its_own_player_alone(self) -> None:
        gan = build_gan(GANConfig(refit_every=1))
        players = {"critic": critic_of(gan), "generator": gan.generator.network, "encoder": refitted(gan).network}
        reached: list[set[str]] = []

        def backward(loss: Tensor) -> None:
            before = {name: gradients(player) for name, player in players.items()}
            loss.backward()
            reached.append({name for name, player in players.items() if not equal_gradients(before[name], gradients(player))})

        gan.engine.backward = backward  # pyright: ignore[reportAttributeAccessIssue]
        for _ in range(2):
            run(gan, 1)
            assert reached == [{"critic"}, {"generator"}, {"encoder"}]
            assert all(parameter.requires_grad for player in players.values() for parameter in player.parameters())
            reached.clear()

    def test_frozen_weights_let_gradients_through_and_are_thawed_whatever_happens(self) -> None:
        layer, x = nn.Linear(2, 2), torch.ones(1, 2, requires_grad=True)

        def fails() -> None:
            with frozen(layer) as held:
                held(x).sum().backward()
                raise KeyError

        with pytest.raises(KeyError):
            fails()
        assert x.grad is not None
        assert layer.weight.grad is None
        assert layer.weight.requires_grad

    def test_averages_are_what_is_kept(self) -> None:
        gan = build_gan()
        run(gan, 2)
        kept = gan.trained()
        assert kept.decoder is gan.generator.averaged is not gan.generator.network
        assert kept.encoder is refitted(gan).averaged is not refitted(gan).network
        assert kept.prior is gan.prior
        assert kept.variance is None
        assert build_gan(grown=False).trained().encoder is None
        unfitted = build_gan(GANConfig(refit_every=0))
        assert unfitted.trained().encoder is anchor_of(unfitted).encoder

    def test_average_of_an_encoder_that_is_refitted_every_few_steps_forgets_as_fast(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(refitting, "RATES", (NOTHING, NOTHING))
        player = refitted(gan := build_gan(replace(STILL, refit_every=4)))
        with torch.no_grad():
            for parameter in player.averaged.parameters():
                parameter.zero_()
        gan.step(batch(), Clock(10_000 * BATCH, None, BATCH))
        for averaged, parameter in zip(player.averaged.parameters(), player.network.parameters(), strict=True):
            torch.testing.assert_close(averaged, (1 - 0.5 ** (4 * BATCH / AVERAGE_CAP)) * parameter)

    def test_validation_looks_at_the_encoder_where_there_is_one(self) -> None:
        few, many = batch(seed=5, count=64), batch(seed=5, count=128)
        common = {"heldout_pair_accuracy", "heldout_recall", "copying", "nearness", "overfitting"}
        assert set(build_gan().validate(few)) == common | {"latent_recovery", "heldout_low_pass_error"}
        assert set(build_gan(grown=False).validate(few)) == common
        found = build_gan().validate(many)
        assert build_gan().deciding.scalar in found

    def test_validation_says_how_well_the_averaged_encoder_inverts_the_averaged_generator(self) -> None:
        gan, images = build_gan(GANConfig(refit_every=1)), smooth_images(64, seed=5)
        run(gan, 3)
        found = gan.validate(Batch(images))
        encoder, generator = refitted(gan).averaged, gan.generator.averaged
        z = torch.randn(64, LATENT, generator=Draws(0, "gan").generator("validation", 0))
        error = (encoder(generator(z)).mean - z).square().sum() / z.square().sum()
        assert found["latent_recovery"].item() == pytest.approx(1 - error.item(), rel=1e-4)
        back = generator(encoder(images).mean)
        coarse = (F.avg_pool2d(back, 4) - F.avg_pool2d(images, 4)).square().mean()
        assert found["heldout_low_pass_error"].item() == pytest.approx(coarse.item(), rel=1e-4)


class TestGANGradients:
    """Without a learning rate the gradients of a step stay and can be computed again from the formulas."""

    clock = Clock(10 * BATCH, 40 * BATCH, BATCH)

    def pairs(self, gan: GAN) -> tuple[Tensor, Tensor]:
        latents = Draws(0, "gan").normal("latents", self.clock.seen, BATCH, LATENT)
        return smooth_images(), gan.generator.network(latents)

    def slopes(self, gan: GAN, real: Tensor, fake: Tensor, step: float) -> Tensor:
        """|grad D|^2 by finite differences on a quarter of the real and of the generated images."""
        critic, noise = critic_of(gan), Draws(0, "gan").normal("penalty", self.clock.seen, BATCH // 2, 3, SIZE, SIZE)
        chosen = torch.cat([real[: BATCH // 4], fake[: BATCH // 4]])
        return ((critic(chosen + step * noise) - critic(chosen)) / step).square()

    def test_critic(self) -> None:
        """R3GAN (Huang et al. 2024), Eq. 2: E f(D(G(z)) - D(x)) + gamma/2 (R1 + R2), with f = softplus; and the drift."""
        gan = build_gan(replace(STILL, penalty=4.0))
        scalars = gan.step(batch(), self.clock)
        real_images, fake_images = self.pairs(gan)
        critic = critic_of(gan)
        real, fake = critic(real_images), critic(fake_images.detach())
        r1, r2 = self.slopes(gan, real_images, fake_images.detach(), 0.01).split(BATCH // 4)
        gamma = 4.0 * 0.2**0.25  # on its way to a fifth
        loss = F.softplus(fake - real).mean() + gamma / 2 * (r1.mean() + r2.mean()) + 0.01 * (real.mean() + fake.mean()) ** 2
        check_gradients(critic, loss, atol=1e-4)
        assert scalars["critic_loss"].item() == pytest.approx(loss.item(), rel=1e-3)
        assert scalars["slope"].item() == pytest.approx((r1.mean() + r2.mean()).item() / 2, rel=1e-3)
        assert scalars["pair_accuracy"].item() == pytest.approx(sum(float(r > f) for r in real for f in fake) / BATCH**2)

    def test_the_slope_is_that_of_the_critic(self) -> None:
        """E[(eps . grad D)^2] = |grad D|^2, over many draws of eps."""
        gan, found = build_gan(replace(STILL, penalty=1.0)), []
        for step in range(200):
            scalars = gan.step(batch(), Clock(step * BATCH, 10**6, BATCH))
            found.append(float(scalars["slope"]))
        real = smooth_images()[: BATCH // 4].requires_grad_()
        (of_real,) = torch.autograd.grad(critic_of(gan)(real).sum(), real)
        fakes = gan.generator.network(torch.randn(400, LATENT)).detach().requires_grad_()
        (of_fake,) = torch.autograd.grad(critic_of(gan)(fakes).sum(), fakes)
        wanted = (of_real.square().sum((1, 2, 3)).mean() + of_fake.square().sum((1, 2, 3)).mean()) / 2
        assert sum(found) / len(found) == pytest.approx(float(wanted), rel=0.15)

    @pytest.mark.parametrize(("precision", "step"), [("float32", 0.01), ("bfloat16", 0.05)])
    def test_low_precision_widens_the_step_of_the_slope(self, precision: str, step: float) -> None:
        gan = build_gan(STILL, precision=precision)
        scalars = gan.step(batch(), self.clock)
        slope = self.slopes(gan, *self.pairs(gan), step).mean()
        assert scalars["slope"].item() == pytest.approx(slope.item(), rel=1e-3)

    @pytest.mark.parametrize("anchor", [0.0, 3.0])
    def test_generator(self, anchor: float) -> None:
        """E f(D(x) - D(G(z))), and the anchor."""
        gan = build_gan(replace(STILL, anchor=anchor))
        scalars = gan.step(batch(), self.clock)
        real, fake = self.pairs(gan)
        critic, loss = critic_of(gan), torch.zeros(())
        if anchor:
            term, quarter = anchor_of(gan), real[: BATCH // 4]
            with torch.no_grad():
                latents = term.encoder(quarter).mean
            distance = term.distance(gan.generator.network(latents), term.observe(Batch(quarter))).mean()
            loss = loss + anchor * 0.75**0.25 * distance  # on its way to three quarters
            assert scalars["anchor"].item() == pytest.approx(distance.item(), rel=1e-4)
        game = F.softplus(critic(real) - critic(fake)).mean()
        check_gradients(gan.generator.network, loss + game)
        assert scalars["generator_loss"].item() == pytest.approx(game.item(), rel=1e-4)

    def test_encoder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """|mu(G(z)) - z|^2 a value + half the anchor + a tenth of what the variances moved; the generator stays."""
        monkeypatch.setattr(refitting, "RATES", (NOTHING, NOTHING))
        gan = build_gan(replace(STILL, refit_every=1, anchor=1e-9))
        encoder, anchor = refitted(gan).network, anchor_of(gan)
        with torch.no_grad():
            for parameter in encoder.parameters():  # as after some refitting
                parameter.add_(0.02 * torch.randn_like(parameter))
        scalars = gan.step(batch(), self.clock)
        real, fake = self.pairs(gan)
        latents = Draws(0, "gan").normal("latents", self.clock.seen, BATCH, LATENT)
        half = real[: BATCH // 2]

        def encode(images: Tensor) -> Tensor:
            return encoder(images).mean

        recovery = (encode(fake.detach()) - latents).square().mean()
        distance = anchor.distance(gan.generator.network(encode(half)), anchor.observe(Batch(half))).mean()
        moved = (encoder(half).log_var - anchor.encoder(half).log_var.detach()).square().mean()
        assert moved.item() > 1e-3
        check_gradients(encoder, recovery + 0.5 * distance + 0.1 * moved)
        assert scalars["recovery"].item() == pytest.approx(recovery.item(), rel=1e-4)

    def test_views_are_shared_by_both_players_and_augmentation_fades_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[View, Augmentation | None]] = []
        original = View.__call__

        def spy(view: View, images: Tensor) -> Tensor:
            seen.append((view, view.augmentation))
            return original(view, images)

        monkeypatch.setattr(View, "__call__", spy)
        gan = build_gan(replace(STILL, augmentation=1.0))
        for progress, share in ((0, 0), (0.25, 0.25), (1.0, 1.0)):
            changed = []
            for step in range(30):
                now = step * BATCH
                gan.step(batch(), Clock(now, now + int(1000 * (1 - progress)), BATCH, start=now - int(1000 * progress)))
                assert len(seen) == 2  # real images, and generated ones for both players
                assert len({id(view) for view, _ in seen}) == 1
                _, augmentation = seen[0]
                changed += [] if augmentation is None else (augmentation.brightness != 0).tolist()
                seen.clear()
            assert len(changed) == (0 if progress == 0 else 30 * BATCH)
            assert sum(changed) / (30 * BATCH) == pytest.approx(share, abs=0.07)

    @pytest.mark.parametrize("jitter", [2, 100])
    def test_critic_sees_each_pair_moved_alike(self, monkeypatch: pytest.MonkeyPatch, jitter: int) -> None:
        """By 2 pixels of 16 at most, an eighth."""
        gan = build_gan(replace(STILL, jitter=jitter, penalty=0))
        scalars = gan.step(batch(), Clock(0, 40 * BATCH, BATCH))
        rows, columns = ((Draws(0, "gan").uniform("jitter", 0, BATCH, 2) * 5).floor().long().T - 2).tolist()
        assert {*rows, *columns} == {-2, -1, 0, 1, 2}
        latents = Draws(0, "gan").normal("latents", 0, BATCH, LATENT)

        def moved(images: Tensor) -> Tensor:
            side, around = images.shape[-1], F.pad(images, [2] * 4, mode="replicate")
            corners = zip(around, rows, columns, strict=True)
            return torch.stack([image[:, 2 - row :, 2 - column :][:, :side, :side] for image, row, column in corners])

        real, fake = (critic_of(gan)(moved(x)) for x in (smooth_images(), gan.generator.network(latents)))
        assert scalars["generator_loss"].item() == pytest.approx(F.softplus(real - fake).mean().item(), rel=1e-4)
        wanted = F.softplus(fake - real).mean() + 0.01 * (real.mean() + fake.mean()).square()
        assert scalars["critic_loss"].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_the_same_seed_repeats_and_another_does_not() -> None:
    one, again, other = (build_vae(engine=OneProcess(seed)) for seed in (0, 0, 1))
    for recipe in (one, again, other):
        run(recipe, 2)
    assert same(copies(one), again)
    assert not same(copies(one), other)


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
        self.given[rank] = value.detach().clone()
        self.barrier.wait()
        one, other = self.given
        self.barrier.wait()
        return (one + other) / 2


class HalfEngine(OneProcess):
    """One of two processes; averages gradients before every optimiser's step, as DDP would have."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        super().__init__(rank=rank, world_size=2)
        self.meeting = meeting

    def mean(self, value: Tensor) -> Tensor:
        return self.meeting.mean(value, self.rank)

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
            return halves[rank].step(Batch(images[rank::2]), clock)
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(half, range(2)))


def trained_networks(recipe: Recipe) -> dict[str, nn.Module]:
    return {name: part.network for name, part in recipe.named_modules() if isinstance(part, Player)}


BUILDS: dict[str, Callable[[Any], Recipe]] = {
    "ae": lambda engine: build_ae(VAEConfig(learning_rate=NOTHING, final_learning_rate=NOTHING), engine),
    "vae": lambda engine: build_vae(VAEConfig(learning_rate=NOTHING, final_learning_rate=NOTHING, free_bits=0.01), engine),
    "gan": lambda engine: build_gan(replace(STILL, anchor=1.0, refit_every=1), engine),
    "gan, augmented": lambda engine: build_gan(replace(STILL, augmentation=1.0, jitter=3), engine, grown=False),
    "joint": lambda engine: build_joint(engine=engine),
    "classic gan": lambda engine: build_classic(ClassicGANConfig(learning_rate=NOTHING, penalty=1.0), engine),
    "classic gan, wasserstein": lambda engine: build_classic(
        ClassicGANConfig(learning_rate=NOTHING, objective="wasserstein", penalty=1.0, prior="uniform"), engine
    ),
}


class TestTwoProcesses:
    """Each takes every other image of a batch; their averaged gradients are those of one process on all of it."""

    @pytest.mark.parametrize("name", BUILDS)
    def test_equal_one(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setattr(refitting, "RATES", (NOTHING, NOTHING))
        images, clock = smooth_images(), Clock(4 * BATCH, 40 * BATCH, BATCH)
        one, meeting = BUILDS[name](OneProcess()), Meeting()
        halves = [BUILDS[name](HalfEngine(meeting, rank)) for rank in range(2)]

        scalars = one.step(Batch(images), clock)
        found = step_together(halves, meeting, images, clock)
        networks, compared = trained_networks(one), 0
        for part, network in networks.items():
            for half in halves:
                pairs = zip(network.named_parameters(), trained_networks(half)[part].parameters(), strict=True)
                for (tensor, wanted), own in pairs:
                    assert wanted.grad is not None
                    scale = float(wanted.grad.abs().max())
                    torch.testing.assert_close(
                        own.grad,
                        wanted.grad,
                        rtol=1e-3,
                        atol=1e-4 * scale + 1e-6,  # that of a critic's last bias is what is left of terms that cancel
                        msg=lambda m, t=tensor, n=part: f"{n}.{t}: {m}",
                    )
                    compared += scale > 0
        assert compared > 10 * len(networks)
        if isinstance(one, VAE):
            assert [float(half.variance) for half in halves] == pytest.approx([float(one.variance)] * 2, rel=1e-5)
        for loss in {"critic_loss", "generator_loss", "loss"} & scalars.keys():
            both = sum(float(line[loss]) for line in found) / 2
            if name != "vae":  # whose loss is that of its own images at everybody's variance
                assert both == pytest.approx(float(scalars[loss]), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("build", [build_ae, build_vae, build_gan, build_joint, build_classic])
def test_models_are_compared_by_a_number_of_the_validation(build: Callable[[], Recipe]) -> None:
    recipe = build()
    found = recipe.validate(batch(count=recipe.deciding.fewest))
    assert recipe.deciding.scalar in found
    assert recipe.deciding.error is None or recipe.deciding.error in found


def test_a_critic_that_is_given_labels_adds_their_projection() -> None:
    torch.manual_seed(0)
    critic, images, labels = Critic(NETWORK, SIZE, 3, classes=3), smooth_images(6), torch.arange(6) % 3
    assert critic.projection is not None
    directions = critic.projection.weight
    unmoved = critic(images, labels)  # as drawn, no label says anything
    with torch.no_grad():
        directions.normal_()
        features = critic.trunk(images, labels)[-1].mean((2, 3))
        torch.testing.assert_close(critic(images, labels) - unmoved, (directions[labels] * features).sum(1))


def test_an_autoencoder_learns_beyond_black_and_white() -> None:
    """The picture is cut there, and a cut has no gradient: a decoder that starts out too bright would never come back."""
    recipe, images = build_ae(), smooth_images()
    encoder, decoder = recipe.encoder.network, recipe.decoder.network
    decoder.stages[-2].bias.data.fill_(5.0)
    before = copies(decoder)
    assert decoder(encoder(images).mean).min() == 1
    too_bright = decoder(encoder(images).mean, raw=True).mean()
    recipe.step(Batch(images), Clock(0, BATCH * 100, BATCH))
    assert not same(before, decoder)
    assert decoder(encoder(images).mean, raw=True).mean() < too_bright - 0.01


class TestBatch:
    def test_its_first_images_have_their_labels(self) -> None:
        images, labels = smooth_images(6), torch.arange(6)
        first = Batch(images, labels).first(2)
        assert torch.equal(first.images, images[:2])
        assert first.labels is not None
        assert first.labels.tolist() == [0, 1]
        assert Batch(images).first(2).labels is None

    def test_labels_of_several_are_joined_where_there_are_any(self) -> None:
        found = joined(torch.tensor([1]), None, torch.tensor([2, 3]))
        assert found is not None
        assert found.tolist() == [1, 2, 3]
        assert joined(None, None) is None

    def test_goes_to_a_device_with_its_labels(self) -> None:
        moved = Batch(smooth_images(2), torch.arange(2)).to(torch.device("meta"))
        assert moved.labels is not None
        assert {moved.images.device.type, moved.labels.device.type} == {"meta"}
        assert Batch(smooth_images(2)).to(torch.device("meta")).labels is None
