"""report.html of a study: what is to be seen, in words computed from the numbers, then figures, table, and how it was made."""

import base64
import html
import math
from pathlib import Path
from typing import Any

from vaegan.files import write_atomically
from vaegan.studies.study import Result, Results, Story, Study

STYLE = (
    "body{font:16px/1.55 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.6rem;margin-bottom:.2rem}figure{margin:1.5rem 0}figcaption{color:#555;font-size:.9rem}"
    "img{max-width:100%;height:auto}img.small{image-rendering:pixelated;min-width:20rem}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}"
    "th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right}th:first-child,td:first-child{text-align:left}"
    "@media(prefers-color-scheme:dark){body{background:#16181b;color:#ddd}figcaption{color:#aaa}th,td{border-color:#444}}"
)
TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp"}


def write_report(study: Study, results: Results, story: Story, facts: dict[str, Any]) -> None:
    """Writes report.html: one file with its pictures inside, so that it can be sent to somebody."""
    parts = [
        f"<h1>{html.escape(study.name)}</h1>",
        f"<p>{html.escape(study.question)} <em>({html.escape(study.source)})</em></p>",
    ]
    parts.append("<h2>What is to be seen</h2>" + "".join(f"<p>{html.escape(sentence)}</p>" for sentence in story.sentences))
    parts += [_figure(results.folder / picture.name, picture.caption) for picture in story.pictures]
    parts.append("<h2>Numbers</h2>" + _table(results, story.columns))
    parts.append("<h2>How it was made</h2>" + _method(results, facts))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(study.name)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    write_atomically(results.folder / "report.html", lambda file: file.write(page.encode()))


def _figure(path: Path, caption: str) -> str:
    encoded = base64.b64encode(path.read_bytes()).decode()
    kind = ' class="small"' if path.suffix != ".svg" else ""
    image = f'<img{kind} alt="{html.escape(caption)}" src="data:{TYPES[path.suffix]};base64,{encoded}">'
    return f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _table(results: Results, columns: dict[str, str]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("arm", *columns.values()))
    rows: list[str] = []
    for label in results.labels:
        cells = "".join(f"<td>{_cell(results, label, name)}</td>" for name in columns)
        rows.append(f"<tr><td>{html.escape(label)}</td>{cells}</tr>")
    spread = "<p>Mean ± standard deviation over seeds.</p>" if any(len(results.of(label)) > 1 for label in results.labels) else ""
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>{spread}'


def _cell(results: Results, label: str, name: str) -> str:
    values = results.values(label, name)
    if not values:
        return "-"
    text = number(results.mean(label, name))
    return text if len(values) == 1 else f"{text} ± {number(results.spread(label, name))}"


def number(value: float) -> str:
    """Three figures, thousands with commas."""
    if not math.isfinite(value):
        return "-"
    value = 0.0 if abs(value) < 1e-9 else value
    return f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.3g}"


def _method(results: Results, facts: dict[str, Any]) -> str:
    base, dataset = results.setting.base, results.setting.dataset
    trained = [result for result in results.all if "seen" in result.last]
    arms = f"{len(results.labels)} arms, {facts['seeds']} seed{'s' if facts['seeds'] > 1 else ''} each"
    seen = f" Trained arms saw {_range(trained)} images each." if trained else ""
    source = dataset.source if dataset.source.split(":")[0] == "faces" else Path(dataset.source).name
    return (
        f"<p>{html.escape(source)}: {len(dataset):,} images at {dataset.config.size} pixels, {dataset.channels} channel(s). "
        f"{arms}, {facts['seconds'] / 60:.1f} minutes of training and measuring in all.{seen} Network: {base.network.kind}, "
        f"width "
        f"{base.network.width} to {base.network.width_limit}, {base.network.latent_dim} latents unless an arm says otherwise; "
        f"{base.device.precision}. Judged on validation images; the test side was not touched. Everything measured: "
        f"study.json.</p>"
    )


def _range(results: list[Result]) -> str:
    counts = sorted(result.last["seen"] for result in results)
    return f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
