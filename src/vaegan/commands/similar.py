"""vaegan similar: the images of a folder that are most like a given one."""

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
from vaegan.errors import RequestError

MOST_ROWS, MOST_NEIGHBOURS = 64, 500


@dataclass(frozen=True)
class Similar:
    """The images of a folder that are most like yours, by distance in latent space. A row an image: it, then the nearest."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGES")]
    """Image files, or one folder."""
    data: Annotated[str, arg(name="in", metavar="DATA")]
    """Where to look: a folder, an archive, IDX or array files, or the word faces."""
    n: Annotated[int, arg(aliases=["-n"])] = 8
    """How many of the nearest."""
    out: Path = Path("similar.png")
    """The picture."""
    stage: StageOption = None
    fit: FitOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def similar(request: Similar) -> None:
    """Finds the nearest images."""
    check_picture(request.out, *request.images, request.data)
    check_count("-n", request.n, MOST_NEIGHBOURS)

    import numpy as np

    from vaegan.console import Console
    from vaegan.latent.groups import encode_images
    from vaegan.latent.similar import nearest
    from vaegan.pictures import grid, save_png

    model = load_model(request.run, request.stage, request.label)
    model.require_encoder()
    console, config = Console(quiet=request.json), images_config(model, request.run, request.fit)
    asked = open_given(request.images, config, console)
    if len(asked) > MOST_ROWS:
        raise RequestError(f"{len(asked):,} images are too many for one picture; give at most {MOST_ROWS}.")
    dataset = open_given([request.data], config, console)
    latents = encode_images(model, dataset, np.arange(len(dataset)), console.preparing)
    found = nearest(latents, model.encode(asked.load(range(len(asked)))), request.n)
    rows = [np.concatenate([asked.images[row][None], dataset.images[near.numpy()]]) for row, near in enumerate(found.indices)]
    save_png(grid(np.concatenate(rows), columns=len(rows[0])), request.out, {"software": "vaegan"})
    neighbours = {
        name: [
            {"name": str(dataset.names[index]), "distance": round(float(distance), 4)}
            for index, distance in zip(indices.tolist(), distances.tolist(), strict=True)
        ]
        for name, indices, distances in zip(asked.names, found.indices, found.distances, strict=True)
    }
    facts = {
        "out": str(request.out),
        "stage": model.config.stage,
        "searched": len(dataset),
        "skipped": len(dataset.skipped),
        "nearest": neighbours,
    }
    name, first = next(iter(neighbours.items()))
    words = f"Nearest to {name} among {len(dataset):,} images: {', '.join(str(one['name']) for one in first[:3])}"
    report(facts, f"{words}{' ...' if len(first) > 3 else ''}; a row an image: {request.out}", request.json)
