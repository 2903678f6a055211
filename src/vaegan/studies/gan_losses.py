"""Study gan-losses: every objective of the GAN's table at equal images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vaegan.config import ClassicGANConfig, ClassicObjective
from vaegan.studies.measures import SCORES, sample_scores
from vaegan.studies.study import Results, Setting, Story, Study, TrainedArm

OURS, BARE = "relativistic", ", bare"
SHARED_PENALTY = (OURS, "non-saturating", "saturating", "hinge", "least squares")


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """From scratch, by Adam; the penalty is R1 and R2, except for objectives published with their own, and two bare ones."""
    base = replace(setting.base, recipe="classic-gan")

    def arm(label: str, objective: ClassicObjective, penalty: float = base.gan.penalty, **changes: Any) -> TrainedArm:
        config = ClassicGANConfig(objective=objective, penalty=penalty, batch_size=base.gan.batch_size, **changes)
        return TrainedArm(label, replace(base, classic=config))

    slow = {"optimizer": "rmsprop", "critic_optimizer": "rmsprop", "learning_rate": 5e-5, "critic_steps": 5}
    return [
        arm(OURS, "relativistic"),
        arm(OURS + BARE, "relativistic", penalty=0.0),
        arm("non-saturating", "non-saturating"),
        arm("non-saturating" + BARE, "non-saturating", penalty=0.0),
        arm("saturating", "saturating"),
        arm("hinge", "hinge"),
        arm("least squares", "least-squares"),
        arm("Wasserstein, clipped", "wasserstein", penalty=0.0, clip=0.01, **slow),
        arm("Wasserstein + GP", "wasserstein", penalty=10.0, beta1=0.0, learning_rate=1e-4, critic_steps=5),
    ]


def tell(results: Results) -> Story:
    """The order, and what the penalty does to it."""
    mean, labels, distances = results.mean, results.labels, results.means("distance")
    order = sorted(labels, key=lambda label: distances[label])
    # Not the recall: that is high for samples scattered far and wide, too.
    widest = max(labels, key=lambda label: mean(label, "coverage"))
    bare = {label.removesuffix(BARE): distance for label, distance in distances.items() if label.endswith(BARE)}
    penalty = {label: distance - distances[label] for label, distance in bare.items() if label in labels}
    held = [distances[label] for label in SHARED_PENALTY if label in labels]
    sentences = [
        f"Nearest to held-out images after {mean(labels[0], 'seen'):,.0f} images: "
        + ", ".join(f"{label} {distances[label]:.0f}" for label in order)
        + f" (real images {mean(labels[0], 'real_distance'):.0f}). Highest coverage: {widest} ({mean(widest, 'coverage'):.2f}).",
        _penalty(penalty, max(held) - min(held) if len(held) > 1 else None),
        "The Wasserstein objectives take five steps of the critic for one of the generator, so at equal images theirs has "
        "taken a fifth of the steps: equal images is not equal steps, and it is the comparison that a user's clock makes.",
    ]
    if len(results.of(labels[0])) == 1:
        sentences.append("One seed: neighbours in this order may change places.")
    title, caption = "Distance of samples, lower is better", "Every objective after the same images."
    chart = results.bars("distance.svg", "distance", {one: one for one in order}, title, "sliced Wasserstein x1000", caption)
    return Story(sentences, [chart], {"order": order, "highest_coverage": widest, "distance_without_penalty": penalty})


def _penalty(penalty: dict[str, float], between: float | None) -> str:
    """Whether the penalty matters more than the loss, where enough arms have numbers to say so."""
    if not penalty or between is None:
        return "Too few arms have numbers to compare what the penalty does with what the objective does."
    changes = ", ".join(f"{value:+.0f} ({label})" for label, value in penalty.items())
    verdict = "At this budget the loss matters more than the penalty, against Lucic et al. (2018), who trained to the end."
    if max(map(abs, penalty.values())) > between:
        verdict = "The penalty matters more than the loss (Lucic et al. 2018)."
    return (
        f"Without the penalty the distance changes by {changes}; between the objectives that share the penalty it differs by "
        f"{between:.0f}. {verdict}"
    )


QUESTION = "Which GAN objective? Every row of the table at equal images, two of them without the penalty."
SOURCE = "the papers behind the table; the source tried minimax, its non-saturating form, and Wasserstein with clipping"
GAN_LOSSES = Study("gan-losses", QUESTION, SOURCE, arms, sample_scores, tell, SCORES, minutes=20.0)
