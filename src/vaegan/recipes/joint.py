"""The joint VAE/GAN (Larsen et al. 2016): encoder, decoder and critic at once; the critic's features measure reconstructions.

Differences from the paper's Section 4: the objective is relativistic by default, with one pairing for each kind of generated
image (decoded prior samples, and reconstructions) and R1 and R2; a real image counts once for each kind, not once; the feature
error is divided by the features' variance, so that it does not shrink with the critic's scale; no player waits for another.
`--joint.objective non-saturating` is the paper's.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from vaegan.config import JointConfig
from vaegan.metrics.cheap import FEWEST_HELD_OUT as FEWEST
from vaegan.metrics.cheap import SampleScore
from vaegan.metrics.posterior import active_units
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.objectives import gaussian, penalties, relativistic
from vaegan.objectives.adversarial import OBJECTIVES
from vaegan.recipes.autoencoding import Autoencoding
from vaegan.recipes.critic import draw_view, judge
from vaegan.recipes.engine import Deciding, Engine, Trained, in_blocks, unwrapped
from vaegan.recipes.optimizers import build_optimizer
from vaegan.recipes.schedule import Clock, cosine, geometric, ramp, set_learning_rate
from vaegan.types import Images, Labels, Latents, PerImage, Scalars


class Joint(Autoencoding):
    """Trains an encoder, a decoder that is also the generator, and a critic."""

    name: Literal["joint"] = "joint"

    def __init__(
        self,
        config: JointConfig,
        encoder: Encoder,
        decoder: Decoder,
        critic: Critic,
        engine: Engine,
        *,
        flips: bool,
        low_precision: bool = False,
    ) -> None:
        """Sets up the three networks.

        Args:
            config: settings.
            encoder: fresh, or a VAE's.
            decoder: fresh, or the same VAE's.
            critic: fresh, or on that encoder's trunk.
            engine: devices and processes.
            flips: whether mirrored images are as good as the originals.
            low_precision: whether the networks run in bfloat16 (widens the finite difference's step).
        """
        super().__init__(encoder, decoder, config.average_cap, engine)
        self.config, self.flips = config, flips
        self.objective = OBJECTIVES[config.objective]
        self.penalty_step = config.penalty_step * (5 if low_precision else 1)
        self.critic = engine.prepare(critic)
        betas, rate = (0.0, config.beta2), config.learning_rate
        self.vae_optimizer = engine.optimizer(build_optimizer("adam", [self.encoder, self.decoder], rate, betas))
        self.critic_optimizer = engine.optimizer(build_optimizer("adam", [self.critic], rate, betas))
        self.score = SampleScore()
        self.draws = engine.draws(self.name)

    def step(self, images: Images, clock: Clock, labels: Labels | None = None) -> Scalars:
        """One step of all three on one batch."""
        config, count = self.config, len(images)
        rate = cosine(config.learning_rate, config.final_learning_rate, clock.progress)
        set_learning_rate(self.vae_optimizer, rate * self.levers.generator_rate)
        set_learning_rate(self.critic_optimizer, rate * self.levers.critic_rate)

        posterior = self.encoder(images, labels)
        noise = self.draws.normal("posterior", clock.seen, *posterior.mean.shape)
        latents = posterior.mean + torch.exp(posterior.log_var / 2) * noise
        prior = self.draws.normal("latents", clock.seen, *posterior.mean.shape)
        # Reconstructions are decoded twice: once joined to the encoder, for the feature error, and once cut off from it, so that
        # the adversarial gradient never reaches the encoder (Larsen et al. 2016, Algorithm 1).
        reconstructions, cut_off, samples = self.decoder(
            torch.cat([latents, latents.detach(), prior]), None if labels is None else labels.repeat(3)
        ).split(count)
        fakes = torch.stack([cut_off, samples], 1).flatten(0, 1)  # in turn: two that follow each other are of one real image

        view = draw_view(self.draws, clock, images, config.augmentation * clock.progress, self.flips)
        twice = draw_view(self.draws, clock, images, config.augmentation * clock.progress, self.flips, copies=2)
        scalars, real_logits = self._train_critic(view(images), twice(fakes.detach()), labels, clock)

        critic = unwrapped(self.critic).requires_grad_(False)  # neither loss below may change it
        feature_error, features = self._feature_error(critic, images, reconstructions, labels)
        of_fakes = None if labels is None else labels.repeat_interleave(2)
        adversarial = self.objective.generator_loss(real_logits.repeat_interleave(2), critic(twice(fakes), of_fakes))
        critic.requires_grad_(True)
        kl = gaussian.kl_to_standard_normal(*posterior).sum(1)
        kl_weight = config.kl_weight * ramp(clock.progress, config.kl_warmup)
        # The paper's L_E = KL + L_feat and L_Dec = gamma L_feat + L_GAN, with gamma = 1 / (adversarial_weight * features).
        loss = (kl_weight * kl + feature_error).mean() + config.adversarial_weight * features * 2 * adversarial.mean()
        self.vae_optimizer.zero_grad()
        self.engine.backward(loss)
        self.vae_optimizer.step()
        self.follow(clock)
        return scalars | {
            "error": self.engine.mean((reconstructions.detach() - images).square().mean()),
            "kl": kl.detach().mean(),
            "feature_error": 2 / features * feature_error.detach().mean(),
            "generator_loss": adversarial.detach().mean(),
            "gradient": self.gradient(),
        }

    def _train_critic(self, real: Images, fakes: Images, labels: Labels | None, clock: Clock) -> tuple[Scalars, PerImage]:
        """One step of the critic on real images and twice as many generated ones; its logits of the real ones."""
        config = self.config
        gamma = geometric(config.penalty, config.final_penalty, clock.progress)
        judged = judge(self.critic, real, fakes, labels, config.penalty_kind, self.penalty_step, self.draws, clock)
        pairs = judged.real.repeat_interleave(2), judged.fake
        assert judged.penalty is not None
        loss = 2 * self.objective.critic_loss(*pairs).mean() + gamma * judged.penalty.mean()
        if not self.objective.has_level:
            logit_sum = self.engine.mean((judged.real.mean() + judged.fake.mean()).detach())
            loss = loss + config.drift_weight * penalties.logit_drift(judged.real.mean(), judged.fake.mean(), logit_sum)
        self.critic_optimizer.zero_grad()
        self.engine.backward(loss)
        self.critic_optimizer.step()
        accuracy = relativistic.pair_accuracy(judged.real.detach(), judged.fake.detach())
        scalars = {"critic_loss": loss.detach(), "pair_accuracy": accuracy, "slope": judged.penalty.detach().mean()}
        return scalars, judged.real.detach()

    def _feature_error(
        self, critic: Critic, images: Images, reconstructions: Images, labels: Labels | None
    ) -> tuple[PerImage, int]:
        """1/2 |D_l(x) - D_l(x~)|^2 (Larsen et al. 2016, Eq. 7 and 8) over their variance; and how many features there are."""
        with torch.no_grad():
            wanted = self._features(critic, images, labels)
            centred = wanted - self.engine.mean(wanted.mean(0))
            variance = self.engine.mean(centred.square().mean()).clamp_min(1e-8)
        error = gaussian.squared_error(wanted, self._features(critic, reconstructions, labels))
        return 0.5 * error / variance, wanted[0].numel()

    def _features(self, critic: Critic, images: Images, labels: Labels | None) -> Tensor:
        features = critic.trunk(images, labels)
        return features[min(self.config.feature_stage, len(features) - 1)].float()

    @torch.no_grad()
    def validate(self, images: Images, labels: Labels | None = None) -> Scalars:
        """The averaged networks on held-out images: reconstruction error, KL, pair accuracy, score of the samples."""
        decoder, critic = self.average_decoder.network, unwrapped(self.critic)
        mean, log_var = self.averaged_posterior(images, labels)
        samples = in_blocks(decoder, self._fixed_latents(mean), labels)
        kl = gaussian.kl_to_standard_normal(mean, log_var)
        return {
            "heldout_error": (in_blocks(decoder, mean, labels) - images).square().mean(),
            "heldout_kl": kl.sum(1).mean(),
            "active_units": active_units(mean).float(),
            "heldout_pair_accuracy": relativistic.pair_accuracy(
                in_blocks(critic, images, labels), in_blocks(critic, samples, labels)
            ),
        } | self.score(images, samples)

    def _fixed_latents(self, like: Latents) -> Latents:
        return torch.randn(like.shape, generator=self.draws.generator("validation", 0), device=self.draws.device)

    @property
    def deciding(self) -> Deciding:
        """Models are compared by their samples, in the second half: before it the critic has not said its part."""
        return Deciding("heldout_kernel_distance", FEWEST, 0.5, "heldout_kernel_error")

    def averaged(self) -> Trained:
        """The networks to keep; no p(x|z) on pixels stands behind them."""
        return Trained(self.average_decoder.network, self.average_encoder.network, None, None)

    def networks(self) -> dict[str, nn.Module]:
        """Everything with weights."""
        return super().networks() | {"critic": unwrapped(self.critic)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimiser."""
        return {"vae": self.vae_optimizer, "critic": self.critic_optimizer}
