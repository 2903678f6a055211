"""Every recipe keeps the same promises, whatever its algorithm: `check_recipe` asks for them one by one.

It builds, its steps are finite, only the networks it means to change are changed, validation changes nothing, its model samples,
and interrupted + resumed equals uninterrupted bit for bit; at two sizes, grey and in colour.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stages import BATCH, SETTINGS, inputs_of, made_up_dataset, take_steps, vae_of
from vaegan.config import TrainConfig
from vaegan.config_files import SOURCES, load_preset
from vaegan.data import ImageDataset
from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.parts import refit as refitting
from vaegan.parts.mean_details import OCTAVES, MeanDetails
from vaegan.parts.player import Player
from vaegan.priors import Mixture
from vaegan.recipes.classic_gan import ClassicGAN
from vaegan.recipes.gan import GAN
from vaegan.recipes.handover import trainable_copy
from vaegan.recipes.recipe import Recipe
from vaegan.training.build import StageInputs, build, drawing_model, to_model
from vaegan.training.checks import check_start
from vaegan.training.finishing import finish_model


@pytest.fixture(autouse=True)
def _the_encoder_is_fitted_from_the_start_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refitting, "BEGINS", 0.0)


@dataclass(frozen=True)
class Case:
    """A stage under some settings, and what its steps must not change."""

    stage: str
    config: TrainConfig
    grown: bool = False
    """Whether it starts from a VAE."""
    frozen: frozenset[str] = frozenset()
    """Players that are not moved."""


def vae(**settings: Any) -> TrainConfig:
    return replace(SETTINGS, recipe="vae", vae=replace(SETTINGS.vae, **settings))


def gan(**settings: Any) -> TrainConfig:
    return replace(SETTINGS, recipe="gan", gan=replace(SETTINGS.gan, **settings))


def classic(**settings: Any) -> TrainConfig:
    return replace(SETTINGS, recipe="classic-gan", classic=replace(SETTINGS.classic, **settings))


def joint(**settings: Any) -> TrainConfig:
    return replace(SETTINGS, recipe="joint", joint=replace(SETTINGS.joint, **settings))


AE, VAE, GROWN = replace(SETTINGS, recipe="ae"), vae(), replace(SETTINGS, recipe="vae-gan")


def conditional(config: TrainConfig) -> TrainConfig:
    return replace(config, conditional=True)


def of_kind(kind: Any, config: TrainConfig, **settings: Any) -> TrainConfig:
    return replace(config, network=replace(config.network, kind=kind, **settings))


def bounded(config: TrainConfig, output: Any) -> TrainConfig:
    return replace(config, network=replace(config.network, output=output))


def small_source(name: str) -> Case:
    """A source's preset with few channels and images a step; the generator moves at every one."""
    config = load_preset(name)
    network = replace(config.network, latent_dim=4, width=4, width_limit=8, decoder_width=min(8, config.network.decoder_width))
    vae, classic = replace(config.vae, batch_size=BATCH), replace(config.classic, batch_size=BATCH, critic_steps=1)
    return Case(config.stages[0], replace(config, network=network, vae=vae, classic=classic))


CASES = {
    "ae": Case("ae", AE),
    "ae, conditional": Case("ae", conditional(AE)),
    "ae, classic, normalised": Case("ae", of_kind("classic", AE, norm="batch")),
    "vae": Case("vae", VAE),
    "vae, squared error, adam": Case("vae", vae(objective="squared-error", optimizer="adam")),
    "vae, mean squared error": Case("vae", vae(objective="mean-squared-error")),
    "vae, laplace": Case("vae", vae(objective="laplace")),
    "vae, cross-entropy": Case("vae", bounded(vae(objective="cross-entropy"), "sigmoid")),
    "vae, continuous bernoulli": Case("vae", bounded(vae(objective="continuous-bernoulli"), "continuous-bernoulli")),
    "vae, no reconstruction": Case("vae", vae(reconstruction_weight=0.0), frozen=frozenset({"decoder"})),
    "vae, no KL": Case("vae", vae(kl_weight=0.0)),
    "vae, free bits, in cycles": Case("vae", vae(free_bits=0.1, kl_cycles=4)),
    "vae, importance weighted": Case("vae", vae(samples=3)),
    "vae, residual": Case("vae", of_kind("residual", VAE)),
    "vae, conditional, importance weighted": Case("vae", conditional(vae(samples=2))),
    "vae, conditional, residual": Case("vae", conditional(of_kind("residual", VAE))),
    "vae, classic, normalised, conditional": Case("vae", conditional(of_kind("classic", VAE, norm="batch"))),
    "vae, mlp, conditional, two layers": Case("vae", conditional(of_kind("mlp", VAE, layers=2))),
    "gan": Case("gan", gan()),
    "gan, uniform": Case("gan", gan(prior="uniform")),
    "gan, bare": Case("gan", gan(penalty=0, augmentation=0, jitter=0)),
    "gan, conditional": Case("gan", conditional(gan())),
    "gan, residual": Case("gan", of_kind("residual", gan())),
    "gan out of a vae": Case("gan", GROWN, grown=True),
    "gan out of a vae, conditional": Case("gan", conditional(GROWN), grown=True),
    "gan out of a vae, in another run": Case("gan", gan(), grown=True),
    "gan out of a vae, normal, nothing to hold it": Case("gan", gan(prior="normal", anchor=0), grown=True),
    "gan out of a vae, encoder kept": Case("gan", gan(refit_every=0), grown=True),
    "gan out of a vae, least handover": Case("gan", gan(refit_every=0, anchor=0), grown=True),
    "gan out of a vae, classic networks": Case("gan", of_kind("classic", GROWN), grown=True),
    "gan out of a vae, mlp": Case("gan", of_kind("mlp", GROWN), grown=True),
    "joint": Case("joint", joint()),
    "joint, non-saturating, out of a vae": Case("joint", joint(objective="non-saturating"), grown=True),
    "joint, conditional": Case("joint", conditional(joint())),
    "joint, mlp": Case("joint", of_kind("mlp", joint())),
    "classic gan, saturating": Case("gan", classic(objective="saturating")),
    "classic gan, non-saturating, sgd": Case("gan", classic(critic_optimizer="sgd")),
    "classic gan, hinge": Case("gan", classic(objective="hinge")),
    "classic gan, least squares, uniform": Case("gan", classic(objective="least-squares", prior="uniform")),
    "classic gan, wasserstein, clipped": Case(
        "gan", classic(objective="wasserstein", clip=0.01, optimizer="rmsprop", critic_optimizer="rmsprop")
    ),
    "classic gan, wasserstein, gradient penalty": Case("gan", classic(objective="wasserstein", penalty=10.0, critic_steps=2)),
    "classic gan, penalty": Case("gan", classic(penalty=1.0)),
    "classic gan, conditional, penalty": Case("gan", conditional(classic(penalty=1.0))),
    "classic gan, conditional, wasserstein": Case("gan", conditional(classic(objective="wasserstein", penalty=1.0))),
    "classic gan, normalised": Case("gan", of_kind("classic", classic(), norm="batch")),
    "classic gan, normalised, conditional, penalty": Case(
        "gan", conditional(of_kind("classic", classic(penalty=1.0), norm="batch"))
    ),
    "classic gan, normalised, wasserstein": Case(
        "gan", of_kind("classic", classic(objective="wasserstein", penalty=1.0), norm="batch")
    ),
} | {f"source, {name}": small_source(name) for name in SOURCES}


def built(case: Case, dataset: ImageDataset) -> tuple[Recipe, StageInputs]:
    inputs = inputs_of(case.config, dataset, vae_of(case.config, dataset) if case.grown else None)
    return build(case.stage, inputs).recipe, inputs


def players_of(recipe: Recipe) -> dict[str, Player[Any]]:
    """Those that a recipe trains, under names of our own."""
    if isinstance(recipe, GAN):
        players = {"generator": recipe.generator} | {f"critic {at}": each.player for at, each in enumerate(recipe.critics)}
        return players if recipe.refit is None else players | {"encoder": recipe.refit.player}
    return {name: getattr(recipe, name) for name in ("encoder", "decoder", "generator", "critic") if hasattr(recipe, name)}


def state_of(recipe: Recipe) -> dict[str, Tensor]:
    """Copies of all tensors that a checkpoint keeps, those of optimisers too."""

    def tensors(value: Any, name: str) -> dict[str, Tensor]:
        if isinstance(value, Tensor):
            return {name: value.detach().clone()}
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
        return {key: tensor for part, each in pairs for key, tensor in tensors(each, f"{name}.{part}").items()}

    return tensors(recipe.state_dict(), "")


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Networks of players, and single tensors beside them, that differ; what optimisers remember does not count."""
    differing = [name[1:] for name, value in after.items() if name not in before or not torch.equal(value, before[name])]
    wanted = [name for name in differing if "_extra_state" not in name]
    return {re.sub(r"\.(network|average)\..*", r".\1", name) for name in wanted}


def check_recipe(case: Case, size: int, channels: int) -> None:
    """Asks a recipe for everything that the loop, the session and a person rely on."""
    dataset = made_up_dataset(size, channels)
    recipe, inputs = built(case, dataset)
    assert recipe.name == case.stage
    _check_steps(case, recipe, inputs)
    _check_validation(recipe, inputs)
    _check_model(recipe, inputs, size, channels)
    _check_resume(case, dataset, recipe, inputs)


def _check_steps(case: Case, recipe: Recipe, inputs: StageInputs) -> None:
    before = state_of(recipe)
    for line in take_steps(recipe, inputs, range(3)):
        assert line
        for name, value in line.items():
            assert value.isfinite(), name
            assert value.ndim == 0, name
            assert not value.requires_grad, name

    players = players_of(recipe)
    paths = {id(module): path for path, module in recipe.named_modules() if isinstance(module, Player)}
    assert paths.keys() == {id(player) for player in players.values()}  # all of them are saved
    moved = [player for name, player in players.items() if name not in case.frozen]
    wanted = {f"{paths[id(player)]}.network" for player in moved}
    wanted |= {f"{paths[id(player)]}.average" for player in moved if player.average is not None}
    buffers = {"variance"} if recipe.name == "vae" else set[str]()
    if isinstance(recipe, GAN):
        (at,) = (at for at, part in enumerate(recipe.parts) if isinstance(part, MeanDetails))
        buffers = {f"parts.{at}.{name}" for name in (f"fake_{octave}" for octave in range(OCTAVES))}
    assert changed(before, state_of(recipe)) == wanted | buffers
    for player in players.values():
        assert all(parameter.requires_grad for parameter in player.network.parameters())


def _check_validation(recipe: Recipe, inputs: StageInputs) -> None:
    before = state_of(recipe)
    heldout = inputs.heldout()
    first, again = recipe.validate(heldout), recipe.validate(heldout)
    assert first == again
    assert all(value.isfinite() and value.ndim == 0 for value in first.values())
    after = state_of(recipe)
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def _check_model(recipe: Recipe, inputs: StageInputs, size: int, channels: int) -> None:
    before = state_of(recipe)
    drawing_model(recipe, inputs).sample(2)
    model = finish_model(to_model(recipe, inputs), inputs)
    assert model.config.stage == recipe.name
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
    # What is done to a model that is looked at or kept is none of the training's business.
    assert all(torch.equal(value, before[name]) for name, value in state_of(recipe).items())


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


def _check_resume(case: Case, dataset: ImageDataset, recipe: Recipe, inputs: StageInputs) -> None:
    file = io.BytesIO()
    torch.save(recipe.state_dict(), file)
    file.seek(0)
    resumed, _ = built(case, dataset)
    with torch.no_grad():  # whatever is trained comes from the saved state and not from building alike
        for player in players_of(resumed).values():
            for tensor in filter(torch.is_tensor, player.state_dict().values()):
                tensor.add_(1)
    resumed.load_state_dict(torch.load(file, weights_only=True))

    one, other = take_steps(recipe, inputs, range(3, 6)), take_steps(resumed, inputs, range(3, 6))
    for mine, its in zip(one, other, strict=True):
        assert mine.keys() == its.keys()
        assert all(torch.equal(mine[name], its[name]) for name in mine)
    mine, its = state_of(recipe), state_of(resumed)
    assert mine.keys() == its.keys()
    assert all(torch.equal(value, its[name]) for name, value in mine.items())
    assert recipe.validate(inputs.heldout()) == resumed.validate(inputs.heldout())


@pytest.mark.parametrize(("size", "channels"), [(16, 3), (28, 1)])
@pytest.mark.parametrize("name", CASES)
def test_recipe_keeps_its_promises(name: str, size: int, channels: int) -> None:
    check_recipe(CASES[name], size, channels)


def test_check_recipe_sees_a_network_that_should_not_have_changed() -> None:
    with pytest.raises(AssertionError):
        check_recipe(replace(CASES["vae"], frozen=frozenset({"encoder"})), 16, 3)


@pytest.mark.parametrize("name", ["gan out of a vae", "vae", "classic gan, normalised"])
def test_averages_that_were_kept_are_put_back_with_what_their_model_depends_on(name: str) -> None:
    recipe, inputs = built(CASES[name], made_up_dataset(16, 3))
    take_steps(recipe, inputs, range(2))
    kept = {player: {key: tensor.clone() for key, tensor in part.items()} for player, part in recipe.averaged_state().items()}
    model = to_model(recipe, inputs)
    before, variance = model.sample(3), model.config.variance
    take_steps(recipe, inputs, range(2, 4))
    assert not torch.equal(to_model(recipe, inputs).sample(3), before)
    recipe.load_averaged_state(kept)
    assert torch.equal(to_model(recipe, inputs).sample(3), before)
    assert to_model(recipe, inputs).config.variance == variance


@pytest.mark.parametrize("recipe", ["gan", "joint"])
def test_normalised_networks_do_not_grow_out_of_a_vae(recipe: Any) -> None:
    config = of_kind("classic", replace(SETTINGS, recipe="vae"), norm="batch")
    model = vae_of(config, made_up_dataset(64, 3))
    check_start(model, config)
    with pytest.raises(RequestError, match=r"--network\.norm batch"):
        check_start(model, replace(config, recipe=recipe))


def classic_gan(**settings: Any) -> tuple[ClassicGAN, Callable[[int], dict[str, Tensor]]]:
    recipe, inputs = built(Case("gan", classic(**settings)), made_up_dataset(16, 3))
    assert isinstance(recipe, ClassicGAN)
    return recipe, lambda step: take_steps(recipe, inputs, range(step, step + 1))[0]


def weights_of(network: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_a_classic_generator_moves_once_in_so_many_critic_steps() -> None:
    recipe, take = classic_gan(critic_steps=3)
    moved = []
    for step in range(6):
        before = weights_of(recipe.generator.network)
        scalars = take(step)
        moved.append(not torch.equal(before, weights_of(recipe.generator.network)))
        assert ("generator_loss" in scalars) == moved[-1]
    assert moved == [False, False, True, False, False, True]


def test_clipped_weights_stay_within_their_limit() -> None:
    recipe, take = classic_gan(objective="wasserstein", clip=0.02)
    assert float(weights_of(recipe.critic.network).abs().max()) > 0.02
    take(0)
    assert float(weights_of(recipe.critic.network).abs().max()) <= 0.02


def test_optimisers_are_those_asked_for() -> None:
    recipe, _ = classic_gan(optimizer="rmsprop", critic_optimizer="sgd")
    assert isinstance(recipe.generator.optimizer, torch.optim.RMSprop)
    assert isinstance(recipe.critic.optimizer, torch.optim.SGD)
    assert recipe.critic.optimizer.param_groups[0]["momentum"] == 0.9
    adam = classic_gan(beta1=0.25)[0].generator.optimizer
    assert adam.param_groups[0]["betas"] == (0.25, 0.999)


class TestLatentsOfTraining:
    def seen(self, case: Case, steps: int = 1) -> tuple[Any, StageInputs, Tensor]:
        """The first latents that the generator decodes."""
        recipe, inputs = built(case, made_up_dataset(16, 3))
        assert isinstance(recipe, GAN | ClassicGAN)
        seen: list[Tensor] = []
        recipe.generator.network.register_forward_pre_hook(lambda module, given: seen.append(given[0][:BATCH]))
        take_steps(recipe, inputs, range(steps))
        return recipe, inputs, seen[0]

    @pytest.mark.parametrize("config", [gan(prior="uniform"), classic(prior="uniform")])
    def test_uniform_ones_are_a_map_of_normal_noise(self, config: TrainConfig) -> None:
        recipe, inputs, seen = self.seen(Case("gan", config))
        noise = recipe.draws.normal("latents", 0, BATCH, 4)
        torch.testing.assert_close(seen, 2 * torch.special.ndtr(noise) - 1)
        assert seen.abs().max() <= 1
        model = to_model(recipe, inputs)
        assert model.config.prior == "uniform"
        assert model.latents(200).abs().max() <= 1

    @pytest.mark.parametrize("prior", ["mixture", "normal"])
    def test_a_grown_gans_follow_the_encodings_or_the_normal_law(self, prior: Any) -> None:
        recipe, inputs, seen = self.seen(Case("gan", gan(prior=prior), grown=True), steps=8)
        noise_dim = 5 if prior == "mixture" else 4
        torch.testing.assert_close(seen, recipe.prior(recipe.draws.normal("latents", 0, BATCH, noise_dim)))
        assert any(name.startswith("prior.") for name in recipe.state_dict()) == (prior == "mixture")
        model = finish_model(to_model(recipe, inputs), inputs)
        assert model.config.prior == prior
        if prior == "mixture":
            assert isinstance(recipe.prior, Mixture)
            assert model.networks.mixture is not None
            assert torch.equal(model.networks.mixture.means, recipe.prior.means)  # not fitted again at the end
        else:
            torch.testing.assert_close(seen, recipe.draws.normal("latents", 0, BATCH, 4))

    def test_a_gan_from_scratch_has_nothing_to_fit_a_mixture_to(self) -> None:
        recipe, inputs, seen = self.seen(Case("gan", gan(prior="mixture")))
        torch.testing.assert_close(seen, recipe.draws.normal("latents", 0, BATCH, 4))
        assert to_model(recipe, inputs).config.prior == "normal"


@pytest.mark.parametrize("stage", ["vae", "joint"])
def test_who_goes_on_from_a_gan_begins_with_its_decoder(stage: Any) -> None:
    dataset = made_up_dataset(16, 3)
    before, inputs = built(Case("gan", gan(), grown=True), dataset)
    gan_model = finish_model(to_model(before, inputs), inputs)
    recipe = build(stage, inputs_of(replace(SETTINGS, recipe=stage), dataset, gan_model)).recipe
    decoder = players_of(recipe)["decoder"].network
    wanted, z = trainable_copy(gan_model.networks.decoder), torch.randn(5, 4)
    assert torch.equal(decoder(z), wanted(z))
