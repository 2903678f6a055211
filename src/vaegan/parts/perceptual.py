"""A critic with eyes: it looks through a frozen network that was trained on photographs (Projected GAN, Sauer et al. 2021).

Differences from the paper:

- Relativistic pairs take the place of the hinge loss.
- Half of each batch is seen as random crops, enlarged.
- A critic of pixels plays beside it, since the frozen network overlooks some of the finest octave.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaegan.networks.heads import Heads
from vaegan.networks.perception import Perception, Projection
from vaegan.parts.critics import BETAS, Judged
from vaegan.parts.engine import Engine
from vaegan.parts.optimizers import optimizer_of
from vaegan.parts.player import Player
from vaegan.parts.schedule import Clock, cosine
from vaegan.parts.views import View, draw_view, enlarged_crop
from vaegan.randomness import Draws, keyed_seed
from vaegan.shapes import Shape
from vaegan.types import Images, Labels, joined

WIDTH = 64  # channels of what is seen at each scale
WEIGHT = 2.0
"""Of its loss to the generator, with 1 for the critic of pixels."""
RATES = (1e-3, 3e-5)  # Adam's for the heads, at the start and at the end


class PerceptualCritic(nn.Module):
    """Small heads on random projections of a frozen network's features; the heads alone are trained and saved."""

    weight = WEIGHT

    def __init__(
        self,
        perception: Perception,
        images: Images,
        engine: Engine,
        draws: Draws,
        *,
        classes: int,
        augmentation: float,
        jitter: int,
        flips: bool,
    ) -> None:
        """Sets up the critic.

        Args:
            perception: the frozen network, on the device.
            images: training images, by which the scale of its features is set: the same ones whenever a run goes on.
            engine: devices and processes.
            draws: the stage's random streams.
            classes: labels it can be told.
            augmentation: probability of each random change at the end of the stage; it rises from 0.
            jitter: largest shift of what it sees [pixels].
            flips: whether mirrored images are as good as the originals.
        """
        super().__init__()
        projection = Projection(WIDTH, torch.Generator().manual_seed(keyed_seed(draws.seed, "projection"))).to(images.device)
        with torch.no_grad():
            features = perception(images)
            projection.calibrate(features)
        self._eyes = (perception, projection)  # in a tuple, or what is not learned would be saved
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(keyed_seed(draws.seed, "initial weights", "heads"))
            heads = Heads(WIDTH, [Shape(*maps.shape[-2:]) for maps in features], classes)
        self.player = Player(heads, optimizer_of("adam", BETAS), lambda progress: cosine(*RATES, progress), engine)
        self._draws, self._augmentation, self._jitter, self._flips = draws, augmentation, jitter, flips

    def view(self, images: Images, clock: Clock) -> "Eyes":
        """Jitter and augmentation of this step, random crops of half of the batch, and what the frozen network sees then."""
        probability = min(1.0, self._augmentation * clock.progress)
        view = draw_view(self._draws, clock, images, probability, self._flips, jitter=self._jitter)
        left_over = torch.tensor([side - side // 2 + 1 for side in images.shape[-2:]], device=images.device)
        corners = self._draws.uniform("crops", clock.seen, len(images) // 2, 2) * left_over
        return Eyes(view, corners.floor().int(), *self._eyes)

    def judge(self, real: Tensor, fake: Tensor, labels: Labels | None, clock: Clock) -> Judged:
        """Logits [batch, places] of what is seen. Spectral normalisation bounds the slope, so that there is no penalty."""
        logits: Tensor = self.player(torch.cat([real, fake]), joined(labels, labels))
        of_real, of_fake = logits.split([len(real), len(fake)])
        return Judged(of_real, of_fake, logits.new_zeros(1))

    def penalty(self, progress: float) -> float:
        """None: see `judge`."""
        return 0.0


@dataclass(frozen=True)
class Eyes:
    """What the frozen network sees of images under a view: enlarged crops of the first, the others whole.

    In a crop of half the side the network sees detail that its first stride overlooks, as it would in an image of twice the side,
    at a quarter of the price.
    """

    view: View
    corners: Tensor
    """Upper left corners [cropped images, 2] of the crops, down and right [pixels]."""
    perception: Perception
    projection: Projection

    def __call__(self, images: Images) -> Tensor:
        """Projected features of all scales, joined: [batch, numbers]."""
        seen, count = self.view(images.float()), len(self.corners)
        seen = torch.cat([enlarged_crop(seen[:count], *self.corners.T), seen[count:]])
        maps = self.projection(self.perception(seen))
        return torch.cat([part.flatten(1) for part in maps], 1)
