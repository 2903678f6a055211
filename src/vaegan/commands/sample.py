"""vaegan sample: new images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vaegan.commands.shared import ModelOptions, check_picture_or_folder, save_images
from vaegan.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions):
    """Make new images."""

    n: int = 64
    """How many."""
    out: Path = Path("samples.png")
    """A .png: one picture with all of them; anything else: a folder with one PNG each."""
    seed: int = 0
    """The same seed gives the same images."""
    sampler: Literal["prior", "gmm"] | None = None
    """prior: latents as the model was trained with: from N(0, I), for a GAN that grew out of a VAE from a mixture of Gaussians
    fitted to the encoded training images (--gan.prior); gmm: from that mixture anyway. The prior by default; a plain autoencoder
    has none, and takes the mixture."""
    temperature: float = 1.0
    """How far latents are drawn from the middle, times the model's own: 0.8 makes fewer odd images and fewer kinds of them, 1.05
    more of both. A GAN that grew out of a VAE draws from a mixture that --gan.temperature has narrowed already (1.087 undoes its
    0.92), and what changes coarse images most stays as wide as it is."""
    label: str | None = None
    """Only images of this label, from a model trained with --conditional; without it all labels in turn."""
    observation_noise: bool = False
    """Draw from p(x|z) of the VAE and not only its mean: honest, and grainy."""


def run(options: Options) -> None:
    """Makes images."""
    most = check_picture_or_folder(options.out)
    if not 1 <= options.n <= most:
        raise RequestError(f"-n {options.n} is not possible; give 1 to {most:,} (one PNG), or a folder as --out for more.")

    from vaegan.data import to_uint8
    from vaegan.training.saved import load

    model = load(options.run, options.stage)
    model = model if options.label is None else model.for_label(options.label)
    stage, sampler = model.config.stage, options.sampler or model.default_sampler
    how = {"seed": options.seed, "stage": stage, "sampler": sampler, "temperature": options.temperature}
    notes = {name: str(value) for name, value in how.items()} | {"software": "vaegan"}
    notes |= {} if options.label is None else {"label": options.label}
    noise = options.observation_noise
    drawn = model.sample_blocks(options.n, options.seed, sampler, noise, temperature=options.temperature)
    save_images(map(to_uint8, drawn), options.out, notes)
    facts = {"out": str(options.out), "count": options.n} | how
    # A plain autoencoder promises nothing about any latent, so it is said where these come from.
    source = "" if model.has_prior else " from the mixture fitted to its encodings, as it has no prior"
    options.answer(facts, f"{options.n} images of the {stage.upper()}{source}, seed {options.seed}: {options.out}")
