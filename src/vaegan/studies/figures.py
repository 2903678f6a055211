"""Figures of the studies as SVG: several curves in one panel, clouds of points, bars. No dependency, readable in any browser."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaegan.files import write_atomically

Points = Sequence[tuple[float, float]]

# Colours that stay apart for the colour-blind (Okabe & Ito 2008), black last.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b4fa3", "#555555", "#000000")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.t{font-size:14px;font-weight:600}.g{stroke:#e3e3e3}"
    ".l{fill:none;stroke-width:1.8}"
)
WIDTH, HEIGHT = 640, 360
LEFT, TOP, BOTTOM = 68, 36, 48


@dataclass(frozen=True)
class Axis:
    """One direction of a panel."""

    label: str
    log: bool = False
    low: float | None = None
    """Where it begins; the data decide when None."""
    high: float | None = None


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    log: bool
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Place of a value [pixels]."""
        low, high, value = (math.log10(max(v, 1e-300)) if self.log else v for v in (self.low, self.high, value))
        share = (value - low) / ((high - low) or 1)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values inside."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, (last - first) // 6 + 1)
            decades = [10.0**power for power in range(first, last + 1, every)]
            if len(decades) >= 2:
                return decades
            return [value for power in range(first - 1, last + 1) for value in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
                    if self.low <= value <= self.high]  # fmt: skip
        span = self.high - self.low
        step = 10 ** math.floor(math.log10(span / 4))
        step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
        return [step * k for k in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]


def save_lines(
    path: Path,
    curves: Mapping[str, Points],
    title: str,
    x: Axis,
    y: Axis,
    *,
    spreads: Mapping[str, Sequence[float]] | None = None,
    marks: bool = False,
) -> None:
    """Several curves in one panel, with a legend at its right.

    Args:
        path: ends in .svg.
        curves: name to (x, y); points that are not finite, or not positive on a logarithmic axis, are left out.
        title: above.
        x: across.
        y: upwards.
        spreads: name to half the height of a bar at each point.
        marks: draw the points too.
    """
    shown = {name: [point for point in points if _fits(point, x, y)] for name, points in curves.items()}
    ends = [
        (a, b + end * bar)
        for name, points in shown.items()
        for (a, b), bar in zip(points, (spreads or {}).get(name, ()), strict=False)
        for end in (-1, 1)
    ]
    everything = [point for points in shown.values() for point in points] + [point for point in ends if _fits(point, x, y)]
    across, up = _scales(everything, x, y, _legend_width(shown))
    parts = [_frame(title, x, y, across, up)]
    for index, (name, points) in enumerate(shown.items()):
        colour = COLOURS[index % len(COLOURS)]
        dashed = ' stroke-dasharray="6 4"' if index >= len(COLOURS) else ""
        if len(points) > 1:
            line = "M" + "L".join(f"{across(a):.1f},{up(b):.1f}" for a, b in points)
            parts.append(f'<path class="l" stroke="{colour}"{dashed} d="{line}"/>')
        for (a, b), bar in zip(points, (spreads or {}).get(name, ()), strict=False):
            place = across(a)
            line = f'y1="{up(b - bar):.1f}" y2="{up(b + bar):.1f}"'
            parts.append(f'<line x1="{place:.1f}" x2="{place:.1f}" {line} stroke="{colour}"/>')
        if marks or len(points) == 1:
            parts += [f'<circle cx="{across(a):.1f}" cy="{up(b):.1f}" r="3" fill="{colour}"/>' for a, b in points]
    parts.append(_legend(list(shown), across.end))
    _write(path, parts)


def save_points(path: Path, clouds: Mapping[str, Points], title: str, x: Axis, y: Axis, radius: float = 1.6) -> None:
    """Clouds of points, one colour each, on axes of equal length units as far as the panel allows."""
    across, up = _scales([point for points in clouds.values() for point in points], x, y, _legend_width(clouds))
    parts = [_frame(title, x, y, across, up)]
    for index, points in enumerate(clouds.values()):
        dots = "".join(f'<circle cx="{across(a):.1f}" cy="{up(b):.1f}" r="{radius}"/>' for a, b in points)
        parts.append(f'<g fill="{COLOURS[index % len(COLOURS)]}" fill-opacity="0.6">{dots}</g>')
    parts.append(_legend(list(clouds), across.end))
    _write(path, parts)


def save_bars(path: Path, bars: Mapping[str, float], title: str, label: str, spreads: Mapping[str, float] | None = None) -> None:
    """One horizontal bar a name, with its value written beside it."""
    names, row = list(bars), 26
    left, right = 20 + 7 * max((len(name) for name in names), default=4), WIDTH - 70
    values = [value + (spreads or {}).get(name, 0.0) for name, value in bars.items() if math.isfinite(value)]
    most = max([*values, 1e-12])
    place: Callable[[float], float] = lambda value: left + max(0.0, value) / most * (right - left)  # noqa: E731
    parts = [f'<text class="t" x="12" y="22">{html.escape(title)}</text>']
    for index, name in enumerate(names):
        top, value = TOP + index * row, bars[name]
        parts.append(f'<text x="{left - 8}" y="{top + 15}" text-anchor="end">{html.escape(name)}</text>')
        if not math.isfinite(value):
            parts.append(f'<text x="{left + 4}" y="{top + 15}">none</text>')
            continue
        wide, spread = place(value), (spreads or {}).get(name, 0.0)
        parts.append(f'<rect x="{left}" y="{top + 3}" width="{wide - left:.1f}" height="{row - 8}" fill="{COLOURS[0]}"/>')
        if spread:
            ends = f'x1="{place(value - spread):.1f}" x2="{min(place(value + spread), WIDTH - 4):.1f}"'
            parts.append(f'<line {ends} y1="{top + 12}" y2="{top + 12}" stroke="#222" stroke-width="2"/>')
        parts.append(f'<text x="{min(place(value + spread), right) + 6:.1f}" y="{top + 16}">{value:.3g}</text>')
    bottom = TOP + len(names) * row
    parts.append(f'<text x="{left}" y="{bottom + 18}">{html.escape(label)}</text>')
    _write(path, parts, bottom + 28)


def _fits(point: tuple[float, float], x: Axis, y: Axis) -> bool:
    pairs = zip(point, (x, y), strict=True)
    return all(math.isfinite(value) and (value > 0 or not axis.log) for value, axis in pairs)


def _scales(points: Points, x: Axis, y: Axis, legend: float) -> tuple[_Scale, _Scale]:
    ends = ((LEFT, WIDTH - legend), (HEIGHT - BOTTOM, TOP))
    scales: list[_Scale] = []
    for place, (axis, (start, end)) in enumerate(zip((x, y), ends, strict=True)):
        values = [point[place] for point in points] or [1.0, 10.0]
        low, high = min(values), max(values)
        # Room above and below the curves; across they may touch the frame.
        if axis.log:
            low, high = (low / 1.15, high * 1.15) if place or low == high else (low, high)
        else:
            room = 0.05 * ((high - low) or abs(high) or 1.0)
            low, high = (low - room, high + room) if place or low == high else (low, high)
        low, high = low if axis.low is None else axis.low, high if axis.high is None else axis.high
        scales.append(_Scale(low, high if high > low else low + 1, axis.log, start, end))
    return scales[0], scales[1]


def _frame(title: str, x: Axis, y: Axis, across: _Scale, up: _Scale) -> str:
    parts = [f'<text class="t" x="12" y="22">{html.escape(title)}</text>']
    for value in up.ticks():
        parts.append(f'<line class="g" x1="{LEFT}" x2="{across.end:.1f}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    for value in across.ticks():
        place = across(value)
        parts.append(f'<line class="g" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{place:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{_number(value)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="{(LEFT + across.end) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{html.escape(x.label)}</text>')
    parts.append(f'<text transform="translate(16,{middle:.0f}) rotate(-90)" text-anchor="middle">{html.escape(y.label)}</text>')
    return "".join(parts)


def _legend_width(names: Mapping[str, object]) -> float:
    return 34.0 + 6.6 * max((len(name) for name in names), default=0)


def _legend(names: Sequence[str], left: float) -> str:
    parts: list[str] = []
    for index, name in enumerate(names):
        top = TOP + 6 + 18 * index
        colour = COLOURS[index % len(COLOURS)]
        parts.append(f'<rect x="{left + 10:.0f}" y="{top}" width="10" height="10" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{left + 25:.0f}" y="{top + 9}">{html.escape(name)}</text>')
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _write(path: Path, parts: list[str], height: int = HEIGHT) -> None:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
    write_atomically(path, lambda file: file.write(svg.encode()))
