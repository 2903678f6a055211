"""One image file at a time: every format and mode Pillow can write, and everything that can be wrong with a file."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaegan.config import DataConfig
from vaegan.data import decoding, image_from_bytes, load_images, to_uint8
from vaegan.data.decoding import Prepared, Skipped, decode, quiet_pillow
from vaegan.errors import DataError, RequestError

SIZE = 32
CONFIG = DataConfig(size=SIZE)


def picture(width: int = SIZE, height: int = SIZE) -> Image.Image:
    """Smooth, coloured, and different under every turn and mirror."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = (220 * across + 20, 200 * down**2 + 30, 90 * across * down + 60)
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))


def saved(image: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def decoded(data: bytes, config: DataConfig = CONFIG, name: str = "image") -> Prepared:
    with quiet_pillow():
        result = decode(name, data, config)
    assert isinstance(result, Prepared), result
    return result


def refused(data: bytes, name: str = "image.png") -> str:
    with quiet_pillow():
        result = decode(name, data, CONFIG)
    assert isinstance(result, Skipped), result
    assert "\n" not in result.reason
    return result.reason


def difference(pixels: np.ndarray, expected: Image.Image | np.ndarray) -> float:
    return float(np.abs(pixels.astype(float) - np.asarray(expected, dtype=float)).max())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_keep_every_pixel_of_the_right_size(kind: str) -> None:
    assert difference(decoded(saved(picture(), kind)).pixels, picture()) == 0


@pytest.mark.parametrize(
    ("kind", "how"),
    [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("GIF", {}), ("TIFF", {"compression": "lzma"})],
)
def test_other_formats_come_close(kind: str, how: dict[str, object]) -> None:
    assert difference(decoded(saved(picture(), kind, **how)).pixels, picture()) < 30


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_the_same_picture(mode: str) -> None:
    grey = Image.linear_gradient("L").resize((SIZE, SIZE))
    expected = np.asarray(grey if mode != "1" else grey.convert("1").convert("L"))
    kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    source = grey if mode == "P" else grey.convert("RGB")  # from RGB Pillow would take a palette of few colours
    pixels = decoded(saved(source.convert(mode), kind)).pixels
    assert pixels.shape == (SIZE, SIZE)
    assert difference(pixels, expected) <= 2


def test_colour_keeps_three_channels_and_grey_stored_as_colour_is_grey() -> None:
    assert decoded(saved(picture(), "PNG")).pixels.shape == (SIZE, SIZE, 3)
    assert decoded(saved(picture().convert("L").convert("RGB"), "PNG")).pixels.shape == (SIZE, SIZE)
    one = picture().convert("L").convert("RGB")
    one.putpixel((3, 5), (255, 0, 0))  # off the sparse grid that is looked at first
    assert decoded(saved(one, "PNG")).pixels.shape == (SIZE, SIZE, 3)


def test_one_channel_can_be_asked_for() -> None:
    result = decoded(saved(picture(), "PNG"), DataConfig(size=SIZE, channels="1"))
    assert difference(result.pixels, picture().convert("L")) == 0
    assert result.traits == ("greyed",)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_becomes_white(mode: str) -> None:
    image = Image.new(mode, (SIZE, SIZE), (0,) * len(mode))
    image.putalpha(Image.new("L", (SIZE, SIZE), 51))  # 20 % of black on white is 204
    result = decoded(saved(image, "PNG"))
    assert difference(result.pixels, np.full((SIZE, SIZE), 204)) <= 1
    assert result.traits == ("transparent",)


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_transparent_colour_becomes_white(mode: str) -> None:
    image = Image.new("RGB", (SIZE, SIZE), "black").convert(mode)
    see_through = {"P": image.getpixel((0, 0)), "L": 0, "1": 0, "RGB": (0, 0, 0)}[mode]
    result = decoded(saved(image, "PNG", transparency=see_through))
    assert (result.pixels == 255).all()
    assert result.traits == ("transparent",)


def test_opaque_alpha_is_not_called_transparent() -> None:
    assert decoded(saved(picture().convert("RGBA"), "PNG")).traits == ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    upright = picture(48, 36)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how a camera held that way lays its rows down
    turned = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    plain = decoded(saved(upright, "PNG")).pixels
    assert difference(decoded(saved(turned, kind, exif=exif, **how)).pixels, plain) <= (8 if kind == "JPEG" else 1)


def test_sixteen_bits_are_scaled_not_cut() -> None:
    values = np.linspace(0, 65535, SIZE * SIZE).round().astype(np.uint16).reshape(SIZE, SIZE)
    expected = np.rint(values / 257.0)
    for kind in ("PNG", "TIFF"):
        result = decoded(saved(Image.fromarray(values), kind))
        assert difference(result.pixels, expected) == 0
        assert result.traits == ("deep",)
    header = f"P5 {SIZE} {SIZE} 65535\n".encode()
    assert difference(decoded(header + values.astype(">u2").tobytes()).pixels, expected) == 0
    big_endian = saved(Image.fromarray(values.astype(">u2")), "TIFF")
    assert difference(decoded(big_endian).pixels, expected) == 0


@pytest.mark.parametrize(("top", "dtype"), [(1.0, np.float32), (255.0, np.float32), (65535, np.int32), (255, np.int32)])
def test_wide_numbers_are_scaled_by_the_range_they_fill(top: float, dtype: type) -> None:
    share = np.linspace(0, 1, SIZE * SIZE).reshape(SIZE, SIZE)
    data = saved(Image.fromarray((share * top).astype(dtype)), "TIFF")
    image = image_from_bytes("x.tif", data, DataConfig(size=SIZE, channels="1"))
    assert difference(to_uint8(image)[0, ..., 0], share * 255) <= 1.01


def test_numbers_that_are_none_are_refused() -> None:
    values = np.full((SIZE, SIZE), np.nan, dtype=np.float32)
    assert "not numbers" in refused(saved(Image.fromarray(values), "TIFF"))


def test_first_frame_is_taken() -> None:
    second = Image.new("RGB", (SIZE, SIZE), "red")
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        data = saved(picture(), kind, save_all=True, append_images=[second], **({"lossless": True} if kind == "WEBP" else {}))
        result = decoded(data)
        assert difference(result.pixels, picture()) < 30, kind
        assert result.traits == ("frames",), kind


def test_rectangles_are_cropped_padded_or_stretched() -> None:
    stripes = np.zeros((SIZE, 3 * SIZE, 3), dtype=np.uint8)
    stripes[:, :SIZE, 0] = stripes[:, SIZE : 2 * SIZE, 1] = stripes[:, 2 * SIZE :, 2] = 200
    data = saved(Image.fromarray(stripes), "PNG")
    crop, pad, stretch = (decoded(data, DataConfig(size=SIZE, fit=fit)) for fit in ("crop", "pad", "stretch"))
    assert (crop.pixels == (0, 200, 0)).all()
    assert (crop.traits, pad.traits, stretch.traits) == (("cropped",), ("padded",), ("stretched",))
    assert (pad.pixels[:10] == 255).all()
    assert (pad.pixels[-10:] == 255).all()
    assert (pad.pixels[16, [4, 16, 28]] == ((200, 0, 0), (0, 200, 0), (0, 0, 200))).all()
    assert (stretch.pixels[:, [4, 16, 28]] == ((200, 0, 0), (0, 200, 0), (0, 0, 200))).all()


def test_large_jpegs_are_drafted_and_still_sharp() -> None:
    fine = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
    data = saved(fine.resize((256, 192), Image.Resampling.BICUBIC), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as image:
        expected = image.crop((32, 0, 224, 192)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    assert difference(decoded(data).pixels, expected) <= 16


def test_conversion_of_cmyk_is_told() -> None:
    assert decoded(saved(picture().convert("CMYK"), "JPEG")).traits == ("cmyk",)


def test_smaller_images_are_enlarged_and_said_so() -> None:
    assert decoded(saved(picture(8, 8), "PNG")).traits == ("enlarged",)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_truncated_files_are_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, kind)
    reason = refused(data[: len(data) // 2], f"image.{kind.lower()}")
    assert "truncated" in reason or "damaged" in reason


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("letter.jpg", b"Dear Sir, this is no image.", "not an image, although its name ends in .jpg"),
        ("notes.txt", b"text", "not an image"),
        ("Thumbs.db", b"\0\0", "not an image"),
        ("inner.zip", b"PK\3\4", "not an image: archives inside the data are not opened"),
        ("empty.png", b"", "empty file"),
        ("drawing.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS files are not opened"),
        ("unknown", b"\1\2\3\4", "not an image (or not one of"),
    ],
)
def test_what_is_no_image_is_refused_in_plain_words(name: str, data: bytes, expected: str) -> None:
    assert refused(data, name).startswith(expected)


def test_postscript_is_not_opened_under_any_name() -> None:
    assert "not an image" in refused(saved(picture(), "EPS"), "photo.png")


def bomb(width: int, height: int) -> bytes:
    """A small PNG that claims to be enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9999)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_001, 20_000, 2_000_000])
def test_bombs_are_refused_by_their_header(side: int) -> None:
    assert refused(bomb(side, side)).startswith("too many pixels")


def test_files_over_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", 100)
    assert refused(saved(picture(), "PNG")).startswith("too large")


def test_damaged_exif_does_not_cost_the_image() -> None:
    data = saved(picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\xff\xff\xff\xff")
    assert decoded(data).pixels.shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("mutate", [lambda d, i: d[:i] + b"\xff" * 7 + d[i + 7 :], lambda d, i: d[:i] + d[i + 9 :]])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM"])
def test_damage_anywhere_never_raises(kind: str, mutate: Callable[[bytes, int], bytes]) -> None:
    data = saved(picture(), kind)
    with quiet_pillow():
        for place in range(0, min(len(data), 400), 3):
            assert isinstance(decode("x", mutate(data, place), CONFIG), Prepared | Skipped)


def test_filters_are_given_back() -> None:
    before = list(warnings.filters)
    with quiet_pillow():
        warnings.warn("not to be seen", UserWarning, stacklevel=1)
    assert list(warnings.filters) == before


def test_memory_budget_never_exceeds_its_limit() -> None:
    from concurrent.futures import ThreadPoolExecutor

    budget, held, most = decoding.MemoryBudget(100), [0], [0]
    import threading

    lock = threading.Lock()

    def work(amount: int) -> None:
        with budget.hold(amount):
            with lock:
                held[0] += min(amount, 100)
                most[0] = max(most[0], held[0])
            with lock:
                held[0] -= min(amount, 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [30, 60, 500, 40] * 50))
    assert most[0] <= 100


@pytest.mark.parametrize(
    "setting",
    [{"fit": "fill"}, {"channels": "2"}, {"binarize": "dynamic", "channels": "3"}],
)
def test_impossible_settings_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        DataConfig(**setting)  # pyright: ignore[reportArgumentType]


def test_a_tile_far_larger_than_its_image_is_refused() -> None:
    """A tile is unpacked whole: 805 million pixels for an image of 64x64."""
    entries = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32768, 323: 24576, 324: 8, 325: 20}
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    data = struct.pack("<2sHI", b"II", 42, 40) + zlib.compress(bytes(64)).ljust(32, b"\0")
    data += struct.pack("<H", len(entries)) + tags + bytes(4)
    assert "in one tile" in refused(data, "x.tif")


def test_a_cut_jpeg_is_called_truncated_wherever_it_is_cut() -> None:
    data = saved(picture(), "JPEG")
    for kept in (100, 300, len(data) // 2, len(data) - 5):  # inside of headers, where Pillow has other words, and of pixels
        assert refused(data[:kept], "x.jpg").startswith("truncated")


def test_a_pipe_that_somebody_names_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a regular file"):
        load_images([tmp_path / "pipe.png"], DataConfig(size=16, channels="3"))


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "renamed.jpg"])
def test_heic_opens_with_its_extra_whatever_it_is_called(name: str) -> None:
    plugin = pytest.importorskip("pillow_heif", reason="needs the extra [heif]")
    plugin.register_heif_opener()
    image = picture(64, 48)
    exif = Image.Exif()
    exif[0x0112] = 6
    prepared = decoded(saved(image, "HEIF", quality=95, exif=exif.tobytes()), name=name)
    upright = image.transpose(Image.Transpose.ROTATE_270)
    expected = decoded(saved(upright, "PNG"))
    assert difference(prepared.pixels, expected.pixels) < 8


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "renamed.jpg"])
def test_heic_without_its_extra_is_called_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr("vaegan.extras.find_spec", lambda package: None)
    reason = refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), name)
    assert reason.startswith("HEIC needs the extra [heif]")
    assert "install pillow_heif" in reason


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), "JPEG 2000"),
        (b"8BPS\0\1" + bytes(50), "Photoshop"),
        (bytes(128) + b"DICM" + bytes(50), "DICOM"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
@pytest.mark.parametrize("name", ["scan", "scan.jpg"])
def test_not_an_image_is_said_of_no_image(name: str, data: bytes, expected: str) -> None:
    reason = refused(data, name)
    assert reason.startswith(expected)
    assert "not an image" not in reason


def test_an_svg_is_known_by_its_name_where_it_begins_with_xml() -> None:
    assert refused(b"<?xml version='1.0'?><!-- drawn --><svg/>", "a.svg").startswith("SVG")
