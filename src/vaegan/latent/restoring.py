"""Whole images from what is left of them: holes filled, small ones enlarged, grey ones coloured, noise taken away, by latents."""

from collections.abc import Callable, Sequence
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

STEPS = 75
RATE = 0.1  # of Adam, at first; latents are about 1 wide
BLOCK = 64  # searches at a time
ALIKE = 16
"""Neighbouring pixels of which one counts, because what a decoder misses of them is alike. With fewer it believes them too much:
of anime faces a VAE's errors inside a hole were larger by a quarter with 4, and about the same with 64."""
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey, as Pillow has it (ITU-R 601)


class View(NamedTuple):
    """What is seen of an image: a linear map, and one way back from what is seen to an image that looks so."""

    see: Callable[[Images], Tensor]
    lift: Callable[[Tensor], Images]
    share: float  # of the variance of a pixel that a seen number has, where pixels are independent
    noise: float = 0.0  # deviation of the noise on what is seen

    def completed(self, seen: Tensor, images: Images) -> Images:
        """Images changed by this view's way back, so that exactly what is seen is seen of them (without its noise)."""
        return images + self.lift(seen - self.see(images))


def through_mask(mask: Tensor) -> View:
    """Only where `mask` [height, width] is 1 and not 0."""
    mask = mask.float()[None, None]
    return View(lambda images: images * mask.to(images), lambda seen: _continued(seen, mask.to(seen)), 1.0)


def _continued(seen: Tensor, known: Tensor) -> Images:
    """What is seen where it is `known`, and its smooth continuation elsewhere: without it the edge of a hole shows.

    Means of known pixels in ever larger squares, and back by interpolation (pull-push, Gortler et al. 1996, Section 3.4).
    """
    if min(seen.shape[-2:]) == 1 or bool(known.all()):
        return seen
    weight = functional.avg_pool2d(known, 2, ceil_mode=True)
    coarse = functional.avg_pool2d(seen * known, 2, ceil_mode=True) / weight.clamp_min(1e-6)
    rough = functional.interpolate(_continued(coarse, weight.gt(0).to(seen)), size=seen.shape[-2:], mode="bilinear")
    return torch.where(known > 0, seen, rough)


def reduced(factor: int) -> View:
    """Images whose sides are so many times smaller, each pixel the mean of a square.

    The way back is bicubic, and so sharpened that the means come out: squares of equal correction would show.
    """
    return View(
        lambda images: functional.avg_pool2d(images, factor),
        lambda seen: _enlarging(seen.shape[-2], factor).to(seen) @ seen @ _enlarging(seen.shape[-1], factor).to(seen).T,
        1 / factor**2,
    )


def _enlarging(side: int, factor: int) -> Tensor:
    """The matrix [factor * side, side] that enlarges one side: bicubic, after the inverse of what means of it leave."""
    smooth = functional.interpolate(torch.eye(side)[None, None], scale_factor=(factor, 1), mode="bicubic")[0, 0]
    return smooth @ torch.linalg.inv(smooth.unflatten(0, (side, factor)).mean(1))


def in_grey() -> View:
    """The brightness of colour images, [n, 1, height, width]."""
    weights = torch.tensor(LUMA)[:, None, None]
    return View(
        lambda images: (images * weights.to(images)).sum(1, keepdim=True),
        lambda seen: seen.expand(-1, len(LUMA), -1, -1),
        float(weights.square().sum()),
    )


def through_noise(deviation: float) -> View:
    """Everything, with white noise of a deviation on top [on pixels from -1 to 1]."""
    return View(lambda images: images, lambda seen: _above_noise(seen, deviation), 1.0, deviation)


def _above_noise(seen: Tensor, deviation: float) -> Images:
    """What stands out of white noise: every ring of spatial frequencies as far as its power does (an empirical Wiener filter)."""
    height, width = seen.shape[-2:]
    mirrored = torch.cat([seen, seen.flip(2)], 2)
    spectrum = torch.fft.rfft2(torch.cat([mirrored, mirrored.flip(3)], 3), norm="ortho")  # mirrored, its edges fit together
    down, across = torch.fft.fftfreq(2 * height), torch.fft.rfftfreq(2 * width)
    rings = ((down[:, None].square() + across.square()).sqrt() * min(height, width)).round().long().flatten().to(seen.device)
    power, count = spectrum.abs().square().mean(1).flatten(1), torch.bincount(rings)
    mean = torch.zeros(len(seen), len(count), device=seen.device).index_add(1, rings, power) / count.clamp_min(1)
    share = (1 - deviation**2 / mean.clamp_min(1e-12)).clamp_min(0)
    kept = spectrum * share[:, rings].view(-1, 1, *spectrum.shape[-2:])
    return torch.fft.irfft2(kept, s=(2 * height, 2 * width), norm="ortho")[..., :height, :width]


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
    wanted = [(answer, index) for answer in range(answers) for index in range(len(seen))]
    for start in range(0, len(wanted), BLOCK):
        block = wanted[start : start + BLOCK]
        keys = [keyed_seed(seed, "restore", answer, index) if answer else None for answer, index in block]

        def report(share: float, before: int = start, count: int = len(block)) -> None:
            if progress:
                progress("restoring images", before + int(count * share), len(wanted))

        found.append(_search(model, prior, seen[[index for _, index in block]].to(model.device), view, steps, keys, report))
    latents = torch.cat(found).unflatten(0, (answers, len(seen)))
    images = [view.completed(seen, model.decode(its).cpu()).clamp(-1, 1) for its in latents]
    return Restored(torch.stack(images), latents.cpu())


def _search(
    model: Model,
    prior: Prior,
    seen: Tensor,
    view: View,
    steps: int,
    keys: list[int | None],
    report: Callable[[float], None],
) -> Latents:
    """The latents that most likely made what is `seen`; those with a key are draws of the ones that may have."""
    usual = model.decode(prior.sample(BLOCK, torch.Generator().manual_seed(0))).mean(0)
    start = view.completed(seen, usual.expand(len(seen), -1, -1, -1)).clamp(-1, 1)
    latents = model.encode(start).requires_grad_()
    is_seen = view.see(torch.ones_like(start)) != 0  # a mask hides what it makes 0
    if model.config.variance is not None:
        variance = torch.full((len(seen),), ALIKE * view.share * model.config.variance, device=model.device)
    else:
        errors = squared_error(seen, view.see(model.decode(latents))) / is_seen.sum((1, 2, 3)).clamp_min(1)
        # Of means over as many pixels as are alike, every one counts.
        variance = max(1, ALIKE * view.share) * calibrated_variance((errors - view.noise**2).clamp_min(0))
    variance = variance + view.noise**2  # of which no two are alike
    noise = _drawn(keys, (prior.noise_dim,), 0).to(model.device)
    chosen = noise.clone()
    chosen[:, : model.latent_dim] = 0  # what is left chooses the component of a mixture
    middle = prior(noise) - prior(chosen)
    seen = seen + variance.sqrt()[:, None, None, None] * _drawn(keys, seen.shape[1:], 1).to(model.device) * is_seen
    best, least = latents.detach().clone(), torch.full((len(seen),), torch.inf, device=model.device)
    optimizer = torch.optim.Adam([latents], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        misfit = squared_error(seen, view.see(model.networks.decoder(latents))) / (2 * variance)
        badness = misfit - prior.log_density(latents - middle)
        better = badness.detach() < least
        best[better], least[better] = latents.detach()[better], badness.detach()[better]
        optimizer.zero_grad()
        badness.sum().backward()
        optimizer.step()
        schedule.step()
        report((step + 1) / steps)
    return best


def _drawn(keys: list[int | None], shape: Sequence[int], stream: int) -> Tensor:
    """Standard normal numbers of a shape for each key, 0 where there is none."""
    generators = [None if key is None else torch.Generator().manual_seed(keyed_seed(key, stream)) for key in keys]
    return torch.stack([torch.zeros(shape) if one is None else torch.randn(shape, generator=one) for one in generators])
