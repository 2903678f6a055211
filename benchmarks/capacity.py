"""Capacity against time: the preset tiny at several widths, trained for several numbers of minutes; a table and a figure.

    python benchmarks/capacity.py DATA --score "python score.py UNSEEN {samples} --train DATA" [--widths 16 32 48]
        [--minutes 1 4 15] [--seed 0] [--out runs/capacity]

Runs one after another, since two that share the cores are not timed. What is in results.jsonl of --out is not trained again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from main_job import measure, train

from vaegan.charts import Axis, save_lines

WIDEST_LAYER = 8  # of the preset tiny, in widths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--score", required=True)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 48])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 4, 15])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/capacity"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "results.jsonl"
    for minutes in arguments.minutes:
        for width in arguments.widths:
            if any((found["width"], found["minutes"]) == (width, minutes) for found in read(path)):
                continue
            run = arguments.out / f"width-{width}-{minutes:g}-minutes"
            sizes = ("--network.width", str(width), "--network.width-limit", str(WIDEST_LAYER * width))
            memory = train(run, arguments.data, "--minutes", str(minutes), "--seed", str(arguments.seed), *sizes)
            found = {"width": width, "minutes": minutes, "peak_memory_gb": memory} | measure(run, arguments.score, ["vae", "gan"])
            with path.open("a") as file:
                file.write(json.dumps(found) + "\n")
    results = sorted(read(path), key=lambda found: (found["minutes"], found["width"]))
    for found in results:
        print(row(found))
    draw(results, arguments.out / "capacity.svg")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def row(found: dict[str, Any]) -> str:
    """A line of the table."""
    score, images, speed = found["score_gan"], found["images"], found["speed"]
    cells = [
        f"{found['minutes']:g}",
        str(found["width"]),
        f"{images['vae'] / 1000:.0f}k + {images['gan'] / 1000:.0f}k",
        f"{speed['vae']:.0f}, {speed['gan']:.0f}",
        f"{found['heldout']['vae']['heldout_error']:.4f}",
        "/".join(f"{distance:.0f}" for distance in score["swd"]),
        f"{score['fd']:.3f}",
        "/".join(f"{peak:.1f}" for peak in score["peaks"]),
        *(f"{score[name]:.2f}" for name in ("sharpness", "coverage", "recall", "copying")),
    ]
    return f"| {' | '.join(cells)} |"


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """The Frechet distance of each width over the minutes."""
    widths = sorted({found["width"] for found in results})
    curves = {
        f"width {width}": [(found["minutes"], found["score_gan"]["fd"]) for found in results if found["width"] == width]
        for width in widths
    }
    x, y = Axis("minutes of training", log=True), Axis("Frechet distance", log=True)
    save_lines(path, curves, "Which network is best after how long", x, y, marks=True)


if __name__ == "__main__":
    main()
