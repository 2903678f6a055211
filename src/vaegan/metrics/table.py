"""What every number of an evaluation is called, means, and which way is good. No torch: commands and reports read it."""

from dataclasses import dataclass
from typing import Literal

Good = Literal["lower", "higher", "one", "half", "neither"]
FEWEST_SAMPLES, MOST_SAMPLES = 64, 1_000_000  # that can be asked for
DECODING, DENSITY, LATENT = "only a model decodes", "only a model has a likelihood", "only a model has a latent"


@dataclass(frozen=True)
class Metric:
    """How to read one number."""

    title: str
    """A few words for a table."""
    explanation: str
    """One line for somebody who has never met it."""
    good: Good
    """lower or higher; one: near 1; half: near 0.5; neither: a description, good or bad by what it is for."""
    unit: str = ""
    headline: bool = False
    """Whether it is among the few to look at first."""
    no_floor: str = ""
    """Why real images have no such number, if they have none."""


METRICS: dict[str, Metric] = {
    "kernel_distance": Metric(
        "kernel distance",
        "How different samples and real images are in edges, colours and textures; 0 when not at all, whatever their number.",
        "lower",
        headline=True,
    ),
    "frechet_distance": Metric(
        "Frechet distance",
        "The same question by mean and covariance of the features; falls when more images are compared.",
        "lower",
    ),
    "swd_full": Metric(
        "patches, full size",
        "How different small patches of the finest detail are (sliced Wasserstein distance).",
        "lower",
        "1/1000 of the real deviation",
        True,
    ),
    "swd_half": Metric(
        "patches, half size", "The same for detail twice as coarse.", "lower", "1/1000 of the real deviation", True
    ),
    "swd_quarter": Metric(
        "patches, quarter size", "The same for shapes and colours.", "lower", "1/1000 of the real deviation", True
    ),
    "two_sample_accuracy": Metric(
        "told apart",
        "How often a simple classifier tells a sample from a real image it has not seen; 0.5 is guessing.",
        "half",
    ),
    "nearest_neighbour_accuracy": Metric(
        "nearest is alike",
        "How often an image's nearest other image is of its own kind; 0.5 when samples and real images are mixed well.",
        "half",
    ),
    "precision": Metric("precision", "Share of samples that look like some real images do (layout and colour).", "higher"),
    "density": Metric("density", "How many real images are around a sample, compared with around a real one.", "one"),
    "recall": Metric("recall", "Share of real images that the samples' variety reaches.", "higher", headline=True),
    "coverage": Metric(
        "coverage", "Share of real images that have a sample near; low when kinds are missing.", "higher", headline=True
    ),
    "different_bins": Metric(
        "unequal groups",
        "Share of 100 or fewer groups of look-alike images that are over- or underrepresented beyond chance.",
        "lower",
    ),
    "bins_divergence": Metric("group divergence", "How differently samples fill these groups.", "lower", "bit"),
    "duplicates": Metric(
        "near-duplicates",
        "Pairs of samples as alike as only 1 in 10,000 pairs of real images is, over that share.",
        "one",
        "times as many",
        True,
    ),
    "support": Metric(
        "different images",
        "How many different images there seem to be, from nearly identical pairs (without a pair only a lower bound).",
        "higher",
        "images",
    ),
    "variety": Metric(
        "variety",
        "How much samples differ from each other in layout and colour, over how much real images do.",
        "one",
        headline=True,
    ),
    "effective_rank": Metric(
        "effective rank",
        "In how many independent ways samples vary, over that of as many real images; blind to missing kinds.",
        "one",
    ),
    "sharpness": Metric(
        "sharpness",
        "Strength of the finest detail over that of real images: under 1 blurred, over 1 noisy.",
        "one",
        headline=True,
    ),
    "flatness": Metric(
        "flat areas",
        "Share of even areas (neighbouring pixels hardly differ) over that of real images: under 1 grain, over 1 blur.",
        "one",
        headline=True,
    ),
    "detail_likeness": Metric(
        "likeness of details",
        "How alike the finest details of two samples are, over how alike those of two real images are: high when all samples "
        "share strokes.",
        "one",
        "times as alike",
        headline=True,
    ),
    "texture_2": Metric(
        "texture, 2 pixels",
        "Strength of a pattern that repeats every 2 pixels over that of real images; upsampling leaves one.",
        "one",
        headline=True,
    ),
    "texture_4": Metric("texture, 4 pixels", "The same for 4 pixels.", "one", headline=True),
    "copying": Metric(
        "copying",
        "How often a sample is nearer to the training images than to as many unseen ones; 0.5 is right, towards 1 it copies.",
        "half",
        headline=True,
    ),
    "copying_encoder": Metric(
        "copying, encoded", "The same with distances between encodings, which see through small changes.", "half"
    ),
    "neighbour_distance": Metric(
        "nearest neighbour",
        "Median distance of a sample to its nearest training image over that of an unseen image: far under 1 is copying or blur.",
        "one",
    ),
    "reconstruction_error": Metric(
        "reconstruction error",
        "Mean squared error of unseen images that were encoded and decoded.",
        "lower",
        "on [-1, 1]",
        True,
        no_floor=DECODING,
    ),
    "psnr": Metric("PSNR", "The same on a logarithmic scale.", "higher", "dB", no_floor=DECODING),
    "ssim": Metric("SSIM", "Likeness in local brightness, contrast and structure; 1 when equal.", "higher", no_floor=DECODING),
    "elbo": Metric("ELBO", "Lower bound on the log-likelihood of an unseen image.", "higher", "nat", no_floor=DENSITY),
    "iwae": Metric("IWAE bound", "A tighter bound, from many draws an image.", "higher", "nat", no_floor=DENSITY),
    "bits_per_dimension": Metric(
        "bits per value",
        "What storing one colour value of an unseen image would cost, by the IWAE bound.",
        "lower",
        "bit",
        no_floor=DENSITY,
    ),
    "kl": Metric("KL", "How much the encoding tells about an image, at most.", "neither", "nat", no_floor=LATENT),
    "active_units": Metric("active units", "Latent numbers that carry something.", "neither", "of the latent", no_floor=LATENT),
    "aggregate_gap": Metric(
        "posterior against prior",
        "How far the encodings of all images together are from the N(0, I) that samples are drawn from.",
        "lower",
        "nat",
        no_floor=LATENT,
    ),
    "mig": Metric("MIG", "Whether each known factor sits in one latent number alone.", "higher", no_floor=LATENT),
    "dci_disentanglement": Metric(
        "DCI disentanglement", "Whether each latent number is about one factor alone.", "higher", no_floor=LATENT
    ),
    "dci_completeness": Metric(
        "DCI completeness", "Whether each factor is told by one latent number alone.", "higher", no_floor=LATENT
    ),
    "dci_informativeness": Metric(
        "DCI informativeness", "How well the factors can be read from the latent at all.", "higher", no_floor=LATENT
    ),
    "attribute_accuracy": Metric(
        "attributes read",
        "How often a linear classifier reads a known attribute from the latent, on unseen images.",
        "higher",
        no_floor=LATENT,
    ),
    "mode_coverage": Metric(
        "attributes covered",
        "How much of the real mix of each known attribute the samples show; 1 is all of it.",
        "higher",
        headline=True,
    ),
    "fid": Metric("FID", "Frechet distance in Inception-2015 features; falls when more images are compared.", "lower"),
    "kid": Metric("KID", "Unbiased kernel distance in Inception-2015 features, over the whole sets.", "lower", headline=True),
    "feature_frechet_distance": Metric(
        "Frechet distance, your network", "Frechet distance in the features of the network you gave.", "lower"
    ),
    "feature_kernel_distance": Metric(
        "kernel distance, your network",
        "Unbiased kernel distance in the features of the network you gave.",
        "lower",
        headline=True,
    ),
}


def is_bound(name: str, value: float, count: int | None) -> bool:
    """Whether a value only says "more than this": no two of `count` samples were nearly identical (`birthday.support_size`)."""
    return name == "support" and count is not None and value == count**2 / 6  # no number of pairs gives just that


def by_reason(left_out: dict[str, str]) -> dict[str, list[str]]:
    """Reasons why metrics were left out, each with the metrics it concerns."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    return reasons
