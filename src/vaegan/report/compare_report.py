"""compare.html: several runs on one page."""

from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

from vaegan.charts import Series, line_chart
from vaegan.errors import RequestError
from vaegan.glossary import scalar_meaning, scalar_title, setting_words
from vaegan.markup import Content, Markup, tag
from vaegan.report import comparing
from vaegan.report.comparing import SeedGroup
from vaegan.report.gathering import gather
from vaegan.report.page import STAGE_TITLES, again, check_out, command, gap, page, section, table, write_page
from vaegan.report.run_report import samples_of
from vaegan.report.scores import interval_words, metric_cell, number, points_of, scalars_of, training_points

MOST_RUNS = 12
SEED = 0


def write_comparison(runs: list[str | Path], out: str | Path = "compare.html") -> dict[str, Any]:
    """Writes a page about several runs, which says what differs between them and which differences exceed the noise.

    Runs with the same settings, images and length are one group, whose spread over seeds then is the noise; the others are
    compared with the group of the first run. Returns the comparison as plain values.
    """
    paths = [Path(run) for run in runs]
    if not 2 <= len(paths) <= MOST_RUNS:
        raise RequestError(f"A comparison needs 2 to {MOST_RUNS} runs; {len(paths)} were given.")
    places = [path.resolve() for path in paths]
    twice = next((path for path, place in zip(paths, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise RequestError(f"{twice} is given twice; a run says nothing about itself.")
    check_out(Path(out))
    gathered = [gather(path, with_data=False) for path in paths]
    groups = comparing.grouped(gathered)
    write_page(Path(out), compare_page(groups))
    return {"out": str(out), "findings": findings(groups)} | comparing.as_facts(groups, stages_of(groups))


def compare_page(groups: list[SeedGroup]) -> str:
    """HTML of a comparison."""
    runs = [run for group in groups for run in group.runs]
    warned = [gap(sentence) for sentence in comparing.warnings(groups)]
    summary = section("verdict", "In short", tag("ul", *(tag("li", sentence) for sentence in findings(groups))), *warned)
    line = command("compare", *(str(run.path) for run in runs))
    how = again(line), again(f"{line} --json", words="The numbers for a program")
    about = section("about", "About this page", tag("p", "This page holds no image of the data, only samples."), *how)
    parts = [summary, who(groups), samples(groups), *score_sections(groups), settings(groups), curves(groups), about]
    title = f"{len(runs)} runs side by side"
    names = tag("p", ", ".join(run.name for run in runs), class_="lead")
    header = tag("header", tag("p", "vaegan compare", class_="eyebrow"), tag("h1", title), names)
    return page(f"{len(runs)} runs - vaegan compare", header, parts)


def findings(groups: list[SeedGroup]) -> list[str]:
    """What can be said about each group against the first, in words."""
    if len(groups) > 1:
        return [sentence for group in groups[1:] for sentence in _sentences(groups[0], group, stages_of(groups))]
    different = len(groups[0].runs) - len(comparing.copies(groups[0].runs))
    if different > 1:
        return [f"All runs have the same settings: {different} seeds of one thing. The page shows how much seeds differ."]
    return ["All runs have the same settings and hold the same models: one run, given several times."]


def _sentences(first: SeedGroup, other: SeedGroup, stages: list[str]) -> list[str]:
    found: list[str] = []
    for stage in stages:
        names = comparing.metrics_of([first, other], stage)
        compared = [one for name in names if (one := comparing.difference(first, other, stage, name)) is not None]
        counts = Counter(one.verdict for one in compared if one.verdict != "not compared")
        if counts:
            verdicts = ("better", "worse", "different", "within the noise")
            parts = [f"{words} in {counts[words]}" for words in verdicts if counts[words]]
            title = STAGE_TITLES.get(stage, stage)
            found.append(f"{title}: {other.label} against {first.label} is {', '.join(parts)} of {counts.total()} numbers.")
    if found:
        return found
    judged = all(any(run.evaluation is not None for run in group.runs) for group in (first, other))
    elsewhere = judged and not comparing.comparable(first, other)
    why = "they were judged against different images" if elsewhere else "numbers are missing"
    return [f"{other.label} cannot be compared with {first.label} in numbers: {why}."]


def who(groups: list[SeedGroup]) -> Markup:
    """Which letter is which run."""
    rows: list[list[Content]] = []
    for index, group in enumerate(groups):
        for run in group.runs:
            label = tag("span", tag("i", class_=f"key c{index % 6}"), tag("b", group.label))
            seen = ", ".join(f"{STAGE_TITLES.get(stage, stage)} {run.seen(stage):,}" for stage in run.stages)
            minutes = f"{run.record.spent_seconds / 60:.1f} min"
            rows.append([label, run.name, str(run.record.config.seed), seen, minutes, run.record.status])
    heads = ["Group", "Run", "Seed", "Images seen", "Time", "Status"]
    note = "Runs of one group differ by nothing but their seed."
    return section("runs", "Who is who", tag("p", note), table(heads, rows))


def samples(groups: list[SeedGroup]) -> Markup:
    """The last stage of each group's first run, from the same seed."""
    parts: list[Content] = []
    for index, group in enumerate(groups):
        run = group.runs[0]
        stage = run.last_stage
        if stage is None:
            parts.append(gap(f"{group.label} has no model yet."))
            continue
        name = tag("b", f"{group.label}, {STAGE_TITLES[stage]}")
        caption = tag("span", tag("i", class_=f"key c{index % 6}"), name, f" {run.name}")
        parts.append(samples_of(run, stage, SEED, f"Samples of {run.name}", caption, "samples.png"))
    note = f"The first of seed {SEED}; nobody picked them. Models trained apart give the same latent other meanings."
    return section("samples", "What they make", tag("p", note), tag("div", *parts, class_="side-by-side"))


def score_sections(groups: list[SeedGroup]) -> list[Markup | None]:
    """One table a stage."""
    missing = [run for group in groups for run in group.runs if run.evaluation is None]
    lines = tuple(command("evaluate", str(run.path)) for run in missing)
    parts: list[Markup | None] = []
    for stage in stages_of(groups):
        metrics = comparing.metrics_of(groups, stage)
        if metrics:
            title, rows = f"Scores of the {STAGE_TITLES.get(stage, stage)}", list[list[Content]]()
            for metric in metrics:
                known = [score for group in groups for score in group.scores(stage, metric)]
                rows.append([metric_cell(metric, known), *(_score_cell(groups[0], group, stage, metric) for group in groups)])
            heads = ["Metric", *(group.label for group in groups)]
            parts.append(section(f"scores-{stage}", title, tag("p", _noise(groups)), table(heads, rows, "scores")))
    if missing:
        names = ", ".join(run.name for run in missing)
        parts.append(section("missing", "Not evaluated", gap(f"No scores of: {names}."), again(*lines, words="Evaluate them")))
    return parts


def _noise(groups: list[SeedGroup]) -> str:
    if len(groups) == 1:
        return "The mean of all that were evaluated, and below it the lowest and the highest; of a single one its 95% interval."
    several = any(len(group.runs) - len(comparing.copies(group.runs)) > 1 for group in groups)
    basis = (
        "Some settings were run with several seeds: a difference counts when it exceeds the 95% interval from their spread."
        if several
        else "Every setting was run with one seed: a difference counts when it exceeds the 95% intervals of the evaluation. "
        "What another seed would have changed is not in them; give several seeds to know."
    )
    return f"{basis} One in twenty counts by chance."


def _score_cell(first: SeedGroup, group: SeedGroup, stage: str, metric: str) -> Content:
    found = group.scores(stage, metric)
    if not found:
        return tag("span", "not measured", class_="absent")
    values = [score.value for score in found]
    spread = interval_words(found[0])
    if len(values) > 1:
        spread = f"{number(min(values))} to {number(max(values))}, {len(values)} seeds"
    compared = None if group is first else comparing.difference(first, group, stage, metric)
    words = None
    if compared is not None:
        margin = "" if compared.margin is None else f" ({compared.value:+.2g} ± {compared.margin:.2g})"
        unsure = compared.verdict in ("within the noise", "not compared")
        words = tag("small", compared.verdict + margin, class_="within" if unsure else f"beyond {compared.verdict}")
    return tag("span", number(fmean(values)), tag("small", spread) if spread else None, words, class_="value")


def settings(groups: list[SeedGroup]) -> Markup | None:
    """The settings in which the groups differ."""
    differing = comparing.settings_that_differ(groups)
    if not differing:
        return None
    rows: list[list[Content]] = [
        [comparing.WORDS.get(name) or tag("code", name.removeprefix("settings.")), *(setting_words(value) for value in values)]
        for name, values in differing.items()
    ]
    return section("settings", "Settings that differ", table(["Setting", *(group.label for group in groups)], rows))


def curves(groups: list[SeedGroup]) -> Markup:
    """Every scalar with one line a run."""
    parts: list[Content] = []
    for stage in stages_of(groups):
        journals = [(group, run.journals[stage]) for group in groups for run in group.runs if stage in run.journals]
        names = list(dict.fromkeys(name for _, lines in journals for name in scalars_of(lines)))
        charts: list[Markup] = []
        for name in names:
            series: list[Series] = []
            for group, lines in journals:
                points = points_of(lines, f"heldout_{name}") or training_points(lines, name)
                series.append(Series(group.label, f"c{groups.index(group) % 6}", points))
            charts.append(line_chart(scalar_title(name), series, "images seen", scalar_meaning(name)))
        charts = [chart for chart in charts if chart]
        if charts:
            parts += [tag("h3", STAGE_TITLES.get(stage, stage)), tag("div", *charts, class_="charts")]
    note = "Held-out numbers where there are some, else those of training. Drag to look closer, double-click to go back."
    return section("curves", "How training went", tag("p", note), *(parts or [gap("No run has begun.")]))


def stages_of(groups: list[SeedGroup]) -> list[str]:
    """Stages that any run has, in order."""
    return [stage for stage in STAGE_TITLES if any(stage in run.stages for group in groups for run in group.runs)]
