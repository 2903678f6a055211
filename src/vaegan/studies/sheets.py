"""Pictures of several arms side by side, from what their runs drew anyway: fixed latents, fixed held-out images."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vaegan.pictures import save_animation, save_png
from vaegan.training.session import sample_shots

EDGE = 6
WIDEST, WIDEST_MOVING = 1800, 1100  # of a sheet [pixels]: pages show it narrower, and an animation of noise grows by its area
LETTERS = 90  # widths of a letter's height that a sheet has: names stay readable where a page shrinks it
SMALLEST_LETTER = 11  # [pixels]


def side_by_side(pictures: Mapping[str, Image.Image], columns: int | None = None, widest: int = WIDEST) -> Image.Image:
    """Named pictures in rows on white, each with its name above; small ones are doubled, too large ones made smaller.

    Args:
        pictures: name to picture.
        columns: pictures a row; at most four when None.
        widest: width of the sheet up to which pictures stay as large as they are [pixels].
    """
    columns = min(columns or 4, len(pictures))
    whole = columns * max(picture.width for picture in pictures.values())
    scale = 2.0 if whole <= 400 else min(1.0, widest / whole)
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    shown = {name: picture.convert("RGB") for name, picture in pictures.items()}
    if scale != 1:
        shown = {name: picture.resize((round(picture.width * scale), round(picture.height * scale)), method)
                 for name, picture in shown.items()}  # fmt: skip
    letter = max(SMALLEST_LETTER, round(columns * max(picture.width for picture in shown.values()) / LETTERS))
    font, strip = ImageFont.load_default(letter), letter + 6
    names = list(shown)
    wide = EDGE + max(
        [*(picture.width for picture in shown.values()), *(math.ceil(font.getlength(name)) + letter for name in names)]
    )
    tall = max(picture.height for picture in shown.values()) + strip + EDGE
    rows = -(-len(names) // columns)
    sheet = Image.new("RGB", (columns * wide + EDGE, rows * tall + EDGE), "white")
    draw = ImageDraw.Draw(sheet)
    for index, name in enumerate(names):
        left, top = EDGE + index % columns * wide, EDGE + index // columns * tall
        draw.text((left + 1, top), name, fill="black", font=font)
        sheet.paste(shown[name], (left, top + strip))
    return sheet


def run_shots(run: Path) -> list[Path]:
    """The sample grids of a run's last stage in the order they were drawn."""
    stages = [stage for stage in ("gan", "joint", "vae", "ae") if (run / stage / "samples").is_dir()]
    return sample_shots(run / stages[0]) if stages else []


def save_last_samples(runs: Mapping[str, Path], path: Path, columns: int | None = None) -> None:
    """The last sample grid of each run, from the same latents, side by side."""
    save_png(side_by_side({name: _open(run_shots(run)[-1]) for name, run in runs.items() if run_shots(run)}, columns), path)


def save_learning(runs: Mapping[str, Path], path: Path, columns: int | None = None, frames: int = 16) -> None:
    """All runs learning side by side: an animation from the same latents, frame by frame of their own training."""
    shots = {name: spread_out(run_shots(run), frames) for name, run in runs.items() if run_shots(run)}
    most = max(len(list_of) for list_of in shots.values())
    pictures = [
        side_by_side(
            {name: _open(list_of[min(index, len(list_of) - 1)]) for name, list_of in shots.items()}, columns, WIDEST_MOVING
        )
        for index in range(most)
    ]
    save_animation(pictures, path, 250)


def spread_out(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of them, evenly spread, the last always among them."""
    if len(paths) <= count:
        return list(paths)
    return [paths[round(index * (len(paths) - 1) / (count - 1))] for index in range(count)]


def _open(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def save_reconstructions(runs: Mapping[str, Path], path: Path, columns: int | None = None) -> None:
    """The last reconstructions of each run, of the same held-out images, side by side."""
    found = {name: sorted(run.glob("*/samples/*-reconstructions.png")) for name, run in runs.items()}
    save_png(side_by_side({name: _open(paths[-1]) for name, paths in found.items() if paths}, columns), path)


def open_pictures(paths: Mapping[str, Path], columns: int | None = None) -> Image.Image:
    """Named picture files side by side."""
    return side_by_side({name: _open(path) for name, path in paths.items()}, columns)
