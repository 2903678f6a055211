"""vaegan compare: several runs on one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import report as say


@dataclass(frozen=True)
class Compare:
    """Put runs side by side on one page: which settings differ, and which differences in their numbers exceed the noise."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...")]
    """The runs, 2 to 12; the others are compared with the first. Runs that differ by their seed alone count as one."""
    out: Path = Path("compare.html")
    """The page."""
    json: bool = False
    """Print JSON instead of words."""


def compare(request: Compare) -> None:
    """Writes the page."""
    from vaegan.report import write_comparison

    facts = write_comparison(list(request.runs), request.out)
    count = len(facts["groups"])
    groups = "all with the same settings" if count == 1 else f"{count} different settings"
    lines = [
        *facts["warnings"],
        *(f"{group['label']}: {', '.join(group['runs'])}" for group in facts["groups"] if count > 1),
        *facts["findings"],
        f"{len(request.runs)} runs, {groups}: {request.out}; open it in a browser",
    ]
    say(facts, lines, request.json)
