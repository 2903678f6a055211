"""Cheap numbers for watching a training: variety, recall, memory of the critic, copying. Pure functions on small batches."""

import torch
from torch import Tensor

from vaegan.metrics.features import small_images
from vaegan.types import Images, PerImage


def variety(images: Images) -> Tensor:
    """The variance over the batch at 16 pixels, summed over an image: half the mean squared distance of a pair."""
    return small_images(images).var(0).sum()


def recall(real: Images, generated: Images, neighbours: int = 5) -> Tensor:
    """Share of real images that lie among the generated ones (Kynkäänniemi et al. 2019, Eq. 2), in pixels at 16x16.

    In pixels a blurred image is near many, so only a fall of this number says something.
    """
    a, b = small_images(real), small_images(generated)
    radius = torch.cdist(b, b).kthvalue(min(neighbours + 1, len(b)), 1).values
    return (torch.cdist(a, b) < radius).any(1).float().mean()


def overfitting(train_logits: PerImage, heldout_logits: PerImage, generated_logits: PerImage) -> Tensor:
    """(D_train - D_heldout) / (D_train - D_generated): 0 while the critic treats held-out images like known ones, up to 1.

    Karras et al. 2020 (StyleGAN2-ADA), Eq. 1; 0 where the critic tells nothing apart.
    """
    train, heldout, generated = (logits.float().mean() for logits in (train_logits, heldout_logits, generated_logits))
    gap = train - generated
    return torch.where(gap > 0.1, (train - heldout) / gap.clamp_min(0.1), torch.zeros_like(gap))


def copying(generated: Images, train: Images, heldout: Images) -> Tensor:
    """P[a generated image is nearer to the training images than to as many held-out ones]: 0.5 ideal, 1 memorised.

    After Meehan et al. 2020; the mean over disjoint parts of the training images where these are more.
    """
    fake, known, unknown = small_images(generated), small_images(train), small_images(heldout)
    count = min(len(known), len(unknown))
    to_unknown = torch.cdist(fake, unknown[:count]).amin(1)
    parts = known[: len(known) // count * count].split(count)
    return torch.stack([(torch.cdist(fake, part).amin(1) < to_unknown).float().mean() for part in parts]).mean()


def nearness(generated: Images, train: Images, heldout: Images) -> Tensor:
    """Median distance of a generated image to the nearest training image, over that of a held-out image: 1 ideal, copies less."""
    fake, known, unknown = small_images(generated), small_images(train), small_images(heldout)
    return torch.cdist(fake, known).amin(1).median() / torch.cdist(unknown, known).amin(1).median().clamp_min(1e-6)
