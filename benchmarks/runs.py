"""What the benchmarks share: runs that are trained once, however often a script is started, and a yardstick for their samples."""

import json
import shlex
import subprocess
from pathlib import Path
from shutil import rmtree
from typing import Any

from vaegan.data import to_uint8
from vaegan.model import Model
from vaegan.pictures import grid, save_png, to_picture

SAMPLES = 1700


def left_to_train(run: Path, *new: str) -> list[str]:
    """What `vaegan train` has to be asked for: `new`, the rest of a run that was stopped, or nothing where it is finished."""
    record = run / "run.json"
    if not record.is_file():
        return [*new, "--out", str(run)]
    return [] if json.loads(record.read_text())["status"] == "finished" else ["--resume", str(run)]


def scored(model: Model, folder: Path, score: str) -> dict[str, Any]:
    """What the yardstick says of 1,700 samples."""
    rmtree(folder, ignore_errors=True)
    images = to_uint8(model.sample(SAMPLES, seed=0))
    save_png(grid(images[:64]), folder.with_suffix(".png"))
    for index, image in enumerate(images):
        save_png(to_picture(image), folder / f"{index:05d}.png")
    return printed(score.format(samples=shlex.quote(str(folder))))


def printed(command: str) -> dict[str, Any]:
    """The last line that a command prints, as JSON."""
    done = subprocess.run(shlex.split(command), check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
