"""metrics.jsonl: one line a measurement, and the steps' scalars as their means since the last flush."""

import json
import math
from pathlib import Path
from typing import Any

from vaegan.errors import TrainingError
from vaegan.files import write_atomically
from vaegan.training.engine import Engine
from vaegan.training.means import Means
from vaegan.training.run import disk_errors, whole_number
from vaegan.types import Scalars

LARGEST = 1e39  # float32 ends before


class Journal:
    """Averages scalars over steps and writes them."""

    def __init__(self, path: Path, engine: Engine, seen: int = 0) -> None:
        """Opens the journal of a stage, forgetting lines of steps that a resumed run will take again.

        Args:
            path: of metrics.jsonl; only the first process writes it.
            engine: averages over processes.
            seen: images already seen when the stage goes on.
        """
        self.path, self._means, self.write = path, Means(engine), engine.is_first
        if self.write and path.exists():
            kept = [line for line in read_journal(path) if line["seen"] <= seen]
            with disk_errors(path.parent):
                text = "".join(json.dumps(line) + "\n" for line in kept)
                write_atomically(path, lambda file: file.write(text.encode()))

    def add(self, scalars: Scalars) -> None:
        """Adds one step's scalars without waiting for the device."""
        self._means.add(scalars)

    def flush(self, stage: str, seen: int, seconds: float, strict: bool = True) -> dict[str, float]:
        """Writes and returns the means since the last flush.

        Raises:
            TrainingError: if one of them is not a number, unless not `strict`.
        """
        means = self._means.take()
        if not means:
            return {}
        self.line(stage, seen, seconds, means)
        if strict:
            _check_finite(means, stage, seen)
        return means

    def forget(self) -> None:
        """Drops what was added since the last flush: the steps were rolled back."""
        self._means.forget()

    @property
    def is_sound(self) -> bool:
        """Whether all scalars since the last flush are numbers."""
        return all(map(math.isfinite, self._means.read().values()))

    def note(self, stage: str, seen: int, seconds: float, words: dict[str, str]) -> None:
        """Appends what was said or done."""
        self._append({"stage": stage, "seen": seen, "seconds": round(seconds, 2)} | words)

    def check(self, stage: str, seen: int) -> None:
        """Makes sure that what was learned since the last flush is worth keeping.

        Raises:
            TrainingError: if a scalar is not a number.
        """
        _check_finite(self._means.read(), stage, seen)

    def line(self, stage: str, seen: int, seconds: float, values: dict[str, float]) -> None:
        """Appends one measurement."""
        rounded = {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in values.items()}
        self._append({"stage": stage, "seen": seen, "seconds": round(seconds, 2)} | rounded)

    def _append(self, line: dict[str, Any]) -> None:
        if not self.write:
            return
        with disk_errors(self.path.parent), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _check_finite(values: dict[str, float], stage: str, seen: int) -> None:
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise TrainingError(
            f"The {wrong[0]} of stage {stage} is not a number any more after {seen:,} images. The last good checkpoint "
            f"is kept. Try a lower --{stage}.learning-rate or --precision float32."
        )


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, if there is one; a line cut short by a crash, or damaged, is left out.

    Damaged is one with a number that no training writes, too: what is not finite is written as null.
    """
    lines: list[dict[str, Any]] = []
    if not path.is_file():
        return lines
    for text in path.read_text("utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text, parse_int=whole_number, parse_float=_measured, parse_constant=_measured)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and isinstance(line.get("seen"), int):
            lines.append(line)
    return lines


def _measured(text: str) -> float:
    value = float(text)
    if not -LARGEST < value < LARGEST:
        raise ValueError
    return value
