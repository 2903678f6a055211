"""Study warm-start: a GAN that grows out of a VAE against one from scratch at equal total time, and each step left out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vaegan.charts import Axis
from vaegan.config import GAN_COST, GROWN_COST
from vaegan.studies.measures import SCORES, sample_scores
from vaegan.studies.study import Numbers, Picture, Results, Setting, Story, Study, Subject, TrainedArm, some

VAE, ALL, SCRATCH = "the VAE", "all steps", "GAN from scratch"
POINTS = 4
SCORE_WORDS = {"distance": "the distance of samples", "coverage": "coverage"}


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """A VAE, GANs that grow out of it, each with another step of the handover left out, and one from scratch."""
    base = replace(setting.base, recipe="gan")

    def grown(label: str, **gan: object) -> TrainedArm:
        config = replace(base, gan=replace(base.gan, **gan))
        return TrainedArm(label, config, start=VAE, points=POINTS if label == ALL else 1)

    return [
        TrainedArm(VAE, replace(base, recipe="vae")),
        grown(ALL),
        # The VAE's images cost less than the GAN's, and those of a GAN without anchor and encoder, too; the GAN from scratch is
        # given what that time would have bought.
        TrainedArm(SCRATCH, base, images=(1 + 1 / GAN_COST) * GROWN_COST, points=POINTS),
        grown("prior N(0, I)", prior="normal"),
        grown("without eyes", perception="none"),
        grown("without anchor", anchor=0.0),
        grown("without refit", refit_every=0),
    ]


def measure(subject: Subject) -> Numbers:
    """The score of samples, and what the run noted about the encoder."""
    inverse = subject.run.read().facts.get("gan", {}).get("inverse", {})
    return sample_scores(subject) | {name: inverse[name] for name in ("latent_recovery", "low_pass_ratio") if name in inverse}


def tell(results: Results) -> Story:
    """Who is ahead, and by how much more than the seeds differ."""
    mean, means = results.mean, results.means("distance")
    if ALL not in results.labels:
        found = ", ".join(f"{label} {distance:.0f}" for label, distance in means.items())
        words = "The GAN with all steps of the handover has no numbers, so nothing can be held against it."
        return Story([f"{words} Distance of samples: {found}."])
    left_out = {name: without(results, name) for name in SCORE_WORDS}
    sentences = [*some(lambda: _warm_against_scratch(results)), *_left_out(left_out, len(results.of(ALL)))]
    labels = {label: label for label in results.labels if label != VAE}
    axis, title = "distance of samples x1000, lower is better; the line is the spread over seeds", "Each step left out once"
    caption = "All steps of the handover, and each left out once."
    pictures = [_distance_over_time(results), results.bars("steps.svg", "distance", labels, title, axis, caption)]
    answer: dict[str, Any] = {
        "spread": results.spread(ALL, "distance"),
        "worse_without": {name: worse for name, (worse, _, _) in left_out.items()},
    }
    difference = some(lambda: {"difference": mean(SCRATCH, "distance") - mean(ALL, "distance")})
    return Story(sentences, pictures, answer | dict(*difference))


def without(results: Results, name: str) -> tuple[list[str], list[str], list[str]]:
    """Which steps left out make `name` clearly worse (with the difference), clearly better, and neither."""
    worse, better, same = list[str](), list[str](), list[str]()
    for label in results.labels:
        if label in (VAE, ALL, SCRATCH):
            continue
        difference = results.mean(label, name) - results.mean(ALL, name)
        if abs(difference) <= 2 * max(results.spread(ALL, name), results.spread(label, name), 1e-9):
            same.append(label)
        else:
            (worse if (difference > 0) == (name == "distance") else better).append(f"{label} ({difference:+.3g})")
    return worse, better, same


def _warm_against_scratch(results: Results) -> str:
    mean = results.mean
    return (
        f"At equal total time, {len(results.of(ALL))} seed(s): a VAE of {mean(VAE, 'seen'):,.0f} images and then a GAN of "
        f"{mean(ALL, 'seen'):,.0f} with all steps of the handover, against a GAN from scratch that saw "
        f"{mean(SCRATCH, 'seen'):,.0f} in that time. "
        + " ".join(_compared(results, name) for name in SCORES if results.values(ALL, name))
    )


def _compared(results: Results, name: str) -> str:
    warm, scratch = results.mean(ALL, name), results.mean(SCRATCH, name)
    spread = max(results.spread(ALL, name), results.spread(SCRATCH, name))
    values = f"{warm:.3g} against {scratch:.3g}"
    if abs(warm - scratch) <= 2 * spread:
        return f"{name.capitalize()}: {values}, no more apart than seeds are."
    better = abs(warm - 1) < abs(scratch - 1) if name == "sharpness" else (warm < scratch) == (name == "distance")
    return f"{name.capitalize()}: {values}, {'better' if better else 'worse'} with the warm start."


def _left_out(left_out: dict[str, tuple[list[str], list[str], list[str]]], seeds: int) -> list[str]:
    counts = "where a difference counts if it is more than twice the spread over seeds"
    if seeds == 1:
        counts = "with one seed, so that any difference may be chance"
    sentences = [
        f"Each step left out once, judged by {SCORE_WORDS[name]}, {counts}. Worse without: {'; '.join(worse) or 'none'}. "
        f"Better without: {'; '.join(better) or 'none'}. No clear difference: {', '.join(same) or 'none'}."
        for name, (worse, better, same) in left_out.items()
    ]
    if seeds < 3:
        sentences.append("With fewer than three seeds the spread is not known well enough: read this as a first look.")
    return sentences


def _distance_over_time(results: Results) -> Picture:
    head_start = results.mean(VAE, "seen") / GAN_COST  # there is one, or nothing would have grown out of it
    curves = {ALL: [(seen + head_start, value) for seen, value in results.curve(ALL, "distance")]}
    if SCRATCH in results.labels:
        curves[SCRATCH] = [(seen / GROWN_COST, value) for seen, value in results.curve(SCRATCH, "distance")]
    spreads = {label: results.spreads(label, "distance") for label in curves}
    real, most = results.mean(ALL, "real_distance"), max(seen for points in curves.values() for seen, _ in points)
    curves["real images"] = [(0.0, real), (most, real)]
    x, y = Axis("time, as images of the GAN with all steps"), Axis("sliced Wasserstein x1000")
    title = "Distance of samples over time"
    caption = "The warm start begins later, because the VAE's time counts, and ahead or not, as the curves say."
    return results.lines("distance.svg", curves, title, x, y, caption, spreads=spreads, marks=True)


COLUMNS = {"seen": "images", **SCORES, "latent_recovery": "latent recovered, R²", "low_pass_ratio": "low-passed error / VAE's"}
QUESTION = "Does the VAE help its GAN? Warm start against scratch at equal total time, and every step left out once."
SOURCE = "the comic-face project: a VAE pre-trained for a GAN, whose weights were never transferred"
WARM_START = Study("warm-start", QUESTION, SOURCE, arms, measure, tell, COLUMNS, seeds=3, minutes=60.0)
