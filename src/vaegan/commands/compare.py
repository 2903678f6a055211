"""vaegan compare: several runs on one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vaegan.commands.options import Spelling
from vaegan.commands.shared import JsonOption


@dataclass(frozen=True, kw_only=True)
class Options(JsonOption):
    """Put runs side by side on one page: which settings differ, and which differences in their numbers exceed the noise."""

    runs: Annotated[tuple[Path, ...], Spelling("RUN...", positional=True)] = ()
    """The runs, 2 to 12; the others are compared with the first. Runs that differ by their seed alone count as one."""
    out: Path = Path("compare.html")
    """The page."""


def run(options: Options) -> None:
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
