"""Study generator-loss: the vanishing gradient seen. Saturating against non-saturating before a critic that is sure."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaegan.studies.figures import Axis, save_lines
from vaegan.studies.measures import sampling
from vaegan.studies.sheets import save_learning
from vaegan.studies.study import Look, Numbers, Picture, Results, Setting, Story, Study, TrainedArm, some
from vaegan.training.journal import read_journal

SATURATING, NON_SATURATING = "saturating: log(1 - D(G(z)))", "non-saturating: -log D(G(z))"
HELD, SATURATING_HELD = " + R1 + R2", "saturating: log(1 - D(G(z))) + R1 + R2"
GRADIENT = "generator_gradient"
POINTS = 4


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """The same weights, data and draws; a critic without penalty that is trained first, so that it is sure of itself."""
    base = replace(setting.base, recipe="gan")
    bare = replace(
        base.gan, penalty=0.0, final_penalty=0.0, augmentation=0.0, blur=0.0, critic_warmup=100, critic_warmup_accuracy=1.0
    )
    saturating = replace(bare, objective="saturating")
    return [
        TrainedArm(SATURATING, replace(base, gan=saturating), points=POINTS),
        TrainedArm(NON_SATURATING, replace(base, gan=replace(bare, objective="non-saturating")), points=POINTS),
        TrainedArm(
            SATURATING_HELD,
            replace(base, gan=replace(saturating, penalty=base.gan.penalty, final_penalty=base.gan.final_penalty)),
            points=POINTS,
        ),
    ]


def measure(look: Look) -> Numbers:
    """The score, and what the journal says of the generator's gradient since it was let go."""
    found = sampling(look.model, look.dataset, seed=look.seed)
    if look.is_last:
        found["gradients"] = _journal(look.run.path, GRADIENT)
        found["accuracies"] = _journal(look.run.path, "pair_accuracy")
        values = [value for _, value in found["gradients"]]
        found["gradient"] = sorted(values)[len(values) // 2] if values else None
    return found


def _journal(run: Path, name: str) -> list[tuple[int, float]]:
    lines = read_journal(run / "gan" / "metrics.jsonl")
    return [(line["seen"], line[name]) for line in lines if line.get(name) is not None]


def tell(results: Results) -> Story:
    """How little the generator was told."""
    if any(not result.last["gradients"] for result in results.all):
        held = "The budget was spent before the critic's first 100 steps were over, so no generator has taken a step: give more."
        return Story([held], COLUMNS)
    mean, short = results.mean, {label: label.split(":")[0] + (HELD if label.endswith(HELD) else "") for label in results.labels}
    ratios = some(lambda: mean(NON_SATURATING, "gradient") / max(mean(SATURATING, "gradient"), 1e-12))
    right = {label: [value for _, value in results.of(label)[0].last["accuracies"]][-1] for label in results.labels}
    distances = ", ".join(f"{short[label]} {mean(label, 'distance'):.0f}" for label in results.labels)
    sentences = [
        *(f"The critic is trained first and never held back; at the end it orders {right[SATURATING]:.0%} of pairs rightly "
        f"against the saturating generator and {right[NON_SATURATING]:.0%} against the other. The median gradient of the "
        f"generator is {mean(SATURATING, 'gradient'):.2g} saturating and {mean(NON_SATURATING, 'gradient'):.2g} "
        f"non-saturating: {ratio:,.1f} times as much. In closed form the slope in the critic's logit is sigmoid(D(G)), "
        "nothing where the critic is sure of a fake, against sigmoid(-D(G)), which is full just there. (One sentence of the "
        "source has it the wrong way round.)" for ratio in ratios),
        f"Distance of samples at the end: {distances}; real images {mean(results.labels[0], 'real_distance'):.0f}.",
        *some(lambda: _learning(mean(SATURATING, "distance"), mean(NON_SATURATING, "distance"))),
    ]  # fmt: skip
    x = Axis("images seen")
    gradients = {short[label]: results.of(label)[0].last["gradients"] for label in results.labels}
    save_lines(
        results.folder / "gradient.svg", gradients, "What the generator is told", x, Axis("norm of its gradient", log=True)
    )
    curves = {short[label]: results.curve(label, "distance") for label in results.labels}
    spreads = {short[label]: results.spreads(label, "distance") for label in results.labels}
    save_lines(results.folder / "distance.svg", curves, "Distance of samples over time", x, Axis("sliced Wasserstein x1000"),
               spreads=spreads, marks=True)  # fmt: skip
    save_learning(
        {short[label]: results.arm_folder(label) for label in results.labels}, results.folder / "learning.gif", columns=3
    )
    pictures = [
        Picture("gradient.svg", "The norm of the generator's gradient, seed 0."),
        Picture("distance.svg", "How far samples are from held-out images."),
        Picture("learning.gif", "The same latents while each generator learns."),
    ]
    answer: dict[str, Any] = {"distance": {short[label]: mean(label, "distance") for label in results.labels}}
    return Story(sentences, COLUMNS, pictures, answer | dict(zip(["gradient_ratio"], ratios, strict=False)))


def _learning(saturating: float, other: float) -> str:
    if saturating > 1.05 * other:
        return "Where the gradient vanishes, so does the learning."
    return (
        "The smaller gradient has not cost quality here: Adam divides by the gradient's own size, and so hides much of the "
        "vanishing."
    )


COLUMNS = {
    "gradient": "median gradient of the generator",
    "distance": "distance of samples x1000",
    "recall": "recall",
    "sharpness": "sharpness, real = 1",
}

GENERATOR_LOSS = Study(
    name="generator-loss",
    question="Does the gradient vanish? Saturating against non-saturating generator loss from the same start.",
    source="the comic-face project: log(1 - D(G(z))) and its vanishing gradient",
    arms=arms,
    measure=measure,
    tell=tell,
)
