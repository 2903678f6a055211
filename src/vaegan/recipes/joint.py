"""The joint VAE/GAN (Larsen et al. 2016): encoder, decoder and critic at once; the critic's features measure reconstructions.

Differences from the paper's Section 4:

- The paper and its authors' code play the minimax game log D(x) + log(1 - D(G)). Ours is relativistic by default, with R1 and R2;
  with `--joint.objective non-saturating` only the critic plays the paper's, and the decoder maximises log D(G).
- Each kind of generated image, decoded prior samples and reconstructions, is paired with the real images on its own.
- A real image counts once for each kind, not once.
- The feature error is divided by the features' variance, so that it does not shrink with the critic's scale.
- No player waits for another.
"""

import torch
from torch import Tensor

from vaegan.config import JointConfig
from vaegan.metrics.posterior import active_units
from vaegan.metrics.watch import FEWEST_HELD_OUT, SampleScores
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.objectives import gaussian
from vaegan.objectives.adversarial import OBJECTIVES
from vaegan.objectives.penalties import logit_drift
from vaegan.objectives.relativistic import pair_accuracy
from vaegan.parts.critics import DIFFERENCE_STEP, logits_and_slope
from vaegan.parts.engine import Engine, frozen, gradient_norm, in_blocks
from vaegan.parts.optimizers import optimizer_of
from vaegan.parts.player import Player, minimise
from vaegan.parts.schedule import Clock, cosine, faded_in, geometric
from vaegan.parts.views import draw_view
from vaegan.recipes.recipe import Deciding, Recipe, Trained
from vaegan.recipes.vae import posterior_of
from vaegan.types import Batch, Images, Labels, PerImage, Scalars

BETAS = (0.0, 0.99)
AVERAGE_CAP = 5_000  # longest half-life of the averaged weights [images]
KL_WARMUP = 0.1  # share of the stage over which the KL divergence is faded in
PENALTIES = (0.05, 0.015)  # gradient penalty gamma at the start and at the end
AUGMENTATION = 0.3  # probability of each random change of what the critic sees, at the end
FEATURES = 2  # stage of the critic that compares reconstructions, from the finest: an eighth of the side
DRIFT = 0.01


class Joint(Recipe):
    """Trains an encoder, a decoder that is also the generator, and a critic."""

    name = "joint"
    deciding = Deciding("heldout_kernel_distance", FEWEST_HELD_OUT, 0.5, "heldout_kernel_error")
    """By samples, in the second half: before it the critic has not said its part."""

    def __init__(
        self,
        config: JointConfig,
        encoder: Encoder,
        decoder: Decoder,
        critic: Critic,
        engine: Engine,
        *,
        flips: bool,
        precision: str = "float32",
    ) -> None:
        """Sets up the three players: fresh, or a VAE's encoder and decoder and a critic on that encoder's trunk.

        `flips`: mirrored images are as good as the originals.
        """
        super().__init__()
        self.config, self.flips, self.engine, self.draws = config, flips, engine, engine.draws(self.name)
        self.objective, self.penalty_step = OBJECTIVES[config.objective], DIFFERENCE_STEP[precision]
        adam, scores = optimizer_of("adam", BETAS), SampleScores()

        def rate(progress: float) -> float:
            return cosine(config.learning_rate, config.learning_rate / 3, progress)

        self.encoder = Player(encoder, adam, rate, engine, AVERAGE_CAP)
        self.decoder = Player(decoder, adam, rate, engine, AVERAGE_CAP)
        self.critic = Player(critic, adam, rate, engine)
        self.scores = scores

    def step(self, batch: Batch, clock: Clock) -> Scalars:
        """One step of all three on one batch (Larsen et al. 2016, Algorithm 1)."""
        (images, labels), config, count = batch, self.config, len(batch.images)
        posterior = self.encoder(images, labels)
        noise = self.draws.normal("posterior", clock.seen, *posterior.mean.shape)
        latents = posterior.mean + torch.exp(posterior.log_var / 2) * noise
        prior = self.draws.normal("latents", clock.seen, *posterior.mean.shape)
        # Reconstructions are decoded twice: once joined to the encoder, for the feature error, and once cut off from it, so that
        # the adversarial gradient never reaches the encoder.
        reconstructions, cut_off, samples = self.decoder(
            torch.cat([latents, latents.detach(), prior]), None if labels is None else labels.repeat(3)
        ).split(count)
        fakes = torch.stack([cut_off, samples], 1).flatten(0, 1)  # in turn: two that follow each other are of one real image

        probability = AUGMENTATION * clock.progress
        view, twice = (draw_view(self.draws, clock, images, probability, self.flips, copies=copies) for copies in (1, 2))
        scalars, real = self._train_critic(view(images), twice(fakes.detach()), labels, clock)

        with frozen(self.critic.network) as critic:  # neither loss below may change it
            feature_error, features = self._feature_error(critic, batch, reconstructions)
            fake = critic(twice(fakes), None if labels is None else labels.repeat_interleave(2))
        adversarial = self.objective.generator_loss(real.repeat_interleave(2), fake).mean()
        kl = gaussian.kl_to_standard_normal(*posterior).sum(1)
        kl_weight = config.kl_weight * faded_in(clock.progress, KL_WARMUP)
        # The paper's L_E = KL + L_feat and L_Dec = gamma L_feat + L_GAN, with gamma = 1 / (adversarial_weight * features).
        loss = (kl_weight * kl + feature_error).mean() + config.adversarial_weight * features * 2 * adversarial
        minimise(loss, clock, self.encoder, self.decoder)
        return scalars | {
            "error": self.engine.mean((reconstructions.detach() - images).square().mean()),
            "kl": kl.detach().mean(),
            "feature_error": 2 / features * feature_error.detach().mean(),
            "generator_loss": adversarial.detach(),
            "gradient": gradient_norm(self.encoder.network, self.decoder.network),
        }

    def _train_critic(self, shown: Images, fakes: Images, labels: Labels | None, clock: Clock) -> tuple[Scalars, PerImage]:
        """One step of the critic on real images and twice as many generated ones; its logits of the real ones."""
        real, fake, slope = logits_and_slope(self.critic, shown, fakes, labels, self.penalty_step, self.draws, clock)
        gamma = geometric(*PENALTIES, clock.progress)
        loss = 2 * self.objective.critic_loss(real.repeat_interleave(2), fake).mean() + gamma * slope.mean()
        if self.config.objective == "relativistic":
            loss = loss + DRIFT * logit_drift(real, fake, self.engine.mean)
        self.critic.minimise(loss, clock)
        accuracy = pair_accuracy(real.detach(), fake.detach())
        return {"critic_loss": loss.detach(), "pair_accuracy": accuracy, "slope": slope.detach().mean()}, real.detach()

    def _feature_error(self, critic: Critic, batch: Batch, reconstructions: Images) -> tuple[PerImage, int]:
        """1/2 |D_l(x) - D_l(x~)|^2 (Larsen et al. 2016, Eq. 7 and 8) over their variance; and how many features there are."""
        with torch.no_grad():
            wanted = _features(critic, *batch)
            centred = wanted - self.engine.mean(wanted.mean(0))
            variance = self.engine.mean(centred.square().mean()).clamp_min(1e-8)
        error = gaussian.squared_error(wanted, _features(critic, reconstructions, batch.labels))
        return 0.5 * error / variance, wanted[0].numel()

    @torch.no_grad()
    def validate(self, batch: Batch) -> Scalars:
        """The averaged networks on held-out images: reconstruction error, KL, pair accuracy, score of the samples."""
        (images, labels), decoder, critic = batch, self.decoder.averaged, self.critic.network
        mean, log_var = posterior_of(self.encoder.averaged, batch)
        latents = torch.randn(mean.shape, generator=self.draws.generator("validation", 0), device=self.draws.device)
        samples = in_blocks(decoder, latents, labels)
        kl = gaussian.kl_to_standard_normal(mean, log_var)
        return {
            "heldout_error": (in_blocks(decoder, mean, labels) - images).square().mean(),
            "heldout_kl": kl.sum(1).mean(),
            "active_units": active_units(mean).float(),
            "heldout_pair_accuracy": pair_accuracy(in_blocks(critic, images, labels), in_blocks(critic, samples, labels)),
        } | self.scores(samples, images, None)

    def trained(self) -> Trained:
        """The averaged networks; no p(x|z) on pixels stands behind them."""
        return Trained(self.decoder.averaged, self.encoder.averaged)


def _features(critic: Critic, images: Images, labels: Labels | None) -> Tensor:
    features = critic.trunk(images, labels)
    return features[min(FEATURES, len(features) - 1)].float()
