"""Study generator-loss: the vanishing gradient seen. Saturating against non-saturating before a critic that is sure."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaegan.charts import Axis
from vaegan.config import ClassicGANConfig
from vaegan.studies.measures import SCORES, sample_scores
from vaegan.studies.study import Numbers, Results, Setting, Story, Study, Subject, TrainedArm, some
from vaegan.training.journal import read_journal

SATURATING, NON_SATURATING = "saturating", "non-saturating"  # log(1 - D(G(z))), -log D(G(z))
HELD, PLAIN = " + R1 + R2", ", SGD"
SATURATING_HELD, SATURATING_PLAIN, NON_SATURATING_PLAIN = SATURATING + HELD, SATURATING + PLAIN, NON_SATURATING + PLAIN
POINTS = 4
CRITIC_STEPS = 5


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """Arms that share weights, data and draws; a critic without penalty takes five steps for one, so that it is sure.

    Each loss comes twice, because an optimiser that divides by the gradient's size hides that it vanishes: the generator steps
    with Adam, and with SGD, whose step is the gradient. The critic always has Adam.
    """
    base = replace(setting.base, recipe="classic-gan")
    held = {"penalty": base.gan.penalty}
    plain = {"optimizer": "sgd"}

    def arm(label: str, **changes: Any) -> TrainedArm:
        objective = SATURATING if label.startswith(SATURATING) else NON_SATURATING
        config = ClassicGANConfig(objective=objective, batch_size=base.gan.batch_size, critic_steps=CRITIC_STEPS)
        return TrainedArm(label, replace(base, classic=replace(config, **changes)), points=POINTS)

    return [
        arm(SATURATING),
        arm(NON_SATURATING),
        arm(SATURATING_PLAIN, **plain),
        arm(NON_SATURATING_PLAIN, **plain),
        arm(SATURATING_HELD, **held),
    ]


def measure(subject: Subject) -> Numbers:
    """The score, and what the journal says of the generator's gradient since it began to learn."""
    found = sample_scores(subject)
    if subject.is_last:
        found["gradients"] = _journal(subject.run.path, "generator_gradient")
        found["accuracies"] = _journal(subject.run.path, "pair_accuracy")
        values = [value for _, value in found["gradients"]]
        found["gradient"] = sorted(values)[len(values) // 2] if values else None
    return found


def _journal(run: Path, name: str) -> list[tuple[int, float]]:
    lines = read_journal(run / "gan" / "metrics.jsonl")
    return [(line["seen"], line[name]) for line in lines if line.get(name) is not None]


def tell(results: Results) -> Story:
    """How little the generator had to learn from."""
    if any(not result.last["gradients"] for result in results.all):
        return Story(
            ["The budget was spent before the journal's first line, so nothing is known of the generator's gradient: give more."]
        )
    mean, labels, distances = results.mean, results.labels, results.means("distance")
    sentences = [
        *some(
            lambda: _gradients(results),
            lambda: plainly(results),
            lambda: (
                f"With Adam for the generator, which divides by the gradient's own size, the distances are "
                f"{mean(SATURATING, 'distance'):.0f} and {mean(NON_SATURATING, 'distance'):.0f}."
            ),
        ),
        "Distance of samples at the end: "
        + ", ".join(f"{name} {distance:.0f}" for name, distance in distances.items())
        + f"; real images {mean(labels[0], 'real_distance'):.0f}.",
    ]
    x, y = Axis("images seen"), Axis("norm of its gradient", log=True)
    gradients = {label: results.of(label)[0].last["gradients"] for label in labels}
    caption = "The norm of the generator's gradient, seed 0."
    first = results.lines("gradient.svg", gradients, "What the generator learns from", x, y, caption)
    curves = {label: results.curve(label, "distance") for label in labels}
    spreads = {label: results.spreads(label, "distance") for label in labels}
    title, y = "Distance of samples over time", Axis("sliced Wasserstein x1000")
    caption = "How far samples are from held-out images."
    second = results.lines("distance.svg", curves, title, x, y, caption, spreads=spreads, marks=True)
    ratio = dict(*some(lambda: {"gradient_ratio": _ratio(results)}))
    return Story(sentences, [first, second], {"distance": distances} | ratio)


def _ratio(results: Results) -> float:
    return results.mean(NON_SATURATING, "gradient") / max(results.mean(SATURATING, "gradient"), 1e-30)


def _gradients(results: Results) -> str:
    mean = results.mean
    first, second = (results.of(label)[0].last["accuracies"][-1][1] for label in (SATURATING, NON_SATURATING))
    return (
        f"The critic takes five steps for one; at the end it orders {first:.0%} of pairs rightly "
        f"against the saturating generator and {second:.0%} against the other. The median gradient of the "
        f"generator is {mean(SATURATING, 'gradient'):.2g} saturating and {mean(NON_SATURATING, 'gradient'):.2g} "
        f"non-saturating: {_ratio(results):,.3g} times as much. In closed form the slope in the critic's logit is sigmoid(D(G)), "
        "nothing where the critic is sure of a fake, against sigmoid(-D(G)), which is full just there. (One sentence of the "
        "source has it the wrong way round.)"
    )


def plainly(results: Results) -> str:
    """What vanishing means where the step is the gradient."""
    mean = results.mean
    saturating, other = ((mean(label, "distance"), mean(label, "gradient")) for label in (SATURATING_PLAIN, NON_SATURATING_PLAIN))
    distances = [value for _, value in results.curve(SATURATING_PLAIN, "distance")]
    words = (
        f"Where the generator's step is its gradient (SGD), the median gradient is {saturating[1]:.2g} saturating and "
        f"{other[1]:.2g} non-saturating, and the distance of samples {saturating[0]:.0f} and {other[0]:.0f}. "
    )
    if max(distances) < 1.01 * min(distances):
        words += "Where the gradient vanishes, so does the learning: the saturating generator stands where it first stood."
    elif saturating[0] > 1.05 * other[0]:
        words += "Where the gradient is small, so is the learning."
    elif other[1] <= saturating[1]:
        return f"{words}Neither loss has left the generator with much more to learn from than the other."
    else:
        return f"{words}The larger gradient has not helped here: large is not yet useful, before a critic that nobody holds back."
    dropped = mean(NON_SATURATING_PLAIN, "recall") < 0.05
    return words + (" The other one moves, but what it makes reaches next to no real image." if dropped else "")


COLUMNS = {"gradient": "median gradient of the generator", **SCORES}
QUESTION = "Does the gradient vanish? Saturating against non-saturating generator loss from the same start."
SOURCE = "the comic-face project: log(1 - D(G(z))) and its vanishing gradient"
GENERATOR_LOSS = Study("generator-loss", QUESTION, SOURCE, arms, measure, tell, COLUMNS)
