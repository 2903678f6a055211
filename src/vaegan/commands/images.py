"""vaegan sample, reconstruct, vary, encode and decode: images out of latents, and latents out of images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from vaegan.commands import shared
from vaegan.commands.options import Spelling
from vaegan.errors import ModelError, RequestError, first_of
from vaegan.glossary import DRAWN_FROM

if TYPE_CHECKING:
    from vaegan.latent.samples import Address, Drawn
    from vaegan.model import Model, Sampler

STRENGTH, MOST_STRENGTH = 0.5, 100  # of variations


@dataclass(frozen=True, kw_only=True)
class SampleOptions(shared.ModelOptions):
    """Make new images."""

    addresses: Annotated[tuple[str, ...], Spelling("SEED:NUMBER", positional=True)] = ()
    """Only these samples: 0:37 is what --seed 0 makes after 37 others. Every command that takes images takes them, too."""
    n: int | None = None
    """How many: 64 by default; of several --seeds one each by default."""
    out: Path = Path("samples.png")
    """A .png: one picture with all of them; anything else: a folder with one PNG each, which keeps its latent."""
    seed: int = 0
    """The same seed gives the same images."""
    seeds: tuple[str, ...] = ()
    """Several seeds: 3:17 is those from 3 to 17, a row each; 3 17 is two."""
    like: tuple[str, ...] = ()
    """Images that resemble these: files, or samples as SEED:NUMBER. In turn, as vary draws them."""
    strength: float | None = None
    """For --like, how far: 0 not at all, 0.5 by default, 1 as far as two random images are from the mean."""
    sampler: Literal["mixture", "prior"] | None = None
    """mixture: latents from a mixture of Gaussians fitted to the encoded training images, the default of a VAE and of a plain
    autoencoder, which has no prior; prior: from what the model was trained with, N(0, I) of a VAE, the default of a GAN: that
    mixture if it grew out of a VAE, else N(0, I) (--gan.prior)."""
    temperature: float = 1.0
    """How far latents are drawn from the middle of their distribution, or of each Gaussian of a mixture: 0.8 makes fewer odd
    images and fewer kinds of them, 1.05 more of both."""
    label: str | None = None
    """Only images of this label, from a model trained with --conditional; without it all labels in turn."""
    observation_noise: bool = False
    """Draw from p(x|z) of the VAE and not only its mean: honest, and grainy."""


def sample(options: SampleOptions) -> None:
    """Makes images."""
    most = shared.check_picture_or_folder(options.out, *options.like)
    count = (1 if options.seeds else 64) if options.n is None else options.n
    if not 1 <= count <= most:
        raise RequestError(f"-n {count} is not possible; give 1 to {most:,} (one PNG), or a folder as --out for more.")
    _check_sources(options)
    if options.like:
        _sample_like(options, count)
        return

    from vaegan.latent.samples import draw_samples
    from vaegan.training.saved import load

    parts = _parts(options, count)
    total = sum(number for _, number in parts)
    shared.check_number("The number of images", total, most)
    model = load(options.run, options.stage)
    model = model if options.label is None else model.for_label(options.label)
    stage, sampler = model.config.stage, options.sampler or model.samplers[0]
    asked = [*options.addresses, *options.seeds]
    which = {"samples": " ".join(asked)} if asked else {"seed": options.seed}
    how = which | {"stage": stage, "sampler": sampler, "temperature": options.temperature}
    notes = {name: str(value) for name, value in how.items()}
    notes |= {} if options.label is None else {"label": options.label}

    def drawn() -> "Iterator[Drawn]":
        for done, (first, number) in enumerate(parts, 1):
            for one in draw_samples(model, first, number, sampler, options.observation_noise, options.temperature):
                yield one if asked else one._replace(name=f"{one.number:05d}")
            if len(parts) > 1:
                options.console.preparing("drawing samples", done, len(parts))

    shared.save_images(drawn(), model, options.out, notes, columns=count if options.seeds and count > 1 else None)
    facts = {"out": str(options.out), "count": total} | how
    made = f"{total} image{'' if total == 1 else 's'} of the {stage.upper()}, {_which(options, parts, count)}: {options.out}"
    options.answer(facts, [made, _drawn_from(model, sampler)])


def _check_sources(options: SampleOptions) -> None:
    if sum(map(bool, (options.addresses, options.seeds, options.like))) > 1:
        raise RequestError("Give samples as SEED:NUMBER, or --seeds, or --like: one of the three.")
    if options.addresses and options.n is not None:
        raise RequestError(f"-n {options.n} goes with seeds; {options.addresses[0]} is one sample.")
    if options.strength is not None and not options.like:
        raise RequestError("--strength goes with --like; for how far samples are from the middle: --temperature.")
    if options.like and (options.sampler, options.temperature, options.observation_noise) != (None, 1, False):
        raise RequestError("--sampler, --temperature and --observation-noise do not go with --like, which draws around images.")


def _parts(options: SampleOptions, count: int) -> "list[tuple[Address, int]]":
    """Which samples are asked for: the first ones, and how many."""
    from vaegan.latent.samples import Address, parse_address

    addresses: list[Address] = []
    for text in options.addresses:
        if (address := parse_address(text)) is None:
            raise RequestError(f"{text} is no sample; give SEED:NUMBER, as 0:37. Images that resemble a file: --like {text}")
        addresses.append(address)
    seeds = shared.seeds_of(options.seeds) or [options.seed]
    return [(address, 1) for address in addresses] or [(Address(seed, 0), count) for seed in seeds]


def _which(options: SampleOptions, parts: "list[tuple[Address, int]]", count: int) -> str:
    if options.addresses:
        return f"{'sample' if len(parts) == 1 else 'samples'} {first_of(options.addresses)}"
    if not options.seeds:
        usual = (options.sampler, options.temperature, options.observation_noise) == (None, 1, False)
        named = f" ({options.seed}:0 to {options.seed}:{count - 1})" if usual and count > 1 else ""
        return f"seed {options.seed}{named}"
    first = "the first" if count == 1 else f"the first {count}"
    return f"{first} of each of {len(parts)} seeds, {first_of(options.seeds)}"


def _sample_like(options: SampleOptions, count: int) -> None:
    import torch

    from vaegan.latent.samples import draw_latents
    from vaegan.latent.walks import vary_latents

    strength = STRENGTH if options.strength is None else options.strength
    shared.check_number("--strength", strength, MOST_STRENGTH, least=0)
    model = shared.model_for(options.run, options.stage, options.label, options.like)
    given = shared.open_given(options.like, model, options.run, None, options.console)
    if len(given) > count:
        raise RequestError(f"-n {count} images cannot resemble {len(given):,}; give more as -n, or fewer images.")
    latents = given.latents(model, options.console.preparing)
    rounds = -(-count // len(latents))
    around = torch.stack([vary_latents(latent, rounds, strength, options.seed) for latent in latents], 1)
    names, stage = first_of(given.names), model.config.stage
    notes = {"like": names, "strength": f"{strength:g}", "seed": str(options.seed), "stage": stage}
    shared.save_images(draw_latents(model, around.flatten(0, 1)[:count]), model, options.out, notes)
    facts = shared.facts_of(options.out, model, count=count, like=list(given.names), strength=strength, seed=options.seed)
    options.answer(facts, f"{count} images that resemble {names}, by the {stage.upper()} (strength {strength:g}): {options.out}")


def _drawn_from(model: "Model", sampler: "Sampler") -> str:
    source = "mixture" if sampler == "mixture" else model.config.prior
    drawn = f"Drawn from {DRAWN_FROM.get(source, source)}"
    if not model.has_prior:
        return f"{drawn}, as a plain autoencoder has no prior."
    if sampler == model.samplers[0] == "mixture":
        return f"{drawn}; --sampler prior draws from N(0, I)."
    unfitted = model.config.stage != "gan" and model.samplers == ("prior",)
    return f"{drawn}: the mixture is fitted when the stage is finished." if unfitted else f"{drawn}."


MOST_RECONSTRUCTED, COLUMNS = 1_000, 16


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions(shared.ImagesOptions):
    """Encode images and decode them again: above the originals, below the reconstructions."""

    n: int = 64
    """At most so many of them, the first ones."""
    out: Path = Path("reconstructions.png")
    """The picture."""


def reconstruct(options: ReconstructOptions) -> None:
    """Encodes and decodes images."""
    shared.check_picture(options.out, *options.images)
    shared.check_number("-n", options.n, MOST_RECONSTRUCTED)

    from vaegan.data import to_uint8
    from vaegan.pictures import save_png, stacked

    model, dataset = options.open()
    count = min(len(dataset), options.n)
    originals = dataset.load(range(count))
    back = model.reconstruct(originals).cpu()
    errors = (back - originals).square().flatten(1).mean(1)
    save_png(stacked([to_uint8(originals), to_uint8(back)], COLUMNS), options.out)
    facts = shared.facts_of(
        options.out,
        model,
        images=len(dataset),
        mean_squared_error={dataset.names[index]: round(float(error), 5) for index, error in enumerate(errors)},
    )
    some = "" if count == len(dataset) else f"The first {count} of {len(dataset):,} images. "
    words = f"{some}Originals above, reconstructions of the {model.config.stage.upper()} below: {options.out}"
    options.answer(facts, f"{words} (mean squared error {float(errors.mean()):.4f} on [-1, 1])")


MOST_VARIED, MOST_VARIATIONS = 64, 1_000


@dataclass(frozen=True, kw_only=True)
class VaryOptions(shared.ImagesOptions):
    """Images that resemble yours: their latent plus noise, decoded. A row an image: it, its reconstruction, variations."""

    n: int = 9
    """Variations of each image."""
    strength: float = STRENGTH
    """How far they go: 0 not at all, 1 as far as two random images are from the mean; twice as much is twice as far."""
    seed: int = 0
    """The same seed gives the same variations."""
    out: Path = Path("variations.png")
    """The picture."""


def vary(options: VaryOptions) -> None:
    """Makes variations."""
    shared.check_picture(options.out, *options.images)
    shared.check_number("-n", options.n, MOST_VARIATIONS)
    shared.check_number("--strength", options.strength, MOST_STRENGTH, least=0)

    import torch

    from vaegan.data import to_uint8
    from vaegan.latent.walks import vary_latents
    from vaegan.pictures import grid, save_png

    model, dataset = options.open(most=MOST_VARIED)
    originals = dataset.load(range(len(dataset)))
    latents = options.latents(model, dataset)
    rows: list[torch.Tensor] = []
    changes: dict[str, float] = {}
    for name, original, latent in zip(dataset.names, originals, latents, strict=True):
        back, varied = model.decode(latent[None]), model.decode(vary_latents(latent, options.n, options.strength, options.seed))
        changes[name] = round(float((varied - back).square().mean().sqrt()), 4)
        rows += [original[None], back.cpu(), varied.cpu()]
    notes = {"seed": str(options.seed), "strength": f"{options.strength:g}", "stage": model.config.stage}
    save_png(grid(to_uint8(torch.cat(rows)), columns=options.n + 2), options.out, notes)
    facts = shared.facts_of(
        options.out, model, count=options.n, strength=options.strength, seed=options.seed, mean_change=changes
    )
    mean = sum(changes.values()) / len(changes)
    words = f"The image, its reconstruction by the {model.config.stage.upper()}, {options.n} variations: {options.out}"
    options.answer(facts, f"{words} (strength {options.strength:g} changed pixels by {mean:.2f} on [-1, 1])")


@dataclass(frozen=True, kw_only=True)
class EncodeOptions(shared.ImagesOptions):
    """Write the latents of images to a file for other tools: .npz, or Parquet that embedding viewers open."""

    out: Path = Path("latents.npz")
    """.npz (latents, names, projection, labels); or .parquet, with the extra [parquet] (path, vector, projection_x, projection_y,
    labels)."""


def encode(options: EncodeOptions) -> None:
    """Encodes images."""
    import numpy as np

    from vaegan.latent.directions import projection
    from vaegan.latent.tables import SUFFIXES, LatentTable, as_text, write_table

    shared.check_suffix(options.out, SUFFIXES, *options.images)
    model, dataset = options.open()
    latents = options.latents(model, dataset)
    if not latents.isfinite().all():
        raise ModelError(f"{options.run} encodes images as what is no number: its training diverged, or its files were changed.")
    labels = dict(dataset.labels)
    for name in dataset.label_words:
        codes, words = dataset.coded(name)
        labels[name] = np.array(as_text(words))[codes]
    table = LatentTable(latents, as_text(dataset.names), projection(model, latents), labels, model.config.stage)
    write_table(table, options.out)
    facts = shared.facts_of(
        options.out, model, images=len(dataset), latent_dim=model.latent_dim, labels=sorted(labels), skipped=len(dataset.skipped)
    )
    words = f"{len(dataset):,} latents of {model.latent_dim} numbers: {options.out}"
    viewer = f" (look at them: embedding-atlas {options.out} --x projection_x --y projection_y)"
    options.answer(facts, words + (viewer if options.out.suffix.lower() == ".parquet" else ""))


@dataclass(frozen=True, kw_only=True)
class DecodeOptions(shared.ModelOptions):
    """Draw the images of latents: of a file that encode or another tool wrote, or of a line of numbers."""

    latents: Annotated[Path | None, Spelling("LATENTS", positional=True)] = None
    """An .npz with an array `latents` [n, latent], as encode writes it, or an .npy with nothing else."""
    text: str | None = None
    """One latent as text instead: its numbers, separated by commas, as the explorer copies them."""
    out: Path = Path("decoded.png")
    """A .png: one picture with all of them; anything else: a folder with one PNG each."""


def decode(options: DecodeOptions) -> None:
    """Decodes latents."""
    from vaegan.latent.samples import draw_latents
    from vaegan.latent.tables import parse_latent, read_latents

    if (options.latents is None) == (options.text is None):
        raise RequestError('Give a file of latents, or one latent as text: --text "0.3,-1.2,...".')
    most = shared.check_picture_or_folder(options.out)
    model = options.model()
    if options.latents is not None:
        latents = read_latents(options.latents, model.latent_dim, most)
    else:
        latents = parse_latent(options.text or "", model.latent_dim)[None]
    shared.check_number("The number of latents", len(latents), most)
    stage = model.config.stage
    shared.save_images(draw_latents(model, latents), model, options.out, {"stage": stage})
    facts = shared.facts_of(options.out, model, count=len(latents))
    options.answer(facts, f"{len(latents):,} images decoded by the {stage.upper()}: {options.out}")
