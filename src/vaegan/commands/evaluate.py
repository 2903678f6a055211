"""vaegan evaluate, report, compare and info: how good runs are, and how they went."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

from vaegan.commands.options import Spelling
from vaegan.commands.shared import JsonOption, RunOptions, check_number
from vaegan.config import DeviceConfig, Stage
from vaegan.errors import one_line
from vaegan.glossary import fact_meaning, fact_title, sooner_words
from vaegan.metrics.table import EXPLANATIONS, FEWEST_SAMPLES, METRICS, MOST_SAMPLES, by_reason, metric_title
from vaegan.processes import is_first_process

if TYPE_CHECKING:
    from rich.table import Table

    from vaegan.console import Console


WIDE = 100  # [characters] below it a table has no room for explanations
LOPSIDED = 1.8  # times as far from a value is one end of its interval as the other, from where on both are shown
GOOD = {"lower": "low", "higher": "high", "one": "1", "half": "0.5", "neither": "-"}


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(RunOptions):
    """How good a run is: every stage's samples and, as the floor, real images against images nobody trained on.

    Of a VAE both are measured: samples of the mixture fitted to its encodings, and samples of N(0, I).

    evaluation.json and report.html are written into the run.
    """

    data: Annotated[str | None, Spelling("[DATA]", positional=True)] = None
    """Images to compare with, all of them unseen; the held-out test side of the run's own data by default."""
    stage: Stage | None = None
    """vae or gan alone; all finished ones by default."""
    n: int | None = None
    """Samples of each stage, up to 1,000,000; 1,700 by default, 10,000 with --full."""
    full: bool = False
    """More samples and more draws, for numbers to publish; takes many times as long."""
    features: Path | None = None
    """A feature network of your own, .onnx or .pt2, with a .toml beside it; docs/evaluation.md names standard ones."""
    seed: int = 0
    """The same seed gives the same numbers."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the models run; auto takes a GPU when there is one. Numbers differ by less than their intervals."""
    devices: int = 1
    """Processes that share the images; on GPUs one a card."""


def evaluate(options: EvaluateOptions) -> None:
    """Measures a run."""
    if options.n is not None:
        check_number("-n", options.n, MOST_SAMPLES, FEWEST_SAMPLES)

    from vaegan.evaluation import EVALUATION_FILE, evaluate
    from vaegan.report import write_report

    console = options.console
    try:
        how: dict[str, Any] = {name: getattr(options, name) for name in ("stage", "n", "full", "features", "seed")}
        device = DeviceConfig(options.accelerator, options.devices)
        facts = evaluate(options.run, options.data, **how, device=device, progress=console.preparing)
        if not is_first_process():
            return
        page = write_report(options.run, progress=console.preparing)
    finally:
        console.close()
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        print_evaluation(facts, options.run / EVALUATION_FILE, console)
        console.say(f"The report, to be opened in a browser: {page}")


def print_evaluation(facts: dict[str, Any], path: Path, console: "Console") -> None:
    """Prints every number beside its floor, what it means, and the verdict."""
    stages, floor, reference = facts["stages"], facts["floor"], facts["reference"]
    real = {"real": floor} if floor else {}
    columns = {name.upper(): numbers for name, numbers in stages.items()} | real
    best = "; real: as many training images, the best that can be had" if floor else ""
    console.say(
        f"{facts['n']:,} samples of each stage against {reference['count']:,} {reference['side']} images of {facts['data']}, "
        f"seed {facts['seed']}{best}."
    )
    headline = [name for name, metric in METRICS.items() if metric.headline]
    console.show(_table("to look at first", columns, headline, console.width >= WIDE))
    for name, prior in facts["prior_samples"].items():
        drawn = {"mixture": stages[name], "N(0, I)": prior} | real
        console.show(
            _table(f"the {name.upper()}'s samples from", drawn, [metric for metric in headline if metric in prior], False)
        )
    console.show(_table("everything else", columns, [name for name in METRICS if name not in headline], False))
    for reason, names in by_reason(facts["left_out"]).items():
        console.say(f"Left out ({reason}): {'; '.join(map(metric_title, names))}.")
    for sentence in facts["verdict"]:
        console.say(sentence)
    if facts["train_longer"]:
        console.say(f"To make it better, first train it longer: vaegan train --resume {quote(str(path.parent))} --minutes 10")
    console.say(f"All numbers with their intervals: {path}")


def _table(title: str, columns: dict[str, dict[str, Any]], names: list[str], explained: bool) -> "Table":
    """Metrics in rows, stages in columns; at the end of a row, if asked for, what it says."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("good")
    if explained:
        table.add_column("what it says", style="dim", ratio=1)
    for name in names:
        found = [numbers[name] for numbers in columns.values() if name in numbers]
        if found:
            metric = METRICS[name]
            chance = next((f"chance {number['chance']:.2f}" for number in found if "chance" in number), "-")
            cells = [
                number_words(numbers[name]) if name in numbers else chance if column == "real" else "-"
                for column, numbers in columns.items()
            ]
            table.add_row(metric.title, *cells, GOOD[metric.good], *([EXPLANATIONS[name]] if explained else []))
    return table


def number_words(number: dict[str, Any]) -> str:
    """A value to the digits that its interval leaves, and half the interval's width; the ends of one that is lopsided."""
    value = number["value"]
    low, high = number["interval"] or (value, value)
    if not all(map(math.isfinite, (value, low, high))):
        return "not a number"
    half = (high - low) / 2
    if half <= 1e-4 * abs(value):
        return _rounded(value, 0) if abs(value) >= 100 else f"{value:.3g}"
    digits = min(6, max(0, -math.floor(math.log10(half))))
    if max(high - value, value - low) > LOPSIDED * min(high - value, value - low):
        return f"{_rounded(value, digits)} ({_rounded(low, digits)}, {_rounded(high, digits)})"
    return f"{_rounded(value, digits)} ±{_rounded(half, digits)}"


def _rounded(value: float, digits: int) -> str:
    """A value with so many digits after the point, a large one in thousands or millions: a cell has 18 letters at most."""
    if abs(value) >= 1e5:
        return f"{value / 1e6:.3g}M" if abs(value) >= 1e6 else f"{value / 1e3:.0f}k"
    return f"{round(value, digits) or 0.0:,.{digits}f}"  # no "-0.00"


@dataclass(frozen=True, kw_only=True)
class ReportOptions(RunOptions):
    """Write one page about a run: samples, reconstructions, scores, curves, and what they mean. Opens in any browser."""

    out: Path | None = None
    """The page; RUN/report.html by default."""
    without_images: bool = False
    """Leave out the images of the data and where they lie: for a page to pass on."""


def report(options: ReportOptions) -> None:
    """Writes the page; the run need not be finished or evaluated."""
    from vaegan.report import write_report

    progress = options.console.preparing
    page = write_report(options.run, options.out, with_images=not options.without_images, progress=progress)
    size = page.stat().st_size
    holds = "no image of the data" if options.without_images else "images of the data"
    facts = {"out": str(page), "bytes": size, "images_of_the_data": not options.without_images}
    options.answer(facts, f"{page} ({size / 1e6:.1f} MB, holds {holds}): open it in a browser")


@dataclass(frozen=True, kw_only=True)
class CompareOptions(JsonOption):
    """Put runs side by side on one page: which settings differ, and which differences in their numbers exceed the noise."""

    runs: Annotated[tuple[Path, ...], Spelling("RUN...", positional=True)] = ()
    """The runs, 2 to 12; the others are compared with the first. Runs that differ by their seed alone count as one."""
    out: Path = Path("compare.html")
    """The page."""


def compare(options: CompareOptions) -> None:
    """Writes the page."""
    from vaegan.report import write_comparison

    facts = write_comparison(list(options.runs), options.out)
    count = len(facts["groups"])
    groups = "all with the same settings" if count == 1 else f"{count} different settings"
    lines = [
        *facts["warnings"],
        *(f"{group['label']}: {', '.join(group['runs'])}" for group in facts["groups"] if count > 1),
        *facts["findings"],
        f"{len(options.runs)} runs, {groups}: {options.out}; open it in a browser",
    ]
    options.answer(facts, lines)


@dataclass(frozen=True, kw_only=True)
class InfoOptions(RunOptions):
    """What a run is: data, networks, what was trained and how it went."""


def info(options: InfoOptions) -> None:
    """Describes a run."""
    from vaegan.describe import describe

    facts = describe(options.run)
    if options.json:
        print(json.dumps(facts, indent=2))
        return
    console = options.console
    for title, part in facts.items():
        if isinstance(part, dict):
            console.table(_facts_in_words(part), title)
        else:
            console.say(f"{title}: {part}")


def _facts_in_words(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that there are, called what a person calls them; those in groups on a line each, with what they mean."""
    from vaegan.console import value_words

    rows: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            lines = [
                (one_line(f"{fact_title(inner)}: {value_words(fact)}"), fact_meaning(inner)) for inner, fact in value.items()
            ]
            value = "\n".join(f"{line} ({meaning.rstrip('.')})" if meaning else line for line, meaning in lines)
        elif name == "brought_forward":
            value = sooner_words(value)
        elif isinstance(value, str):
            value = one_line(value)
        if value not in ("", [], None):
            rows[fact_title(name)] = value
    return rows
