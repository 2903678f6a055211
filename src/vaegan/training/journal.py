"""metrics.jsonl: one line a measurement."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaegan.errors import TrainingError
from vaegan.files import write_atomically
from vaegan.training.engine import FabricEngine
from vaegan.training.run import disk_errors, whole_number

LARGEST = 1e39  # float32 ends before


class Journal:
    """Writes the measurements of a stage."""

    def __init__(self, path: Path, engine: FabricEngine, seen: int = 0) -> None:
        """Opens metrics.jsonl, which the first process writes, without its lines after `seen`: their steps are taken again."""
        self.path, self.write = path, engine.is_first
        if self.write and path.exists():
            kept = [line for line in read_journal(path) if line["seen"] <= seen]
            with disk_errors(path.parent):
                text = "".join(json.dumps(line) + "\n" for line in kept)
                write_atomically(path, lambda file: file.write(text.encode()))

    def line(self, stage: str, seen: int, seconds: float, values: Mapping[str, float | str]) -> None:
        """Appends what was measured, or said and done."""
        if not self.write:
            return
        line = {"stage": stage, "seen": seen, "seconds": round(seconds, 2)} | {name: _kept(values[name]) for name in values}
        with disk_errors(self.path.parent), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _kept(value: float | str) -> float | str | None:
    if isinstance(value, str):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def check_finite(values: dict[str, float], stage: str, seen: int) -> None:
    """Makes sure that what was learned is worth keeping: TrainingError if a number is none."""
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
