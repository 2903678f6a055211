"""Which numbers are black and white: 12-bit, float, mask and array data as people have them, and transparency's background."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaegan.cli import main
from vaegan.commands.preview import PreviewOptions, preview
from vaegan.data import DataConfig, ImageDataset, load_images, open_dataset, open_images
from vaegan.data.levels import used
from vaegan.errors import DataError, RequestError

COUNT, SIZE = 70, 16
CONFIG = DataConfig(size=SIZE)
SHARES = np.random.default_rng(0).random((COUNT, SIZE, SIZE)) * np.linspace(0.2, 1, COUNT)[:, None, None]
SHARES[-1, 0, 0], SHARES[:, 0, 1] = 1, 0
GREY = np.rint(SHARES * 255)
MASKS = SHARES.mean((1, 2), keepdims=True) < SHARES


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., ImageDataset]:
    """Opens a place with a cache of the test's own."""
    return lambda place, **settings: open_dataset(place, DataConfig(size=SIZE, **settings), cache_dir=tmp_path / "cache")


def filled(folder: Path, values: np.ndarray, kind: str = "png") -> Path:
    folder.mkdir()
    for index, one in enumerate(values):
        Image.fromarray(one).save(folder / f"{index:03}.{kind}")
    return folder


def assert_shows(dataset: ImageDataset, values: np.ndarray, most: float = 0.51) -> None:
    assert dataset.images.shape == (COUNT, SIZE, SIZE, 1)
    assert np.abs(dataset.images[..., 0].astype(float) - values).max() <= most


def black_and_white(dataset: ImageDataset) -> list[str]:
    return [note for note in dataset.notes if "black to white" in note]


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(
    ("top", "white"), [(4095, "4,095"), (4000, "4,095"), (1023, "1,023"), (16000, "16,383"), (65535, "65,535")]
)
def test_sixteen_bit_files_are_white_at_the_end_of_the_bits_that_all_together_use(
    tmp_path: Path, opened: Callable[..., ImageDataset], top: int, white: str, kind: str
) -> None:
    dataset = opened(filled(tmp_path / "d", np.rint(SHARES * top).astype(np.uint16), kind))
    assert_shows(dataset, SHARES * 255 * top / float(white.replace(",", "")), most=1)
    assert black_and_white(dataset) == [f"Values 0 to {white} of 16-bit images were taken as black to white."]
    assert not any("next to nothing" in warning for warning in dataset.warnings)


@pytest.mark.parametrize(
    ("low", "high", "black", "white"),
    [(0, 1, 0, 1), (-1, 1, -1, 1), (0, 255, 0, 255), (0, 0.01, 0, 0.01), (-1000.5, 3000, -1000.5, 3000), (20, 1e6, 20, 1e6)],
)
def test_float_files_share_one_range(
    tmp_path: Path, opened: Callable[..., ImageDataset], low: float, high: float, black: float, white: float
) -> None:
    values = (low + SHARES * (high - low)).astype(np.float32)
    dataset = opened(filled(tmp_path / "d", values, "tif"))
    assert_shows(dataset, (values - black) / (white - black) * 255)
    assert black_and_white(dataset) == [f"Values {black:,.6g} to {white:,.6g} of float images were taken as black to white."]


def test_signed_integers_take_their_own_range(tmp_path: Path, opened: Callable[..., ImageDataset]) -> None:
    values = np.rint(SHARES * 4095 - 1024).astype(np.int32)
    dataset = opened(filled(tmp_path / "d", values, "tif"))
    assert_shows(dataset, (values + 1024) / 4095 * 255)
    assert "-1,024 to 3,071 of integer images" in black_and_white(dataset)[0]


def test_masks_of_0_and_1_are_black_and_white(tmp_path: Path, opened: Callable[..., ImageDataset]) -> None:
    masks = (SHARES > 0.3).astype(np.uint8)
    folder = filled(tmp_path / "d", masks)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as packed:
        for file in folder.iterdir():
            packed.write(file, file.name)
    for place in (folder, tmp_path / "d.zip"):
        dataset = opened(place)
        assert_shows(dataset, masks * 255.0, most=0)
        assert black_and_white(dataset) == ["Values 0 to 1 of 8-bit images were taken as black to white."]


@pytest.mark.parametrize("wide", [False, True])
def test_images_that_use_little_of_8_bits_are_warned_of_and_auto_shows_them(
    tmp_path: Path, opened: Callable[..., ImageDataset], wide: bool
) -> None:
    dim = np.rint(SHARES * 20).astype(np.uint8)
    folder = filled(tmp_path / "d", np.pad(dim, ((0, 0), (0, 0), (0, 9 * wide)), "edge"))
    fit = {"fit": "pad"} if wide else {}  # beside which there is white
    plain = opened(folder, **fit)
    assert [warning for warning in plain.warnings if "--levels auto" in warning and "0 to 20" in warning]
    assert plain.images[:, SIZE // 2].max() < 25 if wide else plain.images.max() == 20
    dataset, given = opened(folder, levels="auto"), opened(folder, levels="0:20")
    assert black_and_white(dataset) == ["Values 0 to 20 of 8-bit images were taken as black to white."]
    assert not [warning for warning in dataset.warnings if "next to nothing" in warning]
    assert np.array_equal(dataset.images, given.images)
    assert dataset.fingerprint == given.fingerprint != opened(folder).fingerprint
    if not wide:
        assert_shows(dataset, dim / 20 * 255)


def test_auto_finds_the_brightest_pixel_wherever_it_is(tmp_path: Path, opened: Callable[..., ImageDataset]) -> None:
    images = np.random.default_rng(2).integers(10, 60, (COUNT, 100, 100)).astype(np.uint8)
    images[:, 1, 2] = 90
    dataset = opened(filled(tmp_path / "d", images), levels="auto")
    assert black_and_white(dataset) == ["Values 10 to 90 of 8-bit images were taken as black to white."]


def test_photographs_are_neither_changed_nor_spoken_of(tmp_path: Path, opened: Callable[..., ImageDataset]) -> None:
    folder = filled(tmp_path / "d", GREY.astype(np.uint8))
    dataset = opened(folder)
    assert_shows(dataset, GREY, most=0)
    assert (dataset.notes, black_and_white(dataset)) == ((), [])
    seen: list[str] = []
    open_dataset(folder, CONFIG, cache_dir=tmp_path / "other", progress=lambda what, done, total: seen.append(what))
    assert set(seen) == {"preparing images"}  # once


def test_a_hot_pixel_does_not_turn_a_set_black() -> None:
    frames = np.random.default_rng(1).integers(100, 4000, (300, 300)).astype(np.uint16)
    frames[5, 7], frames[200, 100] = 65535, 0
    assert used(frames, "16-bit") == ("16-bit", frames[frames > 0].min(), np.sort(frames, None)[-10])


ARRAYS = {
    "masks": (SHARES > 0.3, (SHARES > 0.3) * 255.0),
    "zeros and ones": ((SHARES > 0.3).astype(np.uint8), (SHARES > 0.3) * 255.0),
    "12 bits": (np.rint(SHARES * 4095).astype(">u2"), SHARES * 255),
    "float": (SHARES.astype(np.float32), SHARES * 255),
    "half": (SHARES.astype(np.float16), SHARES * 255),
    "double, centred": (SHARES * 2 - 1, SHARES * 255),
    "long": (GREY.astype(np.int64), GREY),
    "signed": (GREY.astype(np.int16) - 100, GREY),
    "large": (np.repeat(np.repeat(SHARES.astype(np.float32), 2, 1), 2, 2), None),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_any_numbers_are_scaled_by_the_range_of_all_images(
    tmp_path: Path, opened: Callable[..., ImageDataset], kind: str
) -> None:
    values, expected = ARRAYS[kind]
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "b.npz", imgs=values, latents_values=np.zeros((COUNT, 6)))
    plain, packed = opened(tmp_path / "a.npy"), opened(tmp_path / "b.npz")
    assert np.array_equal(plain.images, packed.images)
    assert plain.images.max() > 235  # less than white where large images are scaled down
    assert len(black_and_white(plain)) == 1
    if expected is not None:
        assert_shows(plain, expected, most=0.6)


def test_arrays_in_colour_and_with_transparency(tmp_path: Path, opened: Callable[..., ImageDataset]) -> None:
    colours = np.stack([SHARES, SHARES[::-1], SHARES * 0], -1)
    seen = np.concatenate([colours, np.ones_like(colours[..., :1])], -1)
    bytes_ = np.concatenate([np.rint(colours * 20), np.full_like(colours[..., :1], 255)], -1).astype(np.uint8)
    for name, values, settings in (("float", seen, {}), ("dim", bytes_, {"levels": "0:20"})):
        np.save(tmp_path / f"{name}.npy", values)
        images = opened(tmp_path / f"{name}.npy", **settings).images
        assert np.abs(images - (np.rint(colours * 20) / 20 if name == "dim" else colours) * 255).max() < 0.6


def test_images_with_nan_in_an_array_are_left_out_and_named(tmp_path: Path, opened: Callable[..., ImageDataset]) -> None:
    values = SHARES.astype(np.float32)
    values[[3, 40], 2, 2] = np.nan, np.inf
    np.save(tmp_path / "a.npy", values)
    dataset = opened(tmp_path / "a.npy")
    assert {one.name: one.reason for one in dataset.skipped} == dict.fromkeys(
        ("a.npy[3]", "a.npy[40]"), "has values that are not numbers"
    )
    assert np.array_equal(dataset.names, [f"a.npy[{index}]" for index in range(COUNT) if index not in (3, 40)])


def as_white_first(data: bytes) -> bytes:
    """A little-endian TIFF that says of its values that the lowest is white."""
    start = struct.unpack("<I", data[4:8])[0] + 2
    entries = [start + 12 * index for index in range(struct.unpack("<H", data[start - 2 : start])[0])]
    at = next(entry for entry in entries if struct.unpack("<H", data[entry : entry + 2])[0] == 262)
    return data[: at + 8] + struct.pack("<I", 0) + data[at + 12 :]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_tiffs_whose_lowest_value_is_white(tmp_path: Path, opened: Callable[..., ImageDataset], kind: type) -> None:
    top = {np.uint8: 255, np.uint16: 4095, np.float32: 1}[kind]
    values = SHARES * top if kind is np.float32 else np.rint(SHARES * top)
    folder = filled(tmp_path / "d", values.astype(kind), "tif")
    for file in folder.iterdir():
        file.write_bytes(as_white_first(file.read_bytes()))
    assert_shows(opened(folder), 255 - SHARES * 255, most=0.6)


@pytest.mark.parametrize("levels", ["5", "9:2", "a:b", "0:nan", "0:inf", "0:1:2", "9-bit=0:1", ":", "auto,0:1"])
def test_levels_that_are_none_are_refused_in_one_line(levels: str) -> None:
    with pytest.raises(RequestError, match="LOW:HIGH") as caught:
        DataConfig(levels=levels)
    assert "\n" not in str(caught.value)


def white_icons(folder: Path, alike: int = COUNT) -> Path:
    folder.mkdir()
    for index, (share, mask) in enumerate(zip(SHARES, MASKS, strict=True)):
        opacity = np.uint8(255) * mask
        colour = np.full_like(opacity, 255) if index < alike else np.rint(share * 200).astype(np.uint8)
        Image.fromarray(np.stack([colour, opacity], -1), "LA").save(folder / f"{index:03}.png")
    return folder


class TestBackground:
    def test_white_icons_say_the_cause_and_black_shows_them(self, tmp_path: Path, opened: Callable[..., ImageDataset]) -> None:
        folder = white_icons(tmp_path / "icons")
        with pytest.raises(DataError, match=r"transparency.*--background black"):
            opened(folder)
        dataset = opened(folder, background="black")
        assert_shows(dataset, 255.0 * MASKS, most=0)
        assert any("composited on black" in note for note in dataset.notes)
        assert not any("transparency" in warning for warning in dataset.warnings)
        grey = opened(folder, background="grey")
        assert set(np.unique(grey.images)) == {128, 255}
        assert len({dataset.fingerprint, grey.fingerprint}) == 2

    def test_some_of_them_are_counted(self, tmp_path: Path, opened: Callable[..., ImageDataset]) -> None:
        warnings = opened(white_icons(tmp_path / "icons", alike=20)).warnings
        assert any(warning.startswith("20 of 70 images show next to nothing") for warning in warnings)

    def test_a_colour_lies_behind_transparency_and_beside_padded_images(
        self, tmp_path: Path, opened: Callable[..., ImageDataset]
    ) -> None:
        icons = opened(white_icons(tmp_path / "icons"), background="#ff0000")
        assert np.array_equal(icons.images[0, ..., 1] == 0, ~MASKS[0])
        assert (icons.images[..., 0] == 255).all()
        bars = np.full((COUNT, 8, SIZE), 77, np.uint8)
        bars[:, 3:5] = GREY[:, 3:5]
        padded = opened(filled(tmp_path / "bars", bars), fit="pad", background="#00ff00").images
        assert (padded[:, 0] == (0, 255, 0)).all()
        assert (padded[:, 4] == 77).all()

    @pytest.mark.parametrize("background", ["red", "#ff", "ff0000", "", "#gg0000", "WHITE"])
    def test_others_are_refused(self, background: str) -> None:
        with pytest.raises(RequestError, match="--background"):
            DataConfig(background=background)


def test_named_files_share_a_range_or_have_that_of_the_model(tmp_path: Path) -> None:
    first, second = (tmp_path / f"{name}.tif" for name in "ab")
    Image.fromarray((SHARES[0] * 1000).astype(np.float32)).save(first)
    Image.fromarray((SHARES[-1] * 1000).astype(np.float32)).save(second)
    settings = {"size": SIZE, "channels": "1"}
    both = load_images([first, second], DataConfig(**settings)).numpy()
    np.testing.assert_allclose(both[0, 0], SHARES[0] * 2 - 1, atol=0.005)
    alone = load_images([first], DataConfig(**settings, levels="float=0:2000")).numpy()
    np.testing.assert_allclose(alone[0, 0], SHARES[0] - 1, atol=0.005)
    other = filled(tmp_path / "d", np.rint(SHARES * 4095).astype(np.uint16))
    assert open_images([other], DataConfig(**settings, levels="float=0:2000")).levels == "16-bit=0:4095,float=0:2000"


def test_preview_says_the_range(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    np.save(tmp_path / "a.npy", np.rint(SHARES * 4095).astype(np.uint16))
    preview(PreviewOptions(source=str(tmp_path / "a.npy"), out=tmp_path / "p.png", data=CONFIG, json=True))
    assert any("0 to 4,095" in note for note in json.loads(capsys.readouterr().out)["notes"])


@pytest.mark.heavy
def test_the_range_travels_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained on 12 bits in 16; a dark file alone, which uses 8 of them, is seen as it was in training."""
    from vaegan.explorer.state import Explorer
    from vaegan.training.saved import images_config, load

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    values = np.rint(SHARES * 4095).astype(np.uint16)
    values[0] //= 16
    folder = filled(tmp_path / "d", values)
    small = ["--network.width", "4", "--network.width-limit", "8", "--network.latent-dim", "4", "--vae.batch-size", "8"]
    train = [
        "train",
        "d",
        "--size",
        str(SIZE),
        *small,
        "--recipe",
        "vae",
        "--images",
        "64",
        "--out",
        "run",
        "--precision",
        "float32",
    ]
    main([*train, "--background", "black"])
    trained = open_dataset(folder, DataConfig(size=SIZE, background="black"))
    wanted = trained.load([trained.names.index("000.png")])
    for place in ("run", "run/vae/model"):  # a model without its run, too
        model = load(place)
        config = images_config(model, place)
        assert (model.config.levels, config.background) == ("16-bit=0:4095", "black")
        assert np.array_equal(load_images([folder / "000.png"], config), wanted)
    explorer = Explorer(tmp_path / "run")
    _, pixels = explorer.encode_upload((folder / "000.png").read_bytes())
    assert np.array_equal(
        np.frombuffer(pixels, np.uint8).reshape(SIZE, SIZE), trained.images[trained.names.index("000.png"), ..., 0]
    )
    main(["train", "--resume", "run", "--images", "128"])  # the images have not changed
    dark = filled(tmp_path / "dark", values[:20] // 16)
    main(["evaluate", "run", "dark", "-n", "64"])
    judged = json.loads((tmp_path / "run" / "evaluation.json").read_text())["fingerprint"]
    assert judged == open_dataset(dark, images_config(load("run"), "run"), for_training=False).fingerprint


def test_an_array_is_no_place_but_says_how_to_make_one(tmp_path: Path) -> None:
    import vaegan

    for call in (open_dataset, vaegan.train):
        with pytest.raises(DataError, match=r"numpy\.save"):
            call(GREY, CONFIG) if call is open_dataset else call(GREY, images=64, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_damaged_tiffs_of_many_bits_never_raise() -> None:
    from vaegan.data.decoding import decode, quiet_pillow

    file = io.BytesIO()
    Image.fromarray(SHARES[0].astype(np.float32)).save(file, "TIFF")
    with quiet_pillow():
        for place in range(0, 300, 3):
            data = bytearray(file.getvalue())
            data[place : place + 7] = b"\xff" * 7
            decode("x.tif", bytes(data), CONFIG)
