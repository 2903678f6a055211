"""Study collapse: modes found by every objective, on a ring and a grid in the plane and on stacked images."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from vaegan.config import ClassicGANConfig, DataConfig
from vaegan.data import TRAIN, VALIDATION, open_dataset
from vaegan.files import atomic_path
from vaegan.pictures import save_animation, save_png
from vaegan.randomness import keyed_seed
from vaegan.studies.points import Modes, objectives_table, ring, square, train_points
from vaegan.studies.sheets import open_pictures
from vaegan.studies.study import Arm, ComputedArm, Numbers, Picture, Results, Setting, Story, Study, Subject, TrainedArm, Work
from vaegan.types import Images

STEP_IMAGES = 4  # a step on points takes about the time of four small images in a VAE
MOST_STEPS, FRAMES = 6000, 10
RING, SLOW = "ring", "ring, slow critic"
JUDGED = 10_000  # samples of stacked images
STACK = "stacked images: "
RELATIVISTIC, PLAIN = STACK + "relativistic + R1 + R2", STACK + "non-saturating, bare"
VAE, GROWN = STACK + "VAE", STACK + "GAN grown out of the VAE"
STACKED = 20_000  # images made
MOST_CLASSES = 12  # more than 12^3 modes cannot be counted with the samples drawn here


@dataclass(frozen=True)
class Toy:
    """A mixture in the plane, and how the game is played on it."""

    modes: Modes
    critic_rate: float
    """The critic's learning rate over the generator's. Metz et al. (2017) showed mode collapse with a tenth."""
    images: float  # its part of the budget


TOYS = {RING: Toy(ring(), 1.0, 0.5), SLOW: Toy(ring(), 0.1, 0.5), "grid": Toy(square(), 1.0, 1.0)}


def arms(setting: Setting) -> Sequence[Arm]:
    """Every objective on ring and grid; where the images are grey and have classes, GANs on stacks of three."""
    found: list[Arm] = [
        ComputedArm(f"{name}: {objective}", _points(rules, toy), images=toy.images)
        for name, toy in TOYS.items()
        for objective, rules in objectives_table().items()
    ]
    dataset = setting.dataset
    # Stacks are made of grey images with a few classes.
    if setting.label is None or dataset.channels > 1 or len(dataset.label_words[setting.label]) > MOST_CLASSES:
        return found
    stacked = setting.folder / "stacked.npy"
    base = replace(setting.base, recipe="gan", data=_colour(setting))
    bare = ClassicGANConfig(objective="non-saturating", batch_size=base.gan.batch_size)
    made = [
        TrainedArm(VAE, replace(base, recipe="vae"), data=stacked),
        TrainedArm(GROWN, base, start=VAE, data=stacked),
        TrainedArm(RELATIVISTIC, base, data=stacked),
        TrainedArm(PLAIN, replace(base, recipe="classic-gan", classic=bare), data=stacked),
    ]
    return [*found, ComputedArm(STACK + "real", _stacks), *made]


def _points(rules: ClassicGANConfig, toy: Toy) -> Callable[[Work], Numbers]:
    def compute(work: Work) -> Numbers:
        steps = max(FRAMES, min(MOST_STEPS, work.images // STEP_IMAGES))
        modes = toy.modes
        moments = train_points(rules, modes, steps, work.seed, FRAMES, work.tick, toy.critic_rate)
        for frame, moment in enumerate(moments):
            save_png(moment.picture, work.folder / f"{frame:02d}.png")
        found, of, last = [moment.found for moment in moments], len(modes.centres), moments[-1]
        numbers = {"steps": steps, "modes": last.found, "of": of, "good": last.good, "most": max(found), "share": last.found / of}
        return numbers | {"history": found, "slopes": [moment.slope for moment in moments]}

    return compute


def _stacks(work: Work) -> Numbers:
    """Makes the stacks, and counts the modes of as many real ones as will be judged: the control."""
    setting, path = work.setting, work.setting.folder / "stacked.npy"
    if not path.is_file():  # 20,000 stacks of three random training images (Metz et al. 2017)
        train, pixels = setting.dataset.indices(TRAIN), np.asarray(setting.dataset.images)
        chosen = np.random.default_rng(keyed_seed(0, "stacked")).choice(train, (3, STACKED))
        with atomic_path(path) as temporary:
            np.save(temporary, np.concatenate([pixels[column] for column in chosen], axis=3))
    classifier = train_classifier(work)
    dataset = open_dataset(path, _colour(setting))
    return _counted(classifier.codes(dataset.load(dataset.indices(TRAIN)[:JUDGED])), classifier)


def _colour(setting: Setting) -> DataConfig:
    """How stacks are prepared: as the study's images, but in colour and never mirrored."""
    return replace(setting.base.data, channels="auto", flip="off", binarize="none")


def measure(subject: Subject) -> Numbers:
    """Modes of stacked images that a model's samples show."""
    classifier = train_classifier(subject)
    blocks: list[Tensor] = []
    for images in subject.model.sample_blocks(JUDGED, subject.seed, "prior"):
        blocks.append(classifier.codes(images))
        subject.tick(1.0)
    return _counted(torch.cat(blocks), classifier)


@dataclass(frozen=True, eq=False)
class Classifier:
    """Names the class of grey images."""

    network: nn.Module
    classes: int
    accuracy: float  # on validation images

    @torch.no_grad()
    def codes(self, images: Images) -> Tensor:
        """The class of every channel of every image, [count, channels]."""
        grey = images.flatten(0, 1).unsqueeze(1)
        found = torch.cat([self.network(block).argmax(1) for block in grey.split(1000)])
        return found.unflatten(0, (len(images), images.shape[1]))


def train_classifier(work: Work, steps: int = 1500) -> Classifier:
    """A small fully connected network, trained for some seconds on the study's images."""
    dataset, label = work.setting.dataset, work.setting.labels()
    classes = len(dataset.coded(label)[1])
    codes = torch.from_numpy(dataset.coded(label)[0])
    generator = Generator().manual_seed(keyed_seed(0, "classifier"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(0, "classifier"))
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
            work.tick(step / steps)
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


def _counted(codes: Tensor, classifier: Classifier) -> Numbers:
    modes, divergence = count_modes(codes, classifier.classes)
    of = classifier.classes**3
    return {"modes": modes, "of": of, "share": modes / of, "divergence": divergence, "classifier": classifier.accuracy}


def tell(results: Results) -> Story:
    """Who finds how many."""
    story = Story()
    for name in TOYS:
        _tell_toy(results, name, story)
    modes = ([results.mean(label, "modes") for label in results.labels if label.startswith(f"{name}: ")] for name in (RING, SLOW))
    story.sentences.insert(0, pace(*modes))
    _tell_stacks(results, story)
    return story


def _tell_toy(results: Results, name: str, story: Story) -> None:
    mean, folder, file = results.mean, results.folder, name.replace(", ", "-").replace(" ", "-")
    short = {label: label.removeprefix(name + ": ") for label in results.labels if label.startswith(name + ": ")}
    labels = list(short)
    of, found = round(mean(labels[0], "of")), {short[label]: mean(label, "modes") for label in labels}
    best = max(labels, key=lambda label: mean(label, "good"))
    story.sentences += [
        f"{name.capitalize()}, {of} modes, {mean(labels[0], 'steps'):,.0f} steps of the critic. Modes at the end: "
        + ", ".join(f"{one} {count:.0f}" for one, count in sorted(found.items(), key=lambda item: -item[1]))
        + f". Most samples within three deviations of a mode: {short[best]} ({mean(best, 'good'):.0%}; real samples: 99%).",
    ]
    runs = results.folders(labels)
    frames = [
        open_pictures({short[label]: run / f"{frame:02d}.png" for label, run in runs.items()}, columns=4)
        for frame in range(FRAMES)
    ]
    save_animation(frames, folder / f"{file}.gif", 400)
    caption = f"{name.capitalize()}: modes that hold at least a fifth of their fair share of 2,500 samples."
    moving = f"{name.capitalize()}: samples (blue) over the modes (orange) while each objective learns."
    chart = results.bars(f"{file}.svg", "modes", short, f"Modes found of {of}: {name}", "modes", caption)
    story.pictures += [chart, Picture(f"{file}.gif", moving)]
    story.answer[name] = found


def pace(equal: Sequence[float], slow: Sequence[float]) -> str:
    """What the critic's pace does, from the modes that each objective found with equal rates and with a slow critic."""
    at_equal, at_slow = statistics.fmean(equal), statistics.fmean(slow)
    words = (
        "The same ring, the same objectives, and a critic at a tenth of the generator's learning rate: "
        f"{at_slow:.1f} modes on average instead of {at_equal:.1f}. "
    )
    if at_equal - at_slow > 2 * statistics.pstdev(equal):
        return f"{words}Who drops modes is decided by the critic's pace more than by the objective."
    if at_equal - at_slow > 1:
        return f"{words}A slow critic costs modes; so does the choice of the objective."
    return f"{words}The critic's pace makes no great difference."


def _tell_stacks(results: Results, story: Story) -> None:
    labels = [label for label in results.labels if label.startswith(STACK)]
    if not labels:
        story.sentences.append("Stacked images were left out: they need grey images with at most 12 classes.")
        return
    mean, real = results.mean, STACK + "real"
    modes = {label.removeprefix(STACK): mean(label, "modes") for label in labels if label != real}
    found = "; ".join(f"{name} {count:.0f}" for name, count in modes.items())
    story.sentences.append(
        f"Stacked images: three random images as the colours of one make {mean(real, 'of'):,.0f} modes, named by a classifier "
        f"that is right on {mean(real, 'classifier'):.1%} of single images. In {JUDGED:,} samples: {found or 'nobody'}; in as "
        f"many real ones {mean(real, 'modes'):.0f}. A classifier names noise too, so a bad model can score high: look at the "
        "samples, and at the divergence from equal shares. The non-saturating GAN is trained as its sources do "
        "it, by Adam; the others by Muon."
    )
    story.answer["stacked"] = modes


COLUMNS = {
    "modes": "modes found",
    "most": "most at ten moments",
    "of": "of",
    "good": "samples near a mode",
    "divergence": "KL from equal shares [nats]",
}

QUESTION = "Who drops modes? Every GAN objective on a ring, a grid and stacked images, modes counted."
SOURCE = "the comic-face project: mode collapse"
COLLAPSE = Study("collapse", QUESTION, SOURCE, arms, measure, tell, COLUMNS, minutes=20.0)
