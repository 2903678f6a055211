"""The sources' GANs: each player's gradient against its published loss written out, and what batch normalisation asks for."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import OneProcess
from vaegan.config import ClassicGANConfig, NetworkConfig
from vaegan.networks import Critic, Decoder
from vaegan.networks.normalisation import running_statistics
from vaegan.parts.schedule import Clock
from vaegan.randomness import Draws
from vaegan.recipes import classic_gan
from vaegan.recipes.classic_gan import ClassicGAN
from vaegan.types import Batch

BATCH, SIZE, LATENT = 8, 16, 4
NETWORK = NetworkConfig(width=8, width_limit=16, latent_dim=LATENT)
NORMALISED = replace(NETWORK, kind="classic", norm="batch")
CLOCK = Clock(3 * BATCH, 20 * BATCH, BATCH)
NOTHING = 1e-30  # a learning rate too small to move a weight


def images() -> Tensor:
    coarse = torch.rand(BATCH, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return F.interpolate(coarse, SIZE, mode="bilinear")


def build(network: NetworkConfig = NETWORK, classes: int = 0, **settings: Any) -> ClassicGAN:
    """Nothing moves, so that gradients can be computed again afterwards."""
    torch.manual_seed(0)
    generator, critic = Decoder(network, SIZE, 3, classes), Critic(network, SIZE, 3, classes)
    nn.init.normal_(critic.head.weight, std=0.3)
    return ClassicGAN(
        ClassicGANConfig(**{"batch_size": BATCH, "learning_rate": NOTHING} | settings), generator, critic, OneProcess()
    )


def samples_of(gan: ClassicGAN) -> Tensor:
    return gan.generator.network(gan.prior(Draws(0, "gan").normal("latents", CLOCK.seen, BATCH, LATENT)))


def check_gradients(network: nn.Module, loss: Tensor) -> None:
    wanted = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, retain_graph=True)
    scale = max(float(gradient.abs().max()) for gradient in wanted if gradient is not None)
    assert scale > 0
    for (name, parameter), gradient in zip(network.named_parameters(), wanted, strict=True):
        gradient = torch.zeros_like(parameter) if gradient is None else gradient
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found, gradient, rtol=1e-3, atol=1e-4 * scale, msg=lambda m, n=name: f"{n}: {m}")


Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, tuple[Loss, Loss]] = {
    "saturating": (lambda r, f: -r.sigmoid().log() - (1 - f.sigmoid()).log(), lambda r, f: (1 - f.sigmoid()).log()),
    "non-saturating": (lambda r, f: -r.sigmoid().log() - (1 - f.sigmoid()).log(), lambda r, f: -f.sigmoid().log()),
    "hinge": (lambda r, f: (1 - r).clamp_min(0) + (1 + f).clamp_min(0), lambda r, f: -f),
    "least-squares": (lambda r, f: 0.5 * (r - 1) ** 2 + 0.5 * f**2, lambda r, f: 0.5 * (f - 1) ** 2),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
}
"""Of the critic and of the generator, from logits of real and of generated images."""


@pytest.mark.parametrize("prior", ["normal", "uniform"])
@pytest.mark.parametrize("objective", LOSSES)
def test_both_players_have_the_gradient_of_their_published_loss(objective: Any, prior: Any) -> None:
    gan = build(objective=objective, prior=prior, clip=100.0)
    scalars = gan.step(Batch(images()), CLOCK)
    critic, samples = gan.critic.network, samples_of(gan)
    of_critic, of_generator = LOSSES[objective]
    real, fake = critic(images()), critic(samples)
    generator_loss = of_generator(real.detach(), fake).mean()
    check_gradients(gan.generator.network, generator_loss)
    critic_loss = of_critic(real, critic(samples.detach())).mean()
    check_gradients(critic, critic_loss)
    assert scalars["critic_loss"].item() == pytest.approx(critic_loss.item(), rel=1e-4)
    assert scalars["generator_loss"].item() == pytest.approx(generator_loss.item(), rel=1e-4)
    assert "slope" not in scalars


def gradients_at(critic: nn.Module, shown: Tensor) -> Tensor:
    """The gradient of each image's logit at it."""
    shown = shown.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(shown).sum(), shown, create_graph=True)
    return gradient.flatten(1)


@pytest.mark.parametrize("objective", ["non-saturating", "wasserstein"])
def test_the_penalty_is_the_published_one_on_a_quarter(objective: Any) -> None:
    """R1 and R2 (Mescheder et al. 2018, Eq. 9); of a Wasserstein critic that of Gulrajani et al. 2017, Eq. 3."""
    gan = build(objective=objective, penalty=3.0)
    scalars = gan.step(Batch(images()), CLOCK)
    critic, samples, quarter = gan.critic.network, samples_of(gan).detach(), BATCH // 4
    real, fake = images()[:quarter], samples[:quarter]
    if objective == "wasserstein":
        share = Draws(0, "gan").uniform("penalty", CLOCK.seen, quarter)[:, None, None, None]
        slope = (gradients_at(critic, share * real + (1 - share) * fake).norm(dim=1) - 1).square().mean()
    else:
        slope = gradients_at(critic, torch.cat([real, fake])).square().sum(1).mean()
    loss = LOSSES[objective][0](critic(images()), critic(samples)).mean() + 3.0 * slope
    check_gradients(critic, loss)
    assert scalars["slope"].item() == pytest.approx(slope.item(), rel=1e-4)
    assert scalars["critic_loss"].item() == pytest.approx(loss.item(), rel=1e-4)


@pytest.mark.parametrize("objective", ["non-saturating", "wasserstein"])
def test_each_image_is_judged_with_its_own_label(objective: Any) -> None:
    given: list[tuple[int, list[int]]] = []
    gan, labels = build(classes=BATCH, objective=objective, penalty=1.0), torch.arange(BATCH)
    gan.critic.network.register_forward_pre_hook(lambda _, inputs: given.append((len(inputs[0]), inputs[1].tolist())))
    gan.step(Batch(images(), labels), CLOCK)
    whole = labels.tolist()
    slope = [0, 1] if objective == "wasserstein" else [0, 1, 0, 1]
    assert given == [(2 * BATCH, whole + whole), (len(slope), slope), (BATCH, whole)]


@pytest.mark.parametrize("objective", ["saturating", "non-saturating"])
def test_the_gradient_at_an_image_is_that_of_its_own_loss(objective: Any) -> None:
    gan = build(objective=objective)
    scalars = gan.step(Batch(images()), CLOCK)
    samples = samples_of(gan).detach().requires_grad_()
    loss = LOSSES[objective][1](torch.zeros(BATCH), gan.critic.network(samples)).sum()
    (gradient,) = torch.autograd.grad(loss, samples)
    assert scalars["image_gradient"].item() == pytest.approx(gradient.flatten(1).norm(dim=1).mean().item(), rel=1e-4)


def test_average_of_a_generator_that_moves_every_few_steps_forgets_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classic_gan, "AVERAGE_CAP", 8 * BATCH)
    gan = build(critic_steps=4)
    with torch.no_grad():
        for parameter in gan.generator.averaged.parameters():
            parameter.zero_()
    gan.step(Batch(images()), Clock(10_003 * BATCH, None, BATCH))
    for averaged, parameter in zip(gan.generator.averaged.parameters(), gan.generator.network.parameters(), strict=True):
        torch.testing.assert_close(averaged, (1 - 0.5 ** (4 / 8)) * parameter)


def test_what_is_kept_is_the_last_generator_and_its_prior() -> None:
    gan = build(learning_rate=1e-3, prior="uniform")
    for step in range(3):
        gan.step(Batch(images()), Clock(step * BATCH, None, BATCH))
    trained = gan.trained()
    for kept, last in zip(trained.decoder.parameters(), gan.generator.network.parameters(), strict=True):
        torch.testing.assert_close(kept, last, atol=1e-4, rtol=0)  # of its weights before a batch of eight 1 / 256 is left
    assert (trained.encoder, trained.variance) == (None, None)
    assert trained.prior is gan.prior


class TestBatchNormalisation:
    @pytest.mark.parametrize("penalty", [0.0, 1.0])
    @pytest.mark.parametrize("objective", ["non-saturating", "wasserstein"])
    def test_a_critic_judges_real_and_generated_images_apart(self, objective: Any, penalty: float) -> None:
        gan = build(NORMALISED, objective=objective, penalty=penalty, clip=100.0)
        critic, twin = gan.critic.network, deepcopy(gan.critic.network)
        scalars = gan.step(Batch(images()), CLOCK)
        samples = samples_of(gan).detach()
        real, fake = twin(images()), twin(samples)
        base = LOSSES[objective][0](real, fake).mean().item()
        assert scalars["critic_loss"].item() == pytest.approx(base + penalty * float(scalars.get("slope", 0)), rel=1e-3)
        together = twin(torch.cat([images(), samples])).chunk(2)
        assert not math.isclose(LOSSES[objective][0](*together).mean().item(), base, rel_tol=1e-3)
        # The critic has gathered the statistics of its step and of the generator's, and nothing for the penalty.
        (count,) = {int(buffer) for name, buffer in critic.named_buffers() if name.endswith("num_batches_tracked")}
        assert count == 3
        assert critic.training

    def test_a_critics_slope_is_that_of_each_image_on_its_own(self) -> None:
        gan = build(NORMALISED, penalty=1.0)
        twin = deepcopy(gan.critic.network)
        scalars = gan.step(Batch(images()), CLOCK)
        samples = samples_of(gan).detach()
        with torch.no_grad():  # slopes are taken at statistics that have moved by the two batches
            twin(images()), twin(samples)
        chosen = torch.cat([images()[: BATCH // 4], samples[: BATCH // 4]])
        with running_statistics(twin):
            alone = torch.stack([gradients_at(twin, image[None]).square().sum() for image in chosen])
        assert twin.training
        assert scalars["slope"].item() == pytest.approx(alone.mean().item(), rel=1e-3)
