"""The sections of a report that show numbers: curves, guards, checks, the use of the latent and the spectra."""

from typing import Any

from vaegan.charts import Points, Series, bar_chart, line_chart
from vaegan.glossary import fact_meaning, fact_title, scalar_meaning, scalar_title
from vaegan.markup import Content, Markup, tag
from vaegan.report.gathering import GatheredRun, Line
from vaegan.report.page import STAGE_TITLES, again, command, gap, section, table
from vaegan.report.scores import evaluate_command


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
        path = str(run.folder.stage(stage) / "metrics.jsonl")
        lines_of_code = ("import json", "", f"lines = [json.loads(line) for line in open({path!r})]")
        parts.append(again(*lines_of_code, words="Read the numbers"))
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
    """`points_of` a scalar of training: means over the images since the line before.

    A last one over less than half as many as the one before it is left out: it would look like a jump at the end.
    """
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
        title, x_label = "KL divergence of each latent number", f"the {len(ordered)} latent numbers, most used first"
        charts.append(bar_chart(title, ordered, x_label, "nats"))
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
                title, meaning = fact_title(name), fact_meaning(name) or CHECKS.get(name, "")
                rows.append([title[:1].upper() + title[1:], STAGE_TITLES[stage], f"{value:,.4g}", meaning])
    if not rows:
        return None
    note = (
        "Measured on held-out images when a stage ended, with the finished model: a GAN's samples are equalised and at their "
        "temperature, so that their numbers are not the last ones of the curves. Kept in run.json."
    )
    shown = table(["What", "Stage", "Value", "Meaning"], rows, "words")
    how = again(command("info", str(run.path), "--json"))
    return section("checks", "Checks at the end of each stage", tag("p", note), shown, how)


def finishers(run: GatheredRun) -> Markup | None:
    """What was set once on kept models, with the scores of samples before and after."""
    rows: list[list[Content]] = []
    for stage in run.stages:
        for one in run.facts(stage).get("finished_by", []):
            name, how = one["name"].replace("_", " "), ", ".join(f"{key} {value}" for key, value in one["set"].items())
            for score, before in one["before"].items():
                title = fact_title(score)
                after = f"{one['after'][score]:,.4g}" if score in one["after"] else ""
                rows.append([f"{name} ({how})", title[:1].upper() + title[1:], f"{before:,.4g}", after])
    if not rows:
        return None
    note = (
        "Training ends with the raw generator. Each step below is applied once to the model that is kept, and sets what it is "
        "named for: so the numbers before it are those of what was learned."
    )
    shown = table(["What was set", "Of samples", "Before", "After"], rows, "words")
    how = again(command("info", str(run.path), "--json"))
    return section("finishers", "What was set at the end, before and after", tag("p", note), shown, how)


CHECKS = {
    "verified_tensors": "So many tensors of the generator were equal to the VAE's decoder when the GAN began.",
    "prior_gap": "How much further samples are from the data than reconstructions, when the GAN began.",
    "vae_low_pass_error": "The VAE's error of blurred reconstructions, which the GAN's encoder is compared with.",
    "low_pass_ratio": "The GAN's error of blurred reconstructions over the VAE's. At most 1.5 is wanted.",
    "own_source_nearest": "Share of reconstructions whose nearest held-out image is their own source. At least 0.9 is wanted.",
}
