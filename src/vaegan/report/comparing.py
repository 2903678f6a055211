"""Which differences between runs exceed the noise: intervals, or the spread over seeds where there are several."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from vaegan.metrics.table import METRICS
from vaegan.report.gathering import GatheredRun, Score
from vaegan.report.page import STAGE_TITLES
from vaegan.report.scores import TARGETS

# Student's t at 97.5 % for 1 to 30 degrees of freedom; without end it is the normal distribution's.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
NORMAL = 1.960

WORDS = {
    "length.seconds": "training time asked for [s]",
    **{f"length.{stage}": f"images shown to the {title}" for stage, title in STAGE_TITLES.items()},
    "images": "fingerprint of the images",
    "start": "started from",
}
"""What differs between runs and is no setting."""

Verdict = Literal["better", "worse", "different", "within the noise", "not compared"]


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ by nothing but their seed."""

    label: str  # a letter
    runs: list[GatheredRun]

    @property
    def seeds(self) -> list[int]:
        """The seeds of its runs."""
        return [run.record.config.seed for run in self.runs]

    def scores(self, stage: str, metric: str) -> list[Score]:
        """One score for each different model of its runs that has it: copies of a run are no further evidence."""
        found: dict[str, Score] = {}
        for run in self.runs:
            score = None if run.evaluation is None else run.evaluation.stages.get(stage, {}).get(metric)
            if score is not None and math.isfinite(score.value):
                found.setdefault(run.weights.get(stage, str(run.path)), score)
        return list(found.values())


@dataclass(frozen=True)
class Difference:
    """A group's mean less that of the first group, and how large it would have to be to be more than noise."""

    value: float
    margin: float | None
    """Half the width of the 95 % interval of the difference; None when it cannot be known."""
    verdict: Verdict
    basis: Literal["seeds", "intervals", "none"]  # where the margin comes from


def grouped(runs: Sequence[GatheredRun]) -> list[SeedGroup]:
    """Puts together the runs that have the same settings, images and length, in the order in which they were given."""
    groups: dict[str, list[GatheredRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(_identity(run), sort_keys=True), []).append(run)
    return [SeedGroup(chr(ord("A") + index), members) for index, members in enumerate(groups.values())]


def copies(runs: Sequence[GatheredRun]) -> list[tuple[GatheredRun, GatheredRun]]:
    """Runs whose models are those of an earlier one, weight by weight, each with that one."""
    earlier = [(run, [one for one in runs[:at] if run.weights and one.weights == run.weights]) for at, run in enumerate(runs)]
    return [(run, same[0]) for run, same in earlier if same]


def warnings(groups: Sequence[SeedGroup]) -> list[str]:
    """What a reader must know before believing the comparison: copies, and runs without scores."""
    runs = [run for group in groups for run in group.runs]
    found = [
        f"{run.path} holds the same models as {first.path}: they count as one run, not as two independent ones."
        for run, first in copies(runs)
    ]
    found += [f"No scores of {run.path}: {run.gaps['evaluation']}" for run in runs if "evaluation" in run.gaps]
    return found


def settings_that_differ(groups: Sequence[SeedGroup]) -> dict[str, list[Any]]:
    """Settings that are not the same in all groups: a name to one value a group."""
    flat = [flattened(_identity(group.runs[0])) for group in groups]
    names = list(dict.fromkeys(name for one in flat for name in one))
    values = {name: [one.get(name) for one in flat] for name in names}
    return {name: ones for name, ones in values.items() if any(one != ones[0] for one in ones)}


def difference(first: SeedGroup, other: SeedGroup, stage: str, metric: str) -> Difference | None:
    """Compares two groups in a number, by the spread over seeds (Welch 1947) or one seed's intervals; None where one lacks it."""
    mine, theirs = first.scores(stage, metric), other.scores(stage, metric)
    if not mine or not theirs:
        return None
    means = fmean(score.value for score in mine), fmean(score.value for score in theirs)
    value, good = means[1] - means[0], METRICS[metric].good if metric in METRICS else ""
    protocols = [{(score.n, score.against, score.features) for score in scores} for scores in (mine, theirs)]
    if not comparable(first, other) or protocols[0] != protocols[1]:
        return Difference(value, None, "not compared", "none")
    if max(len(mine), len(theirs)) > 1:
        margin = spread_margin([score.value for score in mine], [score.value for score in theirs])
        return Difference(value, margin, verdict(good, *means, margin), "seeds")
    intervals = [score.interval for score in (mine[0], theirs[0])]
    if None in intervals:
        return Difference(value, None, "not compared", "none")
    # An interval of 95 % is 2 * 1.96 standard errors wide; those of independent numbers add up in squares.
    margin = math.hypot(*((interval[1] - interval[0]) / 2 for interval in intervals if interval is not None))
    return Difference(value, margin, verdict(good, *means, margin), "intervals")


def spread_margin(first: Sequence[float], other: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the difference of two means (Welch 1947), one of them of several values at least."""
    counts = (len(first), len(other))
    if min(counts) == 1:
        several = first if counts[0] > 1 else other
        return student(len(several) - 1) * stdev(several) * math.sqrt(1 / counts[0] + 1 / counts[1])
    parts = [stdev(values) ** 2 / len(values) for values in (first, other)]
    variance = sum(parts)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
    return student(freedom) * math.sqrt(variance)


def student(freedom: float) -> float:
    """Student's t at 97.5 %, interpolated in the inverse degrees of freedom, at most a fifth too high."""
    if freedom <= 1:
        return _STUDENT[0]
    last = len(_STUDENT)
    below = min(math.floor(freedom), last)
    low, high = _STUDENT[below - 1], _STUDENT[below] if below < last else NORMAL
    width = 1 / below - (1 / (below + 1) if below < last else 0.0)
    return low + (high - low) * (1 / below - 1 / freedom) / width


def comparable(first: SeedGroup, other: SeedGroup) -> bool:
    """Whether the groups were judged against the same real images."""
    judged = [run.evaluation for group in (first, other) for run in group.runs if run.evaluation is not None]
    return len({(one.fingerprint, one.reference_side, one.reference_count) for one in judged}) == 1


def metrics_of(groups: Sequence[SeedGroup], stage: str) -> list[str]:
    """Every metric that some run has for a stage."""
    evaluations = [run.evaluation for group in groups for run in group.runs if run.evaluation is not None]
    return list(dict.fromkeys(name for evaluation in evaluations for name in evaluation.stages.get(stage, {})))


def as_facts(groups: Sequence[SeedGroup], stages: Sequence[str]) -> dict[str, Any]:
    """The comparison for a program."""

    def facts_of(stage: str, metric: str) -> dict[str, Any]:
        against = {group.label: difference(groups[0], group, stage, metric) for group in groups[1:]}
        return {
            "values": {group.label: [score.value for score in group.scores(stage, metric)] for group in groups},
            "against_first": {label: None if found is None else asdict(found) for label, found in against.items()},
        }

    return {
        "warnings": warnings(groups),
        "groups": [{"label": one.label, "runs": [str(run.path) for run in one.runs], "seeds": one.seeds} for one in groups],
        "settings_that_differ": settings_that_differ(groups),
        "metrics": {stage: {name: facts_of(stage, name) for name in metrics_of(groups, stage)} for stage in stages},
    }


def verdict(good: str, first: float, other: float, margin: float) -> Verdict:
    """What a difference of two means says, where `good` is as in the table of metrics and up to `margin` is noise."""
    if abs(other - first) <= margin:
        return "within the noise"
    if good in TARGETS:
        # Numbers on both sides of the target may differ and be as good as each other.
        gain = abs(first - TARGETS[good]) - abs(other - TARGETS[good])
        if abs(gain) <= margin:
            return "different"
        return "better" if gain > 0 else "worse"
    if good not in ("lower", "higher"):
        return "different"
    return "better" if (other < first) == (good == "lower") else "worse"


def _identity(run: GatheredRun) -> dict[str, Any]:
    """What makes a run what it is, except its seed and the machine."""
    record = run.record
    config = {name: value for name, value in asdict(record.config).items() if name not in ("seed", "device")}
    # Minutes become another number of images in every run, and are the same request.
    lengths = {"seconds": record.seconds_target} if record.seconds_target else {plan.name: plan.images for plan in record.plan}
    return {"settings": config, "length": lengths, "images": record.fingerprint, "start": record.init}


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their full names, with points between."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
