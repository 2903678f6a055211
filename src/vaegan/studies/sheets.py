"""Pictures of several arms side by side, from what their runs drew anyway: fixed latents, fixed held-out images."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vaegan.charts import save_bars
from vaegan.pictures import save_animation, save_png
from vaegan.studies.study import Picture, Results
from vaegan.training.session import sample_shots

EDGE = 6
WIDEST, WIDEST_MOVING = 1800, 1100  # of a sheet [pixels]: pages show it narrower, and an animation of noise grows by its area
LETTERS = 90  # widths of a letter's height that a sheet has: names stay readable where a page shrinks it
SMALLEST_LETTER = 11  # [pixels]


def side_by_side(pictures: Mapping[str, Image.Image], columns: int | None = None, widest: int = WIDEST) -> Image.Image:
    """Named pictures in rows on white, each with its name above; small ones are doubled.

    Four stand in a row when `columns` is None. Large pictures are made smaller until the sheet is `widest` pixels wide.
    """
    columns = min(columns or 4, len(pictures))
    width = columns * max(picture.width for picture in pictures.values())
    scale = 2.0 if width <= 400 else min(1.0, widest / width)
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    shown = {name: picture.convert("RGB") for name, picture in pictures.items()}
    if scale != 1:
        shown = {name: picture.resize((round(picture.width * scale), round(picture.height * scale)), method)
                 for name, picture in shown.items()}  # fmt: skip
    letter = max(SMALLEST_LETTER, round(columns * max(picture.width for picture in shown.values()) / LETTERS))
    font, strip = ImageFont.load_default(letter), letter + 6
    wide = EDGE + max(max(picture.width, math.ceil(font.getlength(name)) + letter) for name, picture in shown.items())
    tall = max(picture.height for picture in shown.values()) + strip + EDGE
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * wide + EDGE, rows * tall + EDGE), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(shown.items()):
        left, top = EDGE + index % columns * wide, EDGE + index // columns * tall
        draw.text((left + 1, top), name, fill="black", font=font)
        sheet.paste(picture, (left, top + strip))
    return sheet


def run_shots(run: Path) -> list[Path]:
    """The sample grids of a run's last stage in the order they were drawn."""
    stages = [stage for stage in ("gan", "joint", "vae", "ae") if (run / stage / "samples").is_dir()]
    return sample_shots(run / stages[0]) if stages else []


def last_samples(
    folder: Path, runs: Mapping[str, Path], caption: str, columns: int | None = None, name: str = "samples.png"
) -> list[Picture]:
    """The last sample grid of each run, from the same latents, side by side; no picture where no run has drawn any."""
    return _side_by_side(folder / name, {label: run_shots(run) for label, run in runs.items()}, caption, columns)


def last_reconstructions(folder: Path, runs: Mapping[str, Path], caption: str, columns: int | None = None) -> list[Picture]:
    """The last reconstructions of each run, of the same held-out images, side by side."""
    found = {name: sorted(run.glob("*/samples/*-reconstructions.png")) for name, run in runs.items()}
    return _side_by_side(folder / "reconstructions.png", found, caption, columns)


def learning(folder: Path, runs: Mapping[str, Path], caption: str, columns: int | None = None, frames: int = 16) -> list[Picture]:
    """An animation of all runs learning side by side, from the same latents, frame by frame of their own training."""
    shots = {name: spread_out(paths, frames) for name, run in runs.items() if (paths := run_shots(run))}
    moments = [
        open_pictures({name: paths[min(index, len(paths) - 1)] for name, paths in shots.items()}, columns, WIDEST_MOVING)
        for index in range(max(map(len, shots.values()), default=0))
    ]
    if moments:
        save_animation(moments, folder / "learning.gif", 250)
    return [Picture("learning.gif", caption)] if moments else []


def bars(
    results: Results,
    file: str,
    name: str,
    labels: Sequence[str],
    title: str,
    axis: str,
    caption: str,
    short: Mapping[str, str] | None = None,
) -> Picture:
    """One bar an arm, by its `short` name if it has one: the mean of a measurement, with its spread over seeds."""
    names = {label: (short or {}).get(label, label) for label in labels}
    means, spreads = ({names[label]: of(label, name) for label in labels} for of in (results.mean, results.spread))
    save_bars(results.folder / file, means, title, axis, spreads)
    return Picture(file, caption)


def spread_out(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of them, evenly spread, the last always among them."""
    if len(paths) <= count:
        return list(paths)
    return [paths[round(index * (len(paths) - 1) / (count - 1))] for index in range(count)]


def open_pictures(paths: Mapping[str, Path], columns: int | None = None, widest: int = WIDEST) -> Image.Image:
    """Named picture files side by side."""
    opened: dict[str, Image.Image] = {}
    for name, path in paths.items():
        with Image.open(path) as picture:
            opened[name] = picture.convert("RGB")
    return side_by_side(opened, columns, widest)


def _side_by_side(path: Path, files: Mapping[str, Sequence[Path]], caption: str, columns: int | None) -> list[Picture]:
    last = {name: paths[-1] for name, paths in files.items() if paths}
    if last:
        save_png(open_pictures(last, columns), path)
    return [Picture(path.name, caption)] if last else []
