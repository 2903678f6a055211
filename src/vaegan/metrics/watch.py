"""Numbers cheap enough to be taken while training: variety, recall, memory of the critic, copying, a score of samples."""

import torch
from torch import Tensor

from vaegan.metrics.features import Standardise, polynomial_kernel, random_features, small_images
from vaegan.metrics.spectrum import detail_energy, texture_power
from vaegan.types import Images, PerImage, Scalars

FEWEST_HELD_OUT = 100
"""Held-out images below which `kernel_distance` is noise: between real images it deviates from 0 by 0.1 with 64 of them,
0.08 with 100 and 0.03 with 256 (anime faces), where a GAN of the preset tiny has 0.3 to 1.2."""


def variety(images: Images) -> Tensor:
    """The variance over the batch at 16 pixels, summed over an image: half the mean squared distance of a pair."""
    return small_images(images).var(0).sum()


def recall(real: Images, generated: Images, neighbours: int = 5) -> Tensor:
    """Share of real images among the generated ones (Kynkäänniemi et al. 2019, Eq. 2), in pixels: only a fall says something."""
    a, b = small_images(real), small_images(generated)
    radius = torch.cdist(b, b).kthvalue(min(neighbours + 1, len(b)), 1).values
    return (torch.cdist(a, b) < radius).any(1).float().mean()


def overfitting(train_logits: PerImage, heldout_logits: PerImage, generated_logits: PerImage) -> Tensor:
    """(D_train - D_heldout) / (D_train - D_generated) (Karras et al. 2020, StyleGAN2-ADA, Eq. 1): 0 right, 1 overfitted."""
    train, heldout, generated = (logits.float().mean() for logits in (train_logits, heldout_logits, generated_logits))
    gap = train - generated
    return torch.where(gap > 0.1, (train - heldout) / gap.clamp_min(0.1), torch.zeros_like(gap))


def copying(generated: Images, train: Images, heldout: Images) -> Tensor:
    """P[a generated image is nearer to training images than to as many held-out ones] (after Meehan et al. 2020): 0.5 ideal."""
    fake, known, unknown = small_images(generated), small_images(train), small_images(heldout)
    count = min(len(known), len(unknown))
    to_unknown = torch.cdist(fake, unknown[:count]).amin(1)
    parts = known[: len(known) // count * count].split(count)
    return torch.stack([(torch.cdist(fake, part).amin(1) < to_unknown).float().mean() for part in parts]).mean()


def nearness(generated: Images, train: Images, heldout: Images) -> Tensor:
    """Median distance of a generated image to the nearest training image, over that of a held-out image: 1 ideal, copies less."""
    fake, known, unknown = small_images(generated), small_images(train), small_images(heldout)
    return torch.cdist(fake, known).amin(1).median() / torch.cdist(unknown, known).amin(1).median().clamp_min(1e-6)


class RealStatistics:
    """Some hundred real images, measured once, to score samples against them."""

    @torch.no_grad()
    def __init__(self, images: Images) -> None:
        features = _features(images.float())
        self.standardise = Standardise.of(features)
        self.features = self.standardise(features)
        kernel, count = polynomial_kernel(self.features, self.features), len(images)
        self.within = float((kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1)))
        self.appearance = _appearance(images.float())

    @torch.no_grad()
    def score(self, samples: Images) -> dict[str, float]:
        """A few numbers on samples, of which 512 are enough: under 2 s at 64x64 on one core. Minimise `kernel_distance`.

        It is unbiased, in random features: 0 is perfect, and chance may make it negative; `kernel_error` is its standard error
        over other samples (first term of a U-statistic's variance). `sharpness` and textures are those of samples over those of
        real images.
        """
        features = self.standardise(_features(samples.float()))
        cross = polynomial_kernel(self.features, features).mean(0)
        within = polynomial_kernel(features, features)
        own = (within.sum(1) - within.diagonal()) / (len(features) - 1)
        distance, error = (
            self.within + float(own.mean() - 2 * cross.mean()),
            2 * float((own - cross).std()) / len(features) ** 0.5,
        )
        ratios = {name: value / max(1e-9, self.appearance[name]) for name, value in _appearance(samples.float()).items()}
        return {"kernel_distance": distance, "kernel_error": error} | ratios


class SampleScores:
    """Measures samples against held-out images; these are measured once as long as they stay the same."""

    def __init__(self) -> None:
        self._measured: tuple[Images, RealStatistics] | None = None

    def __call__(self, samples: Images, heldout: Images, known: Images | None = None) -> Scalars:
        """Recall, `RealStatistics.score` where there are enough images, and copying and nearness with `known` training images."""
        scalars = {"heldout_recall": recall(heldout, samples)}
        if len(heldout) >= FEWEST_HELD_OUT:
            if self._measured is None or self._measured[0] is not heldout:
                self._measured = heldout, RealStatistics(heldout)
            scalars |= {f"heldout_{name}": torch.tensor(value) for name, value in self._measured[1].score(samples).items()}
        if known is not None:
            scalars |= {"copying": copying(samples, known, heldout), "nearness": nearness(samples, known, heldout)}
        return scalars


def _features(images: Images) -> Tensor:
    """Random features in single precision, whatever the networks run in; on the processor, which has double precision."""
    with torch.autocast(images.device.type, enabled=False):
        return random_features(images).cpu()


def _appearance(images: Images) -> dict[str, float]:
    textures = {f"texture_{period}": float(texture_power(images, period).mean()) for period in (2, 4)}
    return {"sharpness": float(detail_energy(images).mean())} | textures
