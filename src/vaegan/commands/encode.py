"""vaegan encode: images as latents in a file, for other tools."""

from dataclasses import dataclass
from pathlib import Path

from vaegan.commands.shared import ImagesOptions, check_suffix
from vaegan.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Options(ImagesOptions):
    """Write the latents of images to a file for other tools: .npz, or Parquet that embedding viewers open."""

    out: Path = Path("latents.npz")
    """.npz (latents, names, projection, labels); or .parquet, with the extra [parquet] (path, vector, projection_x, projection_y,
    labels)."""


def run(options: Options) -> None:
    """Encodes images."""
    import numpy as np

    from vaegan.latent.directions import projection
    from vaegan.latent.tables import SUFFIXES, LatentTable, as_text, write_table

    check_suffix(options.out, SUFFIXES, *options.images)
    model, dataset = options.open()
    latents = options.latents(model, dataset)
    if not latents.isfinite().all():
        raise ModelError(f"{options.run} encodes images as what is no number: its training diverged, or its files were changed.")
    labels = {
        name: np.array(as_text(dataset.label_words[name]))[values.astype(int)] if name in dataset.label_words else values
        for name, values in dataset.labels.items()
    }
    table = LatentTable(latents, as_text(dataset.names), projection(model, latents), labels, model.config.stage)
    write_table(table, options.out)
    facts = {
        "out": str(options.out),
        "stage": model.config.stage,
        "images": len(dataset),
        "latent_dim": model.latent_dim,
        "labels": sorted(labels),
        "skipped": len(dataset.skipped),
    }
    words = f"{len(dataset):,} latents of {model.latent_dim} numbers: {options.out}"
    viewer = f" (look at them: embedding-atlas {options.out} --x projection_x --y projection_y)"
    options.answer(facts, words + (viewer if options.out.suffix.lower() == ".parquet" else ""))
