"""Errors of restored images, against the mean image, the nearest training image and bicubic enlargement.

    python benchmarks/restoring.py UNSEEN RUN RUN.. [--images 200] [--out restoring]      (OMP_NUM_THREADS=1)

UNSEEN: images that no run has seen; the runs, of one data set, are called by their last stages. Prints a table of mean squared
errors on [-1, 1]: of holes inside them, of all else everywhere. Mean and nearest image are completed by what is seen, as answers
are, so that they lack nothing but the model. OUT then holds a picture a task, with rows: the image, what is seen, mean, nearest,
bicubic, an answer by each run; and, for a yardstick that compares sets, the enlarged images as .npy.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vaegan.data import TRAIN, open_dataset, to_uint8
from vaegan.latent.restoring import View, in_grey, reduced, restore, through_mask, through_noise
from vaegan.pictures import save_png, stacked
from vaegan.training.saved import images_config, load, run_images

SHOWN, NOISE = 10, 0.2


class Task(NamedTuple):
    """What is done to images, and where it is judged."""

    view: View
    where: Tensor | None = None  # [height, width]: 1 where errors count; everywhere when None
    factor: int = 1  # of enlargement


def tasks(height: int, width: int) -> dict[str, Task]:
    middle, lower = torch.zeros(height, width), torch.zeros(height, width)
    middle[height // 4 : height - height // 4, width // 4 : width - width // 4] = 1
    lower[height // 2 :] = 1
    return {
        "hole in the middle": Task(through_mask(1 - middle), middle),
        "lower half": Task(through_mask(1 - lower), lower),
        "enlarged 2x": Task(reduced(2), factor=2),
        "enlarged 4x": Task(reduced(4), factor=4),
        "coloured": Task(in_grey()),
        f"noise {NOISE}": Task(through_noise(NOISE)),
    }


def error(guess: Tensor, images: Tensor, task: Task) -> float:
    squares = (guess - images).square()
    where = torch.ones(squares.shape[-2:]) if task.where is None else task.where
    return float((squares * where).sum() / where.expand_as(squares).sum())


def nearest(seen: Tensor, view: View, known: Tensor) -> Tensor:
    """The training images that look most alike through the view."""
    looks = torch.cat([view.see(part).flatten(1) for part in known.split(512)])
    return known[torch.cdist(seen.flatten(1), looks).argmin(1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unseen")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--tasks", nargs="+", help="some of them, by their first words")
    parser.add_argument("--out", type=Path, default=Path("restoring"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    models = {model.config.stage: model for model in map(load, asked.runs)}
    unseen = open_dataset(asked.unseen, images_config(next(iter(models.values())), asked.runs[0]), for_training=False)
    images = unseen.load(np.sort(np.random.default_rng(0).permutation(len(unseen))[: asked.images]))
    training = run_images(asked.runs[0])
    known = training.load(np.flatnonzero(training.sides == TRAIN))
    print(f"| | mean image | nearest | bicubic | {' | '.join(name.upper() for name in models)} |\n|{'---|' * (4 + len(models))}")
    for name, task in tasks(*images.shape[-2:]).items():
        if asked.tasks and not any(name.startswith(one) for one in asked.tasks):
            continue
        view = task.view
        noise = view.noise * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
        seen = view.see(images) + noise if view.noise else view.see(images)
        guesses = {
            "mean": view.completed(seen, known.mean(0).expand_as(images)),
            "nearest": view.completed(seen, nearest(seen, view, known)),
        }
        if task.factor > 1:
            guesses["bicubic"] = functional.interpolate(seen, scale_factor=task.factor, mode="bicubic")
        guesses |= {stage: restore(model, seen, view).images[0] for stage, model in models.items()}
        guesses = {of: guess.clamp(-1, 1) for of, guess in guesses.items()}
        cells = [
            f"{error(guesses[of], images, task):.4f}" if of in guesses else "" for of in ("mean", "nearest", "bicubic", *models)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        plain = seen if seen.shape == images.shape else view.lift(seen)
        save_png(
            stacked([to_uint8(one[:SHOWN]) for one in (images, plain, *guesses.values())], SHOWN),
            asked.out / f"{name.replace(' ', '-')}.png",
        )
        if task.factor > 1:
            np.save(asked.out / "real.npy", to_uint8(images))
            for of, guess in guesses.items():
                np.save(asked.out / f"{name.replace(' ', '-')}-{of}.npy", to_uint8(guess))


if __name__ == "__main__":
    main()
