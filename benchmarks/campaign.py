"""The campaign on the handover: trains every row of campaign.toml from one VAE, scores it, and keeps one line a run.

    python benchmarks/campaign.py DATA --init VAE_RUN --score "python score.py UNSEEN {samples} --train DATA" [--images N]
        [--rows NAME ...] [--seeds 0 1 2]

A row says what is expected before it is run. Finished runs are not trained again. The samples of the averaged generator are what
a user gets; those of the generator as it stands (`raw`) tell softness that the average makes from softness that was learned.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vaegan.data import to_uint8
from vaegan.model import Model
from vaegan.pictures import grid, save_png, to_picture

SAMPLES = 1700
SHOWN = ("swd", "fd", "peaks", "sharpness", "coverage", "recall", "copying")


@dataclass(frozen=True)
class Row:
    """One change, and what is expected of it."""

    name: str
    hypothesis: str
    options: tuple[str, ...]
    """For `vaegan train`."""


def read_rows(path: Path) -> list[Row]:
    rows = tomllib.loads(path.read_text("utf-8"))
    return [Row(name, row["hypothesis"], tuple(row["options"])) for name, row in rows.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--init", type=Path, required=True, help="a run with a VAE, the same for all rows")
    parser.add_argument("--score", required=True, help="prints one JSON line; {samples} is replaced by a folder of PNGs")
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--rows", nargs="+", help="all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--list", type=Path, default=Path(__file__).with_name("campaign.toml"))
    parser.add_argument("--out", type=Path, default=Path("runs/campaign"))
    arguments = parser.parse_args()
    for row in read_rows(arguments.list):
        if arguments.rows and row.name not in arguments.rows:
            continue
        for seed in arguments.seeds:
            run = arguments.out / row.name / f"{arguments.images}-{seed}"
            result = run / "scores.json"
            if not result.is_file():
                train(row, arguments, run, seed)
                result.write_text(json.dumps(measure(run, arguments.score)))
            print(table_row(row.name, seed, json.loads(result.read_text())), flush=True)


def train(row: Row, arguments: argparse.Namespace, run: Path, seed: int) -> None:
    start = ["--resume", str(run)] if (run / "run.json").is_file() else [arguments.data, "--out", str(run)]
    if start[0] != "--resume":
        start += ["--recipe", "gan", "--init", str(arguments.init), "--images", str(arguments.images), "--seed", str(seed)]
        start += row.options
    subprocess.run([sys.executable, "-m", "vaegan", "train", *start], check=True)


def measure(run: Path, score: str) -> dict[str, Any]:
    """Scores of the averaged and of the raw generator, beside what the run itself found."""
    averaged = Model.from_pretrained(run / "gan" / "model")
    raw = Model.from_pretrained(run / "gan" / "model")
    checkpoint = torch.load(run / "gan" / "checkpoint.pt", weights_only=True)
    raw.networks.decoder.load_state_dict(checkpoint["networks"]["generator"])
    facts = json.loads((run / "run.json").read_text())["facts"]["gan"]
    return {
        "images": facts["images"],
        "heldout": facts["heldout"],
        "inverse": facts.get("inverse"),
        "averaged": scored(averaged, run / "averaged", score),
        "raw": scored(raw, run / "raw", score),
    }


def scored(model: Model, folder: Path, score: str, temperature: float = 1.0) -> dict[str, Any]:
    images = to_uint8(model.sample(SAMPLES, seed=0, temperature=temperature))
    save_png(grid(images[:64]), folder.with_suffix(".png"))
    for index, image in enumerate(images):
        save_png(to_picture(image), folder / f"{index:05d}.png")
    printed = subprocess.run(
        shlex.split(score.format(samples=shlex.quote(str(folder)))), check=True, capture_output=True, text=True
    )
    return json.loads(printed.stdout.splitlines()[-1])


def table_row(name: str, seed: int, found: dict[str, Any]) -> str:
    cells = [name, str(seed)]
    for kind in ("averaged", "raw"):
        cells += [" / ".join(f"{value:.3g}" for value in as_list(found[kind][key])) for key in SHOWN if key in found[kind]]
    return "| " + " | ".join(cells) + " |"


def as_list(value: float | list[float]) -> list[float]:
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    main()
