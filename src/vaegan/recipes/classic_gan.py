"""The sources' GANs, from scratch: minimax and its successors, to compare with and to learn from.

- minimax and its non-saturating form: Goodfellow et al. 2014
- DCGAN: Radford et al. 2016
- hinge: Lim & Ye 2017
- least squares: Mao et al. 2017
- Wasserstein with clipped weights: Arjovsky et al. 2017; with a gradient penalty: Gulrajani et al. 2017

The project's own game is in gan.py.
"""

import torch
from torch import Tensor, nn

from vaegan.config import ClassicGANConfig
from vaegan.metrics import watch
from vaegan.metrics.watch import FEWEST_HELD_OUT, SampleScores
from vaegan.networks import Critic, Decoder
from vaegan.networks.normalisation import normalises_batches, running_statistics
from vaegan.objectives.adversarial import OBJECTIVES
from vaegan.objectives.penalties import exact_penalty, interpolated_penalty
from vaegan.objectives.relativistic import pair_accuracy
from vaegan.parts.engine import Engine, frozen, gradient_norm, in_blocks
from vaegan.parts.optimizers import optimizer_of
from vaegan.parts.player import Player
from vaegan.parts.schedule import Clock
from vaegan.priors import PRIORS
from vaegan.recipes.recipe import Deciding, Recipe, Trained
from vaegan.types import Batch, Images, Labels, PerImage, Scalars, joined

AVERAGE_CAP = 1  # [images]: the sources average nothing, so the last weights are kept
BETA2 = 0.999  # second moment of Adam


class ClassicGAN(Recipe):
    """Trains a generator and a critic by one of the objectives before R3GAN's."""

    name = "gan"
    deciding = Deciding("heldout_kernel_distance", FEWEST_HELD_OUT, 0.5, "heldout_kernel_error")

    def __init__(
        self, config: ClassicGANConfig, generator: Decoder, critic: Critic, engine: Engine, known: Batch | None = None
    ) -> None:
        """Args: config: settings; generator, critic: fresh; engine: devices; known: training images, to see what is memorised."""
        super().__init__()
        self.config, self.engine, self.draws = config, engine, engine.draws(self.name)
        self.objective = OBJECTIVES[config.objective]
        betas = (config.beta1, BETA2)

        def rate(progress: float) -> float:
            return config.learning_rate

        every = config.critic_steps
        self.generator = Player(generator, optimizer_of(config.optimizer, betas), rate, engine, AVERAGE_CAP, every)
        self.critic = Player(critic, optimizer_of(config.critic_optimizer, betas), rate, engine)
        self.prior = PRIORS[config.prior](generator.latent_dim)
        self.known, self.scores = known, SampleScores()

    def step(self, batch: Batch, clock: Clock) -> Scalars:
        """One step of the critic, and one of the generator after so many of the critic as the settings say."""
        (images, labels), config = batch, self.config
        plays = (clock.step + 1) % config.critic_steps == 0
        latents = self.prior(self.draws.normal("latents", clock.seen, len(images), self.prior.noise_dim))
        with torch.set_grad_enabled(plays):
            samples: Images = self.generator(latents, labels)

        real, fake = self._judge(images, samples.detach(), labels)
        loss, scalars = self.objective.critic_loss(real, fake).mean(), {}
        if config.penalty > 0:
            slope = self._slope(images, samples.detach(), labels, clock).mean()
            loss, scalars["slope"] = loss + config.penalty * slope, slope.detach()
        self.critic.minimise(loss, clock)
        if config.clip > 0:
            clip_weights(self.critic.network, config.clip)
        scalars |= {"critic_loss": loss.detach(), "pair_accuracy": pair_accuracy(real.detach(), fake.detach())}
        scalars["critic_gradient"] = gradient_norm(self.critic.network)
        return scalars | (self._train_generator(samples, batch, real.detach(), clock) if plays else {})

    def _train_generator(self, samples: Images, batch: Batch, real: PerImage, clock: Clock) -> Scalars:
        samples.retain_grad()
        with frozen(self.critic.network) as critic:
            loss = self.objective.generator_loss(real, critic(samples, batch.labels)).mean()
        self.generator.minimise(loss, clock)
        assert samples.grad is not None
        return {
            "generator_loss": loss.detach(),
            "generator_gradient": gradient_norm(self.generator.network),
            # |dL/d image| of one image's own loss: what vanishes where the critic is sure (Goodfellow et al. 2014, Section 3).
            "image_gradient": len(samples) * samples.grad.flatten(1).norm(dim=1).mean(),
            "variety": watch.variety(samples.detach()) / watch.variety(batch.images).clamp_min(1e-6),
        }

    def _judge(self, images: Images, samples: Images, labels: Labels | None) -> tuple[PerImage, PerImage]:
        """Logits of real and of generated images; a critic with batch normalisation gets them apart (Radford et al. 2016)."""
        if normalises_batches(self.critic.network):
            return self.critic(images, labels), self.critic(samples, labels)
        real, fake = self.critic(torch.cat([images, samples]), joined(labels, labels)).chunk(2)
        return real, fake

    def _slope(self, images: Images, samples: Images, labels: Labels | None, clock: Clock) -> Tensor:
        """The penalty on a quarter of the batch: (|grad D| - 1)^2 in between for Wasserstein, |grad D|^2 on both for the others.

        Taken at the statistics that batch normalisation has gathered: one image's logit would else depend on another's pixels.
        """
        count, critic = max(1, len(images) // 4), self.critic.network
        real, fake, labels = images[:count], samples[:count], None if labels is None else labels[:count]
        with running_statistics(critic):
            if self.config.objective == "wasserstein":
                share = self.draws.uniform("penalty", clock.seen, count)
                return interpolated_penalty(lambda x: critic(x, labels), real, fake, share)
            return exact_penalty(lambda x: critic(x, joined(labels, labels)), torch.cat([real, fake]))

    @torch.no_grad()
    def validate(self, batch: Batch) -> Scalars:
        """The averaged generator against held-out images: pair accuracy and scores of samples."""
        (images, labels), critic, generator = batch, self.critic.network, self.generator.averaged
        noise = torch.randn(
            len(images), self.prior.noise_dim, generator=self.draws.generator("validation", 0), device=self.draws.device
        )
        samples = in_blocks(generator, self.prior(noise), labels)
        with running_statistics(critic):
            real, fake = in_blocks(critic, images, labels), in_blocks(critic, samples, labels)
            scalars = {"heldout_pair_accuracy": pair_accuracy(real, fake)}
            if self.known is not None:
                scalars["overfitting"] = watch.overfitting(in_blocks(critic, *self.known), real, fake)
        return scalars | self.scores(samples, images, None if self.known is None else self.known.images)

    def trained(self) -> Trained:
        """The averaged generator."""
        return Trained(self.generator.averaged, prior=self.prior)


@torch.no_grad()
def clip_weights(network: nn.Module, limit: float) -> None:
    """Puts every weight into [-limit, limit], which bounds the critic's slope (Arjovsky et al. 2017, Algorithm 1)."""
    for parameter in network.parameters():
        parameter.clamp_(-limit, limit)
