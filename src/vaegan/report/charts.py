"""Charts as inline SVG: curves, bars and score strips. page.js makes the curves zoomable; without it they are still right."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from vaegan.report.markup import Content, Markup, escaped, tag

Points = list[tuple[float, float]]

# page.js draws with the same numbers.
WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 350, 10, 180
MOST_POINTS = 400  # a curve; longer ones are averaged in blocks
LARGEST = 1e100  # what is beyond it was not measured, and differences of it may be infinite


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    kind: str
    """A class of page.css: vae, gan, real, trained, heldout."""
    points: Points


def line_chart(title: str, series: Sequence[Series], x_label: str, note: Content = None, marks: Sequence[float] = ()) -> Markup:
    """Lines over a common x axis.

    Args:
        title: above the chart.
        series: lines; points that are not finite, or beyond all measuring, are left out.
        x_label: what x is.
        note: below the chart, in words.
        marks: places on the x axis where something was done.
    """
    lines = [Series(one.name, one.kind, thinned(one.points)) for one in series]
    lines = [one for one in lines if len(one.points) > 1]
    if not lines:
        return Markup()
    box = _box(lines)
    data = {
        "x": x_label,
        "series": [{"name": one.name, "kind": one.kind, "points": [_short(point) for point in one.points]} for one in lines],
        "marks": list(marks),
        "box": box,
    }
    drawing = tag(
        "svg",
        tag("g", _axes(box), class_="axes"),
        tag("g", [_mark(box, at) for at in marks if box[0] <= at <= box[1]], class_="marks"),
        tag("g", [tag("path", d=_path(box, one.points), class_=f"line {one.kind}") for one in lines], class_="lines"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=_in_words(title, lines),
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


def bar_chart(title: str, values: Sequence[float], level: float | None, x_label: str, y_label: str) -> Markup:
    """One bar a value, and a line at `level`."""
    highest = max([*values, level or 0.0, 1e-9])
    box = (0.0, float(len(values)), 0.0, 1.05 * highest)
    each = (RIGHT - LEFT) / len(values)
    bars = [
        tag(
            "rect",
            tag("title", f"{index + 1}: {value:.3g}"),
            x=f"{LEFT + index * each + 0.1 * each:.2f}",
            y=f"{_y(box, value):.1f}",
            width=f"{0.8 * each:.2f}",
            height=f"{BOTTOM - _y(box, value):.1f}",
            class_="bar" if level is None or value > level else "bar low",
        )
        for index, value in enumerate(values)
        if math.isfinite(value)
    ]
    drawing = tag(
        "svg",
        tag("g", _axes(box, with_x=False), class_="axes"),
        *bars,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}: {len(values)} bars from {min(values):.3g} to {max(values):.3g} {y_label}.",
    )
    words = tag("div", tag("span", f"{x_label}; height: {y_label}", class_="readout"), class_="foot")
    return tag("figure", tag("figcaption", tag("b", title)), drawing, words, class_="chart bars")


STRIP_WIDTH, STRIP_ROW = 150, 12


def strip(entries: Sequence[tuple[str, float, tuple[float, float] | None]], target: float | None = None) -> Markup:
    """Where the values of one metric lie beside each other: a dot each, with its interval as a line.

    Args:
        entries: (a class of page.css, value, interval).
        target: the best value, where that is neither the lowest nor the highest.
    """
    ends = [end for _, value, interval in entries for end in (value, *(interval or ())) if math.isfinite(end)]
    ends += [target] if target is not None and ends else []
    if len(entries) < 2 or not ends:
        return Markup()
    low, high = min(ends), max(ends)
    spread = (high - low) or abs(high) or 1.0

    def across(value: float) -> float:
        return 6 + (value - low) / spread * (STRIP_WIDTH - 12)

    drawn: list[Markup] = []
    if target is not None:
        across_target = f"{across(target):.1f}"
        drawn.append(tag("line", x1=across_target, x2=across_target, y1=0, y2=STRIP_ROW * len(entries), class_="target"))
    for row, (kind, value, interval) in enumerate(entries):
        if not math.isfinite(value):
            continue
        height = STRIP_ROW * (row + 0.5)
        drawn.append(tag("line", x1=6, x2=STRIP_WIDTH - 6, y1=height, y2=height, class_="track"))
        if interval is not None:
            ends_here = {"x1": f"{across(interval[0]):.1f}", "x2": f"{across(interval[1]):.1f}"}
            drawn.append(tag("line", y1=height, y2=height, class_=f"whisker {kind}", **ends_here))
        drawn.append(tag("circle", cx=f"{across(value):.1f}", cy=height, r="3.5", class_=f"dot {kind}"))
    box = f"0 0 {STRIP_WIDTH} {STRIP_ROW * len(entries)}"
    # The numbers stand beside it in the table, so that nobody has to read them from the drawing.
    return tag("svg", *drawn, viewBox=box, class_="strip", aria_hidden="true")


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


Box = tuple[float, float, float, float]


def _box(lines: Sequence[Series]) -> Box:
    xs = [x for one in lines for x, _ in one.points]
    # The first steps of a loss are far off; a robust range keeps the rest readable.
    lows, highs = zip(*(_robust_range(one.points) for one in lines), strict=True)
    low, high = min(lows), max(highs)
    spread = max((high - low) or abs(high) or 1.0, 1e-300)  # shares of less would be nothing
    left, right = min(xs), max(xs)
    return (left, right if right > left else left + max(1.0, abs(left)), low - 0.05 * spread, high + 0.05 * spread)


def _robust_range(points: Points) -> tuple[float, float]:
    ordered = sorted(y for _, y in points)
    skipped = len(ordered) // 40
    return ordered[skipped], ordered[-1 - skipped]


def _x(box: Box, x: float) -> float:
    return LEFT + (x - box[0]) / (box[1] - box[0]) * (RIGHT - LEFT)


def _y(box: Box, y: float) -> float:
    return BOTTOM - (min(max(y, box[2]), box[3]) - box[2]) / (box[3] - box[2]) * (BOTTOM - TOP)


def _path(box: Box, points: Points) -> str:
    return "M" + "L".join(f"{_x(box, x):.1f},{_y(box, y):.1f}" for x, y in points)


def _mark(box: Box, at: float) -> Markup:
    across = f"{_x(box, at):.1f}"
    return tag("line", x1=across, x2=across, y1=TOP, y2=BOTTOM)


def _axes(box: Box, with_x: bool = True) -> Markup:
    across = [
        part
        for value in ticks(box[2], box[3])
        for part in (
            tag("line", x1=LEFT, x2=RIGHT, y1=f"{_y(box, value):.1f}", y2=f"{_y(box, value):.1f}"),
            tag("text", short_number(value), x=LEFT - 6, y=f"{_y(box, value) + 3.5:.1f}", text_anchor="end"),
        )
    ]
    down = [
        tag("text", short_number(value), x=f"{_x(box, value):.1f}", y=BOTTOM + 16, text_anchor="middle")
        for value in (ticks(box[0], box[1], 5) if with_x else [])
    ]
    return escaped([*across, *down])


def _short(point: tuple[float, float]) -> list[float]:
    return [point[0], float(f"{point[1]:.5g}")]


def _in_words(title: str, lines: Sequence[Series]) -> str:
    parts = [f"{one.name} from {one.points[0][1]:.4g} to {one.points[-1][1]:.4g}" for one in lines]
    return f"{title}: {'; '.join(parts)}."
