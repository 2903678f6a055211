"""Study collapse: modes found by every objective, on a ring and a grid in the plane and on stacked images."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image

from vaegan.config import DataConfig
from vaegan.data import TRAIN, open_dataset
from vaegan.errors import RequestError
from vaegan.pictures import save_animation, save_png
from vaegan.studies import digits
from vaegan.studies.points import Modes, Player, objectives_table, ring, square, train_points
from vaegan.studies.sheets import bars, last_samples, open_pictures
from vaegan.studies.study import (
    Arm,
    ComputedArm,
    Numbers,
    Picture,
    Results,
    Setting,
    Story,
    Study,
    Subject,
    TrainedArm,
    Work,
    slug,
)

STEP_IMAGES = 4  # a step on points takes about the time of four small images in a VAE
MOST_STEPS, FRAMES = 6000, 10
RING, SLOW = "ring", "ring, slow critic"
JUDGED = 10_000  # samples of stacked images
STACK = "stacked images: "
RELATIVISTIC, PLAIN = STACK + "relativistic + R1 + R2", STACK + "non-saturating, bare"
VAE, GROWN = STACK + "VAE", STACK + "GAN grown out of the VAE"


@dataclass(frozen=True)
class Toy:
    """A mixture in the plane, and how the game is played on it."""

    modes: Modes
    critic_rate: float
    """The critic's learning rate over the generator's. Metz et al. (2017) showed mode collapse with a tenth."""
    images: float
    """Its part of the budget."""


TOYS = {
    RING: Toy(ring(), 1.0, 0.5),
    SLOW: Toy(ring(), 0.1, 0.5),
    "grid": Toy(square(), 1.0, 1.0),
}


def arms(setting: Setting) -> Sequence[Arm]:
    """Every objective on ring and grid; where the images are grey and have classes, GANs on stacks of three."""
    players = objectives_table()
    found: list[Arm] = [
        ComputedArm(f"{toy}: {name}", _points(player, TOYS[toy]), images=TOYS[toy].images)
        for toy in TOYS
        for name, player in players.items()
    ]
    label = _label(setting)
    if label is None or not digits.fits(setting.dataset, label):
        return found
    stacked = setting.folder / "stacked.npy"
    # Who drops modes by the game alone: the discrepancy of details would pull samples apart in every arm.
    base = replace(setting.base, recipe="gan", gan=replace(setting.base.gan, details=0.0), data=_colour(setting))
    bare = replace(base.gan, objective="non-saturating", penalty=0.0, final_penalty=0.0)
    made = [
        TrainedArm(VAE, replace(base, recipe="vae"), data=stacked),
        TrainedArm(GROWN, base, start=VAE, data=stacked),
        TrainedArm(RELATIVISTIC, base, data=stacked),
        TrainedArm(PLAIN, replace(base, gan=bare), data=stacked),
    ]
    return [*found, ComputedArm(STACK + "real", _stacks), *made]


def _label(setting: Setting) -> str | None:
    try:
        return setting.labels()
    except RequestError:
        return None


def _points(player: Player, toy: Toy) -> Callable[[Work], Numbers]:
    def compute(work: Work) -> Numbers:
        steps = max(FRAMES, min(MOST_STEPS, work.images // STEP_IMAGES))
        modes = toy.modes
        moments = train_points(player, modes, steps, work.seed, FRAMES, work.tick, toy.critic_rate)
        for frame, moment in enumerate(moments):
            save_png(Image.fromarray(moment.picture), work.folder / f"{frame:02d}.png")
        found, of, last = [moment.found for moment in moments], len(modes.centres), moments[-1]
        numbers = {"steps": steps, "modes": last.found, "of": of, "good": last.good, "most": max(found), "share": last.found / of}
        return numbers | {"history": found, "slopes": [moment.slope for moment in moments]}

    return compute


def _stacks(work: Work) -> Numbers:
    """Makes the stacks, and counts the modes of as many real ones as will be judged: the control."""
    setting, path = work.setting, work.setting.folder / "stacked.npy"
    if not path.is_file():
        digits.save_stacked(setting.dataset, path)
    classifier = digits.train_classifier(setting.dataset, setting.labels(), 0, work.tick)
    dataset = open_dataset(path, _colour(setting))
    return _counted(classifier.codes(dataset.load(dataset.indices(TRAIN)[:JUDGED])), classifier)


def _colour(setting: Setting) -> DataConfig:
    """How stacks are prepared: as the study's images, but in colour and never mirrored."""
    return replace(setting.base.data, channels="auto", flip="off", binarize="none")


def _counted(codes: torch.Tensor, classifier: digits.Classifier) -> Numbers:
    modes, divergence = digits.count_modes(codes, classifier.classes)
    of = classifier.classes**3
    return {"modes": modes, "of": of, "share": modes / of, "divergence": divergence, "classifier": classifier.accuracy}


def measure(subject: Subject) -> Numbers:
    """Modes of stacked images that a model's samples show."""
    classifier = digits.train_classifier(subject.setting.dataset, subject.setting.labels(), 0, subject.tick)
    blocks: list[torch.Tensor] = []
    for images in subject.model.sample_blocks(JUDGED, seed=subject.seed):
        blocks.append(classifier.codes(images))
        subject.tick(1.0)
    return _counted(torch.cat(blocks), classifier)


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
    """Sentences and pictures of one mixture in the plane."""
    mean, folder, file = results.mean, results.folder, slug(name)
    short = {label: label.removeprefix(name + ": ") for label in results.labels if label.startswith(name + ": ")}
    labels = list(short)
    of, found = round(mean(labels[0], "of")), {short[label]: mean(label, "modes") for label in labels}
    best = max(labels, key=lambda label: mean(label, "good"))
    story.sentences += [
        f"{name.capitalize()}, {of} modes, {mean(labels[0], 'steps'):,.0f} steps of the critic. Modes at the end: "
        + ", ".join(f"{one} {count:.0f}" for one, count in sorted(found.items(), key=lambda item: -item[1]))
        + f". Most samples within three deviations of a mode: {short[best]} ({mean(best, 'good'):.0%}; real samples: 99%).",
        _held_back(results, name, short),
    ]
    runs = results.folders(labels)
    frames = [
        open_pictures({short[label]: run / f"{frame:02d}.png" for label, run in runs.items()}, columns=4)
        for frame in range(FRAMES)
    ]
    save_animation(frames, folder / f"{file}.gif", 400)
    caption = f"{name.capitalize()}: modes that hold at least a fifth of their fair share of 2,500 samples."
    moving = f"{name.capitalize()}: samples (blue) over the modes (orange) while each objective learns."
    chart = bars(results, f"{file}.svg", "modes", labels, f"Modes found of {of}: {name}", "modes", caption, short)
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


def _held_back(results: Results, name: str, short: dict[str, str]) -> str:
    """Whether the penalty matters more than the loss."""
    bare = [label for label in short if f"{label} + R1 + R2" in short]
    gains = [results.mean(f"{label} + R1 + R2", "modes") - results.mean(label, "modes") for label in bare]
    values = [results.mean(label, "modes") for label in bare]
    gain, between = sum(gains) / len(gains), max(values) - min(values)
    more = [short[label] for label, value in zip(bare, gains, strict=True) if value > 0]
    verdict = (
        "The penalty matters more than the loss, as Lucic et al. (2018) found."
        if gain > between
        else "That the penalty matters more than the loss (Lucic et al. 2018) is not seen here."
    )
    return (
        f"{name.capitalize()}: R1 + R2 change the number of modes by {gain:+.1f} on average (more modes with: "
        f"{', '.join(more) or 'none'}); between the bare objectives it differs by up to {between:.0f}. {verdict}"
    )


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
        "samples, and at the divergence from equal shares."
    )
    story.answer["stacked"] = modes
    trained = {name: results.arm_folder(STACK + name) for name in modes}
    story.pictures += last_samples(results.folder, trained, "Samples of stacked images.", 2, "stacked.png")


COLUMNS = {
    "modes": "modes found",
    "most": "most at ten moments",
    "of": "of",
    "good": "samples near a mode",
    "divergence": "KL from equal shares [nats]",
}

COLLAPSE = Study(
    name="collapse",
    question="Who drops modes? Every GAN objective on a ring, a grid and stacked images, modes counted.",
    source="the comic-face project: mode collapse",
    arms=arms,
    measure=measure,
    tell=tell,
    columns=COLUMNS,
    minutes=20.0,
)
