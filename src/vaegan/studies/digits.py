"""StackedDigits from the data at hand: three random grey images as the colours of one, and a classifier to count modes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from vaegan.data import TRAIN, VALIDATION, ImageDataset
from vaegan.files import atomic_path
from vaegan.randomness import keyed_seed
from vaegan.types import Images

STACKED = 20_000  # images made
MOST_CLASSES = 12  # more than 12^3 modes cannot be counted with the samples drawn here


def fits(dataset: ImageDataset, label: str | None) -> bool:
    """Whether stacks can be made of these images: grey, with a few classes."""
    return label is not None and dataset.channels == 1 and len(dataset.label_words[label]) <= MOST_CLASSES


def save_stacked(dataset: ImageDataset, path: Path, seed: int = 0) -> None:
    """Writes 20,000 stacks of three random training images, uint8 [count, side, side, 3], as .npy (Metz et al. 2017)."""
    train = dataset.indices(TRAIN)
    chosen = np.random.default_rng(keyed_seed(seed, "stacked")).choice(train, (3, STACKED))
    pixels = np.asarray(dataset.images)
    with atomic_path(path) as temporary:
        np.save(temporary, np.concatenate([pixels[column] for column in chosen], axis=3))


@dataclass(frozen=True, eq=False)
class Classifier:
    """Names the class of grey images."""

    network: nn.Module
    classes: int
    accuracy: float
    """On validation images."""

    @torch.no_grad()
    def codes(self, images: Images) -> Tensor:
        """The class of every channel of every image, [count, channels]."""
        grey = images.flatten(0, 1).unsqueeze(1)
        found = torch.cat([self.network(block).argmax(1) for block in grey.split(1000)])
        return found.unflatten(0, (len(images), images.shape[1]))


def train_classifier(
    dataset: ImageDataset, label: str, seed: int, tick: Callable[[float], None], steps: int = 1500
) -> Classifier:
    """A small fully connected network, trained for some seconds."""
    classes = len(dataset.label_words[label])
    codes = torch.from_numpy(dataset.labels[label]).long()
    generator = Generator().manual_seed(keyed_seed(seed, "classifier"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "classifier"))
        network = nn.Sequential(nn.AdaptiveAvgPool2d(14), nn.Flatten(), nn.Linear(196, 128), nn.ReLU(), nn.Linear(128, classes))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3, fused=True)
    train = dataset.indices(TRAIN)
    for step in range(steps):
        chosen = train[torch.randint(len(train), (128,), generator=generator).numpy()]
        loss = F.cross_entropy(network(dataset.load(chosen)), codes[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            tick(step / steps)
    heldout = dataset.indices(VALIDATION)[:2000]
    with torch.no_grad():
        right = network(dataset.load(heldout)).argmax(1) == codes[heldout]
    return Classifier(network.eval(), classes, float(right.float().mean()))


def count_modes(codes: Tensor, classes: int) -> tuple[int, float]:
    """How many combinations occur in codes [count, columns], and KL(what occurs || all equally likely) [nats]."""
    code = torch.zeros(len(codes), dtype=torch.int64)
    for column in codes.T:
        code = code * classes + column
    counts = torch.bincount(code, minlength=classes ** codes.shape[1]).double()
    shares = counts / counts.sum()
    present = shares[shares > 0]
    return int((counts > 0).sum()), float((present * (present * len(shares)).log()).sum())
