"""The table of scores: each metric in words, with intervals, the floor of real against real, and n."""

import math
from collections.abc import Sequence
from dataclasses import replace

from vaegan.charts import Scale
from vaegan.evaluation import DEFAULT_COUNT, FULL_COUNT
from vaegan.markup import Content, Markup, tag
from vaegan.metrics.features import RANDOM_FEATURES
from vaegan.metrics.table import EXPLANATIONS, METRICS, Metric, by_reason, is_bound
from vaegan.report.gathering import Evaluation, GatheredRun, Score
from vaegan.report.page import STAGE_TITLES, again, command, section, table

NOT_MEASURED = "not measured"
STRIP_WIDTH, STRIP_ROW = 150, 12

TARGETS = {"one": 1.0, "half": 0.5}
"""Where a metric is best that is neither best low nor best high."""

GOOD = {
    "lower": "lower is better",
    "higher": "higher is better",
    "one": "1 is best",
    "half": "0.5 is best",
    "neither": "neither high nor low is better",
}


def scores(run: GatheredRun) -> Markup | None:
    """Every number of the evaluation; nothing without one (the verdict says so)."""
    evaluation = run.evaluation
    if evaluation is None:
        return None
    named = list(dict.fromkeys(name for part in (*evaluation.stages.values(), evaluation.floor) for name in part))
    main = [name for name in named if (words := metric_words(name)) is not None and words.headline]
    others = [name for name in named if name not in main]
    content: list[Content] = [tag("p", _protocol(evaluation)), score_table(evaluation, main or others)]
    if main and others:
        more = tag("summary", f"{len(others)} more numbers"), score_table(evaluation, others)
        content.append(tag("details", *more, class_="more"))
    if evaluation.left_out:
        left_out = {", ".join(map(metric_title, names)): reason for reason, names in by_reason(evaluation.left_out).items()}
        rows = [tag("li", tag("b", names), f": {reason}") for names, reason in left_out.items()]
        content.append(tag("div", tag("h3", "Left out"), tag("ul", *rows)))
    return section("scores", "How good it is", *content, again(evaluate_command(run)))


def evaluate_command(run: GatheredRun) -> str:
    """The command that measures a run again as it was measured; DATA and FILE are the reader's to fill in."""
    evaluation = run.evaluation
    if evaluation is None:
        return command("evaluate", str(run.path))
    measured = [stage for stage in run.stages if stage in evaluation.stages]
    words = ["DATA"] if evaluation.data not in ("", run.record.source) else []
    words += ["--stage", measured[0]] if len(measured) == 1 < len(run.stages) else []
    words += ["--full"] if evaluation.full else []
    words += ["-n", str(evaluation.n)] if evaluation.n != (FULL_COUNT if evaluation.full else DEFAULT_COUNT) else []
    words += ["--features", "FILE"] if evaluation.features not in (None, RANDOM_FEATURES) else []
    return command("evaluate", str(run.path), *words, "--seed", str(evaluation.seed))


def score_table(evaluation: Evaluation, names: list[str]) -> Markup:
    """A row a metric: what it is, one column a stage, the floor, and all of them on one scale."""
    stages = [stage for stage in STAGE_TITLES if evaluation.stages.get(stage)]
    heads: list[Content] = ["Metric", *(STAGE_TITLES[stage] for stage in stages), "Real against real"]
    rows: list[list[Content]] = []
    for name in names:
        ours, floor = [(stage, evaluation.stages[stage].get(name)) for stage in stages], evaluation.floor.get(name)
        columns, words = [*ours, ("real", floor)], metric_words(name)
        no_floor = next((score.no_floor for _, score in ours if score is not None and score.no_floor), NOT_MEASURED)
        entries = [(kind, score.value, score.interval) for kind, score in columns if score is not None]
        cells = [metric_cell(name, [score for _, score in columns]), *(value_cell(name, score) for _, score in ours)]
        target = None if words is None else TARGETS.get(words.good)
        rows.append([*cells, value_cell(name, floor, no_floor), strip(entries, target)])
    return table([*heads, tag("span", "On one scale")], rows, "scores")


def strip(entries: Sequence[tuple[str, float, tuple[float, float] | None]], target: float | None = None) -> Markup:
    """Where values of one metric lie beside each other: a dot each, with its interval as a line, and the best value if given.

    Each entry is a class of page.css, a value and an interval.
    """
    ends = [end for _, value, interval in entries for end in (value, *(interval or ())) if math.isfinite(end)]
    ends += [target] if target is not None and ends else []
    if len(entries) < 2 or not ends:
        return Markup()
    low, high = min(ends), max(ends)
    across = Scale(low, high if high > low else low + (abs(low) or 1.0), 6, STRIP_WIDTH - 6)
    drawn: list[Markup] = []
    if target is not None:
        place = f"{across(target):.1f}"
        drawn.append(tag("line", x1=place, x2=place, y1=0, y2=STRIP_ROW * len(entries), class_="target"))
    for row, (kind, value, interval) in enumerate(entries):
        if not math.isfinite(value):
            continue
        height = STRIP_ROW * (row + 0.5)
        drawn.append(tag("line", x1=6, x2=STRIP_WIDTH - 6, y1=height, y2=height, class_="track"))
        if interval is not None:
            left, right = (f"{across(end):.1f}" for end in interval)
            drawn.append(tag("line", x1=left, x2=right, y1=height, y2=height, class_=f"whisker {kind}"))
        drawn.append(tag("circle", cx=f"{across(value):.1f}", cy=height, r="3.5", class_=f"dot {kind}"))
    # The numbers stand beside it in the table, so that nobody has to read them from the drawing.
    return tag("svg", *drawn, viewBox=f"0 0 {STRIP_WIDTH} {STRIP_ROW * len(entries)}", class_="strip", aria_hidden="true")


def metric_cell(name: str, found: Sequence[Score | None]) -> Markup:
    """A metric's title, its good direction, and what it is on demand."""
    words = metric_words(name)
    hints = [] if words is None else [words.unit, GOOD[words.good]]
    known = [score for score in found if score is not None]
    counts = {(score.n, score.against or 0) for score in known if score.n}
    measured = [f"n = {n:,}" + (f" against {against:,}" if against else "") for n, against in sorted(counts)]
    measured += [f"features: {name}" for name in sorted({score.features for score in known if score.features})]
    meaning = tag("p", EXPLANATIONS[name]) if words else None
    explained = tag("details", tag("summary", "What is this?"), meaning, tag("p", " · ".join(measured)))
    return tag("div", tag("b", metric_title(name)), tag("small", " · ".join(filter(None, hints))), explained, class_="metric")


def value_cell(name: str, score: Score | None, absent: str = NOT_MEASURED) -> Content:
    """A value and its interval or why it has none; without a value what is `absent`."""
    if score is None:
        return tag("span", absent, class_="absent")
    between = interval_words(score)
    interval = tag("small", between) if between else None
    more = "more than " if is_bound(name, score.value, score.n) else ""
    return tag("span", more + number(score.value), interval, class_="value")


def interval_words(score: Score) -> str | None:
    """The interval, or why there is none."""
    return score.no_interval if score.interval is None else f"{number(score.interval[0])} to {number(score.interval[1])}"


def number(value: float) -> str:
    """Three significant digits, without an exponent where it can be avoided."""
    if not math.isfinite(value):
        return "not a number"
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e9):
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def metric_words(name: str) -> Metric | None:
    """A metric's entry in the table, its title beginning with a capital; None for one of another version."""
    found = METRICS.get(name)
    return None if found is None else replace(found, title=found.title[:1].upper() + found.title[1:])


def metric_title(name: str) -> str:
    """What a metric is called; its own name in words when the table does not know it."""
    found = metric_words(name)
    return name.replace("_", " ").capitalize() if found is None else found.title


def _protocol(evaluation: Evaluation) -> str:
    side = {
        "test": "the test side, which nothing else reads",
        "validation": "the validation side, because the test side is too small",
        "other": "other data than the run's own",
    }
    against = side.get(evaluation.reference_side, evaluation.reference_side)
    return (
        f"{evaluation.n:,} samples of each stage against {evaluation.reference_count:,} real images of {against}. "
        "“Real against real” is the same number for real images in place of samples: nothing can be expected to beat it. "
        "Below each value its 95% interval."
    )
