"""Numbers of the way from image to latent: reconstructions of held-out images, and the VAE's likelihood."""

import torch
from torch import Generator, Tensor

from vaegan.evaluation.numbers import Findings
from vaegan.metrics.posterior import active_units, aggregate_gap, bits_per_dimension, dequantised, kl_per_dimension
from vaegan.metrics.reconstruction import mean_squared_error, peak_signal_to_noise, structural_similarity
from vaegan.metrics.statistics import mean_with_interval
from vaegan.model import Model
from vaegan.objectives.latent import importance_weighted_bound, log_ratio
from vaegan.objectives.likelihood import log_density
from vaegan.randomness import keyed_seed
from vaegan.types import Images, Labels, ProgressCallback

FEW_RECONSTRUCTIONS, FEW_POSTERIORS = 2, 20
SMALLEST_FOR_SSIM = 11  # [pixels] its window


def reconstructions(model: Model, images: Images, labels: Labels | None, found: Findings, seed: int) -> None:
    """Errors of encoding and decoding held-out images, beside the `labels` that a conditional model is told."""
    if found.lacks(("reconstruction_error", "psnr", "ssim"), FEW_RECONSTRUCTIONS, len(images)):
        return
    back = model.reconstruct(images, labels).cpu()
    error = mean_squared_error(images, back)
    found.add("reconstruction_error", *mean_with_interval(error, seed), len(images))
    found.add("psnr", *mean_with_interval(peak_signal_to_noise(error), seed), len(images))
    found.add("ssim", *mean_with_interval(structural_similarity(images, back), seed), len(images))


def likelihood(
    model: Model,
    images: Images,
    labels: Labels | None,
    found: Findings,
    seed: int,
    full: bool,
    progress: ProgressCallback,
) -> list[float] | None:
    """ELBO, IWAE bound, bits, KL and the posterior's use of the latent; returns the KL a dimension.

    Images are dequantised with uniform noise of one level, as the density asks for.
    """
    names = ("elbo", "iwae", "bits_per_dimension", "kl", "active_units", "aggregate_gap")
    if found.lacks(names, FEW_POSTERIORS, len(images)):
        return None
    posterior = model.posterior(images, labels)
    mean, log_var = posterior.mean.cpu(), posterior.log_var.cpu()
    per_dimension = kl_per_dimension(mean, log_var)
    kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
    found.add("kl", *mean_with_interval(kl, seed), len(images))
    found.add("active_units", int(active_units(mean)), None, len(images))
    gap = aggregate_gap(mean, log_var)
    found.add("aggregate_gap", gap, None, len(images))
    if not model.has_observation_noise:
        for name in names[:3]:
            found.left_out[name] = "the model has no p(x|z)"
        return [round(float(value), 5) for value in per_dimension]
    count, draws = (min(1000, len(images)), 500) if full else (min(100, len(images)), 50)
    weights = log_weights(model, images[:count], draws, seed, progress, None if labels is None else labels[:count])
    bound = importance_weighted_bound(weights.double())
    found.add("elbo", *mean_with_interval(weights.double().mean(0), seed), count)
    found.add("iwae", *mean_with_interval(bound, seed), count)
    if model.config.likelihood != "bernoulli":
        bits = bits_per_dimension(bound, images[0].numel(), model.config.likelihood)
        found.add("bits_per_dimension", *mean_with_interval(bits, seed), count)
    else:
        found.left_out["bits_per_dimension"] = "the model's p(x|z) is for binary images"
    return [round(float(value), 5) for value in per_dimension]


@torch.inference_mode()
def log_weights(
    model: Model, images: Images, draws: int, seed: int, progress: ProgressCallback, labels: Labels | None = None
) -> Tensor:
    """Log p(x|z) + log p(z) - log q(z|x) of `draws` latents of each image's posterior, [draws, image]."""
    generator = Generator().manual_seed(keyed_seed(seed, "likelihood"))
    images = dequantised(images, model.config.likelihood, generator)
    posterior = model.posterior(images, labels)
    mean, log_var = posterior.mean.cpu(), posterior.log_var.cpu()
    variance = torch.tensor(model.config.variance or 1.0)
    rows: list[Tensor] = []
    for draw in range(draws):
        noise = torch.randn(mean.shape, generator=generator)
        latents = mean + torch.exp(log_var / 2) * noise
        raw = model.raw(model.whitened(latents), labels).cpu()
        density = log_density(model.config.likelihood, images, raw, variance)
        rows.append(density + log_ratio(latents, mean, log_var, noise))
        progress("likelihood", draw + 1, draws)
    return torch.stack(rows)
