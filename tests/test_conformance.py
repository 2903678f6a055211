"""Every recipe keeps the same promises, whatever its algorithm: `check_recipe` asks for them one by one.

It builds, its steps are finite, only the networks it means to change are changed, and interrupted + resumed equals
uninterrupted bit for bit; at two sizes, grey and in colour.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines import OneProcess
from vaegan.config import (
    AEConfig,
    DataConfig,
    GANConfig,
    JointConfig,
    NetworkConfig,
    TrainConfig,
    VAEConfig,
)
from vaegan.config_files import SOURCES, load_preset
from vaegan.data import TRAIN, VALIDATION, ImageDataset
from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.recipes.schedule import Clock
from vaegan.training.stages import BUILDERS, StageInputs, finish_model, looking_model, to_model

BATCH = 8
SETTINGS = TrainConfig(
    network=NetworkConfig(latent_dim=4, width=4, width_limit=8),
    ae=AEConfig(batch_size=BATCH),
    vae=VAEConfig(batch_size=BATCH),
    joint=JointConfig(batch_size=BATCH),
    gan=GANConfig(batch_size=BATCH, critic_warmup=0, generator_ramp=0, refit_every=2),
)


class ChannelsLast(OneProcess):
    """As the real engine prepares networks."""

    def prepare(self, network: Any) -> Any:
        return network.to(memory_format=torch.channels_last)


def made_up_dataset(size: int, channels: int, count: int = 48) -> ImageDataset:
    """Smooth random images with two labels; nothing is read from disk."""
    random = np.random.default_rng(size + channels)
    coarse = random.integers(0, 256, (count, 4, 4, channels)).astype(np.uint8)
    pixels = coarse.repeat(-(-size // 4), 1).repeat(-(-size // 4), 2)[:, :size, :size]
    kind = (np.arange(count) % 3).astype(np.float32)
    return ImageDataset(
        images=np.ascontiguousarray(pixels), sides=np.where(np.arange(count) < 40, TRAIN, VALIDATION).astype(np.uint8),
        contents=random.permutation(count).astype(np.uint64), labels={"kind": kind}, label_words={"kind": ("ant", "bee", "cow")},
        names=[str(k) for k in range(count)], skipped=(), notes=(), warnings=(), fingerprint="made up", source="made up",
        config=DataConfig(size=size), flips=True,
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A recipe under some settings, and the networks that its steps must and must not change."""

    stage: str
    config: TrainConfig = SETTINGS
    grown: bool = False
    """Whether it starts from a VAE."""
    frozen: frozenset[str] = frozenset()


def vae(**settings: Any) -> TrainConfig:
    return replace(SETTINGS, recipe="vae", vae=replace(SETTINGS.vae, **settings))


def gan(**settings: Any) -> TrainConfig:
    return replace(SETTINGS, recipe="gan", gan=replace(SETTINGS.gan, **settings))


def conditional(config: TrainConfig = SETTINGS) -> TrainConfig:
    return replace(config, conditional=True, network=replace(config.network, classes=3))


def bounded(config: TrainConfig, output: Any) -> TrainConfig:
    return replace(config, network=replace(config.network, output=output))


def of_kind(kind: Any, config: TrainConfig = SETTINGS, **settings: Any) -> TrainConfig:
    return replace(config, network=replace(config.network, kind=kind, **settings))


def small_source(name: str) -> Case:
    """A source's preset with few channels and images a step; the generator moves at every one."""
    config = load_preset(name)
    network = replace(config.network, latent_dim=4, width=4, width_limit=8, decoder_width=min(8, config.network.decoder_width))
    stages = {
        "ae": replace(config.ae, batch_size=BATCH),
        "vae": replace(config.vae, batch_size=BATCH),
        "gan": replace(config.gan, batch_size=BATCH, critic_steps=1),
    }
    return Case(config.stages[0], replace(config, network=network, **stages))


CASES = {
    "ae": Case("ae"),
    "vae": Case("vae"),
    "vae, squared error": Case("vae", vae(objective="squared-error")),
    "vae, mean squared error": Case("vae", vae(objective="mean-squared-error")),
    "vae, laplace": Case("vae", vae(objective="laplace")),
    "vae, cross-entropy": Case("vae", bounded(vae(objective="cross-entropy"), "sigmoid")),
    "vae, continuous bernoulli": Case("vae", bounded(vae(objective="continuous-bernoulli"), "continuous-bernoulli")),
    "vae, no reconstruction": Case("vae", vae(reconstruction_weight=0.0), frozen=frozenset({"decoder", "average_decoder"})),
    "vae, no KL": Case("vae", vae(kl_weight=0.0)),
    "vae, free bits, cyclical": Case("vae", vae(free_bits=0.1, kl_schedule="cyclical")),
    "vae, importance weighted": Case("vae", vae(samples=3)),
    "vae, residual": Case("vae", replace(SETTINGS, network=replace(SETTINGS.network, kind="residual"))),
    "gan": Case("gan"),
    "gan, saturating": Case("gan", gan(objective="saturating")),
    "gan, non-saturating, sgd": Case("gan", gan(objective="non-saturating", critic_optimizer="sgd")),
    "gan, hinge": Case("gan", gan(objective="hinge")),
    "gan, least squares, uniform": Case("gan", gan(objective="least-squares", prior="uniform")),
    "gan, wasserstein, clipped": Case(
        "gan", gan(objective="wasserstein", clip=0.01, generator_optimizer="rmsprop", critic_optimizer="rmsprop")
    ),
    "gan, wasserstein, gradient penalty": Case(
        "gan", gan(objective="wasserstein", penalty_kind="interpolated", penalty=10.0, final_penalty=10.0, critic_steps=2)
    ),
    "gan, exact": Case("gan", gan(penalty_kind="exact")),
    "joint": Case("joint"),
    "joint, non-saturating, out of a vae": Case(
        "joint", replace(SETTINGS, joint=replace(SETTINGS.joint, objective="non-saturating", penalty_kind="exact")), grown=True
    ),
    "ae, conditional": Case("ae", conditional()),
    "vae, conditional, importance weighted": Case("vae", conditional(vae(samples=2))),
    "vae, conditional, residual": Case("vae", conditional(replace(SETTINGS, network=replace(SETTINGS.network, kind="residual")))),
    "gan, conditional": Case("gan", conditional()),
    "gan, conditional, exact": Case("gan", conditional(gan(penalty_kind="exact"))),
    "gan, conditional, interpolated": Case("gan", conditional(gan(penalty_kind="interpolated"))),
    "gan out of a vae, conditional": Case("gan", conditional(), grown=True, frozen=frozenset({"anchor", "mixture"})),
    "joint, conditional": Case("joint", conditional()),
    "gan out of a vae": Case("gan", grown=True, frozen=frozenset({"anchor", "mixture"})),
    "ae, classic, normalised": Case("ae", of_kind("classic", norm="batch")),
    "vae, classic, normalised, conditional": Case("vae", conditional(of_kind("classic", norm="batch"))),
    "vae, mlp, conditional, two layers": Case("vae", conditional(of_kind("mlp", layers=2))),
    "gan, classic, normalised": Case("gan", of_kind("classic", norm="batch")),
    "gan, classic, normalised, conditional, exact": Case(
        "gan", conditional(of_kind("classic", gan(penalty_kind="exact"), norm="batch"))
    ),
    "gan, classic, normalised, interpolated, warmed up": Case(
        "gan", of_kind("classic", gan(penalty_kind="interpolated", critic_warmup=2), norm="batch")
    ),
    "gan out of a vae, classic": Case("gan", of_kind("classic"), grown=True, frozen=frozenset({"anchor", "mixture"})),
    "gan out of a vae, mlp": Case("gan", of_kind("mlp"), grown=True, frozen=frozenset({"anchor", "mixture"})),
    "joint, mlp": Case("joint", of_kind("mlp")),
} | {f"source, {name}": small_source(name) for name in SOURCES}


def build(case: Case, dataset: ImageDataset) -> tuple[Any, StageInputs]:
    config = replace(case.config, data=replace(case.config.data, size=dataset.images.shape[1]))
    previous = None
    if case.grown:
        inputs = StageInputs(config, dataset, ChannelsLast(), None)  # pyright: ignore
        previous = finish_model(to_model(BUILDERS["vae"](inputs, {}), inputs), inputs, {})
    inputs = StageInputs(config, dataset, ChannelsLast(), previous)  # pyright: ignore
    return BUILDERS[case.stage](inputs, {}), inputs


def take_steps(recipe: Any, inputs: StageInputs, steps: range) -> list[dict[str, Tensor]]:
    images, labels = inputs.training_images(BATCH * 4), inputs.training_labels(BATCH * 4)
    return [
        recipe.step(
            images[step % 4 :: 4], Clock(step * BATCH, 20 * BATCH, BATCH), labels if labels is None else labels[step % 4 :: 4]
        )
        for step in steps
    ]


def tensors_of(networks: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{name}.{key}": t.detach().clone() for name, part in networks.items() for key, t in part.state_dict().items()}


def check_recipe(case: Case, size: int, channels: int) -> None:
    """Asks a recipe for everything that the loop, the session and a person rely on."""
    dataset = made_up_dataset(size, channels)
    recipe, inputs = build(case, dataset)
    before = tensors_of(recipe.networks())

    scalars = take_steps(recipe, inputs, range(3))
    for line in scalars:
        assert line
        for name, value in line.items():
            assert value.isfinite(), name
            assert value.ndim == 0, name
            assert not value.requires_grad, name

    after = tensors_of(recipe.networks())
    changed = {key.split(".")[0] for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed == set(recipe.networks()) - case.frozen

    _check_validation(recipe, inputs)
    _check_model(recipe, inputs, size, channels)
    _check_resume(case, dataset, recipe, inputs)


def _check_validation(recipe: Any, inputs: StageInputs) -> None:
    before = tensors_of(recipe.networks())
    heldout = inputs.heldout()
    first, again = recipe.validate(*heldout), recipe.validate(*heldout)
    assert first == again
    assert all(value.isfinite() for value in first.values())
    after = tensors_of(recipe.networks())
    assert all(torch.equal(value, before[key]) for key, value in after.items())


def _check_model(recipe: Any, inputs: StageInputs, size: int, channels: int) -> None:
    looking_model(recipe, inputs).sample(2)
    model = finish_model(to_model(recipe, inputs), inputs, {})
    images = model.sample(3)
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert torch.equal(images, model.sample(5)[:3])
    if model.config.labels:
        _check_labels(model, images)
    if model.has_encoder and not model.config.labels:
        assert model.reconstruct(images).shape == images.shape
    if model.has_observation_noise:
        assert not torch.equal(model.sample(3, observation_noise=True), images)


def _check_labels(model: Model, images: Tensor) -> None:
    """A label folded into the weights gives the images of that label."""
    codes = torch.tensor([1, 1, 1])
    bee, latents = model.for_label("bee"), torch.randn(3, 4)
    assert bee.config.labels == ()
    torch.testing.assert_close(bee.decode(latents), model.decode(latents, codes), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(bee.decode(latents), model.for_label("cow").decode(latents), atol=1e-6)
    if model.has_encoder:
        torch.testing.assert_close(bee.encode(images), model.encode(images, codes), atol=1e-5, rtol=1e-5)
    for refused in (lambda: model.decode(latents), lambda: model.for_label("dog")):
        with pytest.raises(RequestError, match="ant, bee, cow"):
            refused()


def _check_resume(case: Case, dataset: ImageDataset, recipe: Any, inputs: StageInputs) -> None:
    file = io.BytesIO()
    state = {
        "networks": {name: network.state_dict() for name, network in recipe.networks().items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in recipe.optimizers().items()},
        "tensors": recipe.tensors(),
    }
    torch.save(state, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed, _ = build(case, dataset)
    for name, network in resumed.networks().items():
        network.load_state_dict(state["networks"][name])
    for name, optimizer in resumed.optimizers().items():
        optimizer.load_state_dict(state["optimizers"][name])
    resumed.set_tensors(state["tensors"])

    one, other = take_steps(recipe, inputs, range(3, 6)), take_steps(resumed, inputs, range(3, 6))
    for mine, its in zip(one, other, strict=True):
        assert mine.keys() == its.keys()
        assert all(torch.equal(torch.as_tensor(mine[name]), torch.as_tensor(its[name])) for name in mine)
    mine, its = tensors_of(recipe.networks()), tensors_of(resumed.networks())
    assert all(torch.equal(value, its[name]) for name, value in mine.items())


@pytest.mark.parametrize(("size", "channels"), [(16, 3), (28, 1)])
@pytest.mark.parametrize("name", CASES)
def test_recipe_keeps_its_promises(name: str, size: int, channels: int) -> None:
    check_recipe(CASES[name], size, channels)


def test_check_recipe_sees_a_network_that_should_not_have_changed() -> None:
    with pytest.raises(AssertionError):
        check_recipe(replace(CASES["vae"], frozen=frozenset({"encoder"})), 16, 3)


def test_looking_at_heldout_pairs_gathers_no_statistics() -> None:
    recipe, _ = build(CASES["gan, classic, normalised"], made_up_dataset(16, 3))
    before = tensors_of(recipe.networks())
    recipe._heldout_accuracy(Clock(80, 160, BATCH))
    assert all(torch.equal(value, before[key]) for key, value in tensors_of(recipe.networks()).items())


def test_normalised_networks_do_not_grow_out_of_a_vae() -> None:
    with pytest.raises(RequestError, match=r"--network\.norm batch does not fit --init"):
        build(Case("gan", of_kind("classic", gan(), norm="batch"), grown=True), made_up_dataset(16, 3))


def small_gan(**settings: Any) -> tuple[Any, Callable[[int], dict[str, Tensor]]]:
    recipe, inputs = build(Case("gan", gan(**settings)), made_up_dataset(16, 3))
    return recipe, lambda step: take_steps(recipe, inputs, range(step, step + 1))[0]


def weights_of(network: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


class TestSettingsOfTheGAN:
    def test_generator_moves_once_in_so_many_critic_steps(self) -> None:
        recipe, take = small_gan(critic_steps=3)
        moved = []
        for step in range(6):
            before = weights_of(recipe.generator)
            scalars = take(step)
            moved.append(not torch.equal(before, weights_of(recipe.generator)))
            assert ("generator_loss" in scalars) == moved[-1]
        assert moved == [False, False, True, False, False, True]

    def test_clipped_weights_stay_within_their_limit(self) -> None:
        recipe, take = small_gan(objective="wasserstein", clip=0.02)
        assert float(weights_of(recipe.critic).abs().max()) > 0.02
        take(0)
        assert float(weights_of(recipe.critic).abs().max()) <= 0.02

    def test_uniform_latents_lie_between_minus_one_and_one(self) -> None:
        recipe, take = small_gan(prior="uniform")
        seen: list[Tensor] = []
        recipe.generator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        take(0)
        torch.testing.assert_close(seen[0], 2 * recipe.draws.uniform("latents", 0, *seen[0].shape) - 1)
        assert recipe.averaged().prior == "uniform"

    @pytest.mark.parametrize("prior", ["mixture", "normal"])
    def test_latents_follow_the_encodings_or_the_normal_law(self, prior: str) -> None:
        settings = gan(prior=prior)
        recipe, inputs = build(Case("gan", settings, grown=True), made_up_dataset(16, 3))
        seen: list[Tensor] = []
        hook = recipe.generator.register_forward_pre_hook(lambda module, given: seen.append(given[0][:BATCH]))
        take_steps(recipe, inputs, range(8))
        hook.remove()
        if prior == "normal":
            assert "mixture" not in recipe.networks()
            torch.testing.assert_close(seen[0], recipe.draws.normal("latents", 0, BATCH, 4))
        else:
            torch.testing.assert_close(seen[0], recipe.mixture(recipe.draws.normal("latents", 0, BATCH, 5)))
            assert "mixture" in recipe.networks()  # and so in the checkpoint
        model = finish_model(to_model(recipe, inputs), inputs, {})
        assert model.config.prior == prior
        means = model.networks.mixture.means if prior == "mixture" else None
        assert means is None or torch.equal(means, recipe.mixture.means)  # not fitted again at the end

    def test_optimisers_are_those_asked_for(self) -> None:
        recipe, _ = small_gan(generator_optimizer="rmsprop", critic_optimizer="sgd", momentum=0.8)
        assert isinstance(recipe.generator_optimizer, torch.optim.RMSprop)
        assert isinstance(recipe.critic_optimizer, torch.optim.SGD)
        assert recipe.critic_optimizer.param_groups[0]["momentum"] == 0.8
