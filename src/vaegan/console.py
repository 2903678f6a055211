"""What a person sees in the terminal: one live line while training, plain lines when nobody watches, tables afterwards."""

import json
import math
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console as Terminal
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from vaegan.config import Budget, TrainConfig
from vaegan.data import ImageDataset
from vaegan.errors import one_line
from vaegan.glossary import fact_meaning, fact_title, sooner_words
from vaegan.metrics.table import METRICS, by_reason, is_bound
from vaegan.processes import is_first_process
from vaegan.training.loop import Progress
from vaegan.training.run import RunFolder

MOST_LABELS, MOST_WORDS = 8, 4  # of a preview
FEW, ENOUGH = 10_000, 20_000  # [images] of a GAN: below there is grain around contours, from there on there are pictures
WIDE = 100  # [characters] below it a table has no room for explanations
LOPSIDED = 1.8  # times as far from a value is one end of its interval as the other, from where on both are shown
PLAIN_SECONDS = 10.0  # between lines when the output is not a terminal

GOOD = {"lower": "low", "higher": "high", "one": "1", "half": "0.5", "neither": "-"}

WORDS = {
    "error": "error {:.4f}",
    "kl": "KL {:.0f} nats",
    "beta": "effective beta {:.3f}",
    "pair_accuracy": "critic right {:.0%}",
    "generator_loss": "generator loss {:.2f}",
    "heldout_kernel_distance": "held-out score {:.3f}",
    "latent_recovery": "encoder finds latents {:.0%}",
}


class _Terminal(Terminal):
    """Leaves it to its owner what is done when nobody reads any more; rich itself would end the program."""

    def on_broken_pipe(self) -> None:
        """Called by rich when writing failed."""
        raise BrokenPipeError


_LIVE: "list[Console]" = []


def end_live_line() -> None:
    """Ends the live line that an error or Ctrl-C has left behind."""
    while _LIVE:
        console = _LIVE.pop()
        with suppress(OSError):
            console.close()


class Console:
    """Shows progress and results; says nothing when quiet, or when its reader has left (`train | head`, a closed window)."""

    def __init__(self, quiet: bool = False) -> None:
        """Args: quiet: for --json, where only JSON may be printed."""
        self._terminal = _Terminal(quiet=quiet or not is_first_process(), highlight=False, soft_wrap=True)
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._doing = ""
        self._last_line = 0.0

    def say(self, sentence: str) -> None:
        """One sentence on a line of its own."""
        with self._reader_may_leave():
            self._terminal.print(one_line(sentence), markup=False)

    def preparing(self, what: str, done: int, total: int) -> None:
        """Progress of decoding."""
        with self._reader_may_leave():
            self._show(what, done, total, "")

    def progress(self, progress: Progress) -> None:
        """Progress of training."""
        words = [text.format(_shown(name, progress.scalars[name])) for name, text in WORDS.items() if name in progress.scalars]
        speed = f"{progress.images_per_second:,.0f} images/s" if progress.images_per_second else "measuring the speed"
        left = [] if progress.seconds_left is None else [f"{_duration(progress.seconds_left)} left"]
        with self._reader_may_leave():
            self._show(f"{progress.stage.upper():3}", progress.seen, progress.total, "  ".join([speed, *left, *words]))

    @contextmanager
    def _reader_may_leave(self) -> Generator[None]:
        """Training goes on when nobody listens: what it learns is worth more than the line that could not be written."""
        try:
            yield
        except OSError:
            self._terminal.quiet = True
            self._bar = None
            # What is still buffered would fail again when Python ends.
            with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())

    def _show(self, what: str, done: int, total: int | None, words: str) -> None:
        if self._terminal.quiet:
            return
        if not self._terminal.is_terminal:
            self._plain(what, done, total, words)
            return
        if self._bar is None or what != self._doing:
            self.close()
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.completed:,.0f}/{task.fields[planned]}"),
                TextColumn("{task.fields[words]}", markup=False),
            )
            self._bar, self._doing = Bar(*columns, console=self._terminal), what
            self._task = self._bar.add_task(what, total=total, planned="?", words=words)
            self._bar.start()
            _LIVE.append(self)
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=total, planned=f"{total:,}" if total else "?", words=words)
        if done == total:
            self.close()

    def _plain(self, what: str, done: int, total: int | None, words: str) -> None:
        now = time.monotonic()
        if done != total and now - self._last_line < PLAIN_SECONDS:
            return
        self._last_line = now
        of = f" of {total:,}" if total else ""
        self._terminal.print(one_line(f"{what}  {done:,}{of}  {words}".rstrip()), markup=False)

    def close(self) -> None:
        """Ends the live line."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self in _LIVE:
            _LIVE.remove(self)

    def plan(self, source: str, config: TrainConfig, minutes: float | None, images: int | None, as_json: bool) -> None:
        """What --dry-run shows."""
        from vaegan.describe import network_costs
        from vaegan.settings import to_dictionary

        facts = {"data": source, "minutes": minutes, "images": images, "settings": to_dictionary(config)}
        if as_json:
            print(json.dumps(facts, indent=2))
            return
        budget = f"{images:,} images" if images is not None else f"{4 if minutes is None else minutes:g} minutes"
        self.say(f"Would train {' then '.join(stage.upper() for stage in config.stages)} on {source} for {budget}.")
        for name, cost in network_costs(config.network, config.data.size, 3).items():
            millions = {key: value / 1e6 for key, value in cost.items()}
            sizes = f"{millions['parameters']:.2f} M parameters, {millions['multiply_adds']:.0f} M multiply-adds an image"
            self.say(f"  {name:8} {sizes}")
        self.say("Nothing was trained. All settings: add --json.")

    def finished(self, folder: RunFolder, as_json: bool) -> None:
        """What was made and what can be done with it."""
        from vaegan.model_files import read_config

        self.close()
        record = folder.read()
        stages = [plan.name for plan in record.plan]
        if as_json and is_first_process():
            print(json.dumps({"run": str(folder.path), "stages": stages, "facts": record.facts}, indent=2))
        if as_json:
            return
        path = folder.path
        seen = ", ".join(f"{name.upper()} {record.facts[name].get('images', 0):,} images" for name in stages)
        self.say(f"Done in {record.spent_seconds / 60:.1f} minutes ({seen}): {path}")
        inverse = record.facts.get("gan", {}).get("inverse")
        if inverse:
            self.say(_gives_back(inverse))
        if "gan" in stages and record.facts["gan"].get("images", 0) < FEW:
            self.say(_too_few(record.facts))
        run = quote(str(path))
        self.say(f"  watch it learn      {path / 'progress.webp'}")
        model = read_config(folder.model(stages[-1]))
        wished, needed = ("   [--label NAME]", " --label NAME") if model.labels else ("", "")
        self.say(f"  new images          vaegan sample {run} -n 64 --out samples.png{wished}")
        if model.has_encoder:
            self.say(f"  your own image      vaegan reconstruct {run} IMAGE{needed}")
        self.say(f"  train it longer     vaegan train --resume {run} --minutes 10")

    def preview(self, dataset: ImageDataset, facts: dict[str, Any], out: Path) -> None:
        """The counts of a data set, and where its contact sheet is."""
        hidden = ("images_per_second", "sheet", "notes", "warnings", "labels")
        shown = {name: value for name, value in facts.items() if name not in hidden}
        self._terminal.print(_table(shown | _labels_in_words(facts["labels"])))
        for sentence in (*dataset.notes, *dataset.warnings):
            self.say(sentence)
        speed, budget = facts["images_per_second"], Budget()
        seconds = budget.vae_seconds(240, speed["vae"])
        vae, gan = seconds * speed["vae"], (240 - seconds) * speed["gan"]
        self.say(
            f"On this machine 4 minutes of training with the preset tiny show the VAE about {vae:,.0f} images and the GAN about "
            f"{gan:,.0f}: every image {(vae + gan) / max(1, facts['sides']['train']):.1f} times."
        )
        self.say(f"What training will see: {out}")

    def info(self, facts: dict[str, Any]) -> None:
        """A run in tables."""
        for title, part in facts.items():
            if isinstance(part, dict):
                self._terminal.print(_table(_facts_in_words(part), title))
            else:
                self.say(f"{title}: {part}")

    def doctor(self, facts: dict[str, Any]) -> None:
        """The machine in a table, and what to fix."""
        self._terminal.print(_table({name.replace("_", " "): value for name, value in facts.items() if name != "problems"}))
        for problem in facts["problems"]:
            self.say(f"To fix: {problem}")
        if not facts["problems"]:
            self.say("Everything is in order.")

    def evaluation(self, facts: dict[str, Any], path: Path) -> None:
        """Every number beside its floor, what it means, and the verdict."""
        stages, floor, reference = facts["stages"], facts["floor"], facts["reference"]
        columns = [*stages.items(), *([("real", floor)] if floor else [])]
        best = "; real: as many training images, the best that can be had" if floor else ""
        self.say(
            f"{facts['n']:,} samples of each stage against {reference['count']:,} {reference['side']} images of {facts['data']}, "
            f"seed {facts['seed']}{best}."
        )
        headline = [name for name, metric in METRICS.items() if metric.headline]
        others = [name for name in METRICS if name not in headline]
        for title, names, explained in (
            ("to look at first", headline, self._terminal.width >= WIDE),
            ("everything else", others, False),
        ):
            table = _numbers(title, columns, names, explained)
            if table.row_count:
                self._terminal.print(table)
        for reason, names in by_reason(facts["left_out"]).items():
            self.say(f"Left out ({reason}): {'; '.join(METRICS[name].title if name in METRICS else name for name in names)}.")
        for sentence in facts["verdict"]:
            self.say(sentence)
        if facts["train_longer"]:
            self.say(f"To make it better, first train it longer: vaegan train --resume {quote(str(path.parent))} --minutes 10")
        self.say(f"All numbers with their intervals: {path}")


def _too_few(facts: dict[str, Any]) -> str:
    """Whoever sees noise after a short run should know why, and how long a run would have to be."""

    def seconds(stage: str, images: int) -> float:
        speed = max(facts[stage].get("measured_speed", 0.0), facts[stage].get("mean_speed", 0.0))
        return images / speed if speed > 0 else math.inf

    whole = seconds("gan", ENOUGH) + (seconds("vae", Budget().vae_images) if "vae" in facts else 0.0)
    anew = f", which is about --minutes {math.ceil(whole / 60)} here" if math.isfinite(whole) else ""
    return f"The GAN has seen few images, {facts['gan'].get('images', 0):,}: expect grain. It takes some {ENOUGH:,}{anew}."


def _gives_back(inverse: dict[str, Any]) -> str:
    """What the GAN's encoder makes of real images, in a sentence."""
    recognised, latent = inverse["own_source_nearest"], f"{max(0.0, inverse['latent_recovery']):.0%} of the latent is recovered."
    if isinstance(recognised, str):
        return f"Encoding: whether held-out images are recognised in what the GAN gives back of them {recognised}; {latent}"
    return f"Encoding: {recognised:.0%} of held-out images are recognised in what the GAN gives back of them, {latent}"


def _numbers(title: str, columns: list[tuple[str, dict[str, Any]]], names: list[str], explained: bool) -> Table:
    """Metrics in rows, stages in columns; at the end of a row, if asked for, what it says."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title, no_wrap=True)
    for name, _ in columns:
        table.add_column("real" if name == "real" else name.upper(), justify="right", no_wrap=True)
    table.add_column("good")
    if explained:
        table.add_column("what it says", style="dim", ratio=1)
    for name in names:
        if any(name in numbers for _, numbers in columns):
            metric = METRICS[name]
            chance = next((one["chance"] for _, numbers in columns if "chance" in (one := numbers.get(name, {}))), None)
            without = "-" if chance is None else f"chance {chance:.2f}"
            cells = [
                without if column == "real" and name not in numbers else _number(name, numbers.get(name))
                for column, numbers in columns
            ]
            table.add_row(metric.title, *cells, GOOD[metric.good], *([metric.explanation] if explained else []))
    return table


def _number(name: str, number: dict[str, Any] | None) -> str:
    """A value to the digits that its interval leaves, and half the interval's width; the ends of one that is lopsided."""
    if number is None:
        return "-"
    value = number["value"]
    if not all(map(math.isfinite, [value, *(number["interval"] or [])])):
        return "not a number"
    half = 0.0 if number["interval"] is None else (number["interval"][1] - number["interval"][0]) / 2
    if half <= 1e-4 * abs(value):
        more = "more than " if is_bound(name, value, number["n"]) else ""
        return more + (_rounded(value, 0) if abs(value) >= 100 else f"{value:.3g}")
    digits = min(6, max(0, -math.floor(math.log10(half))))
    low, high = number["interval"] or (value, value)
    if max(high - value, value - low) > LOPSIDED * min(high - value, value - low):
        return f"{_rounded(value, digits)} ({_rounded(low, digits)}, {_rounded(high, digits)})"
    return f"{_rounded(value, digits)} ±{_rounded(half, digits)}"


def _rounded(value: float, digits: int) -> str:
    """A value with so many digits after the point, a large one in thousands or millions: a cell has 18 letters at most."""
    if abs(value) >= 1e5:
        return f"{value / 1e6:.3g}M" if abs(value) >= 1e6 else f"{value / 1e3:.0f}k"
    return f"{round(value, digits) or 0.0:,.{digits}f}"  # no "-0.00"


def _shown(name: str, value: float) -> float:
    """A share of variance below 0 says no more than none; generator losses may well be negative."""
    return max(0.0, value) if name == "latent_recovery" else value


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def _table(values: dict[str, Any], title: str | None = None) -> Table:
    table = Table(title=title, show_header=False, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name, value in values.items():
        if isinstance(value, dict):
            value = one_line(", ".join(f"{key} {_words(item)}" for key, item in value.items())) or "none"
        elif isinstance(value, list):
            value = one_line("; ".join(map(str, value)))
        lines = map(one_line, _words(value).split("\n"))
        table.add_row(Text(one_line(name)), Text("\n".join(lines), overflow="fold"))
    return table


def _facts_in_words(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that there are, called what a person calls them; those in groups on a line each, with what they mean."""
    rows: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            lines = [one_line(f"{fact_title(inner)}: {_words(fact)}") for inner, fact in value.items()]
            meanings = [fact_meaning(inner) for inner in value]
            value = "\n".join(
                f"{line} ({meaning.rstrip('.')})" if meaning else line for line, meaning in zip(lines, meanings, strict=True)
            )
        elif name == "brought_forward":
            value = sooner_words(value)
        elif isinstance(value, str):
            value = one_line(value)
        if value not in ("", [], None):
            rows[fact_title(name)] = value
    return rows


def _labels_in_words(labels: dict[str, dict[str, float]]) -> dict[str, str]:
    """A row for each of the first labels: a number's range, or a category's most frequent words; and how many more there are."""
    rows: dict[str, str] = {}
    for name, summary in list(labels.items())[:MOST_LABELS]:
        if set(summary) == {"lowest", "mean", "highest"}:
            rows[f"label {name}"] = f"{summary['lowest']:.4g} to {summary['highest']:.4g}, mean {summary['mean']:.4g}"
            continue
        frequent = sorted(summary.items(), key=lambda entry: -entry[1])
        words = [f"{word[:24]} {_words(int(count))}" for word, count in frequent[:MOST_WORDS]]
        more = [f"and {len(frequent) - MOST_WORDS:,} more"] if len(frequent) > MOST_WORDS else []
        rows[f"label {name}"] = ", ".join(words + more)
    if len(labels) > MOST_LABELS:
        rows["more labels"] = f"{len(labels) - MOST_LABELS:,} (all of them: --json)"
    return rows


def _words(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
