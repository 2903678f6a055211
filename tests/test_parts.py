"""A part of each kind, a few lines each, is added to its table: a GAN trains with it, and it shows where parts show."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stages import SETTINGS, inputs_of, made_up_dataset, take_steps, vae_of
from vaegan.parts.critics import CriticPlayer, Judged
from vaegan.parts.optimizers import optimizer_of
from vaegan.parts.player import Player
from vaegan.parts.schedule import Clock
from vaegan.parts.terms import Targets, Term
from vaegan.parts.views import View
from vaegan.priors import PRIORS, Prior
from vaegan.recipes.gan import GAN
from vaegan.training import build
from vaegan.training.build import StageInputs, to_model
from vaegan.training.finishing import finish_model
from vaegan.types import Batch, Images, Labels, Latents, PerImage


def trained(grown: bool, steps: int = 3, **settings: Any) -> tuple[GAN, StageInputs, list[dict[str, Tensor]]]:
    """A GAN after some steps, from scratch or out of a VAE, and what each step said."""
    dataset = made_up_dataset(16, 3)
    config = replace(SETTINGS, recipe="gan", gan=replace(SETTINGS.gan, perception="none", **settings))
    inputs = inputs_of(config, dataset, vae_of(config, dataset) if grown else None)
    recipe = build.build("gan", inputs).recipe
    assert isinstance(recipe, GAN)
    return recipe, inputs, take_steps(recipe, inputs, range(steps))


def weights_of(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


class Brightness(nn.Module):
    """A term: two images that are decoded for it, and all samples, are to be as bright as training images."""

    name = "brightness"
    wanted: Tensor

    def __init__(self, wanted: Tensor, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("wanted", wanted)
        self.latent_dim = latent_dim
        self.decoded: list[int] = []

    def weight(self, progress: float) -> float:
        return 100.0

    def targets(self, batch: Batch) -> Targets:
        latents = torch.zeros(2, self.latent_dim)
        return Targets(latents, None if batch.labels is None else batch.labels[:2], (), latents)

    def loss(self, samples: Images, decoded: Images, targets: Targets | None, batch: Batch) -> PerImage:
        self.decoded.append(len(decoded))
        return (torch.cat([samples, decoded]).mean((1, 2, 3)) - self.wanted).square()


def brightness_term(inputs: StageInputs) -> Term:
    return Brightness(inputs.training(32).images.mean() + 0.5, inputs.config.network.latent_dim)


@pytest.mark.parametrize("grown", [False, True])
def test_a_term_is_one_line_in_its_table(monkeypatch: pytest.MonkeyPatch, grown: bool) -> None:
    before, _, alone = trained(grown)
    monkeypatch.setattr(build, "TERMS", (*build.TERMS, brightness_term))
    recipe, _, scalars = trained(grown)
    assert not any("brightness" in line for line in alone)
    assert all(line["brightness"].isfinite() for line in scalars)
    assert float(scalars[-1]["brightness"]) < float(scalars[0]["brightness"])
    (term,) = (term for term in recipe.terms if isinstance(term, Brightness))
    assert term.decoded == [2, 2, 2]
    assert any(name.endswith(".wanted") for name in recipe.state_dict())  # it is a module, so it is saved
    assert not torch.allclose(weights_of(recipe.generator.network), weights_of(before.generator.network))
    # The other terms get what is decoded for them as before.
    assert {line for step in alone for line in step} | {"brightness"} == {line for step in scalars for line in step}


class MeanColour(nn.Module):
    """A critic that only sees the mean colour, and may be as steep as it likes."""

    weight = 1.0

    def __init__(self, inputs: StageInputs) -> None:
        super().__init__()
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs.dataset.channels, 1), nn.Flatten(0))
        self.player = Player(Unlabelled(network), optimizer_of("adam", (0.0, 0.99)), lambda progress: 0.01, inputs.engine)

    def view(self, images: Images, clock: Clock) -> View:
        return View(None)

    def judge(self, real: Images, fake: Images, labels: Labels | None, clock: Clock) -> Judged:
        logits_of_real, logits_of_fake = self.player(torch.cat([real, fake]), labels).chunk(2)
        return Judged(logits_of_real, logits_of_fake, torch.zeros(len(real)))

    def penalty(self, progress: float) -> float:
        return 0.0


class Unlabelled(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Images, labels: Labels | None = None) -> PerImage:
        return self.network(images)


def mean_colour_critic(inputs: StageInputs) -> CriticPlayer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MeanColour(inputs)


@pytest.mark.parametrize("grown", [False, True])
def test_a_critic_is_one_line_in_its_table(monkeypatch: pytest.MonkeyPatch, grown: bool) -> None:
    before, _, alone = trained(grown, steps=1)
    monkeypatch.setattr(build, "CRITICS", (*build.CRITICS, mean_colour_critic))
    fresh, _, _ = trained(grown, steps=0)
    recipe, inputs, scalars = trained(grown, steps=1)
    first, second = recipe.critics
    assert isinstance(second, MeanColour)
    # Both play: each moves, and the generator is held by both.
    assert torch.equal(weights_of(first.player.network), weights_of(before.critics[0].player.network))
    assert not torch.equal(weights_of(second.player.network), weights_of(fresh.critics[1].player.network))
    assert not torch.allclose(weights_of(recipe.generator.network), weights_of(before.generator.network))
    assert float(scalars[0]["generator_loss"]) > float(alone[0]["generator_loss"]) + 0.1
    # The numbers of the first stay under their names, and the second has its own.
    for name in ("critic_loss", "pair_accuracy", "slope", "critic_gradient"):
        assert torch.equal(scalars[0][name], alone[0][name]), name
        assert scalars[0][f"{name}_2"].isfinite()
    assert scalars[0]["slope_2"] == 0
    saved = recipe.state_dict()
    weight = weights_of(second.player.network)
    assert any(torch.is_tensor(value) and torch.equal(value.flatten(), weight[:3]) for value in saved.values())
    assert "heldout_pair_accuracy" in recipe.validate(inputs.heldout())


def test_a_critics_weight_is_that_of_its_loss_to_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, alone = trained(grown=False, steps=1)
    monkeypatch.setattr(build, "CRITICS", (*build.CRITICS, mean_colour_critic))
    more: list[float] = []
    for weight in (0.0, 1.0, 3.0):
        monkeypatch.setattr(MeanColour, "weight", weight)
        _, _, scalars = trained(grown=False, steps=1)
        more.append(float(scalars[0]["generator_loss"] - alone[0]["generator_loss"]))
    assert more[0] == pytest.approx(0, abs=1e-6)
    assert more[2] == pytest.approx(3 * more[1], rel=1e-4)


class Ring(Prior):
    """A prior: normal noise at distance 2."""

    def forward(self, noise: Tensor) -> Latents:
        return 2 * nn.functional.normalize(noise)


def test_a_prior_is_one_line_in_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRIORS, "ring", Ring)  # pyright: ignore[reportArgumentType]
    seen: list[Tensor] = []
    recipe, inputs, _ = trained(False, prior="ring")
    assert isinstance(recipe.prior, Ring)
    recipe.generator.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    take_steps(recipe, inputs, range(3, 5))
    model = to_model(recipe, inputs)
    assert model.config.prior == "ring"
    for latents in (*seen, model.latents(10)):
        torch.testing.assert_close(latents.norm(dim=1), torch.full((len(latents),), 2.0))
    assert model.sample(3).isfinite().all()


@pytest.mark.parametrize("stage", ["vae", "gan"])
def test_a_model_that_encodes_and_has_no_mixture_gets_one_at_the_end(stage: str) -> None:
    dataset = made_up_dataset(16, 3)
    inputs = inputs_of(replace(SETTINGS, recipe="vae" if stage == "vae" else "classic-gan"), dataset)
    recipe = build.build(stage, inputs).recipe
    before = to_model(recipe, inputs).sample(3, sampler="prior")
    model = finish_model(to_model(recipe, inputs), inputs)
    assert torch.equal(model.sample(3, sampler="prior"), before)
    assert (model.networks.mixture is not None and model.networks.mixture.is_fitted) == (stage == "vae")


def test_a_grown_gan_is_kept_with_the_prior_it_was_trained_with() -> None:
    recipe, inputs, _ = trained(True)
    noise = torch.randn(64, 5)
    wanted = recipe.prior(noise).clone()
    model = finish_model(to_model(recipe, inputs), inputs)
    assert model.networks.mixture is not None
    assert torch.equal(model.networks.mixture(noise), wanted)
