"""What every number of an evaluation is called, means, and which way is good. No torch: commands and reports read it."""

from dataclasses import dataclass
from typing import Literal

Good = Literal["lower", "higher", "one", "half", "neither"]
FEWEST_SAMPLES, MOST_SAMPLES = 64, 1_000_000  # that can be asked for
DEVIATION = "1/1000 of the real deviation"
DECODING, DENSITY, LATENT = "only a model decodes", "only a model has a likelihood", "only a model has a latent"


@dataclass(frozen=True)
class Metric:
    """How to read one number."""

    title: str  # A few words for a table
    good: Good  # lower or higher; one: near 1; half: near 0.5; neither: a description, good or bad by what it is for
    unit: str = ""
    headline: bool = False  # whether it is among the few to look at first
    no_floor: str = ""  # why real images have no such number, if they have none


METRICS: dict[str, Metric] = {
    "kernel_distance": Metric("kernel distance", "lower", headline=True),
    "frechet_distance": Metric("Frechet distance", "lower"),
    "swd_full": Metric("patches, full size", "lower", DEVIATION, headline=True),
    "swd_half": Metric("patches, half size", "lower", DEVIATION, headline=True),
    "swd_quarter": Metric("patches, quarter size", "lower", DEVIATION, headline=True),
    "two_sample_accuracy": Metric("told apart", "half"),
    "nearest_neighbour_accuracy": Metric("nearest is alike", "half"),
    "precision": Metric("precision", "higher"),
    "density": Metric("density", "one"),
    "recall": Metric("recall", "higher", headline=True),
    "coverage": Metric("coverage", "higher", headline=True),
    "duplicates": Metric("near-duplicates", "one", "times as many", headline=True),
    "variety": Metric("variety", "one", headline=True),
    "sharpness": Metric("sharpness", "one", headline=True),
    "flatness": Metric("flat areas", "one", headline=True),
    "detail_likeness": Metric("likeness of details", "one", "times as alike", headline=True),
    "texture_2": Metric("texture, 2 pixels", "one", headline=True),
    "texture_4": Metric("texture, 4 pixels", "one", headline=True),
    "copying": Metric("copying", "half", headline=True),
    "copying_encoder": Metric("copying, encoded", "half"),
    "neighbour_distance": Metric("nearest neighbour", "one"),
    "reconstruction_error": Metric("reconstruction error", "lower", "on [-1, 1]", headline=True, no_floor=DECODING),
    "psnr": Metric("PSNR", "higher", "dB", no_floor=DECODING),
    "ssim": Metric("SSIM", "higher", no_floor=DECODING),
    "elbo": Metric("ELBO", "higher", "nat", no_floor=DENSITY),
    "iwae": Metric("IWAE bound", "higher", "nat", no_floor=DENSITY),
    "bits_per_dimension": Metric("bits per value", "lower", "bit", no_floor=DENSITY),
    "kl": Metric("KL", "neither", "nat", no_floor=LATENT),
    "active_units": Metric("active units", "neither", "of the latent", no_floor=LATENT),
    "aggregate_gap": Metric("posterior against prior", "lower", "nat", no_floor=LATENT),
    "mig": Metric("MIG", "higher", no_floor=LATENT),
    "dci_disentanglement": Metric("DCI disentanglement", "higher", no_floor=LATENT),
    "dci_completeness": Metric("DCI completeness", "higher", no_floor=LATENT),
    "dci_informativeness": Metric("DCI informativeness", "higher", no_floor=LATENT),
    "attribute_accuracy": Metric("attributes read", "higher", no_floor=LATENT),
    "mode_coverage": Metric("attributes covered", "higher", headline=True),
    "fid": Metric("FID", "lower"),
    "kid": Metric("KID", "lower", headline=True),
    "feature_frechet_distance": Metric("Frechet distance, your network", "lower"),
    "feature_kernel_distance": Metric("kernel distance, your network", "lower", headline=True),
}

EXPLANATIONS: dict[str, str] = {
    "kernel_distance": "How different samples and real images are in edges, colours and textures; 0 when they are not.",
    "frechet_distance": "The same question by mean and covariance of the features; falls when more images are compared.",
    "swd_full": "How different small patches of the finest detail are (sliced Wasserstein distance).",
    "swd_half": "The same for detail twice as coarse.",
    "swd_quarter": "The same for shapes and colours.",
    "two_sample_accuracy": "How often a simple classifier tells a sample from a real image it has not seen; 0.5 is guessing.",
    "nearest_neighbour_accuracy": "How often an image's nearest other image is of its own kind; 0.5 when both are mixed well.",
    "precision": "Share of samples that look like some real images do (layout and colour).",
    "density": "How many real images are around a sample, compared with around a real one.",
    "recall": "Share of real images that the samples' variety reaches.",
    "coverage": "Share of real images that have a sample near; low when kinds are missing.",
    "duplicates": "Pairs of samples as alike as only 1 in 10,000 pairs of real images is, over that share.",
    "variety": "How much samples differ from each other in layout and colour, over how much real images do.",
    "sharpness": "Strength of the finest detail over that of real images: under 1 blurred, over 1 noisy.",
    "flatness": "Share of even areas (neighbouring pixels hardly differ) over that of real images: under 1 grain, over 1 blur.",
    "detail_likeness": "How alike the finest details of two samples are, over those of real images: high when all share strokes.",
    "texture_2": "Strength of a pattern that repeats every 2 pixels over that of real images; upsampling leaves one.",
    "texture_4": "The same for 4 pixels.",
    "copying": "How often samples are nearer to training images than to as many unseen ones; 0.5 is right, 1 is copying.",
    "copying_encoder": "The same with distances between encodings, which see through small changes.",
    "neighbour_distance": "Median distance to the nearest training image, samples over unseen ones; far under 1: copies or blur.",
    "reconstruction_error": "Mean squared error of unseen images that were encoded and decoded.",
    "psnr": "The same on a logarithmic scale.",
    "ssim": "Likeness in local brightness, contrast and structure; 1 when equal.",
    "elbo": "Lower bound on the log-likelihood of an unseen image.",
    "iwae": "A tighter bound, from many draws an image.",
    "bits_per_dimension": "What storing one colour value of an unseen image would cost, by the IWAE bound.",
    "kl": "How much the encoding tells about an image, at most.",
    "active_units": "Latent numbers that carry something.",
    "aggregate_gap": "How far the encodings of all images together are from the N(0, I) that samples are drawn from.",
    "mig": "Whether each known factor sits in one latent number alone.",
    "dci_disentanglement": "Whether each latent number is about one factor alone.",
    "dci_completeness": "Whether each factor is told by one latent number alone.",
    "dci_informativeness": "How well the factors can be read from the latent at all.",
    "attribute_accuracy": "How often a linear classifier reads a known attribute from the latent, on unseen images.",
    "mode_coverage": "How much of the real mix of each known attribute the samples show; 1 is all of it.",
    "fid": "Frechet distance in Inception-2015 features; falls when more images are compared.",
    "kid": "Unbiased kernel distance in Inception-2015 features, over the whole sets.",
    "feature_frechet_distance": "Frechet distance in the features of the network you gave.",
    "feature_kernel_distance": "Unbiased kernel distance in the features of the network you gave.",
}
"""What each number says, for somebody who has never met it."""


def metric_title(name: str) -> str:
    """What a metric is called; its own name in words where the table does not know it."""
    return METRICS[name].title if name in METRICS else name.replace("_", " ")


def by_reason(left_out: dict[str, str]) -> dict[str, list[str]]:
    """Reasons why metrics were left out, each with the metrics it concerns."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    return reasons
