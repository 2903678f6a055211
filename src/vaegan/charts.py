"""Charts as SVG, for pages and as files: lines, clouds of points and bars. Drawn here, so that they need no extra."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

from vaegan.files import write_atomically
from vaegan.markup import Content, Markup, tag

Points = Sequence[tuple[float, float]]

# Small charts, in pages. page.js draws with the same numbers.
WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 350, 10, 180
# Figures: one chart a file.
FIGURE_WIDTH, FIGURE_HEIGHT = 640, 360
FIGURE_LEFT, FIGURE_TOP, FIGURE_BOTTOM = 68, 36, 312

MOST_POINTS = 400  # a curve; longer ones are averaged in blocks
LARGEST = 1e100  # numbers beyond it were not measured, and their differences may be infinite
# Colours that stay apart for the colour-blind (Okabe & Ito 2008), black last.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b4fa3", "#555555", "#000000")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.title{font-size:14px;font-weight:600}"
    ".axes line{stroke:#e3e3e3}.line{fill:none;stroke-width:1.8}"
)


@dataclass(frozen=True)
class Series:
    """One line of a chart in a page."""

    name: str
    kind: str  # a class of page.css: vae, gan, real, trained, heldout
    points: Points


@dataclass(frozen=True)
class Axis:
    """One direction of a figure."""

    label: str
    log: bool = False
    low: float | None = None  # where it begins; the data decide when None


@dataclass(frozen=True)
class Scale:
    """Maps values to places on the drawing [pixels]; values outside are drawn at the edge."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Place of a value."""
        low, high, value = (math.log10(max(v, 1e-300)) if self.log else v for v in (self.low, self.high, value))
        share = (value - low) / ((high - low) or 1)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """Round values inside, about `count` of them."""
        if not self.log:
            return ticks(self.low, self.high, count)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        decades = [10.0**power for power in range(first, last + 1, max(1, (last - first) // 6 + 1))]
        if len(decades) >= 2:
            return decades
        values = (factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5))
        return [value for value in values if self.low <= value <= self.high]


def line_chart(title: str, series: Sequence[Series], x_label: str, note: Content = None, marks: Sequence[float] = ()) -> Markup:
    """Lines over a common x axis, for a page; page.js makes them zoomable.

    Points that are not finite, or too large to have been measured, are left out. `marks` are moments, drawn as upright lines.
    """
    lines = [Series(one.name, one.kind, thinned(one.points)) for one in series]
    lines = [one for one in lines if len(one.points) > 1]
    if not lines:
        return Markup()
    box = _box([one.points for one in lines])
    across, up = _small_scales(box)
    drawn = [{"name": one.name, "points": [(x, float(f"{y:.5g}")) for x, y in one.points]} for one in lines]
    data = {"x": x_label, "series": drawn, "marks": list(marks), "box": box}
    moments = [f"{across(at):.1f}" for at in marks if box[0] <= at <= box[1]]
    said = "; ".join(f"{one.name} from {one.points[0][1]:.4g} to {one.points[-1][1]:.4g}" for one in lines)
    drawing = tag(
        "svg",
        tag("g", _axes(across, up), class_="axes"),
        tag("g", [tag("line", x1=at, x2=at, y1=TOP, y2=BOTTOM) for at in moments], class_="marks"),
        tag("g", [tag("path", d=_path(across, up, one.points), class_=f"line {one.kind}") for one in lines], class_="lines"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}: {said}.",
    )
    keys = [tag("span", tag("i", class_=f"key {one.kind}"), one.name) for one in lines] if len(lines) > 1 else []
    return tag(
        "figure",
        tag("figcaption", tag("b", title)),
        drawing,
        tag("div", tag("span", *keys, class_="keys"), tag("span", x_label, class_="readout"), class_="foot"),
        tag("p", note, class_="note") if note else None,
        class_="chart",
        data_chart=json.dumps(data, separators=(",", ":")),
    )


def save_lines(
    path: Path,
    curves: Mapping[str, Points],
    title: str,
    x: Axis,
    y: Axis,
    *,
    spreads: Mapping[str, Sequence[float]] | None = None,
    marks: bool = False,
    joined: bool = True,
) -> None:
    """Writes several curves in one panel, with a legend at its right.

    Points that are not finite, or not positive on a logarithmic axis, are left out. `spreads` holds half the height of a bar
    at each point of a curve; with `marks` the points are drawn too, and alone where they are not `joined`.
    """
    shown: dict[str, list[tuple[float, float, float]]] = {}
    for name, points in curves.items():
        halves = chain((spreads or {}).get(name, ()), repeat(0.0))
        shown[name] = [(a, b, half) for (a, b), half in zip(points, halves, strict=False) if _fits((a, b), x, y)]
    ends = [(a, b + half) for points in shown.values() for a, b, spread in points for half in (-spread, spread)]
    across, up = _figure_scales([point for point in ends if _fits(point, x, y)], x, y, shown)
    parts: list[Markup] = []
    for index, points in enumerate(shown.values()):
        colour = COLOURS[index % len(COLOURS)]
        if joined and len(points) > 1:
            dashes = "6 4" if index >= len(COLOURS) else None
            d = _path(across, up, [(a, b) for a, b, _ in points])
            parts.append(tag("path", d=d, class_="line", stroke=colour, stroke_dasharray=dashes))
        for a, b, spread in points:
            place = f"{across(a):.1f}"
            if spread:
                low, high = f"{up(b - spread):.1f}", f"{up(b + spread):.1f}"
                parts.append(tag("line", x1=place, x2=place, y1=low, y2=high, stroke=colour))
            if marks or len(points) == 1:
                dot = {"r": 3} if joined else {"r": 2.2, "fill_opacity": 0.6}
                parts.append(tag("circle", cx=place, cy=f"{up(b):.1f}", fill=colour, **dot))
    columns = [
        tag("line", x1=f"{across(at):.1f}", x2=f"{across(at):.1f}", y1=FIGURE_TOP, y2=FIGURE_BOTTOM) for at in across.ticks(6)
    ]
    right, middle = (FIGURE_LEFT + across.end) / 2, (FIGURE_TOP + FIGURE_BOTTOM) / 2
    words = [
        tag("text", title, x=12, y=22, class_="title"),
        tag("text", x.label, x=f"{right:.0f}", y=FIGURE_HEIGHT - 10, text_anchor="middle"),
        tag("text", y.label, transform=f"translate(16,{middle:.0f}) rotate(-90)", text_anchor="middle"),
    ]
    axes = tag("g", columns, _axes(across, up, 6, 6), class_="axes")
    _save(path, FIGURE_WIDTH, FIGURE_HEIGHT, *words, axes, *parts, *_legend(shown, across.end))


def save_bars(path: Path, bars: Mapping[str, float], title: str, label: str, spreads: Mapping[str, float] | None = None) -> None:
    """Writes one horizontal bar a name, with its value beside it and its spread as a line."""
    row, spreads = 26, spreads or {}
    left, right = 20 + 7 * max((len(name) for name in bars), default=4), FIGURE_WIDTH - 70
    ends = [value + spreads.get(name, 0.0) for name, value in bars.items() if math.isfinite(value)]
    across = Scale(0.0, max([*ends, 1e-12]), left, right)
    parts = [tag("text", title, x=12, y=22, class_="title")]
    for index, (name, value) in enumerate(bars.items()):
        top, spread = FIGURE_TOP + index * row, spreads.get(name, 0.0)
        parts.append(tag("text", name, x=left - 8, y=top + 15, text_anchor="end"))
        if not math.isfinite(value):
            parts.append(tag("text", "none", x=left + 4, y=top + 15))
            continue
        parts.append(tag("rect", x=left, y=top + 3, width=f"{across(value) - left:.1f}", height=row - 8, fill=COLOURS[0]))
        low, high = f"{across(value - spread):.1f}", f"{across(value + spread):.1f}"
        if spread:
            parts.append(tag("line", x1=low, x2=high, y1=top + 12, y2=top + 12, stroke="#222", stroke_width=2))
        parts.append(tag("text", f"{value:.3g}", x=f"{across(value + spread) + 6:.1f}", y=top + 16))
    bottom = FIGURE_TOP + len(bars) * row
    _save(path, FIGURE_WIDTH, bottom + 28, *parts, tag("text", label, x=left, y=bottom + 18))


def thinned(points: Points) -> Points:
    """Finite points in the order of x, averaged in blocks when there are more than can be seen."""
    finite = sorted(point for point in points if all(-LARGEST < value < LARGEST for value in point))
    if len(finite) <= MOST_POINTS:
        return finite
    size = math.ceil(len(finite) / MOST_POINTS)
    blocks = [finite[at : at + size] for at in range(0, len(finite), size)]
    return [(block[-1][0], sum(y for _, y in block) / len(block)) for block in blocks]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers between two ends, about `count` of them; none where an end is infinite."""
    raw = (high - low) / count
    if not math.isfinite(raw):
        return []
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def short_number(value: float) -> str:
    """A number for an axis: 84k, 0.05, -9.5k."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def _box(lines: Sequence[Points]) -> tuple[float, float, float, float]:
    """Left, right, low and high end of what a small chart shows."""
    xs = [x for points in lines for x, _ in points]
    # The first steps of a loss are far off; a robust range keeps the rest readable.
    lows, highs = zip(*map(_robust_range, lines), strict=True)
    low, high = min(lows), max(highs)
    room = 0.05 * max((high - low) or abs(high) or 1.0, 1e-300)  # shares of less would be nothing
    left, right = min(xs), max(xs)
    return (left, right if right > left else left + max(1.0, abs(left)), low - room, high + room)


def _robust_range(points: Points) -> tuple[float, float]:
    ordered = sorted(y for _, y in points)
    skipped = len(ordered) // 40
    return ordered[skipped], ordered[-1 - skipped]


def _small_scales(box: tuple[float, float, float, float]) -> tuple[Scale, Scale]:
    return Scale(box[0], box[1], LEFT, RIGHT), Scale(box[2], box[3], BOTTOM, TOP)


def _figure_scales(points: Points, x: Axis, y: Axis, names: Iterable[str]) -> tuple[Scale, Scale]:
    """Scales of a figure that leave room for the names at the right, and above and below the points."""
    right = FIGURE_WIDTH - 34 - 6.6 * max(map(len, names), default=0)
    scales: list[Scale] = []
    for place, (axis, start, end) in enumerate(((x, FIGURE_LEFT, right), (y, FIGURE_BOTTOM, FIGURE_TOP))):
        values = [point[place] for point in points] or [1.0, 10.0]
        low, high = min(values), max(values)
        if place == 1 or low == high:  # across, curves may touch the frame
            room = 0.05 * ((high - low) or abs(high) or 1.0)
            low, high = (low / 1.15, high * 1.15) if axis.log else (low - room, high + room)
        low = low if axis.low is None else axis.low
        scales.append(Scale(low, high if high > low else low + 1, start, end, axis.log))
    return scales[0], scales[1]


def _fits(point: tuple[float, float], x: Axis, y: Axis) -> bool:
    return all(math.isfinite(value) and (value > 0 or not axis.log) for value, axis in zip(point, (x, y), strict=True))


def _path(across: Scale, up: Scale, points: Points) -> str:
    return "M" + "L".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)


def _axes(across: Scale, up: Scale, rows: int = 4, columns: int = 5) -> list[Markup]:
    """About as many lines with numbers along the y axis, and numbers along the x axis, as are asked for."""
    parts: list[Markup] = []
    for value in up.ticks(rows):
        at = up(value)
        parts.append(tag("line", x1=across.start, x2=f"{across.end:.1f}", y1=f"{at:.1f}", y2=f"{at:.1f}"))
        parts.append(tag("text", short_number(value), x=across.start - 6, y=f"{at + 3.5:.1f}", text_anchor="end"))
    for value in across.ticks(columns):
        parts.append(tag("text", short_number(value), x=f"{across(value):.1f}", y=up.start + 16, text_anchor="middle"))
    return parts


def _legend(names: Iterable[str], left: float) -> list[Markup]:
    legend: list[Markup] = []
    for index, name in enumerate(names):
        top, colour = FIGURE_TOP + 6 + 18 * index, COLOURS[index % len(COLOURS)]
        legend.append(tag("rect", x=f"{left + 10:.0f}", y=top, width=10, height=10, rx=2, fill=colour))
        legend.append(tag("text", name, x=f"{left + 25:.0f}", y=top + 9))
    return legend


def _save(path: Path, width: int, height: int, *content: Content) -> None:
    paper = tag("rect", width="100%", height="100%", fill="#fff")
    box = {"viewBox": f"0 0 {width} {height}", "width": width}
    svg = tag("svg", tag("style", STYLE), paper, *content, xmlns="http://www.w3.org/2000/svg", **box)
    write_atomically(path, lambda file: file.write(f"{svg}\n".encode()))
