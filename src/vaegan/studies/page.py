"""report.html of a study: what is to be seen, in words computed from the numbers, then figures, table, and how it was made."""

import base64
import math
from pathlib import Path

from vaegan.data import VALIDATION
from vaegan.markup import Content, Markup, tag
from vaegan.report.page import again, page, section, table, write_page
from vaegan.report.scores import number
from vaegan.studies.plan import Plan, make_again
from vaegan.studies.study import Picture, Results, Story, Study

TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp"}
FEWEST_VALIDATION_IMAGES = 200  # that samples can be judged by


def write_report(study: Study, results: Results, story: Story, plan: Plan, seconds: float) -> None:
    """Writes report.html: one file with its pictures inside, so that it can be sent to somebody."""
    source = _source(results)
    lead = [tag("p", study.question), tag("p", f"After {study.source}.", class_="note")]
    method = [tag("p", _method(results, plan.seeds, seconds)), again(*make_again(plan))]
    sections = [
        section("findings", "What is to be seen", *(tag("p", sentence) for sentence in story.sentences)),
        section("figures", "Figures", *(_figure(results.folder, picture) for picture in story.pictures)),
        section("numbers", "Numbers", *_numbers(results, study.columns)),
        section("method", "How it was made", *method),
    ]
    text = page(f"Study {study.name} of {source}", tag("header", tag("h1", f"{study.name}: {source}"), *lead), sections)
    write_page(results.folder / "report.html", text)


def _figure(folder: Path, picture: Picture) -> Markup:
    path = folder / picture.name
    data = f"data:{TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
    image = tag("img", src=data, alt=picture.caption, decoding="async")
    return tag("figure", tag("figcaption", picture.caption), image, class_="picture")


def _numbers(results: Results, columns: dict[str, str]) -> list[Content]:
    labels = [label for label in results.labels if any(results.values(label, name) for name in columns)]
    measured = {name: head for name, head in columns.items() if any(results.values(label, name) for label in labels)}
    if len(measured) > len(labels):  # a wide table is hard to read on a page: arms across, numbers down
        rows = [[head, *(_cell(results, label, name) for label in labels)] for name, head in measured.items()]
        shown: list[Content] = [table(["", *labels], rows)]
    else:
        rows = [[label, *(_cell(results, label, name) for name in measured)] for label in labels]
        shown = [table(["arm", *measured.values()], rows)]
    if any(len(results.of(label)) > 1 for label in results.labels):
        shown.append(tag("p", "Mean ± standard deviation over seeds.", class_="note"))
    return shown


def _cell(results: Results, label: str, name: str) -> str:
    values = results.values(label, name)
    if not values:
        return "-"
    text = _number(results.mean(label, name))
    return text if len(values) == 1 else f"{text} ± {_number(results.spread(label, name))}"


def _number(value: float) -> str:
    return "-" if not math.isfinite(value) else number(0.0 if abs(value) < 1e-9 else value)


def _source(results: Results) -> str:
    source = results.setting.dataset.source
    return source if source.split(":")[0] == "faces" else Path(source).name


def _method(results: Results, seeds: int, seconds: float) -> str:
    base, dataset = results.setting.base, results.setting.dataset
    heldout = len(dataset.indices(VALIDATION))
    few = ", too few for the scores of samples to mean much" if heldout < FEWEST_VALIDATION_IMAGES else ""
    judges = f"at most 1,000 of {heldout:,} validation images{few}"
    if not heldout:
        judges = "training images, for want of validation images: nothing here says how it does on others"
    counts = [result.last["seen"] for result in results.all if "seen" in result.last]
    arms = f"{len(results.labels)} arms, {seeds} seed{'s' if seeds > 1 else ''} each"
    ends = " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)})) if counts else ""
    seen = f" Trained arms saw {ends} images each." if counts else ""
    return (
        f"{_source(results)}: {len(dataset):,} images at {dataset.config.size} pixels, {dataset.channels} channel(s). {arms}, "
        f"{seconds / 60:.1f} minutes of training and measuring in all.{seen} Network: {base.network.kind}, width "
        f"{base.network.width} to {base.network.width_limit}, {base.network.latent_dim} latents unless an arm says otherwise; "
        f"{base.device.precision}. Judged on {judges}; the test side was not touched. Everything measured lies in "
        "study.json, every arm is an ordinary run under arms/."
    )
