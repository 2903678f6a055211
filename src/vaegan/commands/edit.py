"""vaegan edit: more or less of what named directions stand for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from vaegan.commands.shared import (
    FitOption,
    LabelOption,
    StageOption,
    check_folder,
    check_picture,
    images_config,
    load_model,
    open_given,
    report,
)
from vaegan.errors import RequestError, did_you_mean, meant
from vaegan.files import atomic_folder

if TYPE_CHECKING:
    from torch import Tensor

    from vaegan.data import ImageDataset
    from vaegan.model import Model

MOST_IN_A_PICTURE = 200
MOST_STRENGTH = 100.0
BLOCK = 256


@dataclass(frozen=True)
class Edit:
    """Change images along named directions: add a smile, take the glasses off."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGES")]
    """Image files, or one folder."""
    direction: UseAppendAction[tuple[str, ...]] = ()
    """What to change and how much, as smile=1.5; may be repeated. A name alone has --strength."""
    strength: float = 1.0
    """For directions that say none: 1 is the distance between images with and without; negative goes the other way."""
    out: Path = Path("edited.png")
    """A .png: originals, what the model keeps of them, edited; anything else: a folder with one PNG each."""
    stage: StageOption = None
    fit: FitOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def edit(request: Edit) -> None:
    """Edits images."""
    from vaegan.console import Console
    from vaegan.latent.stored import load_directions
    from vaegan.training import saved

    one_picture = request.out.suffix.lower() == ".png"
    (check_picture(request.out, *request.images) if one_picture else check_folder(request.out))
    asked = [_parse(text, request.strength) for text in request.direction]
    model = load_model(request.run, request.stage, request.label)
    model.require_encoder()
    kept = load_directions(saved.model_folder(request.run, request.stage), model)
    if not asked:
        raise RequestError(f"Along which direction? Add --direction NAME=STRENGTH; kept are: {', '.join(kept) or 'none'}.")
    found: list[tuple[str, float]] = []
    for name, strength in asked:
        one = meant(name, kept)
        if one is None:
            known = ", ".join(kept) or "none; learn one with: vaegan direction RUN --name NAME --positive DIR --negative DIR"
            raise RequestError(
                f"The {model.config.stage.upper()} has no direction {name!r}; kept are: {known}.{did_you_mean(name, kept)}"
            )
        found.append((one, strength))
    steps = [(kept[name].vector, strength) for name, strength in found]
    dataset = open_given(request.images, images_config(model, request.run, request.fit), Console(quiet=request.json))
    if one_picture and len(dataset) > MOST_IN_A_PICTURE:
        raise RequestError(f"{len(dataset):,} images are too many for one picture; give a folder as --out.")
    written = _one_picture(model, dataset, steps, request.out) if one_picture else _folder(model, dataset, steps, request.out)
    words = " ".join(f"{strength:+g} {name}" for name, strength in found)
    facts = {
        "out": str(request.out),
        "stage": model.config.stage,
        "directions": {name: sum(strength for other, strength in found if other == name) for name, _ in found},
        "images": {name: str(path) for name, path in zip(dataset.names, written, strict=True)},
    }
    images = "1 image" if len(dataset) == 1 else f"{len(dataset):,} images"
    report(facts, f"{images} with {words}, by the {model.config.stage.upper()}: {request.out}", request.json)


def _parse(text: str, strength: float) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        value = float(number) if equals else strength
    except ValueError:
        value = float("nan")
    if not abs(value) <= MOST_STRENGTH:
        raise RequestError(f"--direction {text}: the strength must be a number, as in {name}=1.5, at most {MOST_STRENGTH:g}.")
    return name, value


def _one_picture(model: "Model", dataset: "ImageDataset", steps: "list[tuple[Tensor, float]]", out: Path) -> list[Path]:
    from vaegan.data import to_uint8
    from vaegan.latent.walks import edit as edited
    from vaegan.pictures import save_png, stacked

    images = dataset.load(range(len(dataset)))
    layers = [images, model.reconstruct(images), edited(model, images, steps)]
    save_png(stacked([to_uint8(layer) for layer in layers], columns=20), out, {"software": "vaegan"})
    return [out] * len(dataset)


def _folder(model: "Model", dataset: "ImageDataset", steps: "list[tuple[Tensor, float]]", out: Path) -> list[Path]:
    from vaegan.data import to_uint8
    from vaegan.latent.walks import edit as edited
    from vaegan.pictures import save_png, to_picture

    taken: set[str] = set()
    paths: list[Path] = []
    with atomic_folder(out) as folder:
        for start in range(0, len(dataset), BLOCK):
            indices = range(start, min(start + BLOCK, len(dataset)))
            for index, image in zip(indices, to_uint8(edited(model, dataset.load(indices), steps)), strict=True):
                name = Path(dataset.names[index]).stem
                while name.casefold() in taken:  # not every file system tells A from a
                    name = f"{name}-{index:05d}"
                taken.add(name.casefold())
                save_png(to_picture(image), folder / f"{name}.png", {"software": "vaegan"})
                paths.append(out / f"{name}.png")
    return paths
