"""Study vae-vs-gan: explicit against implicit density. Sharpness, diversity, coverage, likelihood, compression."""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from vaegan.config import GAN_COST, GROWN_COST
from vaegan.data import to_uint8
from vaegan.metrics.posterior import peak_signal_to_noise
from vaegan.metrics.watch import variety
from vaegan.model import Model
from vaegan.pictures import to_picture
from vaegan.studies.likelihood import bits_of_model, has_bits
from vaegan.studies.measures import SCORES, autoencoding, heldout_images, sampling, training_images
from vaegan.studies.study import Numbers, Results, Setting, Story, Study, Subject, TrainedArm, some
from vaegan.types import Images, Latents

VAE, GROWN, SCRATCH = "VAE", "GAN grown out of it", "GAN from scratch"
QUALITIES = (1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 65, 80, 90, 95)  # of JPEG


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """A VAE, the GAN that grows out of it, and a GAN from scratch with the time of both."""
    gan = replace(setting.base, recipe="gan")
    return [
        TrainedArm(VAE, replace(gan, recipe="vae")),
        TrainedArm(GROWN, gan, start=VAE),
        TrainedArm(SCRATCH, gan, images=(1 + 1 / GAN_COST) * GROWN_COST),
    ]


def measure(subject: Subject) -> Numbers:
    """What can be said of each: for a GAN from scratch only its samples."""
    dataset, model = subject.setting.dataset, subject.model
    heldout = heldout_images(dataset, 500)
    found = sampling(model, dataset)
    found["variety"] = float(variety(model.sample(len(heldout), sampler="prior")) / variety(heldout))
    if model.has_encoder:
        error = latent_error(model, training_images(dataset, 1000), heldout)
        found |= {"psnr": float(peak_signal_to_noise(torch.tensor(error))), "latent_bytes": model.latent_dim}
        found |= dict(zip(("jpeg_bytes", "jpeg_bare", "quality"), jpeg_at(heldout, error), strict=True))
        found["error"] = autoencoding(model, heldout)["error"]
    if has_bits(model):
        found["bits"] = bits_of_model(model, heldout[:16], 500, subject.seed)
    return found


def rounded(latents: Latents, low: Latents, high: Latents) -> Latents:
    """Each number to the nearest of 256 levels between `low` and `high` of its dimension: one byte a number."""
    width = (high - low).clamp_min(1e-9)
    return low + ((latents - low) / width * 255).round().clamp(0, 255) / 255 * width


def latent_error(model: Model, train: Images, images: Images) -> float:
    """Squared error a value of images decoded from 8-bit latents, whose range is that of the training images'."""
    known = model.encode(train).cpu()
    return float((model.decode(rounded(model.encode(images).cpu(), known.amin(0), known.amax(0))).cpu() - images).square().mean())


def jpeg_at(images: Images, error: float) -> tuple[float, float, int]:
    """JPEG of at most that squared error a value, or of the best quality: bytes an image, those without header, quality."""
    pixels = to_uint8(images)
    empty = _jpeg(Image.new("L" if pixels.shape[-1] == 1 else "RGB", (pixels.shape[2], pixels.shape[1])), 50)
    size, chosen = 0.0, 0
    for chosen in QUALITIES:
        files = [_jpeg(to_picture(image), chosen) for image in pixels]
        size = sum(map(len, files)) / len(files)
        decoded = torch.stack([_opened(file, images.shape[1]) for file in files])
        if float((decoded - images).square().mean()) <= error:
            break
    return size, size - len(empty), chosen


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _opened(file: bytes, channels: int) -> torch.Tensor:
    with Image.open(io.BytesIO(file)) as picture:
        values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        return values.reshape(picture.height, picture.width, channels).permute(2, 0, 1) / 127.5 - 1


def tell(results: Results) -> Story:
    """Side by side in words."""
    mean, labels = results.mean, results.labels
    sharpest = min(labels, key=lambda label: abs(mean(label, "sharpness") - 1))
    # Not the recall: that is high for samples scattered far and wide, too.
    most = max(labels, key=lambda label: mean(label, "coverage"))
    sentences = some(
        lambda: (
            f"Sharpness (1 is real): VAE {mean(VAE, 'sharpness'):.2f}, {GROWN} {mean(GROWN, 'sharpness'):.2f}, {SCRATCH} "
            f"{mean(SCRATCH, 'sharpness'):.2f}; nearest to real images: {sharpest}."
            + (" The VAE averages what it cannot tell apart, hence its blur." if mean(VAE, "sharpness") < 0.8 else "")
        ),
        lambda: (
            f"Diversity: most of the real images have a sample near them with: {most}. The variance of samples over that of real "
            f"images is {mean(VAE, 'variety'):.2f}, {mean(GROWN, 'variety'):.2f} and {mean(SCRATCH, 'variety'):.2f}."
        ),
        lambda: _likelihood(results),
        lambda: compression(results),
    )
    axis, caption = "energy of the highest octave, real images = 1", "How sharp the samples are."
    chart = results.bars("sharpness.svg", "sharpness", {one: one for one in labels}, "Sharpness of samples", axis, caption)
    answer: dict[str, Any] = {"sharpest": sharpest, "highest_coverage": most}
    if VAE in labels:
        answer |= {"jpeg_over_latent_bytes": _gain(results), "bits": mean(VAE, "bits") if results.values(VAE, "bits") else None}
    return Story(sentences, [chart], answer)


def _likelihood(results: Results) -> str:
    words = "Likelihood: the VAE's loss stands for binary images or for none, so it has no bits a value."
    if results.values(VAE, "bits"):
        bits = results.mean(VAE, "bits")
        words = f"Likelihood: the VAE has one, at most {bits:.2f} bits a value (IWAE-500, at most 16 held-out images)."
    return words + " A GAN's density is implicit: it can be sampled and not evaluated, so that cell stays empty for good."


def compression(results: Results) -> str:
    """Bytes of latents against those of JPEG."""
    mean = results.mean
    bare, total = mean(VAE, "jpeg_bare"), mean(VAE, "jpeg_bytes")
    lowest = mean(VAE, "quality") <= QUALITIES[0]
    quality = "of its lowest quality, whose error may be smaller," if lowest else "of equal error"
    grown = some(lambda: f"; the one that grew out of the VAE keeps one, at {mean(GROWN, 'psnr'):.1f} dB")
    return (
        f"Compression: {mean(VAE, 'latent_bytes'):.0f} bytes an image as 8-bit latents of the VAE give "
        f"{mean(VAE, 'psnr'):.1f} dB; JPEG {quality} takes {total:.0f}: {bare:.0f} for the image and {total - bare:.0f} for "
        f"header and tables that every such file repeats: without them {_gain(results):.1f} times the latents' bytes. (The "
        "decoder, which both sides must have, is not counted.) A GAN from scratch has no encoder and cannot compress"
        f"{''.join(grown)}."
    )


def _gain(results: Results) -> float:
    return results.mean(VAE, "jpeg_bare") / results.mean(VAE, "latent_bytes")


COLUMNS = SCORES | {
    "variety": "variance, real = 1",
    "bits": "bits a value, at most",
    "error": "held-out error a value",
    "psnr": "PSNR of 8-bit latents [dB]",
    "latent_bytes": "their bytes",
    "jpeg_bytes": "JPEG bytes at equal error",
    "jpeg_bare": "without header",
}

QUESTION = "What is each good for? Sharpness, diversity, coverage, likelihood and compression of a VAE and two GANs."
SOURCE = "the comic-face project and the VAE notes: explicit against implicit density"
VAE_VS_GAN = Study("vae-vs-gan", QUESTION, SOURCE, arms, measure, tell, COLUMNS)
