"""Study warm-start: a GAN that grows out of a VAE against one from scratch at equal total time, and each step left out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vaegan.charts import Axis, save_bars, save_lines
from vaegan.config import GAN_COST, GROWN_COST
from vaegan.studies.measures import sampling
from vaegan.studies.sheets import save_last_samples, save_learning
from vaegan.studies.study import Look, Numbers, Picture, Results, Setting, Story, Study, TrainedArm, some

VAE, ALL, SCRATCH = "the VAE", "all steps", "GAN from scratch"
POINTS = 4
SCORE_WORDS = {"distance": "the distance of samples", "coverage": "coverage"}
SCORES = {"distance": "distance of samples x1000", "recall": "recall", "coverage": "coverage", "sharpness": "sharpness, real = 1"}


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """A VAE, GANs that grow out of it, each with another step of the handover left out, and one from scratch."""
    # From scratch there is no mixture to narrow: so that equals are compared the others' is left whole.
    base = replace(setting.base, recipe="gan", gan=replace(setting.base.gan, temperature=1.0))

    def grown(label: str, handover: dict[str, object] | None = None, **gan: object) -> TrainedArm:
        config = replace(base, gan=replace(base.gan, **gan), handover=replace(base.handover, **(handover or {})))
        return TrainedArm(label, config, start=VAE, points=POINTS if label == ALL else 1)

    return [
        TrainedArm(VAE, replace(base, recipe="vae")),
        grown(ALL),
        # The VAE's images cost less than the GAN's, and those of a GAN without anchor and encoder, too; the GAN from scratch is
        # given what that time would have bought.
        TrainedArm(SCRATCH, base, images=(1 + 1 / GAN_COST) * GROWN_COST, points=POINTS),
        grown("without re-whitening", {"whitening": False}),
        grown("prior N(0, I)", prior="normal"),
        grown("fresh critic", {"critic": "scratch"}),
        grown("without blur", blur=0.0),
        grown("without critic warm-up", critic_warmup=0),
        grown("without ramp", generator_ramp=0.0),
        grown("without anchor", anchor=0.0),
        grown("without refit", refit_every=0),
    ]


def measure(look: Look) -> Numbers:
    """The score of samples, and what the run noted about the encoder."""
    found = sampling(look.model, look.dataset, seed=look.seed)
    inverse = look.run.read().facts.get("gan", {}).get("inverse", {})
    return found | {name: inverse[name] for name in ("latent_recovery", "low_pass_ratio") if name in inverse}


def tell(results: Results) -> Story:
    """Who is ahead, and by how much more than the seeds differ."""
    if ALL not in results.labels:
        return _without_steps(results)
    mean, seeds = results.mean, len(results.of(ALL))
    sentences = some(
        lambda: (
            f"At equal total time, {seeds} seed(s): a VAE of {mean(VAE, 'seen'):,.0f} images and then a GAN of "
            f"{mean(ALL, 'seen'):,.0f} with all steps of the handover, against a GAN from scratch that saw "
            f"{mean(SCRATCH, 'seen'):,.0f} in that time. "
            + " ".join(_compared(results, name) for name in SCORES if results.values(ALL, name))
        ),
    )
    left_out = {name: without(results, name) for name in SCORE_WORDS}
    counts = "where a difference counts if it is more than twice the spread over seeds"
    if seeds == 1:
        counts = "with one seed, so that any difference may be chance"
    for name, (worse, better, same) in left_out.items():
        sentences.append(
            f"Each step left out once, judged by {SCORE_WORDS[name]}, {counts}. Worse without: {'; '.join(worse) or 'none'}. "
            f"Better without: {'; '.join(better) or 'none'}. No clear difference: {', '.join(same) or 'none'}."
        )
    if seeds < 3:
        sentences.append("With fewer than three seeds the spread is not known well enough: read this as a first look.")
    head_start = mean(VAE, "seen") / GAN_COST  # there is one, or nothing would have grown out of it
    curves = {ALL: [(seen + head_start, value) for seen, value in results.curve(ALL, "distance")]}
    if SCRATCH in results.labels:
        curves[SCRATCH] = [(seen / GROWN_COST, value) for seen, value in results.curve(SCRATCH, "distance")]
    spreads = {label: results.spreads(label, "distance") for label in curves}
    real = mean(ALL, "real_distance")
    most = max(seen for points in curves.values() for seen, _ in points)
    curves["real images"] = [(0.0, real), (most, real)]
    save_lines(results.folder / "distance.svg", curves, "Distance of samples over time",
               Axis("time, as images of the GAN with all steps"), Axis("sliced Wasserstein x1000"),
               spreads=spreads, marks=True)  # fmt: skip
    labels = [label for label in results.labels if label != VAE]
    save_bars(results.folder / "steps.svg", {label: mean(label, "distance") for label in labels}, "Each step left out once",
              "distance of samples x1000, lower is better; the line is the spread over seeds",
              {label: results.spread(label, "distance") for label in labels})  # fmt: skip
    runs = {label: results.arm_folder(label) for label in (VAE, ALL, SCRATCH) if label in results.labels}
    save_learning(runs, results.folder / "learning.gif", columns=3)
    save_last_samples({label: results.arm_folder(label) for label in results.labels}, results.folder / "samples.png", columns=4)
    pictures = [
        Picture(
            "distance.svg", "The warm start begins later, because the VAE's time counts, and ahead or not, as the curves say."
        ),
        Picture("steps.svg", "All steps of the handover, and each left out once."),
        Picture("learning.gif", "The same latents while the VAE, the GAN that grew out of it and the GAN from scratch learn."),
        Picture("samples.png", "Samples at the end."),
    ]
    answer: dict[str, Any] = {
        "spread": results.spread(ALL, "distance"),
        "worse_without": {name: worse for name, (worse, _, _) in left_out.items()},
    }
    difference = some(lambda: {"difference": mean(SCRATCH, "distance") - mean(ALL, "distance")})
    return Story(sentences, COLUMNS, pictures, answer | dict(*difference))


def without(results: Results, name: str) -> tuple[list[str], list[str], list[str]]:
    """Which steps left out make `name` clearly worse (with the difference), clearly better, and neither."""
    worse: list[str] = []
    better: list[str] = []
    same: list[str] = []
    for label in results.labels:
        if label in (VAE, ALL, SCRATCH):
            continue
        difference = results.mean(label, name) - results.mean(ALL, name)
        if abs(difference) <= 2 * max(results.spread(ALL, name), results.spread(label, name), 1e-9):
            same.append(label)
        else:
            (worse if (difference > 0) == (name == "distance") else better).append(f"{label} ({difference:+.3g})")
    return worse, better, same


def _without_steps(results: Results) -> Story:
    """What is left to say when the arm that all others are held against has no numbers."""
    found = ", ".join(f"{label} {results.mean(label, 'distance'):.0f}" for label in results.labels)
    save_last_samples({label: results.arm_folder(label) for label in results.labels}, results.folder / "samples.png", columns=4)
    held = (
        f"The GAN with all steps of the handover has no numbers, so nothing can be held against it. Distance of samples: {found}."
    )
    return Story([held], COLUMNS, [Picture("samples.png", "Samples at the end.")])


def _compared(results: Results, name: str) -> str:
    warm, scratch = results.mean(ALL, name), results.mean(SCRATCH, name)
    spread = max(results.spread(ALL, name), results.spread(SCRATCH, name))
    values = f"{warm:.3g} against {scratch:.3g}"
    if abs(warm - scratch) <= 2 * spread:
        return f"{name.capitalize()}: {values}, no more apart than seeds are."
    better = abs(warm - 1) < abs(scratch - 1) if name == "sharpness" else (warm < scratch) == (name == "distance")
    return f"{name.capitalize()}: {values}, {'better' if better else 'worse'} with the warm start."


COLUMNS = {
    "seen": "images",
    **SCORES,
    "latent_recovery": "latent recovered, R²",
    "low_pass_ratio": "low-passed error / VAE's",
}

WARM_START = Study(
    name="warm-start",
    question="Does the VAE help its GAN? Warm start against scratch at equal total time, and every step left out once.",
    source="the comic-face project: a VAE pre-trained for a GAN, whose weights were never transferred",
    arms=arms,
    measure=measure,
    tell=tell,
    seeds=3,
    minutes=60.0,
)
