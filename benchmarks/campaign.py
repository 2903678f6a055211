"""The campaign on the handover: trains every row of campaign.toml from one VAE, scores it, and keeps one line a run.

    python benchmarks/campaign.py DATA --init VAE_RUN --score "python score.py UNSEEN {samples} --train DATA" [--images N]
        [--rows NAME ...] [--seeds 0 1 2]

A row says what is expected before it is run. Finished runs are not trained again. The samples of the averaged generator are what
a user gets: of the best model of the stage. Those of the generator as it stands at the end (`raw`) tell softness that the average
makes from softness that was learned.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from runs import left_to_train, scored

from vaegan.model import Model

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
    new = [arguments.data, "--recipe", "gan", "--init", str(arguments.init), "--images", str(arguments.images)]
    if rest := left_to_train(run, *new, "--seed", str(seed), *row.options):
        subprocess.run([sys.executable, "-m", "vaegan", "train", *rest], check=True)


def measure(run: Path, score: str) -> dict[str, Any]:
    """Scores of the averaged and of the raw generator, beside what the run itself found."""
    averaged = Model.from_pretrained(run / "gan" / "model")
    raw = Model.from_pretrained(run / "gan" / "model")
    checkpoint = torch.load(run / "gan" / "checkpoint.pt", weights_only=True)
    prefix = "generator.network."
    weights = {name.removeprefix(prefix): part for name, part in checkpoint["recipe"].items() if name.startswith(prefix)}
    raw.networks.decoder.load_state_dict(weights, strict=False)
    facts = json.loads((run / "run.json").read_text())["facts"]["gan"]
    return {
        "images": facts["images"],
        "heldout": facts["heldout"],
        "inverse": facts.get("inverse"),
        "averaged": scored(averaged, run / "averaged", score),
        "raw": scored(raw, run / "raw", score),
    }


def table_row(name: str, seed: int, found: dict[str, Any]) -> str:
    cells = [name, str(seed)]
    for kind in ("averaged", "raw"):
        cells += [" / ".join(f"{value:.3g}" for value in as_list(found[kind][key])) for key in SHOWN if key in found[kind]]
    return "| " + " | ".join(cells) + " |"


def as_list(value: float | list[float]) -> list[float]:
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    main()
