"""From settings to recipes: builds each stage's networks, players, critics and terms, and at the end its Model."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.config import TrainConfig
from vaegan.data import TRAIN, ImageDataset
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.networks import Critic, Decoder, Encoder, perception
from vaegan.parts.anchor import Anchor
from vaegan.parts.critics import CriticPlayer, PixelCritic
from vaegan.parts.mean_details import MeanDetails
from vaegan.parts.perceptual import PerceptualCritic
from vaegan.parts.refit import Refit
from vaegan.parts.terms import Term
from vaegan.priors import PRIORS, Mixture, Normal, Prior, fit_mixture
from vaegan.randomness import keyed_seed
from vaegan.recipes import handover
from vaegan.recipes.ae import AE
from vaegan.recipes.classic_gan import ClassicGAN
from vaegan.recipes.gan import AVERAGE_CAP, GAN
from vaegan.recipes.joint import Joint
from vaegan.recipes.recipe import Recipe
from vaegan.recipes.vae import VAE
from vaegan.shapes import Shape
from vaegan.training import health
from vaegan.training.checks import describe_objective, reason_of_collapse
from vaegan.training.engine import FabricEngine
from vaegan.training.handover_facts import handover_facts
from vaegan.types import Batch, Latents

HELDOUT = 256  # validation images looked at while training
ENCODED = 10_000  # training images whose encodings describe the whole set
CALIBRATED = 512  # training images that say how much images vary in what the anchor compares


class Built(NamedTuple):
    """A stage that can be trained."""

    recipe: Recipe
    facts: dict[str, Any]
    """What is worth recording about its start."""


@dataclass(frozen=True)
class StageInputs:
    """What a stage is built from."""

    config: TrainConfig
    dataset: ImageDataset
    engine: FabricEngine
    previous: Model | None
    """The model this stage grows out of: the stage before, or `--init`."""

    def heldout(self, count: int = HELDOUT) -> Batch:
        """Fixed validation images on the device; training images when there are no validation images."""
        return self._batch(self.dataset.heldout_side, count)

    def known(self) -> Batch | None:
        """Fixed training images on the device beside the held-out ones; None when nothing is held out."""
        return None if self.dataset.heldout_side == TRAIN else self._batch(TRAIN, HELDOUT)

    def training(self, count: int) -> Batch:
        """Fixed training images on the device."""
        return self._batch(TRAIN, count)

    def training_blocks(self, count: int) -> Iterator[Batch]:
        """The images of `training` in blocks of 256 on the CPU, for more of them than fit into memory."""
        chosen = self.dataset.first_by_content(TRAIN, count)
        return (self._load(chosen[at : at + 256]) for at in range(0, len(chosen), 256))

    @property
    def codes(self) -> NDArray[np.int64] | None:
        """The label of every image of the dataset; None unless the networks are told."""
        return self.dataset.categories(self.config.condition)[1] if self.config.is_conditional else None

    @property
    def words(self) -> tuple[str, ...]:
        """What the codes stand for."""
        return self.dataset.categories(self.config.condition)[2] if self.config.is_conditional else ()

    def encodings(self, model: Model) -> Latents:
        """The latents of (at most 10,000) training images, read in blocks."""
        return torch.cat([model.encode(*block) for block in self.training_blocks(ENCODED)])

    @property
    def mixture_seed(self) -> int:
        """Seed of every mixture of this run."""
        return keyed_seed(self.config.seed, "mixture")

    def _batch(self, side: int, count: int) -> Batch:
        return self._load(self.dataset.first_by_content(side, count)).to(self.engine.device)

    def _load(self, chosen: NDArray[np.int64]) -> Batch:
        return Batch(self.dataset.load(chosen), None if self.codes is None else torch.from_numpy(self.codes[chosen]))


def build_ae(inputs: StageInputs) -> Built:
    """A plain autoencoder with fresh networks, or on those of an earlier model."""
    encoder, decoder = _encoder_and_decoder(inputs)
    return Built(AE(inputs.config.vae, encoder, decoder, inputs.engine), _parameters(encoder=encoder, decoder=decoder))


def build_vae(inputs: StageInputs) -> Built:
    """A VAE with fresh networks, or on those of an earlier model."""
    config, (encoder, decoder) = inputs.config.vae, _encoder_and_decoder(inputs)
    objective = {"objective": describe_objective(config, inputs.dataset.channels * inputs.dataset.config.shape.area)}
    return Built(VAE(config, encoder, decoder, inputs.engine), objective | _parameters(encoder=encoder, decoder=decoder))


def build_joint(inputs: StageInputs) -> Built:
    """A joint VAE/GAN with fresh networks, or on those of an earlier model, whose trunk the critic then shares."""
    config, engine = inputs.config, inputs.engine
    encoder, decoder = _encoder_and_decoder(inputs)
    with _seeded(config.seed, "joint"):
        critic = Critic(*_shape(inputs))
    if inputs.previous is not None:
        handover.grow_critic(encoder, critic)
    joint = Joint(config.joint, encoder, decoder, critic, engine, flips=inputs.dataset.flips, precision=engine.precision)
    return Built(joint, _parameters(encoder=encoder, decoder=decoder, critic=critic))


def build_classic_gan(inputs: StageInputs) -> Built:
    """One of the sources' GANs, from scratch."""
    generator, critic = _generator_and_critic(inputs)
    gan = ClassicGAN(inputs.config.classic, generator, critic, inputs.engine, inputs.known())
    return Built(gan, _parameters(generator=generator, critic=critic))


def build_gan(inputs: StageInputs) -> Built:
    """A GAN grown out of `inputs.previous`, or from scratch without it."""
    config, engine, vae = inputs.config.gan, inputs.engine, inputs.previous
    generator, critic = _generator_and_critic(inputs)
    facts = _parameters(generator=generator, critic=critic)
    prior: Prior = PRIORS["normal" if config.prior == "mixture" else config.prior](generator.latent_dim)
    terms = [term for build in TERMS if (term := build(inputs)) is not None]
    anchor, refit = None, None
    if vae is not None and not vae.has_encoder:
        generator = handover.trainable_copy(vae.networks.decoder)
    elif vae is not None:
        grown = handover.hand_over(vae, inputs.encodings(vae), critic, config, inputs.mixture_seed)
        generator, encoder, prior = grown
        anchor = engine.prepare_frozen(Anchor(encoder, config.anchor))
        anchor.calibrate(inputs.training(CALIBRATED))
        refit = Refit(encoder, anchor, config.refit_every, AVERAGE_CAP, engine) if config.refit_every else None
        terms += [anchor] if config.anchor > 0 else []
        facts["handover"] = handover_facts(vae, grown, inputs.heldout(512))
    if inputs.config.has_eyes:
        facts["perception"] = perception.FACTS
    gan = GAN(
        config,
        generator,
        [pixel_critic(inputs, critic), *(player for build in CRITICS if (player := build(inputs)) is not None)],
        prior,
        engine,
        terms=terms,
        refit=refit,
        encoder=None if anchor is None else anchor.encoder,
        known=inputs.known(),
    )
    return Built(gan, facts)


def pixel_critic(inputs: StageInputs, network: Critic) -> CriticPlayer:
    """The critic that looks at pixels."""
    config, engine = inputs.config.gan, inputs.engine
    return PixelCritic(
        network,
        engine,
        engine.draws("gan"),
        rates=(config.learning_rate, config.final_learning_rate),
        penalty=config.penalty,
        augmentation=config.augmentation,
        jitter=config.jitter,
        flips=inputs.dataset.flips,
        precision=engine.precision,
    )


def perceptual_critic(inputs: StageInputs) -> CriticPlayer | None:
    """The critic that looks through a frozen network."""
    config, engine = inputs.config.gan, inputs.engine
    if config.perception == "none":
        return None
    return PerceptualCritic(
        engine.prepare_frozen(perception.load_perception(engine.precision)),
        inputs.training(CALIBRATED).images,
        engine,
        engine.draws("gan"),
        classes=len(inputs.words),
        augmentation=config.augmentation,
        jitter=config.jitter,
        flips=inputs.dataset.flips,
    )


CRITICS: tuple[Callable[[StageInputs], CriticPlayer | None], ...] = (perceptual_critic,)
"""Who judges the GAN's images beside the critic that looks at pixels; None where settings leave it out."""


def mean_details(inputs: StageInputs) -> Term:
    """The term that holds the mean of fine details."""
    images = inputs.training(CALIBRATED).images
    return MeanDetails(torch.cat([images, images.flip(3)]) if inputs.dataset.flips else images, inputs.engine)


TERMS: tuple[Callable[[StageInputs], Term | None], ...] = (mean_details,)
"""What else holds the GAN's generator, beside the anchor to its VAE; None where settings leave it out."""

BUILDERS: dict[str, Callable[[StageInputs], Built]] = {
    "ae": build_ae,
    "vae": build_vae,
    "gan": build_gan,
    "joint": build_joint,
    "classic-gan": build_classic_gan,
}


def build(stage: str, inputs: StageInputs) -> Built:
    """The recipe of a stage, and what it starts from."""
    recipe = inputs.config.recipe
    return BUILDERS[recipe if recipe in BUILDERS else stage](inputs)


def checks_of(stage: str, inputs: StageInputs, facts: dict[str, Any]) -> tuple[dict[str, health.Check], float]:
    """The health checks of a stage, and how many times too much a VAE's KL divergence weighs; `facts` are of its start."""
    config, checks, excess = inputs.config, dict(health.GRADIENTS), 1.0
    if stage == "gan":
        checks |= health.GAME | (health.CLASSIC if config.is_classic else {})
        if not config.is_classic or config.classic.objective != "wasserstein":
            checks |= health.LOGITS
        if inputs.previous is not None:  # a generator from scratch begins with noise: whatever it learns is softer
            checks["idle generator"] = health.idle_generator
        if "handover" in facts and config.gan.anchor > 0:  # without an anchor it may forget
            checks[health.FORGETTING] = health.forgetting(facts["handover"]["vae_low_pass_error"])
    if stage == "vae" and config.vae.reconstruction_weight > 0:
        reason, excess = reason_of_collapse(config.vae, inputs.dataset.channels * inputs.dataset.config.shape.area)
        checks[health.POSTERIOR] = health.posterior_collapse(config.network.latent_dim, reason)
    return checks, excess


def to_model(recipe: Recipe, inputs: StageInputs) -> Model:
    """A Model on the recipe's averaged networks, which it shares."""
    trained, dataset = recipe.trained(), inputs.dataset
    prior = trained.prior or Normal(trained.decoder.latent_dim)
    config = ModelConfig(
        size=dataset.config.size,
        channels=dataset.channels,
        stage=recipe.name,  # pyright: ignore[reportArgumentType]
        network=inputs.config.network,
        variance=trained.variance,
        prior=next(name for name, kind in PRIORS.items() if type(prior) is kind),
        likelihood=trained.likelihood,
        labels=inputs.words,
        has_encoder=trained.encoder is not None,
        levels=dataset.levels,
        background=dataset.config.background,
    )
    with torch.device("meta"):
        networks = Networks(config)
    networks.decoder, networks.encoder = trained.decoder, trained.encoder
    if trained.encoder is not None:
        networks.mixture = prior if isinstance(prior, Mixture) else Mixture(trained.decoder.latent_dim)
    return Model(config, networks, inputs.engine.device)


def drawing_model(recipe: Recipe, inputs: StageInputs) -> Model:
    """The Model to draw pictures with while training: an autoencoder samples from one Gaussian over held-out encodings."""
    model = to_model(recipe, inputs)
    if not model.has_prior:
        model.networks.mixture = fit_mixture(model.encode(*inputs.heldout()), components=1)
    return model


def _shape(inputs: StageInputs) -> tuple[Any, Shape, int, int]:
    dataset = inputs.dataset
    return inputs.config.network, dataset.config.shape, dataset.channels, len(inputs.words)


def _encoder_and_decoder(inputs: StageInputs) -> tuple[Encoder, Decoder]:
    previous = inputs.previous
    if previous is None:
        with _seeded(inputs.config.seed, "vae"):  # the same for AE and VAE, so that they start from the same weights
            encoder = Encoder(*_shape(inputs))
            decoder = Decoder(*_shape(inputs))
    else:
        assert previous.networks.encoder is not None
        encoder = handover.trainable_copy(previous.networks.encoder)
        decoder = handover.trainable_copy(previous.networks.decoder)
    return encoder, decoder


def _generator_and_critic(inputs: StageInputs) -> tuple[Decoder, Critic]:
    with _seeded(inputs.config.seed, "gan"):
        critic = Critic(*_shape(inputs))
        return Decoder(*_shape(inputs)), critic


@contextmanager
def _seeded(seed: int, stage: str) -> Generator[None]:
    """Initial weights that depend on the run's seed and the stage's name only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "initial weights", stage))
        yield


def _parameters(**networks: torch.nn.Module) -> dict[str, Any]:
    return {"parameters": {name: sum(one.numel() for one in network.parameters()) for name, network in networks.items()}}
