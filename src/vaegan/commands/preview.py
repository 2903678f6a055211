"""vaegan preview: what training will see, before any training. A contact sheet, and the counts."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vaegan.commands.options import Spelling
from vaegan.commands.shared import JsonOption, check_picture
from vaegan.config import Budget, DataConfig
from vaegan.config_files import load_preset

if TYPE_CHECKING:
    from PIL import Image

    from vaegan.data import ImageDataset

MOST_LABELS, MOST_WORDS = 8, 4
NOT_IN_TABLE = ("images_per_second", "sheet", "notes", "warnings", "labels")


@dataclass(frozen=True, kw_only=True)
class PreviewOptions(JsonOption):
    """See what training will see: a contact sheet after cropping, counts, what is skipped, a time estimate."""

    source: Annotated[str, Spelling("DATA", positional=True)]
    """The images, as for train."""
    out: Path = Path("preview.png")
    """The contact sheet."""
    data: DataConfig = field(default_factory=DataConfig)


def preview(options: PreviewOptions) -> None:
    """Shows what training will see."""
    check_picture(options.out, options.source)

    from vaegan.data import open_dataset
    from vaegan.describe import measure_speed
    from vaegan.pictures import save_png

    console = options.console
    dataset = open_dataset(options.source, options.data, progress=console.preparing)
    save_png(contact_sheet(dataset), options.out)
    speed = measure_speed(load_preset("tiny").network, dataset.config.size, dataset.channels)
    facts: dict[str, Any] = summary(dataset) | {"images_per_second": speed, "sheet": str(options.out)}
    if options.json:
        print(json.dumps(facts, indent=2))
        return
    shown = {name: value for name, value in facts.items() if name not in NOT_IN_TABLE}
    console.table(shown | _labels_in_words(facts["labels"]))
    seconds = Budget().vae_seconds(240, speed["vae"])
    vae, gan = seconds * speed["vae"], (240 - seconds) * speed["gan"]
    estimate = (
        f"On this machine 4 minutes of training with the preset tiny show the VAE about {vae:,.0f} images and the GAN about "
        f"{gan:,.0f}: every image {(vae + gan) / max(1, facts['sides']['train']):.1f} times."
    )
    for sentence in (*dataset.notes, *dataset.warnings, estimate, f"What training will see: {options.out}"):
        console.say(sentence)


def contact_sheet(dataset: "ImageDataset", count: int = 64, seed: int = 0) -> "Image.Image":
    """Shows the first training images of a seed exactly as a recipe gets them: fitted, mirrored, binarised."""
    from vaegan.data import TRAIN, TrainingBatches, to_uint8
    from vaegan.pictures import grid

    count = min(count, len(dataset.indices(TRAIN)))
    return grid(to_uint8(TrainingBatches(dataset, batch_size=count, seed=seed).at(0).images))


def summary(dataset: "ImageDataset") -> dict[str, Any]:
    """Counts what is there, ready to be shown or written as JSON."""
    from vaegan.data import SIDE_NAMES

    sides, reasons = Counter(dataset.sides.tolist()), Counter(one.reason.split(":")[0] for one in dataset.skipped)
    return {
        "source": dataset.source,
        "size": dataset.config.size,
        "channels": dataset.channels,
        "usable": len(dataset),
        "sides": {name: sides[index] for index, name in enumerate(SIDE_NAMES)},
        "skipped": dict(reasons.most_common()),
        "flips": dataset.flips,
        "labels": {name: _label_summary(dataset, name) for name in dataset.labels},
        "notes": list(dataset.notes),
        "warnings": list(dataset.warnings),
    }


def _label_summary(dataset: "ImageDataset", name: str) -> dict[str, float]:
    values = dataset.labels[name]
    words = dataset.label_words.get(name)
    if words is None:
        return {"lowest": float(values.min()), "mean": float(values.mean()), "highest": float(values.max())}
    counts = Counter(values.tolist())
    return {word: counts[index] for index, word in enumerate(words)}


def _labels_in_words(labels: dict[str, dict[str, float]]) -> dict[str, str]:
    """A row for each of the first labels: a number's range, or a category's most frequent words; and how many more there are."""
    rows: dict[str, str] = {}
    for name, counts in list(labels.items())[:MOST_LABELS]:
        if set(counts) == {"lowest", "mean", "highest"}:
            rows[f"label {name}"] = f"{counts['lowest']:.4g} to {counts['highest']:.4g}, mean {counts['mean']:.4g}"
            continue
        frequent = sorted(counts.items(), key=lambda entry: -entry[1])
        words = [f"{word[:24]} {int(count):,}" for word, count in frequent[:MOST_WORDS]]
        more = [f"and {len(frequent) - MOST_WORDS:,} more"] if len(frequent) > MOST_WORDS else []
        rows[f"label {name}"] = ", ".join(words + more)
    if len(labels) > MOST_LABELS:
        rows["more labels"] = f"{len(labels) - MOST_LABELS:,} (all of them: --json)"
    return rows
