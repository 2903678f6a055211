"""-log p(x) of the test side of a run's data by importance weighting (Burda et al. 2016), on as many images as there is time for.

    python benchmarks/likelihood.py RUN [--images 2000] [--draws 500]

Prints one JSON line: the bound in nats an image, its standard error over images, and the ELBO of the same draws. Binarised data
is binarised once, keyed by its content, as in every evaluation.
"""

import argparse
import json
from pathlib import Path

import torch

import vaegan
from vaegan.data import TEST, open_dataset
from vaegan.evaluation.inference import log_weights
from vaegan.objectives.latent import importance_weighted_bound
from vaegan.training.run import RunFolder

BLOCK = 500  # images that share one pass, which bounds memory


def _silent(what: str, done: int, total: int) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--data", help="where the data is now, if it was moved")
    arguments = parser.parse_args()
    record = RunFolder(arguments.run).read()
    dataset = open_dataset(arguments.data or record.source, record.config.data)
    model = vaegan.load(arguments.run, stage="vae")
    chosen = dataset.indices(TEST)[: arguments.images]
    bounds, elbos = [], []
    for first in range(0, len(chosen), BLOCK):
        images = dataset.load(chosen[first : first + BLOCK])
        weights = log_weights(model, images, arguments.draws, seed=first, progress=_silent).double()
        bounds.append(importance_weighted_bound(weights))
        elbos.append(weights.mean(0))
    bound, elbo = torch.cat(bounds), torch.cat(elbos)
    found = {
        "images": len(bound),
        "draws": arguments.draws,
        "nll": round(float(-bound.mean()), 2),
        "standard_error": round(float(bound.std() / len(bound) ** 0.5), 2),
        "negative_elbo": round(float(-elbo.mean()), 2),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
