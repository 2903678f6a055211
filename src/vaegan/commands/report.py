"""vaegan report: one page about a run."""

from dataclasses import dataclass
from pathlib import Path

from vaegan.commands.shared import RunOptions


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Write one page about a run: samples, reconstructions, scores, curves, and what they mean. Opens in any browser."""

    out: Path | None = None
    """The page; RUN/report.html by default."""
    without_images: bool = False
    """Leave out the images of the data and where they lie: for a page to pass on."""


def run(options: Options) -> None:
    """Writes the page; the run need not be finished or evaluated."""
    from vaegan.report import write_report

    progress = options.console.preparing
    page = write_report(options.run, options.out, with_images=not options.without_images, progress=progress)
    size = page.stat().st_size
    holds = "no image of the data" if options.without_images else "images of the data"
    facts = {"out": str(page), "bytes": size, "images_of_the_data": not options.without_images}
    options.answer(facts, f"{page} ({size / 1e6:.1f} MB, holds {holds}): open it in a browser")
