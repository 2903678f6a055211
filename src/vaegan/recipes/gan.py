"""The GAN: relativistic pairs with R1 and R2 (R3GAN, Huang et al. 2024), grown out of a VAE or from scratch.

Differences from the paper, each for a small machine:

- The penalties are finite differences on a quarter of the batch.
- One batch of generated images serves critic and generator.
- The generator's step uses the real logits of the critic's step.
- Muon takes the steps, the penalty's weight falls, and the mean of the logits is pulled to 0.
- Critics see images moved and changed at random (parts/views.py), and a second one looks through a frozen network.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaegan.config import GANConfig
from vaegan.metrics import watch
from vaegan.metrics.watch import FEWEST_HELD_OUT, SampleScores
from vaegan.networks import Decoder, Encoder
from vaegan.objectives.penalties import logit_drift
from vaegan.objectives.relativistic import pair_accuracy
from vaegan.parts.critics import BETAS, CriticPlayer
from vaegan.parts.engine import Engine, frozen, gradient_norm, in_blocks
from vaegan.parts.optimizers import optimizer_of
from vaegan.parts.player import Player
from vaegan.parts.refit import Refit
from vaegan.parts.schedule import Clock, cosine
from vaegan.parts.terms import Targets, Term
from vaegan.priors import Prior
from vaegan.recipes.recipe import Deciding, Recipe, Trained
from vaegan.types import Batch, Images, Labels, Latents, Scalars, joined

AVERAGE_CAP = 3_500  # longest half-life of the averaged weights [images]; from 300 to 10,000 it hardly matters
GENERATOR_RATE = 2.0  # the generator's learning rate over the critics' (docs/settings.md); two time scales: Heusel et al. 2017
DRIFT = 0.01  # weight that holds the logits near 0: the loss sees only their differences


class GAN(Recipe):
    """Trains a generator against its critics."""

    name = "gan"
    deciding = Deciding("heldout_kernel_distance", FEWEST_HELD_OUT, 0.6, "heldout_kernel_error")
    """By samples, in the last two fifths: a grown GAN begins with the VAE's images, which must not win, whatever a distance says,
    and its encoder is fitted from half of the stage on."""

    def __init__(
        self,
        config: GANConfig,
        generator: Decoder,
        critics: Sequence[CriticPlayer],
        prior: Prior,
        engine: Engine,
        *,
        terms: Sequence[Term] = (),
        refit: Refit | None = None,
        encoder: Encoder | None = None,
        known: Batch | None = None,
    ) -> None:
        """Sets up the players: a VAE's decoder after the handover, or a fresh one, and critics with players of their own.

        `terms` are what else holds the generator. The encoder follows it by `refit`, or is kept as it is; from scratch there is
        none. `known`: training images, to see what is known by heart.
        """
        super().__init__()
        self.engine, self.draws = engine, engine.draws(self.name)
        rates = config.learning_rate, config.final_learning_rate
        self.generator = Player(
            generator,
            optimizer_of("muon", BETAS),
            lambda progress: cosine(*rates, progress) * GENERATOR_RATE,
            engine,
            AVERAGE_CAP,
        )
        self.critics, self.terms = list(critics), list(terms)
        self.parts = nn.ModuleList(part for part in (*critics, *terms) if isinstance(part, nn.Module))  # what of them is saved
        self.prior = prior.to(self.draws.device)
        self.refit, self.encoder = refit, encoder
        self.known, self.scores = known, SampleScores()

    def step(self, batch: Batch, clock: Clock) -> Scalars:
        """One step of every player on one batch."""
        images, labels = batch
        latents = self.prior(self.draws.normal("latents", clock.seen, len(images), self.prior.noise_dim))
        targets = [term.targets(batch) for term in self.terms]
        samples, decoded = self._generate(latents, labels, targets)
        scalars: Scalars = {"variety": watch.variety(samples.detach()) / watch.variety(images).clamp_min(1e-6)}

        adversarial: list[Tensor] = []
        for number, critic in enumerate(self.critics, 1):
            view = critic.view(images, clock)
            seen = view(samples)
            real, fake, slope = critic.judge(view(images), seen.detach(), labels, clock)
            # E f(D(G(z)) - D(x)) + gamma/2 (R1 + R2), f = softplus: Eq. 2 with high logits for real images. The slope's mean runs
            # over real and generated images together.
            loss = softplus(fake - real).mean() + critic.penalty(clock.progress) * slope.mean()
            loss = loss + DRIFT * logit_drift(real, fake, self.engine.mean)
            critic.player.minimise(loss, clock)
            found = {"critic_loss": loss.detach(), "pair_accuracy": pair_accuracy(real.detach(), fake.detach())}
            found |= {"slope": slope.detach().mean(), "critic_gradient": gradient_norm(critic.player.network)}
            scalars |= found if number == 1 else {f"{name}_{number}": value for name, value in found.items()}
            with frozen(critic.player.network) as judge:  # E f(D(x) - D(G(z)))
                adversarial.append(critic.weight * softplus(real.detach() - judge(seen, labels)).mean())

        loss = sum(adversarial[1:], adversarial[0])
        scalars["generator_loss"] = loss.detach()
        for term, wanted, images_of_term in zip(self.terms, targets, decoded, strict=True):
            value = term.loss(samples, images_of_term, wanted, batch).mean()
            loss, scalars[term.name] = loss + term.weight(clock.progress) * value, value.detach()
        self.generator.minimise(loss, clock)
        scalars["generator_gradient"] = gradient_norm(self.generator.network)
        if self.refit is not None and self.refit.is_due(clock):
            scalars |= self.refit.step(batch, samples.detach(), latents, self.generator.network, clock)
        return scalars

    def _generate(
        self, latents: Latents, labels: Labels | None, targets: Sequence[Targets | None]
    ) -> tuple[Images, Sequence[Images]]:
        """Samples, and what each term wants decoded, in one pass: a generator on several processes allows no second."""
        wanted = [target for target in targets if target is not None]
        everything = torch.cat([latents, *(target.latents for target in wanted)])
        images = self.generator(everything, joined(labels, *(target.labels for target in wanted)))
        return images[: len(latents)], images[len(latents) :].split([0 if t is None else len(t.latents) for t in targets])

    @torch.no_grad()
    def validate(self, batch: Batch) -> Scalars:
        """The averaged generator against held-out images: pair accuracy, scores of samples, and how well encodings come back."""
        (images, labels), critic, generator = batch, self.critics[0].player.network, self.generator.averaged
        generator_of_noise = self.draws.generator("validation", 0)
        noise = torch.randn(len(images), self.prior.noise_dim, generator=generator_of_noise, device=self.draws.device)
        latents = self.prior(noise)
        samples = in_blocks(generator, latents, labels)
        real, fake = in_blocks(critic, images, labels), in_blocks(critic, samples, labels)
        scalars = {"heldout_pair_accuracy": pair_accuracy(real, fake)}
        scalars |= self.scores(samples, images, None if self.known is None else self.known.images)
        if self.known is not None:
            scalars["overfitting"] = watch.overfitting(in_blocks(critic, *self.known), real, fake)
        if self.refit is not None:
            scalars |= self.refit.validate(batch, samples, latents, generator)
        return scalars

    def trained(self) -> Trained:
        """The averaged generator, and the encoder that inverts it: the refitted one, or the VAE's where it is not refitted."""
        encoder = self.encoder if self.refit is None else self.refit.player.averaged
        return Trained(self.generator.averaged, encoder, self.prior)
