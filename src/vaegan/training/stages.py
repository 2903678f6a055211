"""From settings to recipes: builds each stage's networks, takes the steps of the handover, and makes its Model."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.config import TrainConfig
from vaegan.data import TRAIN, VALIDATION, ImageDataset
from vaegan.metrics import watch
from vaegan.metrics.cheap import SampleScore
from vaegan.mixture import Mixture, fit_mixture
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.networks import Critic, Decoder, Encoder, Gaussian
from vaegan.networks.whitening import Whitening
from vaegan.randomness import keyed_seed
from vaegan.recipes import handover
from vaegan.recipes.ae import AE
from vaegan.recipes.engine import Trained
from vaegan.recipes.equalising import equalise
from vaegan.recipes.gan import GAN
from vaegan.recipes.joint import Joint
from vaegan.recipes.vae import VAE
from vaegan.training.checks import check_fits, describe_objective, reason_of_collapse
from vaegan.training.engine import Engine
from vaegan.training.guards import LADDERS, Guards, free_latents, ladders_of
from vaegan.training.signals import (
    Collapse,
    Copying,
    CriticLost,
    CriticWins,
    Exploding,
    Forgetting,
    Idle,
    NotFinite,
    Overfitting,
    Posterior,
    Runaway,
    Signal,
    Thresholds,
    Vanishing,
)
from vaegan.types import Images, Labelled, Labels, Latents

Recipe = AE | VAE | GAN | Joint

HELDOUT = 256  # validation images looked at while training
DRAWS = 16  # of a mixture, a latent number, that say which directions are strong
EQUALISED = 2_048  # training images that tell the power of octaves
ENCODED = 10_000  # training images whose posteriors describe the whole set


@dataclass(frozen=True)
class StageInputs:
    """What a stage is built from."""

    config: TrainConfig
    dataset: ImageDataset
    engine: Engine
    previous: Model | None
    """The model this stage grows out of: the stage before, or `--init`."""

    def heldout(self, count: int = HELDOUT) -> Labelled:
        """Fixed validation images on the device; training images when there are no validation images."""
        chosen = self._chosen(VALIDATION if len(self.dataset.indices(VALIDATION)) else TRAIN, count)
        return Labelled(self.dataset.load(chosen).to(self.engine.device), self._labels(chosen))

    def known(self) -> Images | None:
        """Fixed training images on the device beside the held-out ones; None when nothing is held out."""
        if not len(self.dataset.indices(VALIDATION)):
            return None
        return self.training_images(HELDOUT).to(self.engine.device)

    def training_images(self, count: int) -> Images:
        """Fixed training images on the CPU."""
        return self.dataset.load(self._chosen(TRAIN, count))

    @property
    def codes(self) -> NDArray[np.int64] | None:
        """The label of every image of the dataset; None unless the networks are told."""
        return self.dataset.categories(self.config.condition)[1] if self.config.is_conditional else None

    @property
    def words(self) -> tuple[str, ...]:
        """What the codes stand for."""
        return self.dataset.categories(self.config.condition)[2] if self.config.is_conditional else ()

    def training_blocks(self, count: int) -> Iterator[Labelled]:
        """The images of `training_images` in blocks of 256, for more of them than fit into memory, with their labels."""
        chosen = self._chosen(TRAIN, count)
        for part in (chosen[at : at + 256] for at in range(0, len(chosen), 256)):
            yield Labelled(self.dataset.load(part), self._labels(part))

    def training_labels(self, count: int) -> Labels | None:
        """The labels of `training_images` and, on the device, of `known`."""
        return self._labels(self._chosen(TRAIN, count))

    def _labels(self, chosen: NDArray[np.int64]) -> Labels | None:
        return None if self.codes is None else torch.from_numpy(self.codes[chosen]).to(self.engine.device)

    def posterior(self, model: Model) -> Gaussian:
        """The posteriors of (at most 10,000) training images, read in blocks."""
        blocks = [model.posterior(*block) for block in self.training_blocks(ENCODED)]
        return Gaussian(torch.cat([block.mean for block in blocks]), torch.cat([block.log_var for block in blocks]))

    def _chosen(self, side: int, count: int) -> NDArray[np.int64]:
        """The first images of a side in the order of their contents, which is a fair draw from all folders."""
        indices = self.dataset.indices(side)
        return indices[np.argsort(self.dataset.contents[indices], kind="stable")][:count]


def build_ae(inputs: StageInputs, facts: dict[str, Any]) -> AE:
    """A plain autoencoder with fresh networks, or on those of an earlier model."""
    return AE(inputs.config.ae, *_encoder_and_decoder(inputs, facts), inputs.engine)


def build_vae(inputs: StageInputs, facts: dict[str, Any]) -> VAE:
    """A VAE with fresh networks, or on those of an earlier model."""
    facts["objective"] = describe_objective(inputs.config.vae, inputs.dataset.channels * inputs.dataset.config.size**2)
    return VAE(inputs.config.vae, *_encoder_and_decoder(inputs, facts), inputs.engine)


def _encoder_and_decoder(inputs: StageInputs, facts: dict[str, Any]) -> tuple[Encoder, Decoder]:
    config, dataset, previous = inputs.config, inputs.dataset, inputs.previous
    if previous is None:
        with _seeded(config.seed, "vae"):  # the same for AE and VAE, so that they start from the same weights
            encoder = Encoder(config.network, dataset.config.size, dataset.channels)
            decoder = Decoder(config.network, dataset.config.size, dataset.channels)
    else:
        check_fits(previous, config, dataset)
        assert previous.networks.encoder is not None
        encoder = handover.trainable_copy(previous.networks.encoder)
        decoder = handover.trainable_copy(previous.networks.decoder)
        if previous.networks.whitening is not None:
            decoder = handover.unwhiten(decoder, previous.networks.whitening)
        decoder.as_learned(floor=0)  # a GAN's; a resumed stage, which builds on nothing, would not know of it
    facts["parameters"] = {"encoder": _parameters(encoder), "decoder": _parameters(decoder)}
    return encoder, decoder


def build_gan(inputs: StageInputs, facts: dict[str, Any]) -> GAN:
    """A GAN grown out of `inputs.previous` by the steps of the handover, or from scratch without it."""
    config, dataset, engine, previous = inputs.config, inputs.dataset, inputs.engine, inputs.previous
    with _seeded(config.seed, "gan"):
        critic = Critic(config.network, dataset.config.size, dataset.channels)
        generator = Decoder(config.network, dataset.config.size, dataset.channels)
    encoder, anchor, mixture = None, None, None
    if previous is not None:
        check_fits(previous, config, dataset)
        generator, encoder, anchor, mixture = _hand_over(inputs, previous, generator, critic, facts)
        anchor = None if anchor is None else engine.prepare_frozen(anchor)
    facts["parameters"] = {"generator": _parameters(generator), "critic": _parameters(critic)}
    heldout = inputs.heldout()
    return GAN(
        config.gan,
        generator,
        critic,
        encoder,
        anchor,
        heldout.images,
        engine,
        flips=dataset.flips,
        mixture=mixture,
        known=inputs.known(),
        heldout_labels=heldout.labels,
        known_labels=inputs.training_labels(HELDOUT),
        low_precision=engine.precision == "bfloat16",
    )


def build_joint(inputs: StageInputs, facts: dict[str, Any]) -> Joint:
    """A joint VAE/GAN with fresh networks, or on those of an earlier model, whose trunk the critic then shares."""
    config, dataset, engine = inputs.config, inputs.dataset, inputs.engine
    encoder, decoder = _encoder_and_decoder(inputs, facts)
    with _seeded(config.seed, "joint"):
        critic = Critic(config.network, dataset.config.size, dataset.channels)
    if inputs.previous is not None and config.handover.critic == "encoder":
        handover.grow_critic(encoder, critic)
    facts["parameters"]["critic"] = _parameters(critic)
    low_precision = engine.precision == "bfloat16"
    return Joint(config.joint, encoder, decoder, critic, engine, flips=dataset.flips, low_precision=low_precision)


def _hand_over(
    inputs: StageInputs, previous: Model, fresh: Decoder, critic: Critic, facts: dict[str, Any]
) -> tuple[Decoder, Encoder | None, handover.Anchor | None, Mixture | None]:
    steps, networks = inputs.config.handover, previous.networks
    probe = torch.randn(16, previous.latent_dim, generator=torch.Generator().manual_seed(0)).to(previous.device)
    if steps.generator == "scratch":  # it has no floor: it draws no details yet, and would learn them badly under one
        return fresh, None, None, None
    generator = handover.grow_generator(networks.decoder, probe)
    log: dict[str, Any] = {"verified_tensors": len(generator.state_dict()), "generator_equals_decoder": True}
    facts["handover"] = log
    if networks.encoder is None or networks.whitening is None:
        log["floor_change"] = handover.put_floor(generator, inputs.config.gan.floor, probe)
        return generator, None, None, None

    whitening: Whitening = networks.whitening
    posterior = inputs.posterior(previous)
    if steps.whitening and previous.config.stage in ("vae", "joint"):  # a GAN's latents are whitened already
        generator, whitening = handover.whiten(generator, posterior, probe)
    log["floor_change"] = handover.put_floor(generator, inputs.config.gan.floor, probe)
    mixture = _fitted(inputs, whitening(posterior.mean)) if inputs.config.gan.prior == "mixture" else None
    if mixture is not None:
        draws = mixture.sample(DRAWS * previous.latent_dim, torch.Generator().manual_seed(0))
        mixture.strong.copy_(handover.strong_directions(generator, draws.to(previous.device)))
    if steps.critic == "encoder":
        handover.grow_critic(networks.encoder, critic)
    anchor = handover.Anchor(networks.encoder, whitening)
    anchor.calibrate(inputs.training_images(512).to(previous.device), inputs.training_labels(512))

    heldout, labels = inputs.heldout(512)
    posterior = previous.posterior(heldout, labels)
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(1)).to(posterior.mean)
    sampled = whitening(posterior.mean + torch.exp(posterior.log_var / 2) * noise)
    random = torch.Generator().manual_seed(0)
    drawn = torch.randn(sampled.shape, generator=random) if mixture is None else mixture.sample(len(sampled), random)
    log["prior_gap"] = handover.prior_gap(generator, drawn.to(sampled), sampled, heldout, labels)
    first, of_first = heldout[:HELDOUT], None if labels is None else labels[:HELDOUT]
    log["vae_low_pass_error"] = float(handover.low_pass_error(previous.reconstruct(first, of_first), first).mean())
    encoder = handover.trainable_copy(networks.encoder)
    return generator, encoder, anchor, mixture


def guards_of(stage: str, inputs: StageInputs) -> Guards:
    """What watches a stage: the failures that it can have."""
    config, limits = inputs.config, Thresholds()
    signals: list[Signal] = [NotFinite(limits), Exploding(limits)]
    ladders = LADDERS
    if stage == "gan":
        has_scale = config.gan.objective != "wasserstein"  # whose critic is meant to be ahead, by any number
        fresh = inputs.previous is None or config.handover.generator == "scratch"
        if has_scale:
            signals.append(Runaway(limits))
        signals += [kind(limits) for kind in (Collapse, Forgetting, Copying, Vanishing, Overfitting)]
        if not fresh:  # which begins with noise, and so with twice the detail of real images: whatever it learns is softer
            signals.append(Idle(limits))
        ladders = ladders_of(unusual=config.gan != config.gan.usual())
        if has_scale:
            signals.append(CriticWins(limits, since=limits.scratch_start if fresh else 0.0))
            signals.append(CriticLost(limits, since=config.gan.blur_until if config.gan.blur > 0 else 0.0))
    if stage == "vae" and config.vae.reconstruction_weight > 0:
        reason, excess = reason_of_collapse(config.vae, inputs.dataset.channels * inputs.dataset.config.size**2)
        signals.append(Posterior(limits, config.network.latent_dim, reason))
        ladders = ladders | {Posterior.name: (free_latents(excess), free_latents(1))}
    return Guards(config.guards, tuple(signals), ladders)


BUILDERS = {"ae": build_ae, "vae": build_vae, "gan": build_gan, "joint": build_joint}


def to_model(recipe: Recipe, inputs: StageInputs) -> Model:
    """A Model on the recipe's averaged networks, which it shares."""
    trained: Trained = recipe.averaged()
    dataset = inputs.dataset
    config = ModelConfig(
        size=dataset.config.size,
        channels=dataset.channels,
        stage=recipe.name,
        network=inputs.config.network,
        variance=trained.variance,
        prior=trained.prior,
        likelihood=trained.likelihood,
        floor=trained.decoder.floor,
        steep_floor=trained.decoder.steep_floor,
        labels=inputs.words,
        has_encoder=trained.encoder is not None,
    )
    with torch.device("meta"):
        networks = Networks(config)
    networks.decoder, networks.encoder = trained.decoder, trained.encoder
    if trained.encoder is not None:
        latent_dim = config.network.latent_dim
        networks.whitening = trained.whitening or Whitening(latent_dim)
        networks.mixture = trained.mixture or Mixture(latent_dim)
    return Model(config, networks, inputs.engine.device)


def looking_model(recipe: Recipe, inputs: StageInputs) -> Model:
    """The Model to draw pictures with while training: an autoencoder samples from one Gaussian over held-out encodings."""
    model = to_model(recipe, inputs)
    if not model.has_prior:
        model.networks.mixture = fit_mixture(model.encode(*inputs.heldout()), components=1)
    return model


def finish_model(model: Model, inputs: StageInputs, facts: dict[str, Any]) -> Model:
    """Adds what is learned once, at the end, and notes it in `facts`.

    It is the mixture over encoded training images, unless one was the prior all along, and a GAN's octaves.
    """
    if model.has_encoder and model.config.prior != "mixture":
        model.networks.mixture = _fitted(inputs, model.whitened(inputs.posterior(model).mean))
    if model.config.stage == "gan" and inputs.config.gan.equalise:
        real = (block.images for block in inputs.training_blocks(EQUALISED))
        found = equalise(model, real, inputs.config.gan.floor, inputs.training_labels(EQUALISED))
        if found is not None:
            facts["equalised"] = [round(gain, 3) for gain in found.gains]
            facts["steep_floor"] = round(found.floor, 3)
    return model


def kept_scores(model: Model, inputs: StageInputs, heldout: Labelled) -> dict[str, float]:
    """What validations say of samples, of those that the kept model draws: equalised, and narrowed to its temperature."""
    images, labels = heldout
    samples = model.sample(len(images), seed=1, labels=labels).to(images.device)  # seed 0's it was equalised by
    scores = SampleScore()(images, samples) | {"heldout_recall": watch.recall(images, samples)}
    if (known := inputs.known()) is not None:
        scores |= {"copying": watch.copying(samples, known, images), "nearness": watch.nearness(samples, known, images)}
    return {name: float(value) for name, value in scores.items()}


def _fitted(inputs: StageInputs, encoded: Latents) -> Mixture:
    return fit_mixture(encoded, seed=keyed_seed(inputs.config.seed, "mixture"))


@contextmanager
def _seeded(seed: int, stage: str) -> Generator[None]:
    """Initial weights that depend on the run's seed and the stage's name only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "initial weights", stage))
        yield


def _parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
