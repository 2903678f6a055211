"""Pictures as others read them: Pillow counts frames and pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaegan.pictures import GAP, PAPER, grid, save_animation, save_png, to_picture


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
        assert picture.text == {"software": "vaegan"} | notes
        np.testing.assert_array_equal(np.asarray(picture), image)
    save_png(to_picture(image), tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.text == {"software": "vaegan"}
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
