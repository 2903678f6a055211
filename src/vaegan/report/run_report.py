"""report.html of one run."""

from dataclasses import asdict
from pathlib import Path

from vaegan.glossary import setting_words
from vaegan.markup import Markup, tag
from vaegan.report import numbers, sections
from vaegan.report.gathering import GatheredRun, gather
from vaegan.report.page import again, check_out, command, page, section, table, write_page
from vaegan.report.pictures import counts_for
from vaegan.report.scores import scores
from vaegan.types import ProgressCallback


def write_report(
    run: str | Path, out: str | Path | None = None, *, with_images: bool = True, progress: ProgressCallback | None = None
) -> Path:
    """Writes a page about a run: one file that needs no network and nothing beside it.

    Args:
        run: the run's folder; it need not be finished or evaluated.
        out: the page; report.html in the run's folder when None.
        with_images: whether the page may hold images of the data and their place on the disk.
        progress: called with what is being done.

    Returns:
        Where the page lies.

    Raises:
        RequestError: if `out` is no .html file.
        ModelError: if there is no run.
        TrainingError: if the page cannot be written.
    """
    path = Path(run)
    target = Path(out) if out is not None else path / "report.html"
    check_out(target)
    write_page(target, report_page(gather(path, with_data=with_images, progress=progress), with_images))
    return target


def report_page(run: GatheredRun, with_images: bool) -> str:
    """HTML of a run's report."""
    counts = counts_for(run.record.config.data.size)
    parts = [
        sections.verdict(run),
        sections.samples(run, counts),
        scores(run),
        sections.progress(run),
        sections.real(run, counts),
        sections.reconstructions(run, counts),
        sections.interpolations(run),
        sections.copies(run, counts),
        numbers.latent_use(run),
        numbers.curves(run),
        numbers.guards(run),
        numbers.checks(run),
        numbers.finishers(run),
        settings(run, with_images),
        about(run, with_images),
    ]
    return page(f"{run.name} - vaegan report", sections.headline(run, with_images), parts)


def settings(run: GatheredRun, with_images: bool) -> Markup:
    """Every setting, and the command that trains the same again."""
    record, values = run.record, asdict(run.record.config)
    flat = {name: value for name, value in values.items() if not isinstance(value, dict)}
    parts = {"run": flat, **{name: value for name, value in values.items() if isinstance(value, dict)}}
    tables = [
        table(["Setting", "Value"], [[tag("code", key), setting_words(value)] for key, value in part.items()], "settings", name)
        for name, part in parts.items()
    ]
    images = sum(plan.images or 0 for plan in record.plan)
    source = record.source if with_images else "DATA"
    start = [] if record.init is None else ["--init", record.init if with_images else "RUN"]
    lines = command("train", source, "--config", "settings.toml", "--images", str(images), *start)
    words = "# the settings lie in run.json under config; those that differ from the preset go into settings.toml"
    details = tag("details", tag("summary", "All settings"), tag("div", *tables, class_="settings"), class_="more")
    return section("settings", "Settings", details, again(words, lines, words="Train the same again"))


def about(run: GatheredRun, with_images: bool) -> Markup:
    """What the page holds, for somebody about to pass it on."""
    holds = (
        "This page holds images of the data and says where they lie on this computer. Make one without them before you share it:"
        if with_images
        else "This page holds no image of the data and not their place on the disk; samples do look like them. It was made with:"
    )
    line = command("report", str(run.path), "--without-images", "--out", "shared.html")
    note = tag("p", holds, " ", tag("code", line))
    gaps = [tag("li", sentence) for sentence in run.gaps.values()]
    missing = tag("div", tag("h3", "What is missing here"), tag("ul", *gaps)) if gaps else None
    stored = "Sheets are stored without loss up to 450 kB and with WebP quality 90 above; the animation always with loss."
    return section(
        "about", "About this page", note, missing, tag("p", stored, class_="note"), again(command("report", str(run.path)))
    )
