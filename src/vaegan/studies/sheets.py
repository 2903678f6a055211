"""Pictures of several arms side by side, from what their runs drew anyway: fixed latents, fixed held-out images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from vaegan.pictures import save_animation, save_png
from vaegan.training.session import sample_shots

STRIP = 16  # [pixels] above each picture for its name
EDGE = 6


def side_by_side(pictures: Mapping[str, Image.Image], columns: int | None = None) -> Image.Image:
    """Named pictures in rows on white, each with its name above; small ones are doubled."""
    columns = columns or min(4, len(pictures))
    scale = 2 if columns * max(picture.width for picture in pictures.values()) <= 400 else 1
    scaled = {name: picture.convert("RGB").resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
              for name, picture in pictures.items()}  # fmt: skip
    names = list(scaled)
    widest = max([*(picture.width for picture in scaled.values()), *(6 * len(name) for name in names)]) + EDGE
    tallest = max(picture.height for picture in scaled.values()) + STRIP + EDGE
    rows = -(-len(names) // columns)
    sheet = Image.new("RGB", (columns * widest + EDGE, rows * tallest + EDGE), "white")
    draw = ImageDraw.Draw(sheet)
    for index, name in enumerate(names):
        left, top = EDGE + index % columns * widest, EDGE + index // columns * tallest
        draw.text((left + 1, top), name, fill="black")
        sheet.paste(scaled[name], (left, top + STRIP))
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
        side_by_side({name: _open(list_of[min(index, len(list_of) - 1)]) for name, list_of in shots.items()}, columns)
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
