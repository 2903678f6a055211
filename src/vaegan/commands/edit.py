"""vaegan edit: more or less of what named directions stand for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from vaegan.commands.options import Spelling
from vaegan.commands.shared import ImagesOptions, check_picture_or_folder, is_picture, save_images
from vaegan.errors import RequestError, did_you_mean, meant

MOST_IN_A_PICTURE = 200
MOST_STRENGTH = 100.0
BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class Options(ImagesOptions):
    """Change images along named directions: add a smile, take the glasses off."""

    direction: Annotated[tuple[str, ...], Spelling(repeated=True)] = ()
    """What to change and how much, as smile=1.5; may be repeated. A name alone has --strength."""
    strength: float = 1.0
    """For directions that say none: 1 is the distance between images with and without; negative goes the other way."""
    out: Path = Path("edited.png")
    """A .png: originals, reconstructions, edited; anything else: a folder with one PNG each."""


def run(options: Options) -> None:
    """Edits images."""
    from vaegan.data import to_uint8
    from vaegan.latent.stored import load_directions
    from vaegan.latent.walks import edit
    from vaegan.pictures import save_png, stacked
    from vaegan.training import saved

    check_picture_or_folder(options.out, *options.images)
    asked = [_parse(text, options.strength) for text in options.direction]
    model = options.model()
    model.require_encoder()
    stage = model.config.stage
    known = load_directions(saved.model_folder(options.run, options.stage), model)
    if not asked:
        raise RequestError(f"Along which direction? Add --direction NAME=STRENGTH; there are: {', '.join(known) or 'none'}.")
    changes = [(_named(name, known, stage), strength) for name, strength in asked]
    steps = [(known[name].vector, strength) for name, strength in changes]
    dataset = options.dataset(model, *options.images)
    if not is_picture(options.out):
        names = _file_names(dataset.names)
        blocks = (dataset.load(range(start, min(start + BLOCK, len(dataset)))) for start in range(0, len(dataset), BLOCK))
        save_images((to_uint8(edit(model, block, steps)) for block in blocks), options.out, {"software": "vaegan"}, names)
        written = [options.out / f"{name}.png" for name in names]
    elif len(dataset) <= MOST_IN_A_PICTURE:
        images = dataset.load(range(len(dataset)))
        layers = [to_uint8(layer) for layer in (images, model.reconstruct(images), edit(model, images, steps))]
        save_png(stacked(layers, columns=20), options.out, {"software": "vaegan"})
        written = [options.out] * len(dataset)
    else:
        raise RequestError(f"{len(dataset):,} images are too many for one picture; give a folder as --out.")
    facts = {
        "out": str(options.out),
        "stage": stage,
        "directions": {name: sum(strength for other, strength in changes if other == name) for name, _ in changes},
        "images": {name: str(path) for name, path in zip(dataset.names, written, strict=True)},
    }
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


def _named(name: str, known: dict[str, Any], stage: str) -> str:
    found = meant(name, known)
    if found is None:
        names = ", ".join(known) or "none; learn one with: vaegan direction RUN --name NAME --positive DIR --negative DIR"
        raise RequestError(f"The {stage.upper()} has no direction {name!r}; there are: {names}.{did_you_mean(name, known)}")
    return found


def _file_names(names: Sequence[str]) -> list[str]:
    """A name of its own for every image, without suffix; not every file system tells A from a."""
    found: dict[str, str] = {}
    for index, name in enumerate(Path(name).stem for name in names):
        while name.casefold() in found:
            name = f"{name}-{index:05d}"
        found[name.casefold()] = name
    return list(found.values())
