"""vaegan report: one page about a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import report as say


@dataclass(frozen=True)
class Report:
    """Write one page about a run: samples, reconstructions, scores, curves, and what they mean. Opens in any browser."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run; it need not be finished or evaluated."""
    out: Path | None = None
    """The page; RUN/report.html by default."""
    without_images: bool = False
    """Leave out the images of the data and where they lie: for a page to pass on."""
    json: bool = False
    """Print JSON instead of words."""


def report(request: Report) -> None:
    """Writes the page."""
    from vaegan.console import Console
    from vaegan.report import write_report

    console = Console(quiet=request.json)
    page = write_report(request.run, request.out, with_images=not request.without_images, progress=console.preparing)
    size = page.stat().st_size
    holds = "no image of the data" if request.without_images else "images of the data"
    facts = {"out": str(page), "bytes": size, "images_of_the_data": not request.without_images}
    say(facts, f"{page} ({size / 1e6:.1f} MB, holds {holds}): open it in a browser", request.json)
