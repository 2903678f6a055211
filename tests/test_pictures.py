"""Pictures as others read them: Pillow counts frames and pixels, an XML parser reads the curves."""

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vaegan.pictures import GAP, PAPER, grid, save_animation, save_curves, save_png, to_picture

SVG = "{http://www.w3.org/2000/svg}"


def pixels(count: int, height: int = 6, width: int = 6, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, height, width, channels), np.uint8)


class TestGrid:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize(
        ("count", "columns", "across", "down"),
        [(1, None, 1, 1), (4, None, 2, 2), (5, None, 3, 2), (64, None, 8, 8), (5, 2, 2, 3), (3, 10, 3, 1), (7, 1, 1, 7)],
    )
    def test_every_image_stands_in_its_place(
        self, count: int, columns: int | None, across: int, down: int, channels: int
    ) -> None:
        images = pixels(count, 48, 72, channels)
        sheet = grid(images, columns)
        assert sheet.size == (across * (72 + GAP) + GAP, down * (48 + GAP) + GAP)
        assert sheet.mode == {1: "L", 3: "RGB"}[channels]
        found = np.asarray(sheet).reshape(sheet.height, sheet.width, channels).copy()
        for index, image in enumerate(images):
            top, left = GAP + index // across * (48 + GAP), GAP + index % across * (72 + GAP)
            np.testing.assert_array_equal(found[top : top + 48, left : left + 72], image)
            found[top : top + 48, left : left + 72] = PAPER
        assert (found == PAPER).all()

    @pytest.mark.parametrize(("side", "times"), [(16, 4), (28, 3), (32, 2), (63, 2), (64, 1), (100, 1)])
    def test_small_images_are_enlarged_by_a_whole_factor(self, side: int, times: int) -> None:
        images = pixels(2, side, side)
        sheet = np.asarray(grid(images))
        shown = times * side
        assert sheet.shape[:2] == (shown + 2 * GAP, 2 * shown + 3 * GAP)
        np.testing.assert_array_equal(sheet[GAP : GAP + shown : times, GAP : GAP + shown : times], images[0])
        np.testing.assert_array_equal(
            sheet[GAP + times - 1 : GAP + shown : times, GAP + times - 1 : GAP + shown : times], images[0]
        )


def test_png_keeps_pixels_and_notes(tmp_path: Path) -> None:
    image = pixels(1)[0]
    notes = {"seed": "7", "what": "faces, from Köln to 東京"}
    save_png(to_picture(image), tmp_path / "new" / "a.png", notes)
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.text == notes
        np.testing.assert_array_equal(np.asarray(picture), image)
    save_png(to_picture(image), tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.text == {}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".webp", ".gif"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_animation_has_all_its_frames(tmp_path: Path, suffix: str, count: int, channels: int) -> None:
    path = tmp_path / f"film{suffix}"
    save_animation([to_picture(image) for image in pixels(count, 16, 16, channels)], path, milliseconds=120)
    with Image.open(path) as film:
        assert film.format == suffix[1:].upper()
        assert film.size == (16, 16)
        assert getattr(film, "n_frames", 1) == count
        durations = []
        for index in range(count):
            film.seek(index)
            film.load()
            durations.append(film.info.get("duration"))
    if count > 1:
        assert durations == [120] * (count - 1) + [2000]
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_colours_of_every_frame_of_a_gif_are_in_the_palette_they_share(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 200, 0), (0, 0, 255), (250, 240, 10), (120, 0, 120)]
    save_animation([Image.new("RGB", (16, 16), colour) for colour in colours], tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        for index, colour in enumerate(colours):
            film.seek(index)
            np.testing.assert_allclose(np.asarray(film.convert("RGB"))[8, 8], colour, atol=8)


def test_the_case_of_a_suffix_changes_nothing(tmp_path: Path) -> None:
    frames = [to_picture(image) for image in pixels(3, 16, 16)]
    for name in ("one.WEBP", "other.webp"):
        save_animation(frames, tmp_path / name)
    assert (tmp_path / "one.WEBP").read_bytes() == (tmp_path / "other.webp").read_bytes()


def test_a_video_in_capitals_is_one_and_its_format_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself is an extra that need not be here: this looks at what it is asked for."""
    asked: list[tuple[str, dict[str, str]]] = []

    class Container:
        def __enter__(self) -> "Container":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def add_stream(self, *_: object, **__: object) -> SimpleNamespace:
            return SimpleNamespace(encode=lambda *_: [])

        def mux(self, _: object) -> None:
            pass

    def opened(path: str, mode: str, **options: str) -> Container:
        asked.append((mode, options))
        return Container()

    av = SimpleNamespace(open=opened, VideoFrame=SimpleNamespace(from_image=lambda image: image))
    monkeypatch.setattr("vaegan.pictures.need", lambda *_, **__: None)
    monkeypatch.setattr("vaegan.pictures.import_module", lambda _: av)
    save_animation([to_picture(image) for image in pixels(2, 16, 16)], tmp_path / "way.MP4")
    assert asked == [("w", {"format": "mp4"})]
    assert [path.name for path in tmp_path.iterdir()] == ["way.MP4"]


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
        assert len(list(svg.iter(f"{SVG}g"))) == len(list(svg.iter(f"{SVG}path"))) == 3
        width, height = (float(value) for value in svg.attrib["viewBox"].split()[2:])
        corners = [re.findall(r"\d+", panel.attrib["transform"]) for panel in svg.iter(f"{SVG}g")]
        assert len({tuple(corner) for corner in corners}) == 3
        assert all(int(x) + 340 <= width and int(y) + 200 <= height for x, y in corners)

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
            assert all(0 <= x <= 340 and 0 <= y <= 200 for x, y in line(svg))
