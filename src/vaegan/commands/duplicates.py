"""vaegan duplicates: images of a folder that show the same."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from vaegan.commands.shared import (
    FitOption,
    LabelOption,
    StageOption,
    check_picture,
    images_config,
    load_model,
    open_given,
    report,
)
from vaegan.errors import RequestError, first_of

MOST_ROWS, COLUMNS = 100, 8
MOST_NAMED = 10  # groups whose names are printed


@dataclass(frozen=True)
class Duplicates:
    """Find images that are nearly the same: neighbours in latent space, confirmed in pixels. A row a group."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGES")]
    """One folder, archive, array file, or the word faces; or image files."""
    tolerance: float = 15.0
    """How much two images may differ: root mean square over their pixels, in levels of 255."""
    out: Path = Path("duplicates.png")
    """The picture, made only if there are any."""
    stage: StageOption = None
    fit: FitOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def duplicates(request: Duplicates) -> None:
    """Finds duplicates."""
    check_picture(request.out, *request.images)
    if not 0 <= request.tolerance <= 255:
        raise RequestError(f"--tolerance {request.tolerance:g} is not possible; give 0 to 255.")

    import numpy as np

    from vaegan.console import Console
    from vaegan.latent.groups import encode_images
    from vaegan.latent.similar import find_duplicates
    from vaegan.pictures import rows, save_png

    model = load_model(request.run, request.stage, request.label)
    model.require_encoder()
    console = Console(quiet=request.json)
    dataset = open_given(request.images, images_config(model, request.run, request.fit), console)
    latents = encode_images(model, dataset, np.arange(len(dataset)), console.preparing)
    groups = find_duplicates(latents, dataset, request.tolerance, console.preparing)
    if groups:
        shown = [dataset.images[list(group.members[:COLUMNS])] for group in groups[:MOST_ROWS]]
        save_png(rows(shown), request.out, {"software": "vaegan"})
    facts = {
        "out": str(request.out) if groups else None,
        "stage": model.config.stage,
        "images": len(dataset),
        "skipped": len(dataset.skipped),
        "tolerance": request.tolerance,
        "groups": [
            {"names": [dataset.names[index] for index in group.members], "difference": round(group.difference, 3)}
            for group in groups
        ],
    }
    report(facts, _words(facts), request.json)


def _words(facts: dict[str, Any]) -> list[str]:
    """How many there are, and which, as far as a person reads on."""
    groups: list[list[str]] = [group["names"] for group in facts["groups"]]
    said = f"{sum(map(len, groups)):,} of {facts['images']:,} images are nearly the same as another"
    if not groups:
        return [f"{said}."]
    kind = "pair" if len(groups[0]) == 2 else "group"  # the first one is the largest
    lines = [f"{said}: {len(groups):,} {kind}{'s' if len(groups) > 1 else ''}, drawn in {facts['out']}"]
    lines += [f"  {first_of(names, COLUMNS)}" for names in groups[:MOST_NAMED]]
    if len(groups) > MOST_NAMED:
        lines.append(f"  and {len(groups) - MOST_NAMED:,} more; all of them: --json")
    return lines
