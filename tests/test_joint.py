"""The joint VAE/GAN: which loss reaches which network, and what its numbers are."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import OneProcess
from vaegan.config import JointConfig, NetworkConfig
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.parts.critics import logits_and_slope
from vaegan.parts.schedule import Clock, cosine
from vaegan.parts.views import View
from vaegan.randomness import Draws
from vaegan.recipes import joint as recipe
from vaegan.recipes.joint import Joint
from vaegan.types import Batch

BATCH, SIZE, LATENT = 8, 16, 4
NOTHING = 1e-30  # a learning rate too small to move a weight
CLOCK = Clock(10 * BATCH, 40 * BATCH, BATCH)
"""A quarter of the stage, when the KL divergence is faded in."""


def images() -> Tensor:
    coarse = torch.rand(BATCH, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return F.interpolate(coarse, SIZE, mode="bilinear")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are shown to the critic as they are, and its loss is that of the game alone."""
    monkeypatch.setattr(recipe, "AUGMENTATION", 0.0)
    monkeypatch.setattr(recipe, "PENALTIES", (0.0, 0.0))
    monkeypatch.setattr(recipe, "DRIFT", 0.0)


def build(**settings: Any) -> Joint:
    """Nothing moves, so that gradients can be computed again afterwards."""
    torch.manual_seed(0)
    config = JointConfig(**{"batch_size": BATCH, "learning_rate": NOTHING} | settings)
    network = NetworkConfig(width=8, width_limit=16, latent_dim=LATENT)
    parts = Encoder(network, SIZE, 3), Decoder(network, SIZE, 3), Critic(network, SIZE, 3)
    nn.init.normal_(parts[2].head.weight, std=0.3)
    return Joint(config, *parts, OneProcess(), flips=True)


def gradients(network: nn.Module) -> Tensor:
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in network.parameters()])


def pieces(joint: Joint) -> tuple[Tensor, Tensor, Tensor, Tensor, Any]:
    posterior = joint.encoder.network(images())
    noise = Draws(0, "joint").normal("posterior", CLOCK.seen, BATCH, LATENT)
    z = posterior.mean + (posterior.log_var / 2).exp() * noise
    prior = Draws(0, "joint").normal("latents", CLOCK.seen, BATCH, LATENT)
    decoder = joint.decoder.network
    return z, decoder(z), decoder(z.detach()), decoder(prior), posterior


def features(joint: Joint, x: Tensor) -> Tensor:
    """Of the stage at an eighth of the side, or the coarsest."""
    stages = joint.critic.network.trunk(x)
    return stages[min(2, len(stages) - 1)]


def feature_error(joint: Joint, reconstructions: Tensor) -> Tensor:
    wanted = features(joint, images()).detach()
    variance = wanted.var(0, unbiased=False).mean()
    return 0.5 * (wanted - features(joint, reconstructions)).square().sum((1, 2, 3)) / variance


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("objective", ["relativistic", "non-saturating"])
def test_each_network_has_the_gradient_of_its_own_loss_and_of_no_other(objective: Any) -> None:
    """L_E = KL + L_feat; L_Dec = L_feat + F w L_GAN on both kinds of fakes; L_Dis on all three kinds (Larsen et al. 2016)."""
    joint = build(objective=objective, kl_weight=0.7, adversarial_weight=0.3)
    scalars = joint.step(Batch(images()), CLOCK)
    found = {name: gradients(getattr(joint, name).network) for name in ("encoder", "critic", "decoder")}

    _, joined, cut_off, samples, posterior = pieces(joint)
    critic, decoder = joint.critic.network, joint.decoder.network
    real = critic(images())
    kinds = [critic(fake) for fake in (cut_off, samples)]
    if objective == "relativistic":
        critic_loss = sum(F.softplus(fake - real) for fake in [critic(cut_off.detach()), critic(samples.detach())])
        adversarial = sum(F.softplus(real.detach() - fake) for fake in kinds)
    else:
        critic_loss = 2 * F.softplus(-real) + sum(F.softplus(critic(fake.detach())) for fake in (cut_off, samples))
        adversarial = sum(F.softplus(-fake) for fake in kinds)
    error = feature_error(joint, joined)
    count = features(joint, images())[0].numel()
    kl = 0.5 * (posterior.mean**2 + posterior.log_var.exp() - 1 - posterior.log_var).sum(1)

    def flat(loss: Tensor, network: nn.Module) -> Tensor:
        parts = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, allow_unused=True)
        return torch.cat(
            [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(parts, network.parameters(), strict=True)]
        )

    wanted = {
        "encoder": flat((0.7 * kl + error).mean(), joint.encoder.network),
        "critic": flat(critic_loss.mean(), critic),
        "decoder": flat((error + 0.3 * count * adversarial).mean(), decoder),
    }
    for name, gradient in wanted.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4 * scale, msg=lambda m, n=name: f"{n}: {m}")
    assert scalars["critic_loss"].item() == pytest.approx(critic_loss.mean().item(), rel=1e-4)
    assert scalars["kl"].item() == pytest.approx(kl.mean().item(), rel=1e-4)
    assert scalars["feature_error"].item() == pytest.approx(2 * error.mean().item() / count, rel=1e-3)
    assert scalars["error"].item() == pytest.approx((joined - images()).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("objective", ["relativistic", "non-saturating"])
def test_the_critic_pays_for_its_slope_and_a_relativistic_one_for_its_level(
    monkeypatch: pytest.MonkeyPatch, objective: Any
) -> None:
    monkeypatch.setattr(recipe, "AUGMENTATION", 0.0)
    full = build(objective=objective)
    scalars = full.step(Batch(images()), CLOCK)
    monkeypatch.setattr(recipe, "PENALTIES", (0.0, 0.0))
    monkeypatch.setattr(recipe, "DRIFT", 0.0)
    alone = build(objective=objective).step(Batch(images()), CLOCK)
    assert scalars["slope"] == alone["slope"] > 0
    wanted = 0.05 * 0.3**0.25 * scalars["slope"]  # from 0.05 to 0.015
    if objective == "relativistic":
        _, joined, _, samples, _ = pieces(full)
        critic = full.critic.network
        wanted = wanted + 0.01 * (critic(images()).mean() + critic(torch.cat([joined, samples])).mean()).square()
    difference = scalars["critic_loss"] - alone["critic_loss"]
    assert float(difference) == pytest.approx(float(wanted.detach()), rel=1e-3, abs=1e-6)


def test_every_player_is_slowed_down() -> None:
    joint = build(learning_rate=3e-4)
    joint.step(Batch(images()), Clock(CLOCK.seen, CLOCK.end, BATCH, slowdown=8))
    rate = cosine(3e-4, 1e-4, CLOCK.progress) / 8
    for player in (joint.encoder, joint.decoder, joint.critic):
        assert [group["lr"] for group in player.optimizer.param_groups] == [rate]


def test_the_kl_divergence_is_faded_in() -> None:
    weights = []
    for progress in (0.0, 0.05, 0.1, 0.6):
        gradient = []
        for kl_weight in (0.0, 2.0):
            joint = build(kl_weight=kl_weight)
            joint.step(Batch(images()), Clock(0, 1000, BATCH, start=-int(1000 * progress / (1 - progress))))
            gradient.append(gradients(joint.encoder.network))
        weights.append(float((gradient[1] - gradient[0]).norm()))
    assert weights[0] == 0
    assert weights[1] == pytest.approx(weights[2] / 2, rel=0.05)
    assert weights[3] == pytest.approx(weights[2], rel=1e-3)


@pytest.mark.usefixtures("plain")
def test_the_adversarial_loss_never_reaches_the_encoder() -> None:
    weak, strong = (build(adversarial_weight=weight) for weight in (0.0, 100.0))
    for joint in (weak, strong):
        joint.step(Batch(images()), CLOCK)
    torch.testing.assert_close(gradients(weak.encoder.network), gradients(strong.encoder.network))
    assert gradients(weak.encoder.network).abs().max() > 1e-3
    assert not torch.allclose(gradients(weak.decoder.network), gradients(strong.decoder.network))


def test_the_feature_error_never_reaches_the_critic() -> None:
    reached: list[bool] = []
    joint = build()

    def backward(loss: Tensor) -> None:
        before = gradients(joint.critic.network)
        loss.backward()
        reached.append(not torch.equal(before, gradients(joint.critic.network)))

    joint.engine.backward = backward  # pyright: ignore
    joint.step(Batch(images()), CLOCK)
    assert reached == [True, False]
    assert all(parameter.requires_grad for parameter in joint.critic.network.parameters())


@pytest.mark.usefixtures("plain")
def test_reconstructions_are_among_what_the_critic_is_shown() -> None:
    joint = build()
    shown: list[Tensor] = []
    joint.critic.network.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0].detach()))
    joint.step(Batch(images()), CLOCK)
    _, joined, _, samples, _ = pieces(joint)
    judged = shown[0]
    assert torch.allclose(judged[:BATCH], images())
    assert torch.allclose(judged[BATCH : 3 * BATCH : 2], joined.detach(), atol=1e-5)
    assert torch.allclose(judged[BATCH + 1 : 3 * BATCH : 2], samples.detach(), atol=1e-5)


def test_both_generated_images_of_a_pair_are_changed_as_the_real_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "AUGMENTATION", 4.0)  # certain at a quarter of the stage
    views: list[tuple[View, Tensor]] = []
    original = View.__call__

    def spy(view: View, shown: Tensor) -> Tensor:
        views.append((view, shown))
        return original(view, shown)

    monkeypatch.setattr(View, "__call__", spy)
    build().step(Batch(images()), CLOCK)
    (one, real), (two, fakes), (again, _) = views
    assert two is again  # critic and decoder are shown the same
    assert (len(real), len(fakes)) == (BATCH, 2 * BATCH)
    assert not torch.allclose(original(one, images()), images())
    assert torch.equal(original(two, images().repeat_interleave(2, 0)), original(one, images()).repeat_interleave(2, 0))


@pytest.mark.usefixtures("plain")
def test_feature_error_does_not_change_with_the_scale_of_the_features() -> None:
    """Divided by its variance: a critic whose features are ten times as large measures the same."""
    joint = build()
    one = joint.step(Batch(images()), CLOCK)["feature_error"]
    assert 0 < one < math.inf
    with torch.no_grad():
        last = joint.critic.network.trunk.stages[-1][0]
        last.weight.mul_(10)
        last.bias.mul_(10)
    ten = joint.step(Batch(images()), CLOCK)["feature_error"]
    assert float(ten) == pytest.approx(float(one), rel=1e-3)


def test_learns_to_reconstruct() -> None:
    joint = build(learning_rate=3e-3)
    errors = [float(joint.step(Batch(images()), Clock(step * BATCH, None, BATCH))["feature_error"]) for step in range(40)]
    assert sum(errors[-5:]) < 0.7 * sum(errors[:5])


def test_models_are_compared_by_a_number_of_the_validation() -> None:
    joint, many = build(), images().repeat(13, 1, 1, 1)
    assert len(many) >= joint.deciding.fewest
    scalars = joint.validate(Batch(many))
    assert {joint.deciding.scalar, joint.deciding.error} <= set(scalars)


def test_what_is_trained_are_the_averages() -> None:
    joint = build()
    trained = joint.trained()
    assert trained.decoder is joint.decoder.averaged is not joint.decoder.network
    assert trained.encoder is joint.encoder.averaged is not joint.encoder.network
    assert trained.variance is None


class TestJudge:
    """Real images beside several generated ones each; the slope is taken at a part of them, moved by noise."""

    def judged(
        self, critic: Callable[..., Tensor], fake: Tensor, draws: Draws, step: int = 0, labels: Tensor | None = None
    ) -> None:
        count = len(fake) // 2
        clock = Clock(step * count * draws.world_size, 1000, count * draws.world_size)
        logits_and_slope(critic, fake[::2], fake, labels, 1e-6, draws, clock)  # pyright: ignore[reportArgumentType]

    @pytest.mark.parametrize(("count", "processes"), [(4, 1), (8, 1), (16, 4)])
    def test_the_slope_is_taken_at_both_kinds_of_generated_images(self, count: int, processes: int) -> None:
        """Also where a process has a quarter of one image."""
        seen: list[int] = []

        def critic(shown: Tensor, labels: Tensor | None) -> Tensor:
            moved = shown[3 * own :]
            seen.extend(moved[len(moved) // 2 :, 0, 0, 0].round().int().tolist())
            return shown.mean((1, 2, 3))

        own = count // processes
        for step in range(2):
            for rank in range(processes):
                of_image = torch.arange(own) * processes + rank
                fake = torch.stack([100.0 + of_image, 200.0 + of_image], 1).flatten()[:, None, None, None]
                self.judged(critic, fake.expand(-1, 3, SIZE, SIZE), Draws(0, "joint", rank=rank, world_size=processes), step)
        assert sorted(seen) == sorted(kind + k for kind in (100, 200) for k in range(count // 4))

    def test_every_image_is_judged_with_its_own_label(self) -> None:
        seen: list[tuple[Tensor, Tensor]] = []

        def critic(shown: Tensor, labels: Tensor) -> Tensor:
            seen.append((shown[:, 0, 0, 0].round().long(), labels))
            return shown.mean((1, 2, 3))

        fake = torch.arange(8).repeat_interleave(2)[:, None, None, None].float().expand(-1, 3, SIZE, SIZE)
        self.judged(critic, fake, Draws(0, "joint"), labels=torch.arange(8))
        ((shown, labels),) = seen
        assert len(labels) == 8 + 16 + 4
        assert torch.equal(shown, labels)
