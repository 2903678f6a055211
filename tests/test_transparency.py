"""Transparent images: their arithmetic against Pillow's, and a model of them from files to files."""

import numpy as np
import torch
from PIL import Image

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
