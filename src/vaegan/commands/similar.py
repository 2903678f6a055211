"""vaegan similar: the images of a folder that are most like a given one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vaegan.commands.options import Spelling
from vaegan.commands.shared import ImagesOptions, check_number, check_picture

MOST_ROWS, MOST_NEIGHBOURS = 64, 500


@dataclass(frozen=True, kw_only=True)
class Options(ImagesOptions):
    """The images of a folder that are most like yours, by distance in latent space. A row an image: it, then the nearest."""

    in_: Annotated[str, Spelling("DATA")]
    """Where to look: a folder, an archive, IDX or array files, or the word faces."""
    n: int = 8
    """How many of the nearest."""
    out: Path = Path("similar.png")
    """The picture."""


def run(options: Options) -> None:
    """Finds the nearest images."""
    check_picture(options.out, *options.images, options.in_)
    check_number("-n", options.n, MOST_NEIGHBOURS)

    import numpy as np

    from vaegan.latent.similar import nearest
    from vaegan.pictures import grid, save_png

    model, asked = options.open(most=MOST_ROWS)
    dataset = options.dataset(model, options.in_)
    found = nearest(options.latents(model, dataset), model.encode(asked.load(range(len(asked)))), options.n)
    rows = [np.concatenate([asked.images[row][None], dataset.images[near.numpy()]]) for row, near in enumerate(found.indices)]
    save_png(grid(np.concatenate(rows), columns=len(rows[0])), options.out, {"software": "vaegan"})
    neighbours = {
        name: [
            {"name": str(dataset.names[index]), "distance": round(float(distance), 4)}
            for index, distance in zip(indices.tolist(), distances.tolist(), strict=True)
        ]
        for name, indices, distances in zip(asked.names, found.indices, found.distances, strict=True)
    }
    facts = {
        "out": str(options.out),
        "stage": model.config.stage,
        "searched": len(dataset),
        "skipped": len(dataset.skipped),
        "nearest": neighbours,
    }
    name, first = next(iter(neighbours.items()))
    words = f"Nearest to {name} among {len(dataset):,} images: {', '.join(str(one['name']) for one in first[:3])}"
    options.answer(facts, f"{words}{' ...' if len(first) > 3 else ''}; a row an image: {options.out}")
