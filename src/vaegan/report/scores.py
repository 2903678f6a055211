"""What a report says in numbers: scores with intervals and floor, curves, guards, checks, the use of the latent."""

import math
from collections.abc import Sequence
from typing import Any

from vaegan.charts import Points, Series, line_chart
from vaegan.evaluation import DEFAULT_COUNT, FULL_COUNT
from vaegan.glossary import fact_meaning, fact_title, scalar_meaning, scalar_title
from vaegan.markup import Content, Markup, tag
from vaegan.metrics.features import RANDOM_FEATURES
from vaegan.metrics.table import EXPLANATIONS, METRICS, by_reason, metric_title
from vaegan.report.gathering import Evaluation, GatheredRun, Line, Score, Scores
from vaegan.report.page import STAGE_TITLES, again, command, gap, section, table

NOT_MEASURED = "not measured"

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
    main = [name for name in named if name in METRICS and METRICS[name].headline]
    others = [name for name in named if name not in main]
    content: list[Content] = [tag("p", _protocol(evaluation)), score_table(evaluation, main or others)]
    if main and others:
        more = tag("summary", f"{len(others)} more numbers"), score_table(evaluation, others)
        content.append(tag("details", *more, class_="more"))
    if evaluation.left_out:
        left_out = {
            ", ".join(capitalised(metric_title(name)) for name in names): reason
            for reason, names in by_reason(evaluation.left_out).items()
        }
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
    """A row a metric: what it is, one column a stage, and the floor."""
    stages = [stage for stage in STAGE_TITLES if evaluation.stages.get(stage)]
    columns: dict[str, Scores] = {}
    for stage in stages:
        prior, title = evaluation.prior_samples.get(stage), STAGE_TITLES[stage]
        columns |= {f"{title}, mixture" if prior else title: evaluation.stages[stage]}
        columns |= {f"{title}, N(0, I)": prior} if prior else {}
    heads = ["Metric", *columns, "Real against real"]
    rows: list[list[Content]] = []
    for name in names:
        ours, floor = [column.get(name) for column in columns.values()], evaluation.floor.get(name)
        no_floor = next((score.no_floor for score in ours if score is not None and score.no_floor), NOT_MEASURED)
        values = [value_cell(score) for score in ours]
        rows.append([metric_cell(name, [*ours, floor]), *values, value_cell(floor, no_floor)])
    return table(heads, rows, "scores")


def metric_cell(name: str, found: Sequence[Score | None]) -> Markup:
    """A metric's title, its good direction, and what it is on demand."""
    words = METRICS.get(name)
    hints = [] if words is None else [words.unit, GOOD[words.good]]
    known = [score for score in found if score is not None]
    counts = {(score.n, score.against or 0) for score in known if score.n}
    measured = [f"n = {n:,}" + (f" against {against:,}" if against else "") for n, against in sorted(counts)]
    measured += [f"features: {name}" for name in sorted({score.features for score in known if score.features})]
    meaning = tag("p", EXPLANATIONS[name]) if words else None
    explained = tag("details", tag("summary", "What is this?"), meaning, tag("p", " · ".join(measured)))
    return tag(
        "div",
        tag("b", capitalised(metric_title(name))),
        tag("small", " · ".join(filter(None, hints))),
        explained,
        class_="metric",
    )


def value_cell(score: Score | None, absent: str = NOT_MEASURED) -> Content:
    """A value and its interval or why it has none; without a value what is `absent`."""
    if score is None:
        return tag("span", absent, class_="absent")
    between = interval_words(score)
    interval = tag("small", between) if between else None
    return tag("span", number(score.value), interval, class_="value")


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


def capitalised(words: str) -> str:
    """Words at the start of a cell."""
    return words[:1].upper() + words[1:]


def _protocol(evaluation: Evaluation) -> str:
    side = {
        "test": "the test side, which nothing else reads",
        "validation": "the validation side, because the test side is too small",
        "other": "other data than the run's own",
    }
    against = side.get(evaluation.reference_side, evaluation.reference_side)
    both = " (of a VAE from its mixture, and as many from N(0, I))" if evaluation.prior_samples else ""
    return (
        f"{evaluation.n:,} samples of each stage{both} against {evaluation.reference_count:,} real images of {against}. "
        "“Real against real” is the same number for real images in place of samples: nothing can be expected to beat it. "
        "Below each value its 95% interval."
    )


def curves(run: GatheredRun) -> Markup:
    """Every scalar of the journals, training and held-out in one chart."""
    parts: list[Content] = []
    for stage in run.stages:
        lines = run.journals.get(stage)
        title = STAGE_TITLES[stage]
        if not lines:
            parts.append(gap(f"The {title} has not begun, so it has no curves."))
            continue
        parts += [tag("h3", title), tag("div", *stage_charts(lines), class_="charts")]
    note = "Drag over a chart to look closer, double-click to go back, point at it to read values. Horizontally: images seen."
    return section("curves", "How training went", tag("p", note), *parts)


def stage_charts(lines: list[Line]) -> list[Markup]:
    """A chart for every scalar; its held-out counterpart is drawn into the same one."""
    marks = [float(line["seen"]) for line in lines if "guard" in line]
    charts: list[Markup] = []
    for name in scalars_of(lines):
        series = [
            Series("training", "trained", training_points(lines, name)),
            Series("held-out", "heldout", points_of(lines, f"heldout_{name}")),
        ]
        charts.append(line_chart(scalar_title(name), series, "images seen", scalar_meaning(name), marks))
    return [chart for chart in charts if chart]


def scalars_of(lines: list[Line]) -> list[str]:
    """Names of the scalars in a journal, each once, without the mark of the held-out ones."""
    names = (name.removeprefix("heldout_") for line in lines for name, value in line.items() if _is_scalar(name, value))
    return list(dict.fromkeys(names))


def _is_scalar(name: str, value: Any) -> bool:
    return name not in ("seen", "seconds") and isinstance(value, int | float) and not isinstance(value, bool)


def points_of(lines: list[Line], name: str) -> Points:
    """(images seen, value) of a scalar."""
    return [(float(line["seen"]), float(line[name])) for line in lines if name in line and _is_scalar(name, line[name])]


def training_points(lines: list[Line], name: str) -> Points:
    """`points_of` a scalar of training: means since the line before, without a last one over far fewer images (no jump)."""
    points = points_of(lines, name)
    if len(points) > 2 and points[-1][0] - points[-2][0] < (points[-2][0] - points[-3][0]) / 2:
        return points[:-1]
    return points


def guards(run: GatheredRun) -> Markup | None:
    """What was noticed and done while training; nothing when nothing was."""
    rows: list[list[Content]] = [
        [STAGE_TITLES[stage], f"{line['seen']:,}", *(str(line.get(part, "")) for part in ("guard", "action", "words"))]
        for stage, lines in run.journals.items()
        for line in lines
        if "guard" in line
    ]
    if not rows:
        return None
    note = tag("p", "Training watches itself. This is what it noticed and what it did about it; the charts mark these moments.")
    return section("guards", "What was noticed on the way", note, table(["Stage", "Images seen", "Guard", "Done", "Why"], rows))


def latent_use(run: GatheredRun) -> Markup | None:
    """Per-dimension KL and the spectra of the evaluation."""
    if run.evaluation is None:
        return None
    charts: list[Markup] = []
    if run.evaluation.per_dimension_kl:
        ordered = sorted(run.evaluation.per_dimension_kl, reverse=True)
        used = Series("KL", "vae", [(float(at), value) for at, value in enumerate(ordered, 1)])
        meaning = f"How many nats each of the {len(ordered)} latent numbers carries, most used first."
        charts.append(line_chart("KL divergence of each latent number", [used], "latent numbers", meaning))
    kinds = {"real": "real images", "vae": "VAE samples", "gan": "GAN samples"}
    series = [
        Series(kinds.get(name, name), name if name in kinds else "trained", [(float(at), value) for at, value in enumerate(line)])
        for name, line in run.evaluation.spectra.items()
    ]
    meaning = "Left: large shapes; right: finest texture. Under the real line: too smooth; peaks over it: a repeated pattern."
    charts.append(line_chart("Power at each frequency, log10", series, "cycles an image", meaning))
    charts = [chart for chart in charts if chart]
    if not charts:
        return None
    how = again(evaluate_command(run), f"# then: {run.folder.path / 'evaluation.json'}, per_dimension_kl and spectra")
    return section("spectra", "Latent and texture", tag("div", *charts, class_="charts"), how)


def checks(run: GatheredRun) -> Markup | None:
    """Numbers that training measured at its end, with the handover's checks."""
    rows: list[list[Content]] = []
    for stage in run.stages:
        measured: dict[str, Any] = {}
        for name in ("heldout", "handover", "inverse"):
            values = run.facts(stage).get(name)
            if isinstance(values, dict):
                measured |= values
        for name, value in measured.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                rows.append([capitalised(fact_title(name)), STAGE_TITLES[stage], f"{value:,.4g}", fact_meaning(name) or ""])
    if not rows:
        return None
    note = "Measured on more held-out images than the curves when a stage ended, with the finished model. Kept in run.json."
    shown = table(["What", "Stage", "Value", "Meaning"], rows, "words")
    how = again(command("info", str(run.path), "--json"))
    return section("checks", "Checks at the end of each stage", tag("p", note), shown, how)
