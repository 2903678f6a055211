"""What the critic sees of an image: random changes that are the same for the real and the generated image of a pair.

Differentiable augmentation: Zhao et al. 2020; applied to a share p of the images as in StyleGAN2-ADA (Karras et al. 2020).
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.parts.schedule import Clock
from vaegan.randomness import Draws
from vaegan.shapes import Shape
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
    def draw(count: int, shape: Shape, probability: float, flips: bool, generator: Generator) -> "Augmentation":
        """Draws the changes for `count` images; each kind happens with `probability`.

        Args:
            count: images in the batch.
            shape: height and width of the images [pixels].
            probability: of each kind of change, each image on its own.
            flips: whether mirrored images are as good as the originals (not for digits).
            generator: keyed source of randomness on the images' device.
        """
        device = generator.device
        uniform = torch.rand(7, count, generator=generator, device=device)
        chosen = torch.rand(5, count, generator=generator, device=device) < probability
        shifts: list[Tensor] = []
        holes: list[Tensor] = []
        for side, shift, centre in zip(shape, uniform[:2], uniform[2:4, :, None], strict=True):
            reach, cut, place = side // 8, side // 2, torch.arange(side, device=device)
            shifts.append(((shift * (2 * reach + 1)).floor() - reach) * chosen[0])
            start = centre * side - cut / 2
            holes.append((place >= start) & (place < start + cut))
        hole = holes[0][:, :, None] & holes[1][:, None, :] & chosen[1][:, None, None]
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
    (_, down), (_, across) = _sources(images, rows, columns)
    return shifted(images, rows, columns) * (down[:, None, :, None] & across[:, None, None, :])


def shifted(images: Images, rows: Tensor, columns: Tensor) -> Images:
    """Moves each image by whole pixels, down and right, repeating its border."""
    (source_rows, _), (source_columns, _) = _sources(images, rows, columns)
    flat = (source_rows[:, :, None] * images.shape[-1] + source_columns[:, None, :]).flatten(1)
    return images.flatten(2).gather(2, flat[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def _sources(images: Images, *shifts: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For rows and for columns: which one [batch, side] comes to each place, and whether it lies inside the image."""
    found: list[tuple[Tensor, Tensor]] = []
    for side, shift in zip(images.shape[-2:], shifts, strict=True):
        source = torch.arange(side, device=images.device) - shift[:, None]
        inside = source.clamp(0, side - 1)
        found.append((inside, source == inside))
    return found


def enlarged_crop(images: Images, rows: Tensor, columns: Tensor) -> Images:
    """A crop of half the sides, from this row and column of each image on, enlarged to the side of the whole."""
    height, width = images.shape[-2:]
    crops = shifted(images, -rows, -columns)[..., : height // 2, : width // 2]
    return F.interpolate(crops, size=(height, width), mode="bilinear", align_corners=False)


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
    shifts, reach = None, min(jitter, min(images.shape[-2:]) // 8)
    if reach > 0:
        places = (draws.uniform("jitter", clock.seen, len(images), 2) * (2 * reach + 1)).floor().int() - reach
        shifts = places.T.repeat_interleave(copies, 1)
    if probability == 0:
        return View(None, shifts)
    generator, count = draws.generator("augmentation", clock.seen), len(images) * draws.world_size
    changes = Augmentation.draw(count, Shape(*images.shape[-2:]), probability, flips, generator)
    return View(changes.part(slice(draws.rank, None, draws.world_size)).repeated(copies), shifts)
