"""The joint VAE/GAN: which loss reaches which network, and what its numbers are."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import OneProcess
from vaegan.config import JointConfig, NetworkConfig
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.objectives import penalties
from vaegan.randomness import Draws
from vaegan.recipes.critic import judge
from vaegan.recipes.joint import Joint
from vaegan.recipes.levers import Levers
from vaegan.recipes.schedule import Clock, cosine

BATCH, SIZE, LATENT = 8, 16, 4
NOTHING = 1e-30  # a learning rate too small to move a weight
STILL = JointConfig(learning_rate=NOTHING, final_learning_rate=NOTHING, kl_warmup=0, augmentation=0)
CLOCK = Clock(10 * BATCH, 40 * BATCH, BATCH)


def images() -> Tensor:
    coarse = torch.rand(BATCH, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return F.interpolate(coarse, SIZE, mode="bilinear")


def build(config: JointConfig = STILL) -> Joint:
    torch.manual_seed(0)
    network = NetworkConfig(width=8, width_limit=16, latent_dim=LATENT)
    parts = Encoder(network, SIZE, 3), Decoder(network, SIZE, 3), Critic(network, SIZE, 3)
    nn.init.normal_(parts[2].head.weight, std=0.3)
    return Joint(config, *parts, OneProcess(), flips=True)


def gradients(network: nn.Module) -> Tensor:
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in network.parameters()])


def pieces(joint: Joint) -> tuple[Tensor, Tensor, Tensor, Tensor, Any]:
    posterior = joint.encoder(images())
    noise = Draws(0, "joint").normal("posterior", CLOCK.seen, BATCH, LATENT)
    z = posterior.mean + (posterior.log_var / 2).exp() * noise
    prior = Draws(0, "joint").normal("latents", CLOCK.seen, BATCH, LATENT)
    return z, joint.decoder(z), joint.decoder(z.detach()), joint.decoder(prior), posterior


def features(joint: Joint, x: Tensor) -> Tensor:
    stages = joint.critic.trunk(x)
    return stages[min(joint.config.feature_stage, len(stages) - 1)]


def feature_error(joint: Joint, reconstructions: Tensor) -> Tensor:
    wanted = features(joint, images()).detach()
    variance = wanted.var(0, unbiased=False).mean()
    return 0.5 * (wanted - features(joint, reconstructions)).square().sum((1, 2, 3)) / variance


@pytest.mark.parametrize("objective", ["relativistic", "non-saturating"])
def test_each_network_has_the_gradient_of_its_own_loss_and_of_no_other(objective: Any) -> None:
    """L_E = KL + L_feat; L_Dec = L_feat + F w L_GAN on both kinds of fakes; L_Dis on all three kinds (Larsen et al. 2016)."""
    config = replace(
        STILL, objective=objective, penalty=0.0, final_penalty=0.0, drift_weight=0.0, kl_weight=0.7, adversarial_weight=0.3
    )
    joint = build(config)
    scalars = joint.step(images(), CLOCK)
    found = {name: gradients(getattr(joint, name)) for name in ("encoder", "critic", "decoder")}

    _, joined, cut_off, samples, posterior = pieces(joint)
    critic, decoder = joint.critic, joint.decoder
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
        "encoder": flat((0.7 * kl + error).mean(), joint.encoder),
        "critic": flat(critic_loss.mean(), critic),
        "decoder": flat((error + 0.3 * count * adversarial).mean(), decoder),
    }
    for name, gradient in wanted.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4 * scale, msg=lambda m, n=name: f"{n}: {m}")
    assert scalars["kl"].item() == pytest.approx(kl.mean().item(), rel=1e-4)
    assert scalars["feature_error"].item() == pytest.approx(2 * error.mean().item() / count, rel=1e-3)
    assert scalars["error"].item() == pytest.approx((joined - images()).square().mean().item(), rel=1e-4)


def test_guards_slow_each_player_by_its_own_lever() -> None:
    joint = build(JointConfig())
    joint.levers = Levers(generator_rate=0.5, critic_rate=0.25)
    joint.step(images(), CLOCK)
    rate = cosine(joint.config.learning_rate, joint.config.final_learning_rate, CLOCK.progress)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in joint.optimizers().items()}
    assert rates == {"vae": 0.5 * rate, "critic": 0.25 * rate}


def test_the_adversarial_loss_never_reaches_the_encoder() -> None:
    weak, strong = (build(replace(STILL, adversarial_weight=weight)) for weight in (0.0, 100.0))
    for joint in (weak, strong):
        joint.step(images(), CLOCK)
    torch.testing.assert_close(gradients(weak.encoder), gradients(strong.encoder))
    assert gradients(weak.encoder).abs().max() > 1e-3
    assert not torch.allclose(gradients(weak.decoder), gradients(strong.decoder))


def test_the_feature_error_never_reaches_the_critic() -> None:
    reached: list[bool] = []
    joint = build()

    def backward(loss: Tensor) -> None:
        before = gradients(joint.critic)
        loss.backward()
        reached.append(not torch.equal(before, gradients(joint.critic)))

    joint.engine.backward = backward  # pyright: ignore
    joint.step(images(), CLOCK)
    assert reached == [True, False]
    assert all(parameter.requires_grad for parameter in joint.critic.parameters())


def test_reconstructions_are_among_what_the_critic_is_shown() -> None:
    joint = build()
    shown: list[Tensor] = []
    joint.critic.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0].detach()))
    joint.step(images(), CLOCK)
    _, joined, _, samples, _ = pieces(joint)
    judged = shown[0]
    assert torch.allclose(judged[:BATCH], images())
    assert torch.allclose(judged[BATCH : 3 * BATCH : 2], joined.detach(), atol=1e-5)
    assert torch.allclose(judged[BATCH + 1 : 3 * BATCH : 2], samples.detach(), atol=1e-5)


def test_feature_error_does_not_change_with_the_scale_of_the_features() -> None:
    """Divided by its variance: a critic whose features are ten times as large measures the same."""
    joint = build()
    one = joint.step(images(), CLOCK)["feature_error"]
    assert 0 < one < math.inf
    with torch.no_grad():
        last = joint.critic.trunk.stages[-1][0]
        last.weight.mul_(10)
        last.bias.mul_(10)
    ten = joint.step(images(), CLOCK)["feature_error"]
    assert float(ten) == pytest.approx(float(one), rel=1e-3)


def test_learns_to_reconstruct() -> None:
    joint = build(JointConfig(learning_rate=3e-3, final_learning_rate=3e-3))
    errors = [float(joint.step(images(), Clock(step * BATCH, 40 * BATCH, BATCH))["feature_error"]) for step in range(40)]
    assert sum(errors[-5:]) < 0.7 * sum(errors[:5])


def test_models_are_compared_by_a_number_of_the_validation() -> None:
    joint, many = build(), images().repeat(13, 1, 1, 1)
    assert len(many) >= joint.deciding.fewest
    assert joint.deciding.scalar in joint.validate(many)


@pytest.mark.parametrize(("count", "processes"), [(4, 1), (16, 4)])
def test_the_penalty_looks_at_reconstructions_and_samples(monkeypatch: pytest.MonkeyPatch, count: int, processes: int) -> None:
    """Also where a process has a quarter of one image."""
    seen: list[float] = []

    def noted(critic: Any, chosen: Tensor) -> Tensor:
        seen.extend(chosen[len(chosen) // 2 :, 0, 0, 0].tolist())
        return torch.zeros(len(chosen))

    monkeypatch.setattr(penalties, "exact_penalty", noted)
    critic, own = build().critic, count // processes
    for step in range(2):
        for rank in range(processes):
            of_image = torch.arange(own) * processes + rank
            fake = torch.stack([100.0 + of_image, 200.0 + of_image], 1).flatten()[:, None, None, None].expand(-1, 3, SIZE, SIZE)
            draws = Draws(0, "joint", rank=rank, world_size=processes)
            judge(critic, fake[::2], fake, None, "exact", 0.01, draws, Clock(step * count, 10 * count, count))
    quarter = count // 4
    assert sorted(seen) == sorted([kind + k for kind in (100.0, 200.0) for k in range(quarter)])


def test_interpolation_mixes_every_generated_image_with_its_own_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def noted(critic: Any, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
        critic(real)
        seen.update(real=real, fake=fake)
        return real.new_zeros(())

    monkeypatch.setattr(penalties, "interpolated_penalty", noted)

    class Told(nn.Module):
        def forward(self, images: Tensor, labels: Tensor) -> Tensor:
            seen["labels"] = labels
            return images.mean((1, 2, 3))

    real = torch.arange(8.0)[:, None, None, None].expand(-1, 3, 16, 16)
    fake = real.repeat_interleave(2, 0) + 0.25
    labels = 10 + torch.arange(8)
    judge(Told(), real, fake, labels, kind="interpolated", step=0.01, draws=Draws(0, "joint"), clock=Clock(0, 80, 8))
    torch.testing.assert_close(seen["fake"], seen["real"] + 0.25)
    assert seen["labels"].tolist() == [10, 11]
