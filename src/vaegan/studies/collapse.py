"""Study collapse: modes found by every objective, on a ring and a grid in the plane and on stacked images."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image

from vaegan.charts import save_bars
from vaegan.config import DataConfig
from vaegan.data import TRAIN, open_dataset
from vaegan.errors import RequestError
from vaegan.pictures import save_animation, save_png
from vaegan.studies import digits
from vaegan.studies.points import Modes, Player, objectives_table, ring, square, train_points
from vaegan.studies.sheets import save_last_samples, side_by_side
from vaegan.studies.study import Arm, ComputedArm, Look, Numbers, Picture, Results, Setting, Story, Study, TrainedArm, Work, slug

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
    """Of the generator's learning rate. A tenth is what Metz et al. (2017) showed mode collapse with."""
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
        history = train_points(player, modes, steps, work.seed, FRAMES, work.tick, toy.critic_rate)
        for frame, drawn in enumerate(history.pictures):
            save_png(Image.fromarray(drawn), work.folder / f"{frame:02d}.png")
        return {"steps": steps, "modes": history.found[-1], "of": len(modes.centres), "good": history.good[-1],
                "most": max(history.found), "share": history.found[-1] / len(modes.centres), "history": history.found,
                "slopes": history.slopes}  # fmt: skip

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


def measure(look: Look) -> Numbers:
    """Modes of stacked images that a model's samples show."""
    classifier = digits.train_classifier(look.setting.dataset, look.setting.labels(), 0, look.tick)
    blocks: list[torch.Tensor] = []
    for images in look.model.sample_blocks(JUDGED, seed=look.seed):
        blocks.append(classifier.codes(images))
        look.tick(1.0)
    return _counted(torch.cat(blocks), classifier)


def tell(results: Results) -> Story:
    """Who finds how many."""
    mean, story = results.mean, Story(columns=COLUMNS)
    for name in TOYS:
        labels = [label for label in results.labels if label.startswith(name + ": ")]
        of, short = round(mean(labels[0], "of")), {label: label.removeprefix(name + ": ") for label in labels}
        found, spreads = ({short[label]: of_label(label, "modes") for label in labels} for of_label in (mean, results.spread))
        best = max(labels, key=lambda label: mean(label, "good"))
        order = sorted(found.items(), key=lambda item: -item[1])
        story.sentences.append(
            f"{name.capitalize()}, {of} modes, {mean(labels[0], 'steps'):,.0f} steps of the critic. Modes at the end: "
            + ", ".join(f"{one} {count:.0f}" for one, count in order)
            + f". Most samples within three deviations of a mode: {short[best]} ({mean(best, 'good'):.0%}; real samples: 99%)."
        )
        story.sentences.append(_held_back(results, name, short))
        file = slug(name)
        save_bars(results.folder / f"{file}.svg", found, f"Modes found of {of}: {name}", "modes", spreads)
        _animate(results, {short[label]: label for label in labels}, file)
        story.pictures += [
            Picture(
                f"{file}.svg", f"{name.capitalize()}: modes that hold at least a fifth of their fair share of 2,500 samples."
            ),
            Picture(f"{file}.gif", f"{name.capitalize()}: samples (blue) over the modes (orange) while each objective learns."),
        ]
        story.answer[name] = {short[label]: mean(label, "modes") for label in labels}
    ends = ([mean(label, "modes") for label in results.labels if label.startswith(f"{name}: ")] for name in (RING, SLOW))
    story.sentences.insert(0, pace(*ends))
    _tell_stacks(results, story)
    return story


def pace(equal: Sequence[float], slow: Sequence[float]) -> str:
    """Whether the critic's pace decides more than the objective does.

    Args:
        equal: modes that each objective found where both players learn at the same rate.
        slow: the same with a slow critic.
    """
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
    found = "; ".join(f"{label.removeprefix(STACK)} {mean(label, 'modes'):.0f}" for label in labels if label != real)
    story.sentences.append(
        f"Stacked images: three random images as the colours of one make {mean(real, 'of'):,.0f} modes, told by a classifier "
        f"that is right on {mean(real, 'classifier'):.1%} of single images. In {JUDGED:,} samples: {found or 'nobody'}; in as "
        f"many real ones {mean(real, 'modes'):.0f}. A classifier names noise too, so a bad model can score high: look at the "
        "samples, and at the divergence from equal shares."
    )
    trained = {label.removeprefix(STACK): results.arm_folder(label) for label in labels if label != real}
    story.answer["stacked"] = {label.removeprefix(STACK): mean(label, "modes") for label in labels}
    if not trained:
        return
    save_last_samples(trained, results.folder / "stacked.png", columns=2)
    story.pictures.append(Picture("stacked.png", "Samples of stacked images."))


def _animate(results: Results, named: dict[str, str], name: str) -> None:
    frames = [
        side_by_side({short: _drawn(results, label, frame) for short, label in named.items()}, columns=4)
        for frame in range(FRAMES)
    ]
    save_animation(frames, results.folder / f"{name}.gif", 400)


def _drawn(results: Results, label: str, frame: int) -> Image.Image:
    with Image.open(results.arm_folder(label) / f"{frame:02d}.png") as picture:
        return picture.convert("RGB")


COLUMNS = {
    "modes": "modes found",
    "most": "most at ten looks",
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
    minutes=20.0,
)
