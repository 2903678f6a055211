"""The search for the GAN's settings, after a VAE or from scratch: successive halving (Jamieson and Talwalkar 2016).

    python benchmarks/search.py DATA --score "python score.py UNSEEN {samples}" [--init VAE_RUN] [--minutes 4] [--runs 42]
        [--rungs 4000 12000 60000] [-- OPTIONS OF TRAIN]      (OMP_NUM_THREADS=1, or two lanes' yardsticks wait for each other)

Every rung trains its settings anew, with schedules as long as the rung, and passes its best third on. The same draws, seeds and
samples every time; finished runs are not trained again. Runs go side by side on one thread each. Without `--init` the GANs begin
from scratch, and draw what they have a use for from the same ranges.
"""

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from runs import left_to_train, scored

from vaegan.config import GANConfig
from vaegan.model import Model


class Wanted(NamedTuple):
    """What a run should be."""

    at_most: dict[str, float | tuple[float, ...]]
    at_least: dict[str, float]
    sharpness: tuple[float, float]


WANTED = {
    4: Wanted(
        {"swd": (45, 50, 45), "fd": 0.16, "peaks": (1.6, 1.6), "low_pass_ratio": 1.5},
        {"coverage": 0.92, "recall": 0.62, "latent_recovery": 0.8},
        (0.85, 1.15),
    ),
    60: Wanted(
        {"swd": (20, 20, 20), "fd": 0.03, "peaks": (1.1, 1.1), "low_pass_ratio": 1.5},
        {"coverage": 0.97, "recall": 0.76, "latent_recovery": 0.8},
        (0.97, 1.03),
    ),
}
"""By minutes: what four must reach, and what is aimed at with sixty."""
HALF = math.log(2)

BATCHES = {16: 1.0, 32: 1.3, 64: 1.4}
"""Pairs a step, and how many times as many images two threads see in the same time: a rung is so much longer."""

Settings = dict[str, float]


def draw(random: np.random.Generator, grown: bool, minutes: int) -> Settings:
    """One point of the search space: ranges are logarithmic, choices even."""

    def between(low: float, high: float) -> float:
        return float(f"{math.exp(random.uniform(math.log(low), math.log(high))):.2g}")

    rate, penalty, anchor = between(3e-4, 2e-3), between(0.05, 0.6), between(2, 16)
    drawn = {
        "gan.learning-rate": rate,
        "gan.final-learning-rate": float(f"{rate * between(0.003, 0.1):.2g}"),
        "gan.penalty": penalty,
        "gan.batch-size": int(random.choice([16, 32])),
        "gan.augmentation": float(random.choice([0.0, 0.15, 0.3])),
        "gan.anchor": anchor,
    }
    if minutes == 60:  # larger batches are what longer training is given, lest it turns around its goal
        drawn["gan.batch-size"] = int(random.choice(list(BATCHES)))
        drawn["gan.anchor"] = between(1, 12)
        drawn["gan.jitter"] = int(random.choice([0, 2, 4]))
    return drawn if grown else {name: value for name, value in drawn.items() if name != "gan.anchor"}


def shortfall(found: dict[str, Any], wanted: Wanted) -> float:
    """How far a run is from what is wanted: the mean of the logarithms of found over wanted, no better than a half for each."""
    ratios: list[float] = []
    for name, most in wanted.at_most.items():
        if name not in found:
            continue  # a GAN from scratch has no encoder
        pairs = zip(as_tuple(found[name]), as_tuple(most), strict=True)
        ratios += [math.log(max(value, 1e-9) / limit) for value, limit in pairs]
    ratios += [math.log(least / max(found[name], 1e-3)) for name, least in wanted.at_least.items() if name in found]
    low, high = wanted.sharpness
    ratios.append(max(math.log(low / found["sharpness"]), math.log(found["sharpness"] / high)))
    return float(np.mean([max(ratio, -HALF) for ratio in ratios]))


def as_tuple(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def halve(candidates: list[int], rungs: list[int], loss: Callable[[int, int], float], lanes: int) -> list[int]:
    """Passes the best third of the candidates from rung to rung; what is left, the best first."""
    for images in rungs:
        with ThreadPoolExecutor(lanes) as pool:
            losses = dict(zip(candidates, pool.map(loss, candidates, itertools.repeat(images)), strict=False))
        best = sorted(candidates, key=losses.__getitem__)
        candidates = best[: math.ceil(len(best) / 3)]
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--init", type=Path, help="a run with a VAE, the same for all; without, GANs from scratch")
    parser.add_argument("--score", required=True, help="prints one JSON line; {samples} is replaced by a folder of PNGs")
    parser.add_argument("--minutes", type=int, choices=list(WANTED), default=4, help="whose figures are wanted, and ranges drawn")
    parser.add_argument("--runs", type=int, default=42)
    parser.add_argument("--rungs", type=int, nargs="+", default=[4_000, 12_000, 60_000], help="images of the GAN stage")
    parser.add_argument("--seed", type=int, default=0, help="of the draws; every run trains with seed 0")
    parser.add_argument("--precision", default="float32", help="given, because lanes make the probe's speeds meaningless")
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="runs/search-MINUTES by default; another --seed needs another folder")
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    arguments = parser.parse_args(given[:end])
    arguments.options = given[end + 1 :]
    arguments.out = arguments.out or Path(f"runs/search-{arguments.minutes}")
    random = np.random.default_rng(arguments.seed)
    # The first is the default settings, which need not lie in the ranges.
    others = [draw(random, arguments.init is not None, arguments.minutes) for _ in range(arguments.runs - 1)]
    drawn: list[Settings] = [{}, *others]

    def loss(index: int, images: int) -> float:
        folder = arguments.out / f"{index:02d}-{images}"
        found = run(arguments, drawn[index], images, folder)
        value = shortfall(found, WANTED[arguments.minutes]) if found else math.inf
        shown = round(value, 3) if found else None  # JSON knows no infinity
        print(json.dumps({"run": index, "images": images, "shortfall": shown} | drawn[index] | found), flush=True)
        return value

    best = halve(list(range(len(drawn))), arguments.rungs, loss, arguments.lanes)
    print("best first: " + ", ".join(map(str, best)))


def run(arguments: argparse.Namespace, settings: Settings, images: int, folder: Path) -> dict[str, Any]:
    """Trains and scores one run, unless it is there already; nothing when its training failed.

    A yardstick that fails ends the search: it says nothing about the settings.
    """
    result = folder / "scores.json"
    if not result.is_file():
        options = [part for name, value in settings.items() for part in (f"--{name}", f"{value:g}")]
        new = [arguments.data, "--recipe", "gan", *(["--init", str(arguments.init)] if arguments.init else [])]
        count = round(images * BATCHES[int(settings.get("gan.batch-size", GANConfig.batch_size))])
        # Guards that act put the defaults in a candidate's place.
        new += ["--images", str(count), "--precision", arguments.precision, "--guards", "warn"]
        if rest := left_to_train(folder, *new, *arguments.options, *options):
            command = [sys.executable, "-m", "vaegan", "train", *rest]
            one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=one_thread)
            if done.returncode != 0:
                print(f"{folder}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}", file=sys.stderr, flush=True)
                return {}
        result.write_text(json.dumps(measure(folder, arguments.score)))
    return json.loads(result.read_text())


def measure(folder: Path, score: str) -> dict[str, Any]:
    facts = json.loads((folder / "run.json").read_text())["facts"]["gan"]
    scores = scored(Model.from_pretrained(folder / "gan" / "model"), folder / "samples", score)
    kept = ("swd", "fd", "peaks", "sharpness", "coverage", "recall")
    return {name: scores[name] for name in kept} | facts.get("inverse", {})


if __name__ == "__main__":
    main()
