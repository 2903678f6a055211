"""vaegan restore: what can be seen of an image stays, what cannot is made up, and wrong requests are refused."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from vaegan.cli import main
from vaegan.config import NetworkConfig
from vaegan.latent import restoring
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks

SIDE = 32


def saved(folder: str, **shape: Any) -> None:
    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=4)
    config = ModelConfig(**{"size": SIDE, "channels": 3, "stage": "vae", "network": network, "variance": 0.04} | shape)
    networks = Networks(config)
    with torch.no_grad():
        for weights in networks.decoder.parameters():  # it has learned nothing, and draws something all the same
            weights.add_(torch.randn(weights.shape) * 0.1)
    Model(config, networks).save_pretrained(folder)


def picture(size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> Image.Image:
    """Levels in the middle of their range, so that nothing is clipped."""
    levels = np.random.default_rng(seed).integers(110, 140, (*size[::-1], 3), np.uint8)
    return Image.fromarray(levels)


def pixels(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as opened:
        return np.asarray(opened).astype(float)


def answers(*arguments: str, count: int = 2) -> list[NDArray[np.float64]]:
    main(["restore", "model", *arguments, "-n", str(count), "--out", "found"])
    files = sorted(Path("found").iterdir())
    found = [pixels(file) for file in files]
    for file in files:
        file.unlink()
    Path("found").rmdir()
    return found


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(restoring, "restore", partial(restoring.restore, steps=30))
    saved("model")
    picture().save("image.png")
    mask = Image.new("L", (2 * SIDE, 2 * SIDE))
    mask.paste(255, (0, SIDE, 2 * SIDE, 2 * SIDE))  # the lower half
    mask.save("mask.png")


def test_only_what_is_white_in_the_mask_is_made_anew() -> None:
    given, found = pixels(Path("image.png")), answers("image.png", "--mask", "mask.png", count=3)
    assert len(found) == 3
    for one in found:
        assert np.array_equal(one[: SIDE // 2], given[: SIDE // 2])
        assert np.abs(one[SIDE // 2 :] - given[SIDE // 2 :]).mean() > 1
    assert not np.array_equal(found[1], found[2])


def test_the_seed_decides_all_answers_but_the_first() -> None:
    ask = ("image.png", "--mask", "mask.png", "--seed")
    first, again, other = answers(*ask, "1"), answers(*ask, "1"), answers(*ask, "2")
    assert all(map(np.array_equal, first, again))
    assert np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def test_an_image_whose_hole_was_erased_is_its_own_mask() -> None:
    image, opacity = picture(), Image.new("L", (SIDE, SIDE), 255)
    opacity.paste(0, (0, SIDE // 2, SIDE, SIDE))
    image.putalpha(opacity)
    image.save("erased.png")
    for one, wanted in zip(
        answers("erased.png", "--mask", "erased.png"), answers("image.png", "--mask", "mask.png"), strict=True
    ):
        assert np.array_equal(one, wanted)


def test_a_small_image_is_the_mean_of_the_large_one() -> None:
    picture((SIDE // 2, SIDE // 2), seed=1).save("small.png")
    for one in answers("small.png", "--scale", "2"):
        assert one.shape == (SIDE, SIDE, 3)
        means = one.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean((1, 3))
        assert np.abs(means - pixels(Path("small.png"))).max() < 0.51  # of rounding


def test_a_grey_image_keeps_its_brightness_and_gets_colours() -> None:
    picture().convert("L").save("grey.png")
    for one in answers("grey.png", "--grey"):
        assert np.abs(one @ (0.299, 0.587, 0.114) - pixels(Path("grey.png"))).max() < 0.51
        assert np.ptp(one, axis=2).max() > 1


def test_one_picture_has_a_row_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    picture((50, SIDE), seed=2).save("wide.png")  # any shape is fitted
    main(["restore", "model", "image.png", "wide.png", "--noise", "0.2", "-n", "2"])
    assert "2 images cleaned of noise by the VAE, 2 answers each: restored.png" in capsys.readouterr().out
    assert pixels(Path("restored.png")).shape == (2 + 2 * 66, 2 + 3 * 66, 3)  # 32 pixels are shown as 64


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["restore", *arguments])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--mask FILE"),
        (["--grey", "--scale", "2"], "by one of"),
        (["--mask", "black.png"], "nothing is to be made anew"),
        (["--mask", "white.png"], "vaegan sample"),
        (["--mask", "missing.png"], "missing.png"),
        (["--mask", "text.txt"], "text.txt"),
        (["--mask", "mask.png", "--out", "mask.png"], "none of the images"),
        (["--scale", "3"], "give 2."),
        (["--scale", "-2"], "give 2."),
        (["--noise", "-1"], "--noise -1"),
        (["--grey", "-n", "0"], "-n 0"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    for name, level in (("black", 0), ("white", 255)):
        Image.new("L", (SIDE, SIDE), level).save(f"{name}.png")
    Path("text.txt").write_text("no image")
    assert words in refused(capsys, "model", "image.png", *arguments)
    assert not Path("restored.png").exists()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"stage": "gan", "variance": None, "has_encoder": False}, "no encoder"),
        ({"stage": "gan", "variance": None, "prior": "uniform"}, "uniform"),
        ({"channels": 1}, "makes grey images"),
        ({"channels": 4}, "makes transparent colour images"),
        ({"labels": ("cat", "dog")}, "--label"),
    ],
)
def test_models_that_cannot_are_refused(capsys: pytest.CaptureFixture[str], shape: dict[str, Any], words: str) -> None:
    saved("other", **shape)
    assert words in refused(capsys, "other", "image.png", "--grey")
    if "labels" in shape:
        main(["restore", "other", "image.png", "--grey", "-n", "1", "--label", "dog"])
