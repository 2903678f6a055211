"""Images that are not square: prepared, trained on, sampled, exported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from vaegan import api
from vaegan.cli import main
from vaegan.config import DataConfig, DeviceConfig, GANConfig, NetworkConfig, TrainConfig
from vaegan.data import load_images, open_dataset, to_uint8
from vaegan.evaluation.evaluate import evaluate
from vaegan.metrics.spectrum import power_spectrum, radial_spectrum
from vaegan.shapes import Fit

pytestmark = pytest.mark.heavy

SMALL = TrainConfig(
    data=DataConfig(size="24x40"),
    network=NetworkConfig(latent_dim=4, width=8, width_limit=16),
    gan=GANConfig(batch_size=8, perception="none"),
    device=DeviceConfig(precision="float32"),
)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rectangles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return api.train("faces:80", SMALL, images=160, out=folder / "run").path


def photograph(path: Path, width: int, height: int, **options: object) -> Image.Image:
    """A smooth picture in which every corner has a colour of its own."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    picture = Image.fromarray(np.stack([across, down, 255 - across], 2).astype(np.uint8))
    picture.save(path, **options)  # pyright: ignore[reportArgumentType]
    return picture


def prepared(path: Path, size: str, fit: Fit = "crop") -> np.ndarray:
    return to_uint8(load_images([path], DataConfig(size=size, fit=fit, channels="3")))[0]


class TestPreparing:
    @pytest.mark.parametrize("shape", [(90, 60), (60, 90), (200, 50), (50, 200), (48, 32), (33, 71)])
    def test_crop_is_what_pillow_fits(self, tmp_path: Path, shape: tuple[int, int]) -> None:
        picture = photograph(tmp_path / "p.png", *shape)
        wanted = ImageOps.fit(picture, (48, 32), Image.Resampling.LANCZOS)
        np.testing.assert_allclose(prepared(tmp_path / "p.png", "32x48").astype(int), np.asarray(wanted, int), atol=4)

    @pytest.mark.parametrize("shape", [(90, 60), (64, 90), (200, 50), (50, 200), (48, 32), (33, 71)])
    def test_pad_is_what_pillow_pads(self, tmp_path: Path, shape: tuple[int, int]) -> None:
        picture = photograph(tmp_path / "p.png", *shape)
        wanted = ImageOps.pad(picture, (48, 32), Image.Resampling.LANCZOS, color="white")
        np.testing.assert_allclose(prepared(tmp_path / "p.png", "32x48", "pad").astype(int), np.asarray(wanted, int), atol=4)

    @pytest.mark.parametrize("shape", [(200, 50), (50, 200)])
    def test_pad_adds_bars_of_the_background(self, tmp_path: Path, shape: tuple[int, int]) -> None:
        picture = photograph(tmp_path / "p.png", *shape)
        config = DataConfig(size="32x48", fit="pad", channels="3", background="#204060")
        wanted = ImageOps.pad(picture, (48, 32), Image.Resampling.LANCZOS, color="#204060")
        found = to_uint8(load_images([tmp_path / "p.png"], config))[0]
        np.testing.assert_allclose(found.astype(int), np.asarray(wanted, int), atol=4)

    def test_auto_of_twelve_bit_images_takes_their_shape_and_range(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).integers(0, 4096, (3, 64, 128)).astype(np.uint16)
        for number, one in enumerate(values):
            Image.fromarray(one).save(tmp_path / f"{number}.png")
        found = open_dataset(tmp_path, DataConfig(size="auto"), for_training=False)
        assert found.config.size == "64x128"
        assert np.abs(found.images[..., 0] - values * (255 / 4095)).max() < 0.51

    @pytest.mark.parametrize("turn", range(1, 9))
    def test_photographs_are_turned_upright(self, tmp_path: Path, turn: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = turn
        picture = photograph(tmp_path / "p.png", 96, 64, exif=exif)
        picture.getexif()[0x0112] = turn
        wanted = ImageOps.fit(ImageOps.exif_transpose(picture), (48, 32), Image.Resampling.LANCZOS)
        np.testing.assert_allclose(prepared(tmp_path / "p.png", "32x48").astype(int), np.asarray(wanted, int), atol=4)

    def test_auto_takes_the_shape_that_most_images_have(self, tmp_path: Path) -> None:
        for number in range(5):
            photograph(tmp_path / f"{number}.jpg", 300, 200)
        photograph(tmp_path / "square.jpg", 100, 100)
        assert open_dataset(tmp_path, DataConfig(size="auto"), for_training=False).config.size == "64x96"

    def test_auto_of_upright_photographs_is_upright(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        for number in range(3):
            photograph(tmp_path / f"{number}.jpg", 400, 200, exif=exif)
        assert open_dataset(tmp_path, DataConfig(size="auto"), for_training=False).config.size == "128x64"

    def test_auto_of_faces_is_square(self) -> None:
        assert open_dataset("faces:70", DataConfig(size="auto")).config.size == 64


class TestModel:
    def test_samples_and_encodings_have_the_shape(self, run: Path) -> None:
        model = api.load(run)
        samples = model.sample(3, seed=0)
        assert samples.shape == (3, 3, 24, 40)
        assert model.encode(samples).shape == (3, 4)
        assert model.reconstruct(samples).shape == samples.shape
        assert model.config.size == "24x40"

    def test_scores_are_finite(self, run: Path) -> None:
        report = evaluate(run)
        values = [score["value"] for scores in report["stages"].values() for score in scores.values()]
        assert values
        assert all(np.isfinite(value) for value in values)

    def test_eyes_see_rectangles(self, tmp_path: Path) -> None:
        config = replace(SMALL, recipe="gan", gan=GANConfig(batch_size=8))
        run = api.train("faces:80", config, images=32, out=tmp_path / "run").path
        assert api.load(run).sample(1).shape == (1, 3, 24, 40)

    def test_commands_give_pictures_of_the_shape(self, run: Path, tmp_path: Path) -> None:
        face = tmp_path / "face.png"
        main(["sample", str(run), "-n", "1", "--out", str(face)])
        main(["reconstruct", str(run), str(face), "--out", str(tmp_path / "again.png")])
        main(["report", str(run), "--out", str(tmp_path / "report.html")])
        assert "24 × 40 pixels" in (tmp_path / "report.html").read_text("utf-8")


def test_radial_spectrum_of_a_rectangle_finds_a_wave_at_its_frequency() -> None:
    # A wave of period 8 along either side of a picture of 32 x 64: 4 cycles along the shorter side.
    across = torch.cos(torch.arange(64) * 2 * torch.pi / 8).expand(32, 64)
    down = torch.cos(torch.arange(32) * 2 * torch.pi / 8)[:, None].expand(32, 64)
    for wave in (across, down):
        found = radial_spectrum(power_spectrum(wave[None, None]))[0]
        assert len(found) == 16
        assert int(found.argmax()) + 1 == 4
