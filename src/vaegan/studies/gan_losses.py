"""Study gan-losses: every objective of the GAN's table at equal images."""

from collections.abc import Sequence
from dataclasses import replace

from vaegan.charts import save_bars
from vaegan.studies.measures import sampling
from vaegan.studies.sheets import save_last_samples, save_learning
from vaegan.studies.study import Look, Numbers, Picture, Results, Setting, Story, Study, TrainedArm

OURS, BARE = "relativistic", ", bare"


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """From scratch; the penalty is the base's, except where an objective was published with its own, and in two bare ones."""
    base = replace(setting.base, recipe="gan")

    def arm(label: str, **changes: object) -> TrainedArm:
        # The players' objectives alone: nothing else pulls at the generator.
        return TrainedArm(label, replace(base, gan=replace(base.gan, details=0.0, **changes)))

    bare = {"penalty": 0.0, "final_penalty": 0.0}
    wasserstein = {"objective": "wasserstein", "critic_steps": 5}
    slow = {"generator_optimizer": "rmsprop", "critic_optimizer": "rmsprop", "learning_rate": 5e-5, "final_learning_rate": 5e-5}
    adam = {"generator_optimizer": "adam", "critic_optimizer": "adam", "beta2": 0.9, "learning_rate": 1e-4}
    slope = {"penalty_kind": "interpolated", "penalty": 10.0, "final_penalty": 10.0} | adam
    return [
        arm(OURS),
        arm(OURS + BARE, **bare),
        arm("non-saturating", objective="non-saturating"),
        arm("non-saturating" + BARE, objective="non-saturating", **bare),
        arm("saturating", objective="saturating"),
        arm("hinge", objective="hinge"),
        arm("least squares", objective="least-squares"),
        arm("Wasserstein, clipped", clip=0.01, **wasserstein, **slow, **bare),
        arm("Wasserstein + GP", **wasserstein, **slope),
    ]


def measure(look: Look) -> Numbers:
    """The score of samples."""
    return sampling(look.model, look.dataset, seed=look.seed)


def tell(results: Results) -> Story:
    """The order, and what the penalty does to it."""
    mean, labels = results.mean, results.labels
    order = sorted(labels, key=lambda label: mean(label, "distance"))
    # Not the recall: that is high for samples scattered far and wide, too.
    widest = max(labels, key=lambda label: mean(label, "coverage"))
    bare = [label for label in labels if label.endswith(BARE) and label.removesuffix(BARE) in labels]
    penalty = {label.removesuffix(BARE): mean(label, "distance") - mean(label.removesuffix(BARE), "distance") for label in bare}
    held = [label for label in ("relativistic", "non-saturating", "saturating", "hinge", "least squares") if label in labels]
    distances = [mean(label, "distance") for label in held]
    between = max(distances) - min(distances) if len(held) > 1 else None
    seeds = len(results.of(labels[0]))
    sentences = [
        f"Nearest to held-out images after {mean(labels[0], 'seen'):,.0f} images: "
        + ", ".join(f"{label} {mean(label, 'distance'):.0f}" for label in order)
        + f" (real images {mean(labels[0], 'real_distance'):.0f}). Highest coverage: {widest} ({mean(widest, 'coverage'):.2f}).",
        _penalty(penalty, between),
        "The Wasserstein objectives take five steps of the critic for one of the generator, so at equal images theirs has "
        "taken a fifth of the steps: equal images is not equal steps, and it is the comparison that a user's clock makes.",
    ]
    if seeds == 1:
        sentences.append("One seed: neighbours in this order may change places.")
    bars, spreads = ({label: of(label, "distance") for label in order} for of in (mean, results.spread))
    save_bars(results.folder / "distance.svg", bars, "Distance of samples, lower is better", "sliced Wasserstein x1000", spreads)
    runs = {label: results.arm_folder(label) for label in labels}
    save_last_samples(runs, results.folder / "samples.png", columns=3)
    save_learning(runs, results.folder / "learning.gif", columns=3, frames=10)
    pictures = [
        Picture("distance.svg", "Every objective after the same images."),
        Picture("samples.png", "Samples from the same latents."),
        Picture("learning.gif", "The same latents while each learns."),
    ]
    columns = {
        "distance": "distance of samples x1000",
        "recall": "recall",
        "coverage": "coverage",
        "sharpness": "sharpness, real = 1",
    }
    return Story(sentences, columns, pictures, {"order": order, "highest_coverage": widest, "distance_without_penalty": penalty})


def _penalty(penalty: dict[str, float], between: float | None) -> str:
    """Whether the penalty matters more than the loss, where enough arms have numbers to say so."""
    if not penalty or between is None:
        return "Too few arms have numbers to compare what the penalty does with what the objective does."
    changes = ", ".join(f"{value:+.0f} ({label})" for label, value in penalty.items())
    matters = max(map(abs, penalty.values())) > between
    return (
        f"Without the penalty the distance changes by {changes}; between the objectives that share the penalty it differs by "
        f"{between:.0f}. "
        + ("The penalty matters more than the loss (Lucic et al. 2018)." if matters else
           "At this budget the loss matters more than the penalty, against Lucic et al. (2018), who trained to the end.")
    )  # fmt: skip


GAN_LOSSES = Study(
    name="gan-losses",
    question="Which GAN objective? Every row of the table at equal images, two of them without the penalty.",
    source="the papers behind the table; the source tried minimax, its non-saturating form, and Wasserstein with clipping",
    arms=arms,
    measure=measure,
    tell=tell,
    minutes=20.0,
)
