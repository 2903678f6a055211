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
    save_curves,
    save_lines,
)

SVG = "{http://www.w3.org/2000/svg}"


def curves(path: Path, **named: list[tuple[float, float]]) -> ET.Element:
    save_curves(path, named, "a title", "images")
    return ET.fromstring(path.read_text("utf-8"))


def line(svg: ET.Element) -> list[tuple[float, float]]:
    """The corners of the only path."""
    (path,) = svg.iter(f"{SVG}path")
    assert re.fullmatch(r"M[-\d.]+,[-\d.]+(L[-\d.]+,[-\d.]+)*", path.attrib["d"])
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+),([-\d.]+)", path.attrib["d"])]


class TestCurves:
    def test_points_keep_their_order_and_larger_is_higher(self, tmp_path: Path) -> None:
        svg = curves(tmp_path / "a.svg", loss=[(0, 1.0), (10, 3.0), (40, 2.0)])
        (x0, y0), (x1, y1), (x2, y2) = line(svg)
        assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=0.01)
        assert (y0 - y1) / (y0 - y2) == pytest.approx(2, abs=0.02)

    def test_one_panel_a_curve(self, tmp_path: Path) -> None:
        points = [(0.0, 1.0), (1.0, 2.0)]
        svg = curves(tmp_path / "a.svg", a=points, b=points, c=points)
        assert len(list(svg.iter(f"{SVG}path"))) == 3
        width, height = (float(value) for value in svg.attrib["viewBox"].split()[2:])
        panels = [[float(panel.attrib[name]) for name in ("x", "y", "width", "height")] for panel in svg.findall(f"{SVG}svg")]
        assert len({(x, y) for x, y, _, _ in panels}) == 3
        assert all(x + wide <= width and y + high <= height for x, y, wide, high in panels)

    def test_points_that_are_not_finite_are_left_out(self, tmp_path: Path) -> None:
        points = [(0, 1.0), (1, math.nan), (2, math.inf), (3, -math.inf), (4, 2.0), (math.nan, 2.0)]
        assert len(line(curves(tmp_path / "a.svg", loss=points))) == 2

    @pytest.mark.parametrize("points", [[], [(0, 1.0)], [(0, math.nan)] * 5])
    def test_too_few_points_leave_a_named_empty_panel(self, tmp_path: Path, points: list[tuple[float, float]]) -> None:
        svg = curves(tmp_path / "a.svg", loss=points)
        assert not list(svg.iter(f"{SVG}path"))
        assert "loss" in [text.text for text in svg.iter(f"{SVG}text")]

    @pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-30, 1e30, 5e-324])
    def test_constant_values_make_a_level_line(self, tmp_path: Path, value: float) -> None:
        corners = line(curves(tmp_path / "a.svg", loss=[(0, value), (5, value), (9, value)]))
        assert len({y for _, y in corners}) == 1

    def test_no_curves_at_all(self, tmp_path: Path) -> None:
        assert curves(tmp_path / "a.svg").tag == f"{SVG}svg"

    def test_names_are_escaped(self, tmp_path: Path) -> None:
        path = tmp_path / "a.svg"
        save_curves(path, {"a<b & \"c\">'d'": [(0, 0.0), (1, 1.0)]}, "<title> & more", "x < y & z")
        texts = [text.text or "" for text in ET.fromstring(path.read_text("utf-8")).iter(f"{SVG}text")]
        assert "a<b & \"c\">'d'" in texts
        assert "<title> & more" in texts
        assert any(text.endswith("x < y & z") for text in texts)

    values = st.one_of(st.floats(-1e12, 1e12, allow_subnormal=False), st.sampled_from([math.nan, math.inf, -math.inf]))

    @settings(max_examples=40)
    @given(st.lists(st.tuples(values, values), max_size=20))
    def test_every_list_of_points_gives_a_line_inside_its_panel(
        self, tmp_path_factory: pytest.TempPathFactory, points: list[tuple[float, float]]
    ) -> None:
        abscissae = sorted(x for x, _ in points if math.isfinite(x))
        points = [(x, y) for x, (_, y) in zip(abscissae, points, strict=False)] + [(math.nan, 0.0)]
        svg = curves(tmp_path_factory.getbasetemp() / "any.svg", loss=points)
        if list(svg.iter(f"{SVG}path")):
            assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in line(svg))


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
