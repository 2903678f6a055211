"""vaegan preview and doctor: what training will see, and whether this machine is ready."""

import json
import os
import platform
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vaegan import __version__
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
    speed = measure_speed(load_preset("tiny").network, dataset.config.shape, dataset.channels)
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
    import numpy as np

    values = dataset.labels[name]
    words = dataset.label_words.get(name)
    if words is None:
        known = values[np.isfinite(values)]
        return {"lowest": float(known.min()), "mean": float(known.mean()), "highest": float(known.max())}
    codes, words = dataset.coded(name)
    counts = Counter(codes.tolist())
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


NEEDED_GIGABYTES = 2.0
SLOW_GFLOPS = 60.0  # a third of the 195 that two slow cores of 2021 reach when idle


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(JsonOption):
    """Is this machine ready: versions, devices, speed, disk; and what to fix."""


def doctor(options: DoctorOptions) -> None:
    """Examines the machine, and exits with 1 if there is something to fix."""
    facts, problems = _examine()
    if options.json:
        print(json.dumps(facts | {"problems": problems}, indent=2))
    else:
        console = options.console
        console.table({name.replace("_", " "): value for name, value in facts.items()})
        for sentence in [f"To fix: {problem}" for problem in problems] or ["Everything is in order."]:
            console.say(sentence)
    if problems:
        sys.exit(1)


def _examine() -> tuple[dict[str, Any], list[str]]:
    import torch

    from vaegan.data import default_cache_dir
    from vaegan.describe import measure_speed
    from vaegan.training.engine import chosen_device, probe_precision

    device = chosen_device("auto")
    faster, rates = probe_precision(device)
    cache = default_cache_dir()
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = {"cache": shutil.disk_usage(place).free / 1e9, "here": shutil.disk_usage(".").free / 1e9}
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    devices += ["Apple GPU"] if torch.backends.mps.is_available() else []
    facts: dict[str, Any] = {
        "vaegan": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "torch": torch.__version__,
        "lightning_fabric": version("lightning-fabric"),
        "processor_cores": os.cpu_count(),
        "threads_torch_uses": torch.get_num_threads(),
        "devices": devices or ["no GPU: the processor is used"],
        "convolution_gflops": {name: round(rate) for name, rate in rates.items()},
        "faster_precision": faster,
        "cache": str(cache),
        "free_gigabytes": {name: round(value, 1) for name, value in free.items()},
    }
    speed = measure_speed(load_preset("tiny").network, DataConfig().shape, 3)
    facts["tiny_images_per_second"] = {stage: round(rate) for stage, rate in speed.items()}
    problems = [
        f"only {value:.1f} GB free ({name}); free some space or set VAEGAN_CACHE elsewhere."
        for name, value in free.items()
        if value < NEEDED_GIGABYTES
    ]
    if device.type == "cpu" and max(rates.values()) < SLOW_GFLOPS:
        rate = f"{max(rates.values()):.0f} GFLOP/s"
        problems.append(f"convolutions run at {rate}, slower than a laptop: close other programs, or plan more minutes.")
    return facts, problems
