"""GANs on points in the plane: mixtures whose modes can be counted, tiny networks, every objective."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, get_args

import torch
from PIL import Image, ImageDraw
from torch import Generator, Tensor, nn

from vaegan.config import ClassicGANConfig as Rules
from vaegan.config import ClassicObjective
from vaegan.objectives.adversarial import OBJECTIVES
from vaegan.objectives.penalties import exact_penalty, interpolated_penalty
from vaegan.randomness import keyed_seed
from vaegan.recipes.classic_gan import clip_weights

LATENTS, WIDTH, BATCH, RATE = 8, 64, 128, 1e-3
JUDGED = 2500  # samples that the modes are counted on
NEAR = 3.0  # standard deviations from its centre within which a sample counts
FAIR = 0.2  # of its fair share that a mode needs to count as found
SIDE = 120  # of a picture [pixels]


@dataclass(frozen=True, eq=False)
class Modes:
    """A mixture of equal round Gaussians."""

    centres: Tensor  # [modes, 2]
    deviation: float
    reach: float  # half the side of the square that pictures show

    def draw(self, count: int, generator: Generator) -> Tensor:
        """[count, 2]."""
        chosen = torch.randint(len(self.centres), (count,), generator=generator)
        return self.centres[chosen] + self.deviation * torch.randn(count, 2, generator=generator)

    def found(self, samples: Tensor) -> tuple[int, float]:
        """How many modes the samples [count, 2] hold, and the share of samples within 3 deviations of a mode."""
        distance, nearest = torch.cdist(samples, self.centres).min(1)
        good = distance < NEAR * self.deviation
        counts = torch.bincount(nearest[good], minlength=len(self.centres))
        return int((counts >= FAIR * len(samples) / len(self.centres)).sum()), float(good.float().mean())


def ring(count: int = 8, radius: float = 2.0, deviation: float = 0.1) -> Modes:
    """Modes on a circle."""
    angles = 2 * math.pi * torch.arange(count) / count
    return Modes(radius * torch.stack([angles.cos(), angles.sin()], 1), deviation, 1.5 * radius)


def square(side: int = 5, gap: float = 1.0, deviation: float = 0.05) -> Modes:
    """Modes on a square grid around 0; so narrow that samples spread evenly over the square find none of them."""
    places = gap * (torch.arange(side) - (side - 1) / 2)
    return Modes(torch.cartesian_prod(places, places), deviation, gap * side / 2)


def network(inputs: int, outputs: int) -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, outputs)
    )


class PointGAN:
    """A generator and a critic on points; every draw is keyed by the seed and the step."""

    def __init__(self, rules: Rules, modes: Modes, seed: int, critic_rate: float = 1.0) -> None:
        self.rules, self.modes, self.seed, self.objective = rules, modes, seed, OBJECTIVES[rules.objective]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(keyed_seed(seed, "points"))
            self.generator, self.critic = network(LATENTS, 2), network(2, 1)
        betas = (0.5, 0.99)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), RATE, betas, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), critic_rate * RATE, betas, fused=True)

    def judge(self, points: Tensor) -> Tensor:
        """Logits [count]."""
        return self.critic(points / self.modes.reach).squeeze(1)

    def step(self, index: int) -> float:
        """One step of the critic, and of the generator when due; returns the mean |dL_G / d sample|, which it learns from."""
        generator = torch.Generator().manual_seed(keyed_seed(self.seed, "points", index))
        real = self.modes.draw(BATCH, generator)
        fake = self.modes.reach * self.generator(torch.randn(BATCH, LATENTS, generator=generator))
        loss = self.objective.critic_loss(self.judge(real), self.judge(fake.detach())).mean()
        loss = loss + self._penalty(real, fake.detach(), generator)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        if self.rules.clip:
            clip_weights(self.critic, self.rules.clip)
        if index % self.rules.critic_steps:
            return math.nan
        loss = self.objective.generator_loss(self.judge(real).detach(), self.judge(fake))
        (slope,) = torch.autograd.grad(loss.sum(), fake, retain_graph=True)
        self.generator_optimizer.zero_grad()
        loss.mean().backward()
        self.generator_optimizer.step()
        return float(slope.norm(dim=1).mean())

    def _penalty(self, real: Tensor, fake: Tensor, generator: Generator) -> Tensor:
        rules = self.rules
        if rules.penalty == 0:
            return torch.zeros(())
        if rules.objective == "wasserstein":
            share = torch.rand(len(real), generator=generator)
            images = real[:, :, None, None], fake[:, :, None, None]
            return rules.penalty * interpolated_penalty(lambda points: self.judge(points.flatten(1)), *images, share).mean()
        return rules.penalty / 2 * (exact_penalty(self.judge, real).mean() + exact_penalty(self.judge, fake).mean())

    @torch.no_grad()
    def sample(self, count: int = JUDGED) -> Tensor:
        """[count, 2], always from the same latents."""
        latents = torch.randn(count, LATENTS, generator=Generator().manual_seed(keyed_seed(self.seed, "points", "judged")))
        return self.modes.reach * self.generator(latents)


class Moment(NamedTuple):
    """What a game on points has come to after some steps of the critic."""

    found: int  # modes
    good: float  # share of samples near a mode
    slope: float  # what the generator was given to learn from, averaged over its last 50 steps
    picture: Image.Image


def train_points(
    rules: Rules, modes: Modes, steps: int, seed: int, frames: int, tick: Callable[[float], None], critic_rate: float = 1.0
) -> list[Moment]:
    """Trains on points for so many steps of the critic, and returns `frames` moments, evenly spread, the last at the end."""
    game, due = PointGAN(rules, modes, seed, critic_rate), {round(steps * (k + 1) / frames) for k in range(frames)}
    moments, slopes = list[Moment](), [0.0]
    for index in range(steps):
        slope = game.step(index)
        if not math.isnan(slope):
            slopes = [*slopes[-49:], slope]
        if index + 1 in due:
            samples = game.sample()
            moments.append(Moment(*modes.found(samples), sum(slopes) / len(slopes), picture(samples, modes)))
        if index % 20 == 0:
            tick(index / steps)
    return moments


def picture(samples: Tensor, modes: Modes) -> Image.Image:
    """Samples in blue over the modes in orange."""
    drawn = Image.new("RGB", (SIDE, SIDE), "white")
    draw, scale = ImageDraw.Draw(drawn), SIDE / (2 * modes.reach)
    radius = NEAR * modes.deviation * scale
    for x, y in modes.centres.tolist():
        across, down = (x + modes.reach) * scale, (modes.reach - y) * scale
        draw.ellipse((across - radius, down - radius, across + radius, down + radius), fill=(250, 205, 150))
    places = torch.stack([samples[:, 0] + modes.reach, modes.reach - samples[:, 1]], 1) * scale
    inside = ((places >= 0) & (places < SIDE)).all(1)
    draw.point([(int(across), int(down)) for across, down in places[inside].tolist()], fill=(0, 80, 160))
    return drawn


def objectives_table() -> dict[str, Rules]:
    """Every objective bare, and held back by R1 + R2; Wasserstein with five steps of the critic, clipped or with its penalty.

    All with Adam; the weights of networks this small are clipped at 0.1, not at 0.01.
    """
    table: dict[str, Rules] = {}
    for name in get_args(ClassicObjective):
        if name != "wasserstein":
            table |= {name: Rules(name), f"{name} + R1 + R2": Rules(name, penalty=0.1)}
    table["wasserstein, clipped"] = Rules("wasserstein", clip=0.1, critic_steps=5)
    table["wasserstein + GP"] = Rules("wasserstein", penalty=1.0, critic_steps=5)
    return table
