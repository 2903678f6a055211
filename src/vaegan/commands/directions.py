"""vaegan direction and vaegan edit: learn a direction in latent space, and change images along it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

from vaegan.commands import shared
from vaegan.commands.options import Spelling
from vaegan.errors import RequestError, did_you_mean, meant
from vaegan.shapes import Fit

if TYPE_CHECKING:
    from vaegan.console import Console
    from vaegan.data import ImageDataset
    from vaegan.latent.learning import Examples
    from vaegan.latent.stored import Direction
    from vaegan.model import Model
    from vaegan.types import Latents


STRENGTHS = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0)
PRINCIPAL_STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
SHOWN = 8
MOST_PRINCIPAL = 100
LOW_AREA = 0.7
"""With a smaller AUC a direction is called weak."""


@dataclass(frozen=True, kw_only=True)
class DirectionOptions(shared.ModelOptions):
    """Learn a direction in latent space and save it with the model: from two folders, from labels, or without labels."""

    name: str | None = None
    """The direction's name, for edit; the label's by default."""
    positive: Annotated[str | None, Spelling("DATA")] = None
    """A folder of images with the attribute."""
    negative: Annotated[str | None, Spelling("DATA")] = None
    """A folder of images without it."""
    label: str | None = None
    """Instead of folders: a label of the images, as smiling, or hair_colour=blond; of a number, the top and bottom third."""
    principal: int | None = None
    """Instead of both: this many directions without labels, sorted by how much they change images."""
    data: str | None = None
    """The images for --label and --principal; the run's own by default."""
    method: Literal["whitened", "classifier", "mean"] = "whitened"
    """whitened: the difference of the two groups' means after whitening within the groups (LDA), which separated held-out
    images best; classifier: the normal of a logistic regression; mean: the plain difference."""
    beside: tuple[str, ...] = ()
    """Saved directions that this one is made orthogonal to."""
    list: bool = False
    """Only list the directions saved with the model."""
    out: Path | None = None
    """A picture with one row an image, edited along the direction; direction-NAME.png by default."""
    fit: Fit | None = None
    """How a rectangle becomes a square; by default as for training."""
    condition: str | None = None
    """The class, for a model trained with --conditional: one of its labels. Of the run's own images only this class is used."""


def direction(options: DirectionOptions) -> None:
    """Learns or lists directions."""
    from vaegan.latent.stored import check_name, load_directions, model_fingerprint, save_direction
    from vaegan.training import saved

    _check_sources(options)
    name = check_name(options.name or (options.label or "principal").replace("=", " "))
    folder = saved.model_folder(options.run, options.stage)
    model = saved.load(options.run, options.stage).unconditional(options.condition, "--condition")
    if options.list:
        saved_ones = load_directions(folder, model)
        lines = [f"{called}: {_line(one.facts)}" for called, one in saved_ones.items()]
        facts = {"directions": {called: one.facts for called, one in saved_ones.items()}}
        options.answer(facts, lines or "No directions are saved with this model.")
        return
    if options.principal is not None:
        check_name(f"{name}-{options.principal}")
    known = load_directions(folder, model, others="drop")
    if options.name is None:
        name = meant(name, known) or name  # the same label, spelt another way, is the same direction
    out = options.out or Path(f"direction-{name.replace(' ', '-')}.png")
    shared.check_picture(out, options.positive, options.negative, options.data)
    if options.principal is not None:
        (found, latents), strengths = _principal(options, model, name), PRINCIPAL_STRENGTHS
    else:
        (found, latents), strengths = _learn(options, model, name, known), STRENGTHS
    aside = save_direction(folder, model, *found)
    _draw(model, found, latents, strengths, out)
    facts = {
        "out": str(out),
        "stage": model.config.stage,
        "model": model_fingerprint(model),
        "directions": {one.name: one.facts for one in found},
        "put_aside": None if aside is None else str(aside),
    }
    old = "" if aside is None else f" Directions made before the model was trained further are now in {aside}."
    said = [_words(found, model.config.stage, out) + old]
    if model.has_encoder:  # else there is nothing to edit
        said.append(f"Try it: {_edit_command(options, found[0].name)}")
    options.answer(facts, said)


def _check_sources(options: DirectionOptions) -> None:
    folders = options.positive is not None or options.negative is not None
    given = [folders, options.label is not None, options.principal is not None, options.list]
    if sum(given) != 1:
        raise RequestError("From what? Give --positive DIR --negative DIR, or --label NAME, or --principal N; or --list.")
    if folders and (options.positive is None or options.negative is None):
        raise RequestError("A direction leads from one group to another: give both --positive DIR and --negative DIR.")
    if folders and options.name is None:
        raise RequestError("What is it called? Add --name, as in --name smile.")
    if options.principal is not None:
        shared.check_number("--principal", options.principal, MOST_PRINCIPAL)
        if options.beside or options.method != "whitened":
            option = "--beside" if options.beside else "--method"
            raise RequestError(f"{option} goes with --positive and --negative or --label, not with --principal.")
    if folders and options.data is not None:
        raise RequestError("--data goes with --label or --principal: with --positive and --negative these are the images.")
    if options.fit is not None and not folders and options.data is None:
        raise RequestError("--fit goes with images that are given: the run's own are prepared as they were for training.")


def _learn(
    options: DirectionOptions, model: "Model", name: str, known: "dict[str, Direction]"
) -> "tuple[list[Direction], Latents]":
    import torch

    from vaegan.latent.learning import evenly, learn_direction

    model.require_encoder("find directions without labels: --principal 10")
    beside: dict[str, Direction] = {}
    for asked in options.beside:
        other = meant(asked, known)
        if other is None:
            names = f"there are: {', '.join(known) or 'none'}.{did_you_mean(asked, known)}"
            raise RequestError(f"--beside: there is no direction {asked!r}; {names}")
        beside[other] = known[other]
    console = options.console
    positive, negative = _groups(options, model, console)
    label = None if options.label is None else meant(options.label.partition("=")[0], positive.dataset.labels)
    found = learn_direction(
        model, name, positive, negative, options.method, beside, known, console.preparing, label=label, say=console.say
    )
    shown = negative.dataset.load(evenly(negative.indices, SHOWN))
    return [found], model.encode(shown).to(torch.float32)


def _groups(options: DirectionOptions, model: "Model", console: "Console") -> "tuple[Examples, Examples]":
    import numpy as np

    from vaegan.latent.learning import Examples, groups_of_label
    from vaegan.training import saved

    if options.positive is not None and options.negative is not None:
        given = (options.positive, options.negative)
        folders = [shared.open_given([folder], model, options.run, options.fit, console) for folder in given]
        positive, negative = (Examples(dataset, np.arange(len(dataset))) for dataset in folders)
        return positive, negative
    dataset = _images(options, model, console)
    label, _, word = (options.label or "").partition("=")
    groups, shown = groups_of_label(dataset, label, word or None), saved.showing(options.run, dataset, model.fixed_label)
    positive, negative = (Examples(dataset, np.intersect1d(indices, shown)) for indices in groups)
    return positive, negative


def _images(options: DirectionOptions, model: "Model", console: "Console") -> "ImageDataset":
    from vaegan.training import saved

    if options.data is None:
        return saved.run_images(options.run, console.preparing)
    return shared.open_given([options.data], model, options.run, options.fit, console)


def _principal(options: DirectionOptions, model: "Model", name: str) -> "tuple[list[Direction], Latents]":
    from vaegan.latent.learning import MOST_IMAGES, encode_images, evenly, learn_principal
    from vaegan.training import saved

    assert options.principal is not None
    if options.data is not None:
        model.require_encoder("leave --data out: the directions are then found on its own samples")
    if model.has_encoder:
        console = options.console
        dataset = _images(options, model, console)
        used = saved.showing(options.run, dataset, model.fixed_label)
        latents = encode_images(model, dataset, evenly(used, MOST_IMAGES), console.preparing)
    else:
        latents = model.latents(1024)
    found = learn_principal(model, latents, options.principal, name)
    return found, latents[:1].repeat(len(found), 1)


def _draw(model: "Model", found: "list[Direction]", latents: "Latents", strengths: tuple[float, ...], out: Path) -> None:
    import torch

    from vaegan.data import to_uint8
    from vaegan.pictures import grid, save_png

    vectors = torch.stack([one.vector for one in found])
    rows = torch.stack([latents.cpu() + strength * vectors for strength in strengths], 1)
    notes = {"strengths": " ".join(f"{strength:g}" for strength in strengths)}
    save_png(grid(to_uint8(model.decode(rows.flatten(0, 1))), columns=len(strengths)), out, notes)


def _words(found: "list[Direction]", stage: str, out: Path) -> str:
    if len(found) > 1 or found[0].facts["method"] == "principal":
        effects = ", ".join(f"{one.name} {one.facts['pixel_change']:.3f}" for one in found[:5])
        return f"{len(found)} directions without labels, by how much strength 1 changes a pixel on [-1, 1]: {effects}; {out}"
    one, facts = found[0], found[0].facts
    moved = {other: amount for other, amount in facts["moves"].items() if abs(amount) >= 0.1}
    also = ", ".join(f"{amount:+.2f} {other}" for other, amount in sorted(moved.items(), key=lambda pair: -abs(pair[1]))[:4])
    learned = f"from {facts['positive']:,} and {facts['negative']:,} images"
    if facts["auc"] < LOW_AREA:
        return (
            f"{one.name} is weak: {learned}, the {stage.upper()} separates held-out ones with AUC {facts['auc']:.3f} "
            "(0.5 is chance, 1 perfect). Edits along it will change something else. Train longer or with more "
            f"latents, or give more images that differ in nothing else. Saved; a picture along it: {out}."
        )
    return (
        f"{one.name}, {learned}: separates held-out ones with AUC {facts['auc']:.3f}; "
        f"at strength 1, {facts['identity_kept']:.0%} of {facts['identity_of']} edited images stay nearest to their source"
        f"{f', and each also gets {also}' if also else ''}. Saved with the {stage.upper()}; a picture along it: {out}."
    )


def _edit_command(options: DirectionOptions, name: str) -> str:
    given = (("--stage", options.stage), ("--label", options.condition), ("--direction", f"{name}=1.5"))
    words = [f"{option} {quote(value)}" for option, value in given if value is not None]
    return " ".join(["vaegan edit", quote(str(options.run)), "IMAGES", *words])


def _line(facts: dict[str, Any]) -> str:
    numbers = {key: value for key in ("auc", "identity_kept", "pixel_change") if isinstance(value := facts.get(key), float)}
    shown = [f"{key.replace('_', ' ')} {value:.3g}" for key, value in numbers.items()]
    weak = ["weak"] if numbers.get("auc", 1.0) < LOW_AREA else []
    return ", ".join([str(facts.get("method", "")), *shown, *weak])


MOST_IN_A_PICTURE = 200
MOST_STRENGTH = 100.0


@dataclass(frozen=True, kw_only=True)
class EditOptions(shared.ImagesOptions):
    """Change images along named directions: add a smile, take the glasses off."""

    direction: Annotated[tuple[str, ...], Spelling(repeated=True)] = ()
    """A direction and its strength, as smile=1.5; may be repeated. Without a number it takes --strength."""
    strength: float = 1.0
    """For directions without a number: 1 is the distance between images with and without; negative goes the other way."""
    out: Path = Path("edited.png")
    """A .png: originals, reconstructions, edited; anything else: a folder with one PNG each."""


def edit(options: EditOptions) -> None:
    """Edits images."""
    from vaegan.data import to_uint8
    from vaegan.latent.samples import draw_latents
    from vaegan.latent.stored import load_directions
    from vaegan.latent.walks import moved
    from vaegan.pictures import save_png, stacked
    from vaegan.training import saved

    shared.check_picture_or_folder(options.out, *options.images)
    asked = [_parse(text, options.strength) for text in options.direction]
    model = options.model()
    stage = model.config.stage
    known = load_directions(saved.model_folder(options.run, options.stage), model)
    if not asked:
        raise RequestError(f"Along which direction? Add --direction NAME=STRENGTH; there are: {', '.join(known) or 'none'}.")
    changes = [(_known_name(name, known, stage), strength) for name, strength in asked]
    steps = [(known[name].vector, strength) for name, strength in changes]
    dataset = options.dataset(model, *options.images)
    if not shared.is_picture(options.out):
        names = _file_names(dataset.names)
        drawn = draw_latents(model, moved(options.latents(model, dataset), steps), names)
        shared.save_images(drawn, model, options.out, {})
        written = [options.out / f"{name}.png" for name in names]
    elif len(dataset) <= MOST_IN_A_PICTURE:
        latents = options.latents(model, dataset)
        drawn = (dataset.load(range(len(dataset))), model.decode(latents), model.decode(moved(latents, steps)))
        layers = [to_uint8(layer) for layer in drawn]
        save_png(stacked(layers, columns=20), options.out)
        written = [options.out] * len(dataset)
    else:
        raise RequestError(f"{len(dataset):,} images are too many for one picture; give a folder as --out.")
    facts = shared.facts_of(
        options.out,
        model,
        directions={name: sum(strength for other, strength in changes if other == name) for name, _ in changes},
        images={name: str(path) for name, path in zip(dataset.names, written, strict=True)},
    )
    count = "1 image" if len(dataset) == 1 else f"{len(dataset):,} images"
    words = " ".join(f"{strength:+g} {name}" for name, strength in changes)
    options.answer(facts, f"{count} with {words}, by the {stage.upper()}: {options.out}")


def _parse(text: str, strength: float) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        value = float(number) if equals else strength
    except ValueError:
        value = float("nan")
    if not abs(value) <= MOST_STRENGTH:
        raise RequestError(f"--direction {text}: the strength must be a number, as in {name}=1.5, at most {MOST_STRENGTH:g}.")
    return name, value


def _known_name(name: str, known: dict[str, Any], stage: str) -> str:
    found = meant(name, known)
    if found is None:
        names = ", ".join(known) or "none; learn one with: vaegan direction RUN --name NAME --positive DIR --negative DIR"
        raise RequestError(f"The {stage.upper()} has no direction {name!r}; there are: {names}.{did_you_mean(name, known)}")
    return found


def _file_names(names: Sequence[str]) -> list[str]:
    """A name of its own for every image, without suffix; not every file system tells A from a."""
    found: dict[str, str] = {}
    for index, name in enumerate(Path(name).stem.replace(":", "-") for name in names):  # 0:37 is a sample
        while name.casefold() in found:
            name = f"{name}-{index:05d}"
        found[name.casefold()] = name
    return list(found.values())
