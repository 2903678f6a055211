"""vaegan encode: images as latents in a file, for other tools."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import (
    FitOption,
    LabelOption,
    StageOption,
    check_suffix,
    images_config,
    load_model,
    open_given,
    report,
)
from vaegan.errors import ModelError


@dataclass(frozen=True)
class Encode:
    """Write the latents of images to a file for other tools: .npz, or Parquet that embedding viewers open."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGES")]
    """Image files; or one folder, archive, array file, or the word faces."""
    out: Path = Path("latents.npz")
    """.npz (latents, names, projection, labels); or .parquet, with the extra [parquet] (path, vector, projection_x, projection_y,
    labels)."""
    stage: StageOption = None
    fit: FitOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def encode(request: Encode) -> None:
    """Encodes images."""
    import numpy as np

    from vaegan.console import Console
    from vaegan.latent.groups import encode_images
    from vaegan.latent.principal import projection
    from vaegan.latent.tables import SUFFIXES, LatentTable, as_text, write_table

    check_suffix(request.out, SUFFIXES, *request.images)
    model = load_model(request.run, request.stage, request.label)
    model.require_encoder()
    console = Console(quiet=request.json)
    dataset = open_given(request.images, images_config(model, request.run, request.fit), console)
    latents = encode_images(model, dataset, np.arange(len(dataset)), console.preparing)
    if not latents.isfinite().all():
        raise ModelError(f"{request.run} encodes images as what is no number: its training diverged, or its files were changed.")
    labels = {
        name: np.array(as_text(dataset.label_words[name]))[values.astype(int)] if name in dataset.label_words else values
        for name, values in dataset.labels.items()
    }
    table = LatentTable(latents, as_text(dataset.names), projection(model, latents), labels, model.config.stage)
    write_table(table, request.out)
    facts = {
        "out": str(request.out),
        "stage": model.config.stage,
        "images": len(dataset),
        "latent_dim": model.latent_dim,
        "labels": sorted(labels),
        "skipped": len(dataset.skipped),
    }
    words = f"{len(dataset):,} latents of {model.latent_dim} numbers: {request.out}"
    look = f" (look at them: embedding-atlas {request.out} --x projection_x --y projection_y)"
    report(facts, words + (look if request.out.suffix.lower() == ".parquet" else ""), request.json)
