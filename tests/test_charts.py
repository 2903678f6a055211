"""Charts as others read them: an XML parser reads the files and the drawings of pages."""

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaegan.charts import (
    BOTTOM,
    FIGURE_BOTTOM,
    FIGURE_TOP,
    LEFT,
    RIGHT,
    TOP,
    Axis,
    Series,
    line_chart,
    save_bars,
    save_lines,
)


def chart(points: list[tuple[float, float]], title: str = "Loss", x_label: str = "images") -> ET.Element:
    return ET.fromstring(str(line_chart(title, [Series("training", "trained", points)], x_label)))


def line(drawing: ET.Element) -> list[tuple[float, float]]:
    """The corners of the only path."""
    (path,) = drawing.iter("path")
    assert re.fullmatch(r"M[-\d.]+,[-\d.]+(L[-\d.]+,[-\d.]+)*", path.attrib["d"])
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+),([-\d.]+)", path.attrib["d"])]


class TestLines:
    def test_points_keep_their_order_and_larger_is_higher(self) -> None:
        (x0, y0), (x1, y1), (x2, y2) = line(chart([(0, 1.0), (10, 3.0), (40, 2.0)]))
        assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=0.01)
        assert (y0 - y1) / (y0 - y2) == pytest.approx(2, abs=0.02)

    def test_points_that_are_not_finite_are_left_out(self) -> None:
        points = [(0, 1.0), (1, math.nan), (2, math.inf), (3, -math.inf), (4, 2.0), (math.nan, 2.0)]
        assert len(line(chart(points))) == 2

    @pytest.mark.parametrize("points", [[], [(0, 1.0)], [(0, math.nan)] * 5])
    def test_too_few_points_make_no_chart(self, points: list[tuple[float, float]]) -> None:
        assert not line_chart("Loss", [Series("training", "trained", points)], "images")

    @pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-30, 1e30, 5e-324])
    def test_constant_values_make_a_level_line(self, value: float) -> None:
        assert len({y for _, y in line(chart([(0, value), (5, value), (9, value)]))}) == 1

    def test_names_are_escaped(self) -> None:
        drawn = chart([(0, 0.0), (1, 1.0)], "<title> & \"more\">'d'", "x < y & z")
        texts = [element.text or "" for element in drawn.iter()]
        assert "<title> & \"more\">'d'" in texts
        assert "x < y & z" in texts

    values = st.one_of(st.floats(-1e12, 1e12, allow_subnormal=False), st.sampled_from([math.nan, math.inf, -math.inf]))

    @settings(max_examples=40)
    @given(st.lists(st.tuples(values, values), max_size=20))
    def test_every_list_of_points_gives_a_line_inside_its_panel(self, points: list[tuple[float, float]]) -> None:
        abscissae = sorted(x for x, _ in points if math.isfinite(x))
        points = [(x, y) for x, (_, y) in zip(abscissae, points, strict=False)] + [(math.nan, 0.0)]
        if drawn := line_chart("Loss", [Series("training", "trained", points)], "images"):
            assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in line(ET.fromstring(str(drawn))))


def test_figures_are_svg_that_hold_every_name(tmp_path: Path) -> None:
    curves = {"<a>": [(1.0, 1.0), (10.0, 0.0), (100.0, float("nan")), (1000.0, 3.0)], "b": [(1.0, 2.0)], "empty": []}
    save_lines(tmp_path / "l.svg", curves, "title", Axis("x", log=True), Axis("y", log=True), spreads={"<a>": [0.5, 0.5]})
    cloud = {"<a>": [(0.0, 1.0), (2.0, -1.0)]}
    save_lines(tmp_path / "p.svg", cloud, "title", Axis("x"), Axis("y"), marks=True, joined=False)
    assert "<path" not in (tmp_path / "p.svg").read_text()
    save_bars(tmp_path / "b.svg", {"<a>": 1.0, "b": float("nan"), "c": 0.0}, "title", "x", {"<a>": 0.2})
    for name in ("l", "p", "b"):
        root = ET.parse(tmp_path / f"{name}.svg").getroot()
        words = [element.text for element in root.iter() if element.text]
        assert "<a>" in words
        assert "title" in words
        assert "nan" not in (tmp_path / f"{name}.svg").read_text()
    # The curve keeps what can be drawn on two logarithmic axes, (1, 1) and (1000, 3), and rises.
    line = next(e for e in ET.parse(tmp_path / "l.svg").getroot().iter() if e.get("class") == "line")
    (_, first), (_, last) = (map(float, point.split(",")) for point in line.get("d", "")[1:].split("L"))
    assert first > last


def test_spreads_stay_inside_the_figure(tmp_path: Path) -> None:
    save_bars(tmp_path / "bars.svg", {"a": 1.0, "b": 100.0}, "title", "label", {"a": 0.1, "b": 30.0})
    bars = (tmp_path / "bars.svg").read_text()
    line = float(re.findall(r'x2="([0-9.]+)" y1', bars)[-1])
    assert float(re.findall(r'<text x="([0-9.]+)" y="[0-9.]+">100', bars)[0]) > line
    save_lines(tmp_path / "lines.svg", {"a": [(0, 1.0), (1, 9.0)]}, "title", Axis("x"), Axis("y"), spreads={"a": [0.0, 4.0]})
    top, bottom = re.findall(r'y1="([0-9.]+)" y2="([0-9.]+)" stroke', (tmp_path / "lines.svg").read_text())[-1]
    assert float(top) - float(bottom) == pytest.approx(8 / 13.2 * (FIGURE_BOTTOM - FIGURE_TOP), rel=0.01)


@pytest.mark.parametrize(
    "points",
    [
        [(0.0, 5e-324), (1.0, 0.0)],
        [(0.0, -5e-324), (1.0, 5e-324)],
        [(0.0, 5e-324), (1.0, 5e-324)],
        [(9e18, 1.0), (9e18, 2.0)],
        [(0.0, 1e308), (1.0, -1e308), (2.0, 1.0), (3.0, 2.0)],
    ],
)
def test_curves_of_any_range_are_drawn(points: list[tuple[float, float]]) -> None:
    drawn = str(line_chart("Loss", [Series("training", "trained", points)], "images seen"))
    assert "<path" in drawn
    assert not re.search(r"\b(nan|inf|Infinity)\b", drawn)
