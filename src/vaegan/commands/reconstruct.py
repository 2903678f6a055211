"""vaegan reconstruct: what the model keeps of images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import (
    FitOption,
    LabelOption,
    StageOption,
    check_count,
    check_picture,
    images_config,
    load_model,
    open_given,
    report,
)

MOST_IMAGES, COLUMNS = 1_000, 16


@dataclass(frozen=True)
class Reconstruct:
    """Encode images and decode them again: above the originals, below what the model keeps of them."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGES")]
    """Image files; or one folder, archive, array file, or the word faces."""
    n: Annotated[int, arg(aliases=["-n"])] = 64
    """At most so many of them, the first ones."""
    out: Path = Path("reconstructions.png")
    """The picture."""
    stage: StageOption = None
    fit: FitOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def reconstruct(request: Reconstruct) -> None:
    """Encodes and decodes images."""
    check_picture(request.out, *request.images)
    check_count("-n", request.n, MOST_IMAGES)

    from vaegan.console import Console
    from vaegan.data import to_uint8
    from vaegan.pictures import save_png, stacked

    model = load_model(request.run, request.stage, request.label)
    model.require_encoder()
    dataset = open_given(request.images, images_config(model, request.run, request.fit), Console(quiet=request.json))
    count = min(len(dataset), request.n)
    originals = dataset.load(range(count))
    back = model.reconstruct(originals).cpu()
    errors = (back - originals).square().flatten(1).mean(1)
    save_png(stacked([to_uint8(originals), to_uint8(back)], COLUMNS), request.out)
    facts = {
        "out": str(request.out),
        "stage": model.config.stage,
        "images": len(dataset),
        "mean_squared_error": {dataset.names[index]: round(float(error), 5) for index, error in enumerate(errors)},
    }
    some = "" if count == len(dataset) else f"The first {count} of {len(dataset):,} images. "
    words = f"{some}Originals above, what the {model.config.stage.upper()} keeps of them below: {request.out}"
    report(facts, f"{words} (mean squared error {float(errors.mean()):.4f} on [-1, 1])", request.json)
