"""What each number of an evaluation notices: real images damaged on purpose, measured as if a model had made them.

    python benchmarks/sensitivity.py DATA [--size 64] [-n 1700] [--out DIR]

DATA is divided by content: n held-out images to compare with, 2n that are damaged and stand for samples, and the rest as the
training images. Prints a Markdown row a damage; with --out the damaged images are kept as .npy files for other yardsticks.
"""

import argparse
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from vaegan.config import DataConfig
from vaegan.data import ImageDataset, open_dataset, to_tensor, to_uint8
from vaegan.evaluation.copies import CopyCheck
from vaegan.evaluation.reference import RealImages, References
from vaegan.evaluation.samples import Described, Yardstick, compare
from vaegan.evaluation.tally import Findings, Number
from vaegan.metrics.table import METRICS
from vaegan.types import Images

HEADLINE = [name for name, metric in METRICS.items() if metric.headline]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("-n", type=int, default=1700)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data, DataConfig(size=arguments.size))
    heldout, base, train = divide(dataset, arguments.n)
    chosen = References(heldout, train, mirrored=False)
    yard, copies = Yardstick(Described.of(heldout.images(), given=False), None, 0), CopyCheck(chosen, None, False)
    pool = base.images()
    untouched, results = pool[: arguments.n], {}
    for name, damage in damages(pool, train.first(arguments.n).images()).items():
        images = to_tensor(to_uint8(damage(untouched)))[: arguments.n].contiguous()
        found = Findings()
        described = Described.of(images)
        copies.describe(described.tally, 0, images)
        compare(yard, described, found)
        copies.judge(described.tally, found, 0)
        results[name] = found.numbers
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            np.save(arguments.out / f"{name.replace(' ', '-').replace(',', '')}.npy", to_uint8(images))
        print(row(name, found.numbers, results["none"]), flush=True)
    if arguments.out:
        np.save(arguments.out / "heldout.npy", to_uint8(heldout.images()))
        np.save(arguments.out / "train.npy", to_uint8(train.images()))
        everything = {name: {key: vars(number) for key, number in numbers.items()} for name, numbers in results.items()}
        (arguments.out / "sensitivity.json").write_text(json.dumps(everything, indent=1))


def divide(dataset: ImageDataset, n: int) -> tuple[RealImages, RealImages, RealImages]:
    """Held-out, to be damaged, training: by the order of content hashes."""
    order = np.argsort(dataset.contents, kind="stable").astype(np.int64)
    parts = np.split(order, [n, 3 * n])
    return tuple(RealImages(dataset, part, "test") for part in parts)  # type: ignore[return-value]


def damages(pool: Images, train: Images) -> dict[str, Callable[[Images], Images]]:
    """Name to what is done to the images."""
    count, side = len(pool) // 2, pool.shape[-1]
    noise = torch.Generator().manual_seed(0)
    place = torch.arange(side)
    grid_2 = ((place[:, None] + place[None]) % 2 * 2 - 1).float()
    grid_4 = torch.cos(torch.pi / 2 * place)[:, None] * torch.ones(side) + torch.cos(torch.pi / 2 * place)[None]
    return {
        "none": lambda images: images,
        "one pixel to the right": lambda images: F.pad(images, (1, 0, 0, 0), mode="replicate")[..., :side],
        "blur, sigma 0.7": lambda images: blurred(images, 0.7),
        "blur, sigma 1.5": lambda images: blurred(images, 1.5),
        "noise, deviation 0.05": lambda images: images + 0.05 * torch.randn(images.shape, generator=noise),
        "contrast halved": lambda images: images / 2,
        "JPEG, quality 30": lambda images: jpeg(images, 30),
        "grid of 2 pixels": lambda images: images + 0.03 * grid_2,
        "grid of 4 pixels": lambda images: images + 0.03 * grid_4,
        "half of the modes": lambda images: half_of_the_modes(pool),
        "each image ten times": lambda images: images[: max(1, count // 10)].repeat_interleave(10, 0),
        "a fifth the same image": lambda images: torch.cat(
            [images[: count - count // 5], images[:1].expand(count // 5, -1, -1, -1)]
        ),
        "copies of training images": lambda images: train[: len(images)],
        "half of them copies": lambda images: torch.cat([train[: count // 2], images[: count - count // 2]]),
        "copies, slightly changed": lambda images: (
            blurred(train[: len(images)], 0.4) * 0.95 + 0.02 * torch.randn(images.shape, generator=noise)
        ),
    }


def blurred(images: Images, sigma: float) -> Images:
    reach = int(3 * sigma + 1)
    line = torch.exp(-((torch.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    line, channels = line / line.sum(), images.shape[1]
    for shape in ((1, -1), (-1, 1)):
        kernel = line.reshape(1, 1, *shape).expand(channels, -1, -1, -1)
        wide = reach if shape == (1, -1) else 0
        images = F.conv2d(F.pad(images, (wide, wide, reach - wide, reach - wide), mode="reflect"), kernel, groups=channels)
    return images


def jpeg(images: Images, quality: int) -> Images:
    out: list[np.ndarray] = []
    for pixels in to_uint8(images):
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(file)).reshape(pixels.shape))
    return to_tensor(np.stack(out))


def half_of_the_modes(pool: Images) -> Images:
    """Those of twice as many images that lie on one side along the first principal component: no image is there twice."""
    small = F.adaptive_avg_pool2d(pool, 16).flatten(1).double()
    centred = small - small.mean(0)
    first = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    return pool[(centred @ first).argsort()[: len(pool) // 2]]


def row(name: str, numbers: dict[str, Number], floor: dict[str, Number]) -> str:
    cells = [name]
    for key in HEADLINE:
        if key in numbers and key in floor:
            value = f"{numbers[key].value:.3g}"
            cells.append(f"**{value}**" if moved(numbers[key], floor[key]) else value)
    return "| " + " | ".join(cells) + " |"


def moved(number: Number, floor: Number) -> bool:
    """Whether two values differ by more than twice what their intervals allow; as ratios where both intervals are positive."""
    ranges = [(one.value, *one.interval) if isinstance(one.interval, tuple) else (one.value,) * 3 for one in (number, floor)]
    if min(map(min, ranges)) > 0:
        ranges = [tuple(map(math.log, ends)) for ends in ranges]
    half = [(high - low) / 2 for _, low, high in ranges]
    return abs(ranges[0][0] - ranges[1][0]) > 2 * (half[0] ** 2 + half[1] ** 2) ** 0.5 + 1e-12


if __name__ == "__main__":
    main()
