"""The pictures of a page, as data URIs: sheets of tiles with transparent gaps, and which of them a report shows."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image

from vaegan.data import TRAIN, ImageDataset, to_uint8
from vaegan.latent.walks import interpolate
from vaegan.model import Model, Sampler
from vaegan.pictures import GAP, SHOWN_SIDE, Pixels
from vaegan.report.gathering import GatheredRun
from vaegan.shapes import Shape
from vaegan.training.session import SHOT_SAMPLES, sample_shots
from vaegan.transparency import over_checkers

LOSSLESS_BYTES = 450_000  # a sheet larger than this is stored with losses
QUALITY = 90
MAXIMUM_SHEET = 1600  # [pixels] a side; larger sheets are made smaller
FRAMES = 30  # of the animation, over all stages
ACROSS = math.ceil(math.sqrt(SHOT_SAMPLES))  # images a row of a stored grid
MORPHS, STEPS = 5, 9

Item = TypeVar("Item")


@dataclass(frozen=True)
class Sheet:
    """A picture of tiles, ready to be put into a page."""

    data: str  # a data URI
    width: int  # [pixels] on the screen
    height: int
    columns: int
    rows: int


def sheet(pixels: Pixels, columns: int) -> Sheet:
    """All images [count, height, width, 1, 3 or 4] row by row, with gaps through which the page is seen."""
    pixels = over_checkers(pixels)
    count, height, width, channels = pixels.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    drawn = np.zeros((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 4), np.uint8)
    for index, image in enumerate(pixels):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        drawn[top : top + height, left : left + width, :3] = image if channels == 3 else image.repeat(3, axis=2)
        drawn[top : top + height, left : left + width, 3] = 255
    zoom = max(1, math.ceil(SHOWN_SIDE / width))
    picture = Image.fromarray(drawn)
    picture.thumbnail((MAXIMUM_SHEET, MAXIMUM_SHEET), Image.Resampling.LANCZOS, reducing_gap=None)
    data = _encoded(picture, lossless=True, quality=60)
    if len(data) > LOSSLESS_BYTES:
        data = _encoded(picture, lossless=False, quality=QUALITY)
    return Sheet(data, picture.width * zoom, picture.height * zoom, columns, rows)


def frame(path: Path, across: int, side: int = 400) -> Sheet:
    """A stored grid of `across` x `across` samples, without its paper, small enough for an animation of many of them."""
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGBA")).copy()
    for axis in (0, 1):
        tile = (pixels.shape[axis] - GAP) // across - GAP
        gaps = np.arange(pixels.shape[axis]) % (tile + GAP) < GAP
        pixels[(slice(None),) * axis + (gaps,)] = 0
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
    return Sheet(_encoded(picture, lossless=False, quality=72), picture.width, picture.height, 1, 1)


def _encoded(picture: Image.Image, *, lossless: bool, quality: int) -> str:
    memory = io.BytesIO()
    picture.save(memory, format="WEBP", lossless=lossless, quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(memory.getvalue()).decode()


@dataclass(frozen=True)
class Counts:
    """How many images each sheet has: fewer of large ones, so that the page stays a few megabytes."""

    samples: int
    across: int
    real: int
    real_across: int
    pairs: int


def counts_for(shape: Shape) -> Counts:
    """The numbers of images for images of this shape [pixels]."""
    if shape.area <= 64 * 96:
        return Counts(samples=36, across=6, real=60, real_across=12, pairs=10)
    return Counts(samples=16, across=4, real=18, real_across=6, pairs=6)


def spread_out(items: Sequence[Item], count: int) -> Sequence[Item]:
    """At most `count` of them, evenly spread, the first and the last always among them."""
    if len(items) <= count:
        return items
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


class Frame(NamedTuple):
    """Samples at one moment of the training."""

    stage: str
    seen: int
    picture: Sheet


def frames(run: GatheredRun) -> list[Frame]:
    """The samples that training drew over and over, evenly chosen, first and last included."""
    shots = [(stage, path) for stage in run.stages for path in sample_shots(run.folder.stage(stage))]
    found: list[Frame] = []
    for stage, path in spread_out(shots, FRAMES):
        try:
            found.append(Frame(stage, int(path.stem), frame(path, ACROSS)))
        except (OSError, ValueError):
            continue  # a picture cut short by a full disk is no reason to have no report
    return found


def samples(model: Model, seed: int, counts: Counts, sampler: Sampler | None = None) -> Sheet:
    """New images of one stage."""
    return sheet(to_uint8(model.sample(counts.samples, seed, sampler)), counts.across)


def real_images(dataset: ImageDataset, counts: Counts) -> Sheet:
    """Training images as the networks get them, without mirroring."""
    return sheet(to_uint8(dataset.load(dataset.first_by_content(TRAIN, counts.real))), counts.real_across)


def reconstructions(models: list[Model], dataset: ImageDataset, condition: str | None, counts: Counts) -> Sheet:
    """Held-out images in the first row, what each model keeps of them below."""
    which = dataset.first_by_content(dataset.heldout_side, counts.pairs)
    originals = dataset.load(which)
    labels = torch.from_numpy(dataset.categories(condition)[1][which]) if models[0].config.labels else None
    rows = [originals, *(model.reconstruct(originals, labels).cpu() for model in models)]
    return sheet(to_uint8(torch.cat(rows)), len(originals))


def interpolations(model: Model, seed: int) -> Sheet:
    """Each row leads from one sample to another; of a conditional model each row has another label."""
    latents, labels = model.latents(2 * MORPHS, seed), model.config.labels
    models = [model.for_label(labels[row % len(labels)]) if labels else model for row in range(MORPHS)]
    rows = [interpolate(models[row], latents[2 * row], latents[2 * row + 1], STEPS) for row in range(MORPHS)]
    return sheet(to_uint8(torch.cat(rows)), STEPS)


def neighbours(run: GatheredRun, dataset: ImageDataset, limit: int) -> Sheet | None:
    """Samples of the evaluation above, the nearest training image of each below, in the order of the evaluation."""
    evaluation = run.evaluation
    stage = None if evaluation is None else next((name for name in reversed(evaluation.stages) if name in run.models), None)
    if evaluation is None or stage is None:
        return None
    model = run.models[stage]
    which, nearest = (evaluation.neighbours.get(name, []) for name in ("samples", "training_index"))
    if not which or len(which) != len(nearest) or not all(map(math.isfinite, [*which, *nearest])):
        return None
    which, positions = [int(index) for index in which[:limit]], [int(position) for position in nearest[:limit]]
    if max(positions) >= len(dataset) or min(positions) < 0 or not 0 <= min(which) <= max(which) < 1_000_000:
        return None
    latents = model.latents(max(which) + 1, evaluation.seed)[which]
    codes = evaluation.neighbours.get("label", [])[:limit]
    if model.config.labels and (len(codes) != len(which) or not set(codes) <= set(range(len(model.config.labels)))):
        return None
    generated: Pixels = to_uint8(model.decode(latents, torch.tensor(codes).long() if model.config.labels else None))
    return sheet(np.concatenate([generated, to_uint8(dataset.load(positions))]), len(which))
