"""Transparent images: their arithmetic against Pillow's, and a model of them from files to files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaegan import api
from vaegan.cli import main
from vaegan.config import DataConfig, DeviceConfig, GANConfig, NetworkConfig, TrainConfig
from vaegan.data import load_images, open_dataset
from vaegan.metrics.features import random_features, small_images
from vaegan.networks.subpixel import picture_kernel
from vaegan.pictures import grid, to_picture
from vaegan.transparency import divided, multiplied, over_checkers, over_grey


def rgba(seed: int = 0, height: int = 24, width: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)


def test_multiplying_is_pillows() -> None:
    pixels = rgba()
    wanted = np.asarray(Image.frombytes("RGBa", (20, 24), Image.fromarray(pixels).convert("RGBa").tobytes()))
    np.testing.assert_allclose(multiplied(pixels).astype(int), wanted.astype(int), atol=1)


def test_dividing_undoes_multiplying_where_something_is_seen() -> None:
    pixels = rgba()
    pixels[..., 3] |= 128
    np.testing.assert_allclose(divided(multiplied(pixels)).astype(int), pixels.astype(int), atol=1)
    assert not divided(multiplied(np.array([[[9, 9, 9, 0]]], np.uint8))).any()


def test_what_a_model_makes_up_is_no_overflow() -> None:
    impossible = np.array([[[255, 200, 0, 3]]], np.uint8)  # more colour than opacity
    assert divided(impossible).tolist() == [[[255, 255, 0, 3]]]
    assert over_checkers(impossible).max() == 255


def test_a_picture_over_grey_is_pillows_composite() -> None:
    pixels = rgba(1)
    wanted = Image.alpha_composite(Image.new("RGBA", (20, 24), (127, 127, 127, 255)), Image.fromarray(pixels))
    images = torch.from_numpy(multiplied(pixels)).permute(2, 0, 1)[None] / 127.5 - 1
    found = ((over_grey(images)[0].permute(1, 2, 0) + 1) * 127.5).numpy()
    np.testing.assert_allclose(found, np.asarray(wanted)[..., :3].astype(float), atol=2)


def test_grids_show_a_board_and_single_pictures_keep_their_opacity() -> None:
    pixels = multiplied(rgba(2, 64, 64))[None]
    pixels[:, :32] = 0
    sheet = np.asarray(grid(pixels))
    assert sheet.shape[-1] == 3
    assert len(np.unique(sheet[2:34, 2:66])) == 2
    assert to_picture(pixels[0]).mode == "RGBA"
    assert not np.asarray(to_picture(pixels[0]))[:32, :, 3].any()


def test_measures_look_at_what_is_seen() -> None:
    images = torch.rand(3, 4, 32, 32) * 2 - 1
    torch.testing.assert_close(random_features(images), random_features(over_grey(images)))
    torch.testing.assert_close(small_images(images), small_images(over_grey(images)))


def test_opacity_is_drawn_as_brightness_is_and_apart_from_colours() -> None:
    kernel, grey = picture_kernel(4).reshape(4, 4, 16, 5, 5), picture_kernel(1)
    torch.testing.assert_close(kernel[:3, :, :12].reshape(12, 12, 5, 5), picture_kernel(3))
    torch.testing.assert_close(kernel[3, :, 12:], grey)
    assert not kernel[3, :, :12].any()
    assert not kernel[:3, :, 12:].any()


SMALL = TrainConfig(
    data=DataConfig(size=16, channels="4"),
    network=NetworkConfig(latent_dim=4, width=8, width_limit=16),
    gan=GANConfig(batch_size=8),
    device=DeviceConfig(precision="float32"),
)


def icon(number: int, side: int = 32) -> Image.Image:
    """A disc of one colour on nothing, whose size says its number."""
    down, across = np.indices((side, side)) - side / 2
    inside = down**2 + across**2 < (4 + number % 11) ** 2
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[inside] = (255, 3 * number % 256, 0, 255)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def icons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("icons")
    for number in range(80):
        icon(number).save(folder / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_files_are_prepared_as_pillow_shrinks_them(icons: Path) -> None:
    found = load_images([icons / "7.png"], SMALL.data)[0].permute(1, 2, 0)
    wanted = icon(7).convert("RGBa").resize((16, 16), Image.Resampling.LANCZOS)
    straight = np.frombuffer(wanted.tobytes(), np.uint8).reshape(16, 16, 4)
    np.testing.assert_allclose(((found + 1) * 127.5).numpy(), straight, atol=3)


def test_images_without_transparency_are_opaque_and_bars_are_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.png")
    pixels = load_images([tmp_path / "a.png"], DataConfig(size=16, channels="4", fit="pad"))[0]
    assert pixels[:, 8, 8].tolist() == [1, -1, -1, 1]
    assert pixels[:, 0, 8].tolist() == [-1, -1, -1, -1]


def test_auto_lays_them_on_the_background(icons: Path) -> None:
    assert open_dataset(icons, DataConfig(size=16)).channels == 3


@pytest.mark.heavy
def test_a_model_draws_encodes_and_reports_transparent_images(icons: Path, tmp_path: Path) -> None:
    run = api.train(icons, SMALL, images=320, out=tmp_path / "run").path
    model = api.load(run)
    assert model.sample(2).shape == (2, 4, 16, 16)
    main(["sample", str(run), "-n", "3", "--out", str(tmp_path / "singles")])
    assert Image.open(tmp_path / "singles" / "00002.png").mode == "RGBA"
    main(["reconstruct", str(run), str(icons / "3.png"), "--out", str(tmp_path / "again.png")])
    assert Image.open(tmp_path / "again.png").mode == "RGB"  # a person sees a checkered board
    main(["evaluate", str(run)])
    main(["report", str(run), "--out", str(tmp_path / "report.html")])
    assert "transparent colour images" in (tmp_path / "report.html").read_text("utf-8")
    main(["morph", str(run), "--out", str(tmp_path / "walk.gif"), "--seeds", "1", "2"])
