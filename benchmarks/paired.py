"""Does the VAE help its GAN? GANs that grew out of a VAE against GANs from scratch, seed by seed.

    python benchmarks/paired.py DATA --score "python score.py UNSEEN {samples}" --arms 32000+24000 0+49000
        [--seeds 0 1 2 3 4] [--scratch "OPTIONS OF TRAIN"] [-- OPTIONS OF TRAIN]

An arm is the images that its VAE and its GAN see; 0 for the VAE is a GAN from scratch. Choose counts that take as long as each
other: the table's seconds say whether they did. `--scratch` is for the arms from scratch alone, whose best settings are
others. Differences are the first arm's minus another's, of equal seeds, with 95 % intervals by Student's t. Finished runs are not
trained again.
"""

import argparse
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev

from runs import left_to_train, scored

from vaegan.model import Model
from vaegan.report.comparing import student

DISTANCES = ("swd full", "swd half", "swd quarter", "fd")
SHOWN = (*DISTANCES, "peaks 2", "peaks 4", "sharpness", "coverage", "recall", "seconds")

Arm = tuple[int, int]
"""Images of the VAE and of the GAN."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--score", required=True, help="prints one JSON line; {samples} is replaced by a folder of PNGs")
    parser.add_argument("--arms", type=arm, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument(
        "--scratch", type=shlex.split, default=[], help="options for the arms from scratch, in one pair of quotes"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/paired"))
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    arguments = parser.parse_args(given[:end])
    options = given[end + 1 :]
    of_arm = {images: options if images[0] else [*options, *arguments.scratch] for images in arguments.arms}
    found = {images: [run(arguments, images, seed, of_arm[images]) for seed in arguments.seeds] for images in arguments.arms}
    print_table(found)


def arm(words: str) -> Arm:
    vae, gan = map(int, words.split("+"))
    return vae, gan


def run(arguments: argparse.Namespace, images: Arm, seed: int, options: Sequence[str]) -> dict[str, float]:
    """Trains and scores one arm with one seed, unless its scores are there already."""
    folder = arguments.out / f"{images[0]}+{images[1]}-{seed}"
    result = folder / "scores.json"
    if not result.is_file():
        started = ["--init", str(folder / "vae")] if images[0] else []
        if images[0]:
            train(arguments.data, "vae", images[0], seed, folder / "vae", options)
        train(arguments.data, "gan", images[1], seed, folder / "gan", [*started, *options])
        model = Model.from_pretrained(folder / "gan" / "gan" / "model")
        result.write_text(json.dumps(scored(model, folder / "samples", arguments.score)))
    scores = json.loads(result.read_text())
    seconds = [json.loads(path.read_text())["spent_seconds"] for path in sorted(folder.glob("*/run.json"))]
    return dict(zip(DISTANCES, [*scores["swd"], scores["fd"]], strict=True)) | {
        "peaks 2": scores["peaks"][0],
        "peaks 4": scores["peaks"][1],
        **{name: scores[name] for name in ("sharpness", "coverage", "recall")},
        "seconds": math.fsum(seconds),
    }


def train(data: str, recipe: str, images: int, seed: int, folder: Path, options: Sequence[str]) -> None:
    new = [data, "--recipe", recipe, "--images", str(images), "--seed", str(seed), *options]
    if rest := left_to_train(folder, *new):
        subprocess.run([sys.executable, "-m", "vaegan", "train", *rest], check=True)


def print_table(found: Mapping[Arm, Sequence[Mapping[str, float]]]) -> None:
    """One column an arm: its median; after it what the first arm has more than it."""
    first, *others = found
    print("| | " + " | ".join(f"{vae:,} + {gan:,}" for vae, gan in found) + " |")
    print("|---" * (1 + len(found)) + "|")
    for name in SHOWN:
        cells = [f"{median(seed[name] for seed in found[first]):.3g}"]
        for other in others:
            gaps = [one[name] - another[name] for one, another in zip(found[first], found[other], strict=True)]
            cells.append(f"{median(seed[name] for seed in found[other]):.3g}; {difference(gaps)}")
        print(f"| {name} | " + " | ".join(cells) + " |")


def difference(gaps: Sequence[float]) -> str:
    """Their mean, its 95 % interval, and each."""
    each = ", ".join(f"{gap:+.2g}" for gap in gaps)
    if len(gaps) < 2:
        return each
    half = student(len(gaps) - 1) * stdev(gaps) / math.sqrt(len(gaps))
    return f"{mean(gaps):+.2g} ({mean(gaps) - half:+.2g} to {mean(gaps) + half:+.2g}): {each}"


if __name__ == "__main__":
    main()
