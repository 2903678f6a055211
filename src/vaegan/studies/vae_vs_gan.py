"""Study vae-vs-gan: explicit against implicit density. Sharpness, diversity, coverage, likelihood, compression."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vaegan.charts import save_bars
from vaegan.config import GAN_COST, GROWN_COST
from vaegan.data import TRAIN
from vaegan.metrics.watch import variety
from vaegan.studies.compression import QUALITIES, jpeg_at, latent_error
from vaegan.studies.likelihood import bits_of_model, has_bits
from vaegan.studies.measures import autoencoding, heldout_images, psnr, sampling, side_images
from vaegan.studies.sheets import save_last_samples, save_learning
from vaegan.studies.study import Look, Numbers, Picture, Results, Setting, Story, Study, TrainedArm, some

VAE, GROWN, SCRATCH = "VAE", "GAN grown out of it", "GAN from scratch"


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """A VAE, the GAN that grows out of it, and a GAN from scratch with the time of both."""
    # From scratch there is no mixture to narrow: so that equals are compared the other's is left whole.
    gan = replace(setting.base, recipe="gan", gan=replace(setting.base.gan, temperature=1.0))
    return [
        TrainedArm(VAE, replace(gan, recipe="vae")),
        TrainedArm(GROWN, gan, start=VAE),
        TrainedArm(SCRATCH, gan, images=(1 + 1 / GAN_COST) * GROWN_COST),
    ]


def measure(look: Look) -> Numbers:
    """What can be said of each: of a GAN from scratch only its samples."""
    dataset, model = look.setting.dataset, look.model
    heldout, train = heldout_images(dataset, 500), side_images(dataset, TRAIN, 1000)
    found = sampling(model, dataset)
    found["variety"] = float(variety(model.sample(len(heldout))) / variety(heldout))
    if model.has_encoder:
        error = latent_error(model, train, heldout)
        jpeg, bare, quality = jpeg_at(heldout, error)
        found |= {"psnr": psnr(error), "latent_bytes": model.latent_dim}
        found |= {"jpeg_bytes": jpeg, "jpeg_bare": bare, "quality": quality}
        found["error"] = autoencoding(model, heldout)["error"]
    if has_bits(model):
        found["bits"] = bits_of_model(model, heldout[:16], 500, look.seed)
    return found


def tell(results: Results) -> Story:
    """Side by side in words."""
    mean = results.mean
    sharpest = min(results.labels, key=lambda label: abs(mean(label, "sharpness") - 1))
    # Not the recall: that is high for samples scattered far and wide, too.
    most = max(results.labels, key=lambda label: mean(label, "coverage"))
    sentences = some(
        lambda: (
            f"Sharpness (1 is real): VAE {mean(VAE, 'sharpness'):.2f}, {GROWN} {mean(GROWN, 'sharpness'):.2f}, {SCRATCH} "
            f"{mean(SCRATCH, 'sharpness'):.2f}; nearest to real images: {sharpest}."
            + (" The VAE averages what it cannot tell apart, hence its blur." if mean(VAE, "sharpness") < 0.8 else "")
        ),
        lambda: (
            f"Diversity: the variance of samples over that of real images is {mean(VAE, 'variety'):.2f}, "
            f"{mean(GROWN, 'variety'):.2f}, {mean(SCRATCH, 'variety'):.2f}; recall {mean(VAE, 'recall'):.2f}, "
            f"{mean(GROWN, 'recall'):.2f}, {mean(SCRATCH, 'recall'):.2f}; coverage {mean(VAE, 'coverage'):.2f}, "
            f"{mean(GROWN, 'coverage'):.2f}, {mean(SCRATCH, 'coverage'):.2f}, in the same order. Most of the real images have "
            f"a sample near them with: {most}."
        ),
        lambda: _likelihood(results),
        lambda: compression(results),
    )
    runs = {label: results.arm_folder(label) for label in results.labels}
    save_last_samples(runs, results.folder / "samples.png", columns=3)
    save_learning(runs, results.folder / "learning.gif", columns=3)
    sharpness, spreads = ({label: of(label, "sharpness") for label in results.labels} for of in (mean, results.spread))
    bar = "energy of the highest octave, real images = 1"
    save_bars(results.folder / "sharpness.svg", sharpness, "Sharpness of samples", bar, spreads)
    pictures = [
        Picture("samples.png", "Samples of each."),
        Picture("learning.gif", "The same latents while each learns."),
        Picture("sharpness.svg", "How sharp the samples are."),
    ]
    answer: dict[str, Any] = {"sharpest": sharpest, "highest_coverage": most}
    if VAE in results.labels:
        answer |= {"jpeg_over_latent_bytes": _gain(results), "bits": mean(VAE, "bits") if results.values(VAE, "bits") else None}
    return Story(sentences, COLUMNS, pictures, answer)


def _likelihood(results: Results) -> str:
    bits = results.values(VAE, "bits")
    return (
        (f"Likelihood: the VAE has one, at most {results.mean(VAE, 'bits'):.2f} bits a value (IWAE-500, at most 16 held-out "
         "images)." if bits else "Likelihood: the VAE's loss stands for binary images or for none, so it has no bits a value.")
        + " A GAN's density is implicit: it can be sampled and not evaluated, so that cell stays empty for good."
    )  # fmt: skip


def compression(results: Results) -> str:
    """Bytes of latents against those of JPEG."""
    mean = results.mean
    bare, whole = mean(VAE, "jpeg_bare"), mean(VAE, "jpeg_bytes")
    lowest = mean(VAE, "quality") <= QUALITIES[0]
    quality = "of its lowest quality, whose error may be smaller," if lowest else "of equal error"
    kept = some(lambda: f"; the one that grew out of the VAE keeps one, at {mean(GROWN, 'psnr'):.1f} dB")
    return (
        f"Compression: {mean(VAE, 'latent_bytes'):.0f} bytes an image as 8-bit latents of the VAE give "
        f"{mean(VAE, 'psnr'):.1f} dB; JPEG {quality} takes {whole:.0f}: {bare:.0f} for the image and {whole - bare:.0f} for "
        f"header and tables that every such file repeats: without them {_gain(results):.1f} times the latents' bytes. (The "
        "decoder, which both sides must have, is not counted.) A GAN from scratch has no encoder and cannot compress"
        f"{''.join(kept)}."
    )


def _gain(results: Results) -> float:
    return results.mean(VAE, "jpeg_bare") / results.mean(VAE, "latent_bytes")


COLUMNS = {
    "distance": "distance of samples x1000",
    "sharpness": "sharpness, real = 1",
    "variety": "variance, real = 1",
    "recall": "recall",
    "coverage": "coverage",
    "bits": "bits a value, at most",
    "error": "held-out error a value",
    "psnr": "PSNR of 8-bit latents [dB]",
    "latent_bytes": "their bytes",
    "jpeg_bytes": "JPEG bytes at equal error",
    "jpeg_bare": "without header",
}

VAE_VS_GAN = Study(
    name="vae-vs-gan",
    question="What is each good for? Sharpness, diversity, coverage, likelihood and compression of a VAE and two GANs.",
    source="the comic-face project and the VAE notes: explicit against implicit density",
    arms=arms,
    measure=measure,
    tell=tell,
)
