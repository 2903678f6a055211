"""The main job, measured: `vaegan train DATA` for each seed, 1,700 samples, an independent yardstick, one table row a seed.

    python benchmarks/main_job.py DATA --score "python score.py UNSEEN {samples} --train DATA" [--minutes 4]
        [--seeds 0 1 2] [-- OPTIONS OF TRAIN]

The yardstick is any command that prints one JSON line; {samples} is replaced by a folder of PNGs. Finished runs are not trained
again.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from shutil import rmtree

from runs import SAMPLES, left_to_train, printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--score", required=True)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--images", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--stages", nargs="+", default=["vae", "gan"])
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    arguments, options = parser.parse_args(given[:end]), given[end + 1 :]
    budget = ["--images", str(arguments.images)] if arguments.images else ["--minutes", str(arguments.minutes or 4)]
    for seed in arguments.seeds:
        run = arguments.out / f"seed-{seed}"
        memory = train(run, arguments.data, *budget, "--seed", str(seed), *options)
        found = measure(run, arguments.score, arguments.stages)
        print(json.dumps({"seed": seed, "peak_memory_gb": memory} | found), flush=True)


def train(run: Path, *new: str) -> float | None:
    """Trains what is left of a run; its peak memory [GB], None where it was finished."""
    rest = left_to_train(run, *new)
    return vaegan("train", *rest) if rest else None


def vaegan(*arguments: str) -> float:
    """Runs a command; its peak memory [GB], or that of the largest process it started."""
    command = [sys.executable, "-m", "vaegan", *arguments]
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return round(used.ru_maxrss / 1e6, 2)


def measure(run: Path, score: str, stages: list[str]) -> dict[str, object]:
    """Speeds and checks from run.json, scores of each stage's samples."""
    facts = json.loads((run / "run.json").read_text())["facts"]
    found: dict[str, object] = {
        "speed": {stage: facts[stage]["mean_speed"] for stage in stages},
        "images": {stage: facts[stage]["images"] for stage in stages},
        "heldout": {stage: facts[stage]["heldout"] for stage in stages},
        "inverse": facts.get("gan", {}).get("inverse"),
    }
    for stage in stages:
        samples = run / f"samples-{stage}"
        rmtree(samples, ignore_errors=True)
        vaegan("sample", str(run), "--stage", stage, "-n", str(SAMPLES), "--out", str(samples))
        found[f"score_{stage}"] = printed(score.format(samples=shlex.quote(str(samples))))
    return found


if __name__ == "__main__":
    main()
