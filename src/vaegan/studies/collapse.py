"""Study collapse: modes found by every objective, on a ring and a grid in the plane and on stacked images."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from PIL import Image

from vaegan.config import DataConfig
from vaegan.data import TRAIN, open_dataset
from vaegan.errors import RequestError
from vaegan.pictures import save_animation, save_png
from vaegan.studies import digits
from vaegan.studies.figures import save_bars
from vaegan.studies.points import Modes, Player, objectives_table, ring, square, train_points
from vaegan.studies.sheets import save_last_samples, side_by_side
from vaegan.studies.study import Arm, ComputedArm, Look, Numbers, Picture, Results, Setting, Story, Study, TrainedArm, Work

STEP_IMAGES = 4  # a step on points takes about the time of four small images in a VAE
MOST_STEPS, FRAMES = 6000, 10
JUDGED = 10_000  # samples of stacked images
STACK = "stacked images: "
RELATIVISTIC, PLAIN = STACK + "relativistic + R1 + R2", STACK + "non-saturating, bare"
VAE, GROWN = STACK + "VAE", STACK + "GAN grown out of the VAE"


def arms(setting: Setting) -> Sequence[Arm]:
    """Every objective on ring and grid; where the images are grey and have classes, GANs on stacks of three."""
    players = objectives_table()
    found: list[Arm] = [
        ComputedArm(f"{modes.name}: {name}", _points(player, modes), images=share)
        for modes, share in ((ring(), 0.25), (square(), 0.5))
        for name, player in players.items()
    ]
    label = _label(setting)
    if label is None or not digits.fits(setting.dataset, label):
        return found
    stacked = setting.folder / "stacked.npy"
    base = replace(setting.base, recipe="gan", data=_colour(setting))
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


def _points(player: Player, modes: Modes) -> Callable[[Work], Numbers]:
    def compute(work: Work) -> Numbers:
        steps = max(FRAMES, min(MOST_STEPS, work.images // STEP_IMAGES))
        history = train_points(player, modes, steps, work.seed, FRAMES, work.tick)
        for frame, drawn in enumerate(history.pictures):
            save_png(Image.fromarray(drawn), work.folder / f"{frame:02d}.png")
        return {"steps": steps, "modes": history.found[-1], "of": len(modes.centres), "good": history.good[-1],
                "share": history.found[-1] / len(modes.centres), "history": history.found, "slopes": history.slopes}  # fmt: skip

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
    for name in ("ring", "grid"):
        labels = [label for label in results.labels if label.startswith(name + ": ")]
        of, short = round(mean(labels[0], "of")), {label: label.removeprefix(name + ": ") for label in labels}
        whole = [short[label] for label in labels if mean(label, "modes") > of - 0.5]
        fewest = min(labels, key=lambda label: mean(label, "modes"))
        best = max(labels, key=lambda label: mean(label, "good"))
        story.sentences.append(
            f"{name.capitalize()} of {of} modes, {mean(labels[0], 'steps'):,.0f} steps of the critic: all modes are found by "
            f"{', '.join(whole) or 'nobody'}. Fewest: {short[fewest]} ({mean(fewest, 'modes'):.0f}). Most samples within "
            f"three deviations of a mode: {short[best]} ({mean(best, 'good'):.0%}; real samples: 99%)."
        )
        story.sentences.append(_held_back(results, labels, short))
        found, spreads = ({short[label]: of_label(label, "modes") for label in labels} for of_label in (mean, results.spread))
        save_bars(results.folder / f"{name}.svg", found, f"Modes found of {of}: {name}", "modes", spreads)
        _animate(results, {short[label]: label for label in labels}, name)
        story.pictures += [
            Picture(
                f"{name}.svg", f"{name.capitalize()}: modes that hold at least a fifth of their fair share of 2,500 samples."
            ),
            Picture(f"{name}.gif", f"{name.capitalize()}: samples (blue) over the modes (orange) while each objective learns."),
        ]
        story.answer[name] = {short[label]: mean(label, "modes") for label in labels}
    _tell_stacks(results, story)
    return story


def _held_back(results: Results, labels: list[str], short: dict[str, str]) -> str:
    """Whether the penalty matters more than the loss."""
    bare = [label for label in labels if f"{label} + R1 + R2" in labels]
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
        f"R1 + R2 change the number of modes by {gain:+.1f} on average (more modes with: {', '.join(more) or 'none'}); "
        f"between the bare objectives it differs by up to {between:.0f}. {verdict}"
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


COLUMNS = {"modes": "modes found", "of": "of", "good": "samples near a mode", "divergence": "KL from equal shares [nats]"}

COLLAPSE = Study(
    name="collapse",
    question="Who drops modes? Every GAN objective on a ring, a grid and stacked images, modes counted.",
    source="the comic-face project: mode collapse",
    arms=arms,
    measure=measure,
    tell=tell,
    minutes=20.0,
)
