"""Numbers of the way from image to latent: reconstructions of held-out images, and the VAE's likelihood."""

import torch
from torch import Generator, Tensor

from vaegan.evaluation.numbers import Findings
from vaegan.evaluation.reference import Condition, RealImages
from vaegan.evaluation.tally import Tally
from vaegan.metrics.posterior import (
    ACTIVE,
    active_units_interval,
    aggregate_gap,
    aggregate_gap_reach,
    bits_per_dimension,
    dequantised,
    mean_squared_error,
    peak_signal_to_noise,
    structural_similarity,
)
from vaegan.metrics.statistics import clipped, mean_with_interval
from vaegan.model import Model
from vaegan.objectives.gaussian import kl_to_standard_normal
from vaegan.objectives.latent import importance_weighted_bound, log_ratio
from vaegan.objectives.likelihood import log_density
from vaegan.randomness import keyed_seed
from vaegan.types import Images, Labels, ProgressCallback

FEWEST_RECONSTRUCTIONS, FEWEST_POSTERIORS = 2, 20
ERRORS, BOUNDS = ("reconstruction_error", "psnr", "ssim"), ("elbo", "iwae", "bits_per_dimension")
POSTERIOR_NUMBERS = ("kl", "active_units", "aggregate_gap")
NO_POSTERIOR = "none of these stages has posteriors that were trained towards a prior"


def has_posteriors(model: Model) -> bool:
    """Whether the encoder was trained towards the prior by a KL divergence: in a VAE, alone or with its GAN."""
    return model.config.stage in ("vae", "joint")


def describe_inference(tally: Tally, first: int, model: Model, images: Images, labels: Labels | None) -> None:
    """Records errors of encoding and decoding one block of held-out images, and of a VAE what their posteriors are."""
    error = mean_squared_error(images, back := model.reconstruct(images, labels).cpu())
    for name, values in zip(ERRORS, (error, peak_signal_to_noise(error), structural_similarity(images, back)), strict=True):
        tally.add(name, first, values)
    if has_posteriors(model):
        posterior = model.posterior(images, labels)
        mean, log_var = posterior.mean.cpu().double(), posterior.log_var.cpu().double()
        tally.add_moments("mean", first, mean, shards=1)
        tally.add("variance", first, log_var.exp())
        tally.record_first("posterior", first, torch.cat([mean, log_var.exp()], 1))
        kl = kl_to_standard_normal(mean, log_var)
        tally.add("kl_per_dimension", first, kl)
        tally.add("kl", first, kl.sum(1))


def reconstructions(tally: Tally, count: int, found: Findings, seed: int) -> None:
    """Adds errors of encoding and decoding `count` held-out images."""
    if not found.lacks(ERRORS, FEWEST_RECONSTRUCTIONS, count):
        for name in ERRORS:
            found.add(name, *tally.sums(name).mean_with_interval(seed), count)


def posteriors(tally: Tally, count: int, found: Findings, seed: int) -> list[float]:
    """Adds KL and the posterior's use of the latent, of `count` held-out images; returns the KL a dimension."""
    if found.lacks(POSTERIOR_NUMBERS, FEWEST_POSTERIORS, count):
        return []
    (means,) = tally.moments("mean")
    found.add("kl", *tally.sums("kl").mean_with_interval(seed), count)
    mean, variance = tally.rows("posterior").chunk(2, 1)
    active, ends = int((means.covariance.diagonal() > ACTIVE).sum()), active_units_interval(mean, seed)
    found.add("active_units", active, (min(active, ends[0]), max(active, ends[1])), count)
    gap, reach = aggregate_gap(means, tally.sums("variance").mean), aggregate_gap_reach(mean, variance, seed)
    found.add("aggregate_gap", gap, clipped((gap - reach, gap + reach)), count)
    return [round(float(value), 5) for value in tally.sums("kl_per_dimension").mean]


def likelihood(model: Model, heldout: RealImages, condition: Condition, found: Findings, seed: int, full: bool) -> None:
    """Adds ELBO, IWAE bound and bits of held-out, dequantised images: the first 100, with `full` the first 1,000."""
    if found.lacks(BOUNDS, FEWEST_POSTERIORS, len(heldout)):
        return
    if not model.has_observation_noise:
        found.leave_out(BOUNDS, "the model has no p(x|z)")
        return
    chosen, draws = (heldout.first(1000), 500) if full else (heldout.first(100), 50)
    images, count, kind = chosen.images(), len(chosen), model.config.likelihood
    if kind == "bernoulli" and not (images.abs() == 1).all():
        found.leave_out(BOUNDS, "the model's p(x|z) is for binary images, and these are grey")
        return
    weights = log_weights(model, images, draws, seed, lambda what, done, total: None, condition.labels(chosen)).double()
    bound = importance_weighted_bound(weights)
    found.add("elbo", *mean_with_interval(weights.mean(0), seed), count)
    found.add("iwae", *mean_with_interval(bound, seed), count)
    if kind == "bernoulli":
        found.left_out["bits_per_dimension"] = "the model's p(x|z) is for binary images"
    else:
        bits = bits_per_dimension(bound, images[0].numel(), kind)
        found.add("bits_per_dimension", *mean_with_interval(bits, seed), count)


@torch.inference_mode()
def log_weights(
    model: Model, images: Images, draws: int, seed: int, progress: ProgressCallback, labels: Labels | None = None
) -> Tensor:
    """Log p(x|z) + log p(z) - log q(z|x) of `draws` latents of each image's posterior, [draws, image]."""
    generator = Generator().manual_seed(keyed_seed(seed, "likelihood"))
    images = dequantised(images, model.config.likelihood, generator)
    mean, log_var = (part.cpu() for part in model.posterior(images, labels))
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
