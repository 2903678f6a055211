"""What a person sees in the terminal: one live line while something takes long, plain lines when nobody watches, tables."""

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console as Terminal
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from vaegan.errors import one_line
from vaegan.processes import is_first_process
from vaegan.training.loop import Progress

PLAIN_SECONDS = 10.0  # between lines when the output is not a terminal

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
        self._terminal = _Terminal(quiet=quiet or not is_first_process(), highlight=False, soft_wrap=True)
        self._bar: Bar | None = None
        self._doing = ""
        self._last_line = 0.0

    @property
    def width(self) -> int:
        """Width of the terminal [characters]."""
        return self._terminal.width

    def say(self, sentence: str) -> None:
        """One sentence on a line of its own."""
        with self._reader_may_leave():
            self._terminal.print(one_line(sentence), markup=False)

    def show(self, table: Table) -> None:
        """A table; nothing if it is empty."""
        if table.row_count:
            self._terminal.print(table)

    def table(self, values: dict[str, Any], title: str | None = None) -> None:
        """Names and values in two columns."""
        table = Table(title=title, show_header=False, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for name, value in values.items():
            if isinstance(value, dict):
                value = one_line(", ".join(f"{key} {value_words(item)}" for key, item in value.items())) or "none"
            elif isinstance(value, list):
                value = one_line("; ".join(map(str, value)))
            lines = map(one_line, value_words(value).split("\n"))
            table.add_row(Text(one_line(name)), Text("\n".join(lines), overflow="fold"))
        self.show(table)

    def preparing(self, what: str, done: int, total: int | None, words: str = "") -> None:
        """Progress of anything that takes long."""
        with self._reader_may_leave():
            if self._terminal.is_terminal:
                self._live(what, done, total, words)
            elif done == total or time.monotonic() - self._last_line >= PLAIN_SECONDS:
                self._last_line = time.monotonic()
                of = f" of {total:,}" if total else ""
                self._terminal.print(one_line(f"{what}  {done:,}{of}  {words}".rstrip()), markup=False)

    def progress(self, progress: Progress) -> None:
        """Progress of training."""
        # A share of variance below 0 says no more than none.
        scalars = {name: max(0.0, value) if name == "latent_recovery" else value for name, value in progress.scalars.items()}
        words = [text.format(scalars[name]) for name, text in WORDS.items() if name in scalars]
        speed = f"{progress.images_per_second:,.0f} images/s" if progress.images_per_second else "measuring the speed"
        if progress.seconds_left is not None:
            minutes, seconds = divmod(round(progress.seconds_left), 60)
            words.insert(0, f"{minutes}:{seconds:02d} left")
        self.preparing(f"{progress.stage.upper():3}", progress.seen, progress.total, "  ".join([speed, *words]))

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

    def _live(self, what: str, done: int, total: int | None, words: str) -> None:
        if self._terminal.quiet:
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
            self._bar.add_task(what, total=total, planned="?", words=words)
            self._bar.start()
            _LIVE.append(self)
        (task,) = self._bar.task_ids
        self._bar.update(task, completed=done, total=total, planned=f"{total:,}" if total else "?", words=words)
        if done == total:
            self.close()

    def close(self) -> None:
        """Ends the live line."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self in _LIVE:
            _LIVE.remove(self)


def value_words(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
