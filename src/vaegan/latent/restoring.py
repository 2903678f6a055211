"""Whole images from parts that can be seen: holes filled, small images enlarged, grey ones coloured, by a model's latents."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.objectives.gaussian import calibrated_variance, squared_error
from vaegan.priors import Prior, Uniform
from vaegan.randomness import keyed_seed
from vaegan.types import Images, Latents, ProgressCallback

STEPS = 150
RATE = 0.1  # of Adam, at first; latents are about 1 wide
BLOCK = 64  # images at a time
ALIKE = 4
"""Neighbouring pixels of which one counts, because what a decoder misses of them is alike. With 1 it believes them too much: of
photographs, anime faces and drawn faces the errors of what was hidden were larger by up to 60 %, with 16 about the same."""
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey, as Pillow has it (ITU-R 601)


class View(NamedTuple):
    """What is seen of an image: a linear map, and one way back from what is seen to an image that looks so."""

    see: Callable[[Images], Tensor]
    lift: Callable[[Tensor], Images]
    share: float  # of the variance of a pixel that a seen number has, where pixels are independent

    def completed(self, seen: Tensor, images: Images) -> Images:
        """Images changed as little as this view's way back can, so that exactly what is seen is seen of them."""
        return images + self.lift(seen - self.see(images))


def through_mask(mask: Tensor) -> View:
    """Only where `mask` is 1 and not 0; [height, width], or [n, 1, height, width] with another one for every image."""
    return View(lambda images: images * mask.to(images), lambda seen: seen * mask.to(seen), 1.0)


def reduced(factor: int) -> View:
    """Images whose sides are so many times smaller, each pixel the mean of a square."""
    return View(
        lambda images: functional.avg_pool2d(images, factor),
        lambda seen: functional.interpolate(seen, scale_factor=factor),
        1 / factor**2,
    )


def in_grey() -> View:
    """The brightness of colour images, [n, 1, height, width]."""
    weights = torch.tensor(LUMA)[:, None, None]
    return View(
        lambda images: (images * weights.to(images)).sum(1, keepdim=True),
        lambda seen: seen.expand(-1, len(LUMA), -1, -1),
        float(weights.square().sum()),
    )


class Restored(NamedTuple):
    """Several answers to what some images are."""

    images: Images  # [answers, n, channel, height, width]; of each is seen what was seen
    latents: Latents  # [answers, n, latent]


def restore(
    model: Model,
    seen: Tensor,
    view: View,
    answers: int = 1,
    seed: int = 0,
    steps: int = STEPS,
    progress: ProgressCallback | None = None,
) -> Restored:
    """What the whole images [n, channel, height, width] may be of which `seen` is seen through a view, on the CPU.

    The first answer is the latent that is likeliest given what is seen: the most of log p(seen|z) / ALIKE + log p(z), with a
    Gaussian of the decoder's variance (where it has none, of what an encoding leaves) and the prior that `Model.sample` draws
    from. Gradient steps lead there from the encoding of the image that the mean of samples completes. Every other answer is a
    draw, by `seed`: the same search with noise on what is seen and on the middle of the prior, which is exact where the decoder
    is linear (randomize-then-optimize, Bardsley et al. 2014). What answer k is does not depend on how many there are.

    Raises:
        RequestError: without an encoder, for a conditional model that was told no label, or if nothing is asked for.
    """
    model.require_encoder()
    prior = model.unconditional(None).prior().to(model.device)
    if isinstance(prior, Uniform):
        raise RequestError("A uniform prior holds nothing back inside its cube; restoring takes N(0, I) or a mixture.")
    if answers < 1 or steps < 1 or not len(seen):
        raise RequestError(f"{answers} answers of {steps} steps for {len(seen)} images cannot be looked for; give 1 or more.")
    found: list[Latents] = []
    for answer in range(answers):
        for start in range(0, len(seen), BLOCK):
            block = seen[start : start + BLOCK].to(model.device)
            generators = [
                torch.Generator().manual_seed(keyed_seed(seed, "restore", answer, start + i)) for i in range(len(block))
            ]
            found.append(_search(model, prior, block, view, steps, generators if answer else None))
            if progress:
                progress("restoring images", answer * len(seen) + start + len(block), answers * len(seen))
    latents = torch.cat(found).unflatten(0, (answers, len(seen)))
    images = [view.completed(seen, model.decode(its).cpu()).clamp(-1, 1) for its in latents]
    return Restored(torch.stack(images), latents.cpu())


def _search(
    model: Model, prior: Prior, seen: Tensor, view: View, steps: int, generators: list[torch.Generator] | None
) -> Latents:
    """The latents that most likely made what is `seen`, or with generators draws of those that may have."""
    usual = model.decode(prior.sample(BLOCK, torch.Generator().manual_seed(0))).mean(0)
    start = view.completed(seen, usual.expand(len(seen), -1, -1, -1)).clamp(-1, 1)
    latents = model.encode(start).requires_grad_()
    if model.config.variance is not None:
        variance = torch.full((len(seen),), ALIKE * view.share * model.config.variance, device=model.device)
    else:
        counts = view.see(torch.ones_like(start)).count_nonzero((1, 2, 3))  # a mask hides what it makes 0
        variance = ALIKE * calibrated_variance(squared_error(seen, view.see(model.decode(latents))) / counts.clamp_min(1))
    middle = torch.zeros_like(latents)
    if generators is not None:
        noise = torch.stack([torch.randn(prior.noise_dim, generator=one) for one in generators]).to(model.device)
        chosen = noise.clone()
        chosen[:, : model.latent_dim] = 0  # what is left chooses the component of a mixture
        middle = prior(noise) - prior(chosen)
        grain = torch.stack([torch.randn(seen.shape[1:], generator=one) for one in generators]).to(model.device)
        seen = seen + variance.sqrt()[:, None, None, None] * view.see(view.lift(grain))  # nothing behind a mask
    best, least = latents.detach().clone(), torch.full((len(seen),), torch.inf, device=model.device)
    optimizer = torch.optim.Adam([latents], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        misfit = squared_error(seen, view.see(model.networks.decoder(latents))) / (2 * variance)
        badness = misfit - prior.log_density(latents - middle)
        better = badness.detach() < least
        best[better], least[better] = latents.detach()[better], badness.detach()[better]
        optimizer.zero_grad()
        badness.sum().backward()
        optimizer.step()
        schedule.step()
    return best
