"""What the critic sees of an image: a blur that fades, and random changes that are the same for real and generated.

Differentiable augmentation: Zhao et al. 2020; applied to a share p of the images as in StyleGAN2-ADA (Karras et al. 2020).
"""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vaegan.types import Images


def gaussian_blur(images: Images, sigma: float) -> Images:
    """Separable Gaussian blur of `sigma` [pixels] with repeated borders; the identity below a tenth of a pixel."""
    if sigma < 0.1:
        return images
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


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
        """The same changes for `copies` images that follow each other in every place's stead."""
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


@dataclass(frozen=True)
class View:
    """One step's view of the critic: the same blur and changes for the real and the generated image of a pair."""

    blur: float  # [pixels]
    augmentation: Augmentation | None
    jitter: Tensor | None = None
    """Shifts [2, batch] down and right [pixels]."""

    def __call__(self, images: Images) -> Images:
        """What the critic is shown of `images`."""
        seen = gaussian_blur(images, self.blur)
        seen = seen if self.jitter is None else shifted(seen, *self.jitter)
        return seen if self.augmentation is None else self.augmentation.apply(seen)
