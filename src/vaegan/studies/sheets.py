"""Pictures of several arms side by side, from what their runs drew anyway: fixed latents, fixed held-out images."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from vaegan.pictures import save_animation, save_png
from vaegan.report.pictures import spread_out
from vaegan.training.session import sample_shots

EDGE = 6
COLUMNS = 3
FRAMES = 12  # of an animation
WIDEST, WIDEST_MOVING = 1800, 1100  # of a sheet [pixels]: pages show it narrower, and an animation of noise grows by its area
LETTERS = 90  # widths of a letter's height that a sheet has: names stay readable where a page shrinks it
SMALLEST_LETTER = 11  # [pixels]


def side_by_side(pictures: Mapping[str, Image.Image], columns: int = COLUMNS, widest: int = WIDEST) -> Image.Image:
    """Named pictures in rows on white, each with its name above; small ones are doubled, large ones made to fit `widest`."""
    columns = min(columns, len(pictures))
    width = columns * max(picture.width for picture in pictures.values())
    scale = 2.0 if width <= 400 else min(1.0, widest / width)
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    shown = {name: ImageOps.scale(picture.convert("RGB"), scale, method) for name, picture in pictures.items()}
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


def save_last(path: Path, files: Mapping[str, Sequence[Path]]) -> bool:
    """Saves the last picture of each arm side by side; False where there is none."""
    last = {name: paths[-1] for name, paths in files.items() if paths}
    if last:
        save_png(open_pictures(last), path)
    return bool(last)


def save_learning(path: Path, runs: Mapping[str, Path]) -> bool:
    """Saves an animation of all runs learning, from the same latents, frame by frame of their own training; False for none."""
    shots = {name: spread_out(paths, FRAMES) for name, run in runs.items() if (paths := run_shots(run))}
    moments = [
        open_pictures({name: paths[min(index, len(paths) - 1)] for name, paths in shots.items()}, widest=WIDEST_MOVING)
        for index in range(max(map(len, shots.values()), default=0))
    ]
    if moments:
        save_animation(moments, path, 250)
    return bool(moments)


def open_pictures(paths: Mapping[str, Path], columns: int = COLUMNS, widest: int = WIDEST) -> Image.Image:
    """Named picture files side by side."""
    opened: dict[str, Image.Image] = {}
    for name, path in paths.items():
        with Image.open(path) as picture:
            opened[name] = picture.convert("RGB")
    return side_by_side(opened, columns, widest)
