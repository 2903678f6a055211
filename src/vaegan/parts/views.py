"""What the critic sees of an image: random changes that are the same for the real and the generated image of a pair.

Differentiable augmentation: Zhao et al. 2020; applied to a share p of the images as in StyleGAN2-ADA (Karras et al. 2020).
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.parts.schedule import Clock
from vaegan.randomness import Draws
from vaegan.types import Images


@dataclass(frozen=True)
class Augmentation:
    """One random change for each place in a batch; `apply` makes the same change to whatever stands there."""

    flip: Tensor  # bool [batch]
    rows: Tensor  # int [batch], shift down [pixels]
    columns: Tensor  # int [batch], shift right [pixels]
    brightness: Tensor  # [batch], added
    contrast: Tensor  # [batch], factor about the image's mean
    keep: Tensor  # [batch, 1, height, width], 0 inside the cutout

    @staticmethod
    def draw(count: int, size: int, probability: float, flips: bool, generator: Generator) -> "Augmentation":
        """Draws the changes for `count` images of `size` [pixels]; each kind happens with `probability`.

        Args:
            count: images in the batch.
            size: side of the square images [pixels].
            probability: of each kind of change, each image on its own.
            flips: whether mirrored images are as good as the originals (not for digits).
            generator: keyed source of randomness on the images' device.
        """
        device = generator.device
        uniform = torch.rand(7, count, generator=generator, device=device)
        chosen = torch.rand(5, count, generator=generator, device=device) < probability
        reach = size // 8
        shifts = ((uniform[:2] * (2 * reach + 1)).floor() - reach) * chosen[0]
        side = size // 2
        top, left = uniform[2:4, :, None] * size - side / 2
        place = torch.arange(size, device=device)
        inside_rows = (place >= top) & (place < top + side)
        inside_columns = (place >= left) & (place < left + side)
        hole = inside_rows[:, :, None] & inside_columns[:, None, :] & chosen[1][:, None, None]
        return Augmentation(
            flip=chosen[2] & (uniform[4] < 0.5) & flips,
            rows=shifts[0].int(),
            columns=shifts[1].int(),
            brightness=(uniform[5] - 0.5) * chosen[3],
            contrast=1 + (uniform[6] - 0.5) * chosen[4],
            keep=(~hole)[:, None].float(),
        )

    def part(self, places: slice) -> "Augmentation":
        """The changes of some places of the batch."""
        return Augmentation(*(getattr(self, field.name)[places] for field in fields(self)))

    def repeated(self, copies: int) -> "Augmentation":
        """Repeats the changes of every place for `copies` images that follow each other."""
        if copies == 1:
            return self
        return Augmentation(*(getattr(self, field.name).repeat_interleave(copies, 0) for field in fields(self)))

    def apply(self, images: Images) -> Images:
        """The changed images; gradients flow through every change."""
        mean = images.mean((1, 2, 3), keepdim=True)
        x = (images - mean) * self.contrast[:, None, None, None] + mean + self.brightness[:, None, None, None]
        x = torch.where(self.flip[:, None, None, None], x.flip(3), x)
        return translate(x, self.rows, self.columns) * self.keep


def translate(images: Images, rows: Tensor, columns: Tensor) -> Images:
    """Moves each image by whole pixels, down and right, filling with mid-grey (0)."""
    size = images.shape[-1]
    place = torch.arange(size, device=images.device)
    source_rows, source_columns = place - rows[:, None], place - columns[:, None]
    inside = ((source_rows >= 0) & (source_rows < size))[:, None, :, None] & ((source_columns >= 0) & (source_columns < size))[
        :, None, None, :
    ]
    return shifted(images, rows, columns) * inside


def shifted(images: Images, rows: Tensor, columns: Tensor) -> Images:
    """Moves each image by whole pixels, down and right, repeating its border."""
    size = images.shape[-1]
    place = torch.arange(size, device=images.device)
    source_rows, source_columns = (place - rows[:, None]).clamp(0, size - 1), (place - columns[:, None]).clamp(0, size - 1)
    flat = (source_rows[:, :, None] * size + source_columns[:, None, :]).flatten(1)
    return images.flatten(2).gather(2, flat[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def enlarged_crop(images: Images, rows: Tensor, columns: Tensor) -> Images:
    """A crop of half the side, from this row and column of each image on, enlarged to the side of the whole."""
    side = images.shape[-1]
    crops = shifted(images, -rows, -columns)[..., : side // 2, : side // 2]
    return F.interpolate(crops, size=(side, side), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class View:
    """What a critic is shown in one step: the same changes for the real and the generated image of a pair."""

    augmentation: Augmentation | None
    jitter: Tensor | None = None
    """Shifts [2, batch] down and right [pixels]."""

    def __call__(self, images: Images) -> Images:
        """The changed images."""
        seen = images if self.jitter is None else shifted(images, *self.jitter)
        return seen if self.augmentation is None else self.augmentation.apply(seen)


def draw_view(
    draws: Draws, clock: Clock, images: Images, probability: float, flips: bool, copies: int = 1, jitter: int = 0
) -> View:
    """One step's view: random changes keyed by the place in the batch.

    Args:
        draws: the stage's random streams.
        clock: when.
        images: this process's share of the batch.
        probability: of each kind of change.
        flips: whether mirrored images are as good as the originals.
        copies: images that follow each other and share one image's changes.
        jitter: largest shift, up or down and left or right [pixels]; an eighth of the side at most, as the other changes.
    """
    shifts, reach = None, min(jitter, images.shape[-1] // 8)
    if reach > 0:
        places = (draws.uniform("jitter", clock.seen, len(images), 2) * (2 * reach + 1)).floor().int() - reach
        shifts = places.T.repeat_interleave(copies, 1)
    if probability == 0:
        return View(None, shifts)
    generator, count = draws.generator("augmentation", clock.seen), len(images) * draws.world_size
    changes = Augmentation.draw(count, images.shape[-1], probability, flips, generator)
    return View(changes.part(slice(draws.rank, None, draws.world_size)).repeated(copies), shifts)
