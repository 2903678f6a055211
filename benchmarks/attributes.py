"""How well directions in latent space add a smile, judged by classifiers that never saw the model.

    python benchmarks/attributes.py RUN --stage vae --attribute smiling [--keep hair_colour skin glasses] [--out table.json]

RUN was trained on images with labels (the word faces, or a folder with a sub-folder a class). The images of its training side
are divided by content into two halves. From the first half come the directions, from the second the judge: a small
convolutional network, trained on real images, some of them blurred. Edited are images of the validation and test sides
without the attribute, which neither the model nor the judge has seen. Beside the directions stands the control in pixels:
the difference of the two groups' mean images, added to the image itself.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vaegan.data import TRAIN, ImageDataset
from vaegan.latent.directions import area_under_curve, find_direction, heldout_area
from vaegan.latent.learning import encode_images, evenly, groups_of_label
from vaegan.metrics.neighbours import own_source_share
from vaegan.metrics.sliced import laplacian_pyramid, patch_places, sliced_distance, take_patches
from vaegan.training.saved import load, run_images

STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
BATCH = 64
METHODS = ("mean", "whitened", "classifier")


class Judge(nn.Module):
    """One trunk, one head a label."""

    def __init__(self, channels: int, size: int, classes: dict[str, int]) -> None:
        super().__init__()
        widths = [channels, 16, 32, 64, 64]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3))
        self.heads = nn.ModuleDict({name: nn.Linear(64 * (size // 16) ** 2, count) for name, count in classes.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of every label."""
        features = self.trunk(images)
        return {name: head(features) for name, head in self.heads.items()}


def blurred(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images blurred by up to 1.5 pixels: what is judged later is softer than a photograph."""
    deviation = float(torch.rand((), generator=generator) * 3)
    if deviation < 1.5:
        return images
    taps = torch.arange(-3.0, 4)
    kernel = torch.exp(-(taps**2) / (2 * (deviation - 1.4) ** 2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, 7)
    padded = F.pad(images, (3, 3, 3, 3), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel, groups=images.shape[1]), kernel.transpose(2, 3), groups=images.shape[1])


def train_judge(dataset: ImageDataset, indices: NDArray[np.int64], names: list[str], epochs: int, balanced: bool) -> Judge:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    labels = {name: torch.from_numpy(dataset.labels[name]).long() for name in names}
    classes = {name: int(values.max()) + 1 for name, values in labels.items()}
    weights = {name: balance(values[indices], classes[name]) if balanced else None for name, values in labels.items()}
    judge = Judge(dataset.channels, dataset.config.size, classes).to(memory_format=torch.channels_last)
    steps = epochs * (len(indices) // BATCH)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in range(steps):
        if step % (len(indices) // BATCH) == 0:
            order = indices[torch.randperm(len(indices), generator=generator).numpy()]
        chosen = order[step % (len(indices) // BATCH) * BATCH :][:BATCH]
        images = blurred(dataset.load(chosen), generator)
        images = images.flip(3) if torch.rand((), generator=generator) < 0.5 else images
        guesses = judge(images).items()
        loss = sum(F.cross_entropy(guess, labels[name][chosen], weights[name]) for name, guess in guesses)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return judge.eval()


def balance(labels: Tensor, classes: int) -> Tensor:
    """Weights with which every class counts as much as any other, whatever its share."""
    counts = torch.bincount(labels, minlength=classes)
    return len(labels) / (classes * counts.clamp(min=1).float())


@torch.inference_mode()
def judged(judge: Judge, images: Tensor) -> dict[str, Tensor]:
    """Probabilities of every label's classes."""
    parts = [judge(block) for block in images.split(256)]
    return {name: torch.cat([part[name] for part in parts]).softmax(1) for name in parts[0]}


def realism(images: Tensor, real: Tensor) -> float:
    """SWD x 1000 on Laplacian pyramids, the mean of its three octaves."""
    distances: list[float] = []
    for pair in zip(laplacian_pyramid(real), laplacian_pyramid(images), strict=True):
        places = [patch_places(len(one), one.shape[-1], given=given) for one, given in zip(pair, (False, True), strict=True)]
        one, two = (take_patches(*each) for each in zip(pair, places, strict=True))
        distances.append(sliced_distance(one, places[0].image, two, places[1].image)[0])
    return float(np.mean(distances))


class Measured:
    """What is said about one way to edit."""

    def __init__(self, judge: Judge, attribute: str, keep: list[str], originals: Tensor, unedited: Tensor, real: Tensor) -> None:
        self.judge, self.attribute, self.keep, self.originals, self.real = judge, attribute, keep, originals, real
        self.before = judged(judge, unedited)
        self.identity = own_source_share(unedited, originals)
        self.distance = float("nan")
        """SWD of the images edited with strength 1."""

    def of(self, edit: Callable[[float], Tensor]) -> list[dict[str, float]]:
        """One row a strength."""
        rows: list[dict[str, float]] = []
        reached = torch.zeros(len(self.originals), dtype=torch.bool)
        kept = torch.zeros(len(self.originals), dtype=torch.bool)
        low = self.before[self.attribute][:, 1] < 0.2
        for strength in STRENGTHS:
            images = edit(strength)
            after = judged(self.judge, images)
            same = torch.ones(len(images), dtype=torch.bool)
            shares: dict[str, float] = {}
            for name in self.keep:
                equal = after[name].argmax(1) == self.before[name].argmax(1)
                shares[f"{name}_kept"] = float(equal.float().mean())
                same &= equal
            over = after[self.attribute][:, 1] > 0.8
            reached, kept = reached | over, kept | (over & same)
            if strength == 1:
                self.distance = realism(images, self.real)
            rows.append(
                {"strength": strength, "positive": float((after[self.attribute][:, 1] > 0.5).float().mean())}
                | {"identity": own_source_share(images, self.originals), "identity_unedited": self.identity}
                | {"from_under_0.2": float(low.float().mean()), "to_over_0.8_by_here": float(reached[low].float().mean())}
                | {"and_all_kept": float(kept[low].float().mean()), **shares}
            )
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--stage")
    parser.add_argument("--attribute", default="smiling", help="a label, or label=word")
    parser.add_argument("--keep", nargs="*", default=[], help="labels with words that must not change")
    parser.add_argument("--most", type=int, default=300, help="images that are edited")
    parser.add_argument("--epochs", type=int, default=3, help="of the judge")
    parser.add_argument(
        "--balanced", action="store_true", help="the judge holds both answers for as likely, whatever their shares"
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    began = time.perf_counter()

    model, dataset = load(arguments.run, arguments.stage), run_images(arguments.run)
    label, _, word = arguments.attribute.partition("=")
    positive, _ = groups_of_label(dataset, label, word or None)
    has = np.zeros(len(dataset), bool)
    has[positive] = True
    dataset.labels["attribute"] = has.astype(np.float32)
    train, second = dataset.sides == TRAIN, dataset.contents >> np.uint64(20) & np.uint64(1) == 1
    judge = train_judge(
        dataset, np.flatnonzero(train & second), ["attribute", *arguments.keep], arguments.epochs, arguments.balanced
    )
    print(f"judge trained: {time.perf_counter() - began:.0f} s", flush=True)

    unseen = np.flatnonzero(dataset.sides != TRAIN)
    guesses = judged(judge, dataset.load(unseen))
    rebuilt = judged(judge, model.reconstruct(dataset.load(unseen)))
    facts: dict[str, object] = {"stage": model.config.stage, "edited": 0}
    for name in guesses:
        truth = torch.from_numpy(dataset.labels[name][unseen]).long()
        facts[f"judge_accuracy_{name}"] = float((guesses[name].argmax(1) == truth).float().mean())
        facts[f"judge_accuracy_on_reconstructions_{name}"] = float((rebuilt[name].argmax(1) == truth).float().mean())
    for place, found in (("photographs", guesses), ("reconstructions", rebuilt)):
        says = (found["attribute"].argmax(1) == 1).numpy()
        facts[f"judged_positive_of_{place}"] = {
            "with": float(says[has[unseen]].mean()),
            "without": float(says[~has[unseen]].mean()),
        }

    first_half = np.flatnonzero(train & ~second)
    latents = encode_images(model, dataset, first_half)
    with_it = torch.from_numpy(has[first_half])
    other_half = evenly(np.flatnonzero(train & second), 4000)
    other = encode_images(model, dataset, other_half)
    other_has = torch.from_numpy(has[other_half])
    negatives, positives = (evenly(unseen[chosen], arguments.most) for chosen in (~has[unseen], has[unseen]))
    originals, start = dataset.load(negatives), encode_images(model, dataset, negatives)
    # Unedited images are held against real ones without the attribute, edited ones against real ones with it.
    without, having = dataset.load(negatives), dataset.load(positives)
    count = min(len(without), len(having))
    facts["edited"] = len(negatives)

    unedited = model.decode(start)
    facts["swd_unedited"] = realism(unedited, without)
    facts["swd_real_halves"] = realism(having[::2], having[1::2])
    results: dict[str, dict[str, object]] = {}

    def measure(name: str, before: Tensor, edit: Callable[[float], Tensor], **more: float) -> None:
        measured = Measured(judge, "attribute", arguments.keep, originals, before, having[:count])
        rows = measured.of(edit)
        results[name] = {**more, "swd_at_1": measured.distance, "rows": rows}

    for method in METHODS:
        direction = find_direction(latents[with_it], latents[~with_it], method)
        areas = {"auc_folds": heldout_area(latents[with_it], latents[~with_it], method)}
        areas["auc_other_half"] = area_under_curve(other[other_has] @ direction, other[~other_has] @ direction)
        measure(method, unedited, lambda strength, way=direction: model.decode(start + strength * way), **areas)
    means = [dataset.load(evenly(first_half[chosen.numpy()], 2000)).mean(0) for chosen in (with_it, ~with_it)]
    difference = means[0] - means[1]
    measure("pixels", originals, lambda strength: (originals + strength * difference).clamp(-1, 1))
    measure("pixels on reconstructions", unedited, lambda strength: (unedited + strength * difference).clamp(-1, 1))
    facts["results"] = results
    facts["seconds"] = round(time.perf_counter() - began)
    _print(facts)
    if arguments.out:
        arguments.out.write_text(json.dumps(facts, indent=1))


def _print(facts: dict[str, object]) -> None:
    for name, value in facts.items():
        if name != "results":
            print(f"{name}: {value}")
    for method, found in facts["results"].items():
        print(method, *(f"{name} {value:.3f}" for name, value in found.items() if name != "rows"))
        for row in found["rows"]:
            print("   ", "  ".join(f"{name} {value:.2f}" for name, value in row.items()))


if __name__ == "__main__":
    main()
