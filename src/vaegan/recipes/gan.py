"""The GAN (Goodfellow et al. 2014), grown out of a VAE or from scratch; by default relativistic pairing with R1 and R2.

Differences from the default's paper (R3GAN, Huang et al. 2024), each for a small machine: the penalties are finite
differences on a quarter of the batch, one batch of generated images serves critic and generator, and the real logits of the
critic's step are used again in the generator's.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from vaegan.config import GANConfig, OptimizerName, Prior
from vaegan.metrics import watch
from vaegan.metrics.cheap import FEWEST_HELD_OUT as FEWEST
from vaegan.metrics.cheap import SampleScore
from vaegan.mixture import Mixture
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.networks.normalisation import running_statistics
from vaegan.networks.views import View
from vaegan.objectives import penalties, relativistic
from vaegan.objectives.adversarial import OBJECTIVES
from vaegan.objectives.details import detail_discrepancy
from vaegan.recipes.critic import clip_weights, draw_view, joined, judge
from vaegan.recipes.engine import Deciding, Engine, Trained, gradient_norm, in_blocks, unwrapped
from vaegan.recipes.handover import Anchor, Observation, low_pass_error
from vaegan.recipes.levers import Levers
from vaegan.recipes.optimizers import build_optimizer
from vaegan.recipes.schedule import Average, Clock, cosine, geometric, ramp, set_learning_rate
from vaegan.types import Images, Labels, Latents, Scalars

INVERTED = 64  # held-out images and samples that a validation gives to the encoder


class GAN:
    """Trains a generator against a critic and, every few steps, the encoder that inverts the generator."""

    name: Literal["gan"] = "gan"

    def __init__(
        self,
        config: GANConfig,
        generator: Decoder,
        critic: Critic,
        encoder: Encoder | None,
        anchor: Anchor | None,
        heldout: Images,
        engine: Engine,
        *,
        flips: bool,
        mixture: Mixture | None = None,
        known: Images | None = None,
        heldout_labels: Labels | None = None,
        known_labels: Labels | None = None,
        low_precision: bool = False,
    ) -> None:
        """Sets up both players.

        Args:
            config: settings.
            generator: a VAE's decoder after the handover, or a fresh one.
            critic: on the encoder's trunk after the handover, or a fresh one.
            encoder: to be refitted to the generator; None for a GAN from scratch.
            anchor: what reconstructions are held to; None for a GAN from scratch.
            heldout: validation images, at most a few hundred, that decide when the critic is warm.
            engine: devices and processes.
            flips: whether mirrored images are as good as the originals.
            mixture: what latents are drawn from; None: N(0, I), or uniform on [-1, 1] if the settings say so.
            known: some training images, to see what the critic and the generator know by heart.
            heldout_labels: of `heldout`, for a conditional model.
            known_labels: of `known`, for a conditional model.
            low_precision: whether the networks run in bfloat16 (widens the finite difference's step).
        """
        self.config, self.engine, self.anchor, self.heldout, self.flips = config, engine, anchor, heldout, flips
        self.known, self.levers, self._usual = known, Levers(), config.usual()
        self.heldout_labels, self.known_labels = heldout_labels, known_labels
        self._coarse = 5 if low_precision else 1
        self.generator, self.critic = engine.prepare(generator), engine.prepare(critic)
        self.generator_optimizer = self._optimizer(self.generator, config.generator_optimizer)
        self.critic_optimizer = self._optimizer(self.critic, config.critic_optimizer)
        self.average_generator = Average(unwrapped(self.generator), config.average_cap)
        self.encoder, self.encoder_optimizer, self.average_encoder = None, None, None
        if encoder is not None and anchor is not None and config.refit_every:
            self.encoder = engine.prepare(encoder)
            self.encoder_optimizer = self._optimizer(self.encoder, "muon")
            self.average_encoder = Average(unwrapped(self.encoder), config.average_cap)
        self.score = SampleScore()
        self.draws = engine.draws(self.name)
        self.mixture = None if mixture is None else mixture.to(self.draws.device)
        self.prior: Prior = "mixture" if mixture is not None else "uniform" if config.prior == "uniform" else "normal"
        # Images seen when the critic's warm-up began and when the generator was let go; negative before.
        self.warmed_from, self.released_at = torch.tensor(-1), torch.tensor(-1)

    def _optimizer(self, network: nn.Module, name: OptimizerName) -> torch.optim.Optimizer:
        config = self.config
        betas = (config.beta1, config.beta2)
        return self.engine.optimizer(build_optimizer(name, [network], config.learning_rate, betas, config.momentum))

    @property
    def settings(self) -> GANConfig:
        """By which the players play: those configured, unless guards have put the defaults in their place."""
        return self._usual if self.levers.usual else self.config

    @property
    def penalty_step(self) -> float:
        """Of the finite difference: wider where the networks run in bfloat16."""
        return self.settings.penalty_step * self._coarse

    def step(self, images: Images, clock: Clock, labels: Labels | None = None) -> Scalars:
        """One step of both players on one batch."""
        config = self.settings
        plays = not self._generator_is_held(clock) and (clock.step + 1) % config.critic_steps == 0
        self._set_learning_rates(clock)
        count = len(images)
        half, quarter = max(1, count // 2), max(1, count // 4)
        anchored = self.anchor is not None and config.anchor > 0 and plays
        refitted = self.encoder is not None and clock.step % config.refit_every == 0

        latents = self._prior(clock.seen, count)
        observed = None
        if self.anchor is not None and (anchored or refitted):
            observed = self.anchor.observe(*_first(half if refitted else quarter, images, labels))
        inputs = latents if observed is None or not anchored else torch.cat([latents, observed.latents[:quarter]])
        with torch.set_grad_enabled(plays):
            outputs = self.generator(inputs, None if labels is None else torch.cat([labels, labels[: len(inputs) - count]]))
        fakes = outputs[:count]

        scalars, real_logits, view = self._train_critic(images, fakes.detach(), labels, clock)
        if plays:
            scalars |= self._train_generator(images, labels, outputs, observed, real_logits, view, clock)
        if observed is not None and refitted:
            scalars |= self._refit_encoder(images[:half], labels, observed, fakes.detach(), latents, clock)
        return scalars

    def _train_critic(self, images: Images, fakes: Images, labels: Labels | None, clock: Clock) -> tuple[Scalars, Tensor, View]:
        config, view = self.settings, self._view(images, clock)
        objective = OBJECTIVES[config.objective]
        scheduled = geometric(config.penalty, config.final_penalty, clock.progress)
        gamma = self.levers.penalty * max(scheduled, self.levers.least_penalty)
        kind = config.penalty_kind if gamma > 0 else None
        real, fake, penalty = judge(self.critic, view(images), view(fakes), labels, kind, self.penalty_step, self.draws, clock)
        loss = objective.critic_loss(real, fake).mean()
        if penalty is not None:
            loss = loss + gamma * penalty.mean()  # gamma/2 (R1 + R2): the mean runs over reals and fakes together
        if not objective.has_level:
            logit_sum = self.engine.mean((real.mean() + fake.mean()).detach())
            loss = loss + config.drift_weight * penalties.logit_drift(real.mean(), fake.mean(), logit_sum)

        accuracy = relativistic.pair_accuracy(real.detach(), fake.detach())
        self.critic_optimizer.zero_grad()
        self.engine.backward(loss)  # also where no step is taken: the norm of the gradient is watched
        # A step on a gradient of 0 would still go where momentum points and shrink Adam's second moment, so none is taken. To
        # decide that waits for the device, which only a critic with a limit has to; over processes the mean is one for all.
        if self.levers.critic_limit >= 1 or bool(self.engine.mean(accuracy) <= self.levers.critic_limit):
            self.critic_optimizer.step()
        if config.clip > 0:
            clip_weights(unwrapped(self.critic), config.clip)
        scalars = {
            "critic_loss": loss.detach(),
            "pair_accuracy": accuracy,
            "critic_gradient": gradient_norm(self.critic),
        }
        if penalty is not None:
            scalars["slope_error" if kind == "interpolated" else "slope"] = penalty.detach().mean()
        return scalars, real.detach(), view

    def _train_generator(
        self,
        images: Images,
        labels: Labels | None,
        outputs: Images,
        observed: Observation | None,
        real_logits: Tensor,
        view: View,
        clock: Clock,
    ) -> Scalars:
        config, count = self.settings, len(images)
        critic = unwrapped(self.critic).requires_grad_(False)
        judged = outputs[:count]
        judged.retain_grad()
        fake_logits = critic(view(judged), labels)
        critic.requires_grad_(True)
        adversarial = OBJECTIVES[config.objective].generator_loss(real_logits, fake_logits).mean()
        variety = watch.variety(outputs[:count].detach()) / watch.variety(images).clamp_min(1e-6)
        scalars = {"generator_loss": adversarial.detach(), "variety": variety}
        loss = adversarial
        if config.details > 0:
            details = detail_discrepancy(outputs[:count], images, self.engine.everyones, self.draws.rank).mean()
            loss = loss + config.details * details
            scalars["details"] = details.detach()
        if self.anchor is not None and observed is not None and len(outputs) > count:
            anchor = self.anchor.distance(outputs[count:], observed.first(len(outputs) - count)).mean()
            weight = geometric(config.anchor, config.final_anchor, clock.progress) * self.levers.anchor
            loss = loss + weight * anchor
            scalars["anchor"] = anchor.detach()
        self.generator_optimizer.zero_grad()
        self.engine.backward(loss)
        self.generator_optimizer.step()
        self.average_generator.update(unwrapped(self.generator), clock, config.critic_steps)
        assert judged.grad is not None
        # |dL/d image| of one image's own adversarial loss, whatever else moves the generator.
        scalars["image_gradient"] = count * judged.grad.flatten(1).norm(dim=1).mean()
        return scalars | {"generator_gradient": gradient_norm(self.generator)}

    def _refit_encoder(
        self, images: Images, labels: Labels | None, observed: Observation, fakes: Images, latents: Latents, clock: Clock
    ) -> Scalars:
        assert self.encoder is not None
        assert self.encoder_optimizer is not None
        assert self.anchor is not None
        assert self.average_encoder is not None
        generator = unwrapped(self.generator).requires_grad_(False)
        config, of_images = self.settings, None if labels is None else labels[: len(images)]
        posterior = self.encoder(torch.cat([fakes, images]), joined(labels, of_images))
        means = self.anchor.whitening(posterior.mean)
        recovery = (means[: len(fakes)] - latents).square().mean(1)
        # The variances stay the VAE's, or `posterior` would say nothing about the GAN's images.
        kept = (posterior.log_var[len(fakes) :] - observed.log_vars).square().mean(1)
        low_pass = self.anchor.distance(generator(means[len(fakes) :], of_images), observed)
        generator.requires_grad_(True)
        self.encoder_optimizer.zero_grad()
        self.engine.backward(recovery.mean() + 0.5 * low_pass.mean() + 0.1 * kept.mean())
        self.encoder_optimizer.step()
        self.average_encoder.update(unwrapped(self.encoder), clock, config.refit_every)
        return {"recovery": recovery.detach().mean()}

    @torch.no_grad()
    def validate(self, images: Images, labels: Labels | None = None) -> Scalars:
        """The averaged generator against held-out images: pair accuracy, and how well it gives real images back."""
        with running_statistics(unwrapped(self.critic)):
            return self._validate(images, labels)

    def _validate(self, images: Images, labels: Labels | None) -> Scalars:
        critic, generator = unwrapped(self.critic), self.average_generator.network
        latents = self._fixed_latents(len(images))
        fakes = in_blocks(generator, latents, labels)
        real_logits, fake_logits = in_blocks(critic, images, labels), in_blocks(critic, fakes, labels)
        scalars = {"heldout_pair_accuracy": relativistic.pair_accuracy(real_logits, fake_logits)}
        scalars["heldout_recall"] = watch.recall(images, fakes)
        scalars |= self.score(images, fakes)
        if self.known is not None:
            scalars["overfitting"] = watch.overfitting(in_blocks(critic, self.known, self.known_labels), real_logits, fake_logits)
            scalars["copying"] = watch.copying(fakes, self.known, images)
            scalars["nearness"] = watch.nearness(fakes, self.known, images)
        if self.anchor is not None and self.average_encoder is not None:
            encoder = self.average_encoder.network
            # Means over thousands of numbers, and no one decides by them: the first images are enough.
            (images, labels), fakes, latents = _first(INVERTED, images, labels), fakes[:INVERTED], latents[:INVERTED]
            recovered, encoded = (
                self.anchor.whitening(in_blocks(lambda *block: encoder(*block).mean, batch, labels)) for batch in (fakes, images)
            )
            given_back = in_blocks(generator, encoded, labels)
            scalars["latent_recovery"] = 1 - (recovered - latents).square().sum() / latents.square().sum()
            scalars["heldout_low_pass_error"] = low_pass_error(given_back, images).mean()
        return scalars

    @property
    def deciding(self) -> Deciding:
        """Models are compared by their samples, in the second half and without blur.

        A GAN that grew out of a VAE begins with the VAE's images; whatever a distance thinks of those, they must not win.
        """
        return Deciding("heldout_kernel_distance", FEWEST, max(0.5, self.config.blur_until), "heldout_kernel_error")

    @property
    def warming_up(self) -> bool:
        """Whether steps are still of another kind, and cost, than those to come: while only the critic learns."""
        return bool(self.released_at < 0)

    def averaged(self) -> Trained:
        """The networks to keep; the encoder is the refitted one, or the VAE's where it is not refitted."""
        generator = self.average_generator.network
        if self.anchor is None:
            return Trained(generator, None, None, None, prior=self.prior)
        encoder = self.anchor.encoder if self.average_encoder is None else self.average_encoder.network
        mixture = None if self.mixture is None else self.mixture.tempered(self.config.temperature)
        return Trained(generator, encoder, self.anchor.whitening, None, prior=self.prior, mixture=mixture)

    def networks(self) -> dict[str, nn.Module]:
        """Everything with weights."""
        found: dict[str, nn.Module] = {"generator": unwrapped(self.generator), "critic": unwrapped(self.critic)}
        found["average_generator"] = self.average_generator.network
        if self.encoder is not None and self.average_encoder is not None:
            found |= {"encoder": unwrapped(self.encoder), "average_encoder": self.average_encoder.network}
        if self.anchor is not None:
            found["anchor"] = self.anchor
        if self.mixture is not None:
            found["mixture"] = self.mixture
        return found

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimiser."""
        found = {"generator": self.generator_optimizer, "critic": self.critic_optimizer}
        return found if self.encoder_optimizer is None else found | {"encoder": self.encoder_optimizer}

    def tensors(self) -> dict[str, Tensor]:
        """State beside the networks."""
        return {"warmed_from": self.warmed_from, "released_at": self.released_at, "levers": self.levers.tensor()}

    def set_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Takes back what `tensors` gave."""
        self.warmed_from, self.released_at = tensors["warmed_from"].cpu(), tensors["released_at"].cpu()
        self.levers = Levers.of(tensors["levers"])

    def _view(self, images: Images, clock: Clock) -> View:
        probability = min(1.0, self.settings.augmentation * clock.progress + self.levers.augmentation)
        return draw_view(self.draws, clock, images, probability, self.flips, self._blur(clock), jitter=self.settings.jitter)

    def _set_learning_rates(self, clock: Clock) -> None:
        config, levers = self.settings, self.levers
        rate = cosine(config.learning_rate, config.final_learning_rate, clock.progress)
        set_learning_rate(self.critic_optimizer, rate * config.critic_rate * levers.critic_rate)
        since_release = clock.share_since(int(self.released_at))
        generator_rate = rate * config.generator_rate * levers.generator_rate
        generator_rate *= ramp(since_release, config.generator_ramp)
        set_learning_rate(self.generator_optimizer, generator_rate)
        if self.encoder_optimizer is not None:
            encoder_rate = cosine(config.encoder_learning_rate, config.final_learning_rate, clock.progress)
            set_learning_rate(self.encoder_optimizer, encoder_rate * levers.generator_rate)  # it follows the generator

    def _generator_is_held(self, clock: Clock) -> bool:
        """Whether the critic still warms up: it must first order held-out pairs, or its gradient is noise."""
        if self.released_at >= 0:
            return False
        if self.warmed_from < 0:  # at the start of the stage, and again where guards went back to it
            self.warmed_from = torch.tensor(clock.seen)
        steps = (clock.seen - int(self.warmed_from)) // clock.batch_size
        out_of_steps, due = steps >= self.settings.critic_warmup, steps > 0 and steps % 10 == 0
        if out_of_steps or (due and self._heldout_accuracy(clock) >= self.settings.critic_warmup_accuracy):
            self.released_at = torch.tensor(clock.seen)
        return bool(self.released_at < 0)

    @torch.no_grad()
    def _heldout_accuracy(self, clock: Clock) -> float:
        critic, generator = unwrapped(self.critic), unwrapped(self.generator)
        view = View(self._blur(clock), None)
        labels = self.heldout_labels
        with running_statistics(critic, generator):
            fakes = in_blocks(generator, self._fixed_latents(len(self.heldout)), labels)
            real, fake = (
                in_blocks(lambda block, *of: critic(view(block), *of), images, labels) for images in (self.heldout, fakes)
            )
        # The mean over processes, so that rounding on one device cannot let only its own generator go.
        return float(self.engine.mean(relativistic.pair_accuracy(real, fake)))

    def _fixed_latents(self, count: int) -> Latents:
        generator, uniform = self.draws.generator("validation", 0), self.prior == "uniform"
        draw = torch.rand if uniform else torch.randn
        return self._placed(draw(count, self._noise_dim, generator=generator, device=self.draws.device))

    def _prior(self, seen: int, count: int) -> Latents:
        """Latents of the prior for the step at `seen`."""
        draw = self.draws.uniform if self.prior == "uniform" else self.draws.normal
        return self._placed(draw("latents", seen, count, self._noise_dim))

    @property
    def _noise_dim(self) -> int:
        return unwrapped(self.generator).latent_dim + (self.mixture is not None)

    def _placed(self, noise: Tensor) -> Latents:
        """The latents that noise stands for."""
        if self.mixture is not None:
            return self.mixture(noise)
        return 2 * noise - 1 if self.prior == "uniform" else noise

    def _blur(self, clock: Clock) -> float:
        until = self.settings.blur_until
        scheduled = self.settings.blur * (1 - ramp(clock.progress, until)) if until > 0 else 0.0
        return max(scheduled, self.levers.blur)


def _first(count: int, images: Images, labels: Labels | None) -> tuple[Images, Labels | None]:
    return images[:count], None if labels is None else labels[:count]
