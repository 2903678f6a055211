"""Every place images come from: folders, archives, IDX, NumPy files, drawn faces; and what may be wrong with each."""

import bz2
import gzip
import io
import os
import struct
import sys
import tarfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from places import REAL_DATA, need
from vaegan.data import TEST, TRAIN, VALIDATION, DataConfig, ImageDataset, archives, open_dataset, source
from vaegan.data.layout import folders_of, labels_from_folders
from vaegan.errors import DataError, VaeganError

COUNT = 70
CONFIG = DataConfig(size=16)
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16, 3), dtype=np.uint8)
GREY = np.ascontiguousarray(PIXELS[..., 0])


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def fill(folder: Path, count: int = COUNT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index:03}.png").write_bytes(png(PIXELS[index]))
    return folder


def fill_zip(path: Path, more: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for index in range(COUNT):
            file.writestr(f"inside/{index:03}.png", png(PIXELS[index]))
        for name, data in (more or {}).items():
            file.writestr(name, data)
    return path


@pytest.fixture
def open_here(tmp_path: Path) -> Callable[..., ImageDataset]:
    """Opens a source with a cache of the test's own."""

    def opened(source: str | Path, config: DataConfig = CONFIG, **more: object) -> ImageDataset:
        return open_dataset(source, config, cache_dir=tmp_path / "cache", **more)  # pyright: ignore[reportArgumentType]

    return opened


def test_folder_is_searched_recursively_and_sorted(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images")
    (root / "deep" / "deeper").mkdir(parents=True)
    (root / "000.png").rename(root / "deep" / "deeper" / "z.png")
    dataset = open_here(root)
    assert list(dataset.names) == [*(f"{index:03}.png" for index in range(1, COUNT)), "deep/deeper/z.png"]
    assert np.array_equal(dataset.images[:-1], PIXELS[1:])
    assert np.array_equal(dataset.images[-1], PIXELS[0])


def test_hidden_files_are_ignored_and_others_are_listed_with_reasons(
    tmp_path: Path, open_here: Callable[..., ImageDataset]
) -> None:
    root = fill(tmp_path / "images")
    for name in (".DS_Store", "__MACOSX/._000.png", ".git/x.png", "about.txt", "list.csv", "fake.jpg", "empty.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"" if name == "empty.png" else b"some text")
    dataset = open_here(root)
    assert len(dataset) == COUNT
    assert {one.name for one in dataset.skipped} == {"about.txt", "list.csv", "fake.jpg", "empty.png"}
    dataset.write_skipped(tmp_path / "skipped.csv")
    lines = (tmp_path / "skipped.csv").read_text().splitlines()
    assert lines[0] == "name,reason"
    assert "about.txt,not an image" in lines


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there")
def test_links_in_circles_broken_links_and_pipes_do_no_harm(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images")
    (root / "circle").symlink_to(root)
    (root / "broken.png").symlink_to(tmp_path / "nowhere")
    (root / "self.png").symlink_to(root / "self.png")
    os.mkfifo(root / "pipe.png")
    dataset = open_here(root)
    assert len(dataset) == COUNT
    assert {one.name: one.reason for one in dataset.skipped} == {
        "broken.png": "broken link",
        "self.png": "broken link",
        "pipe.png": "not a regular file",
    }


def test_zip_and_tars_hold_what_the_folder_holds(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images")
    fill_zip(tmp_path / "images.zip", {"__MACOSX/._a.png": b"x", "readme.txt": b"x", "inner.zip": b"PK"})
    sources = [tmp_path / "images.zip"]
    for mode in ("", "gz", "bz2"):
        sources.append(tmp_path / f"images.tar.{mode or 'plain'}")
        with tarfile.open(sources[-1], f"w:{mode}") as tar:
            tar.add(root, "inside")
    expected = open_here(root)
    for place in sources:
        dataset = open_here(place)
        order = np.argsort(dataset.names)
        assert np.array_equal(dataset.images[order], PIXELS), place
        assert dataset.fingerprint == expected.fingerprint, place
        assert len(dataset.labels) == 0
    assert {one.name for one in open_here(sources[0]).skipped} == {"readme.txt", "inner.zip"}


def test_sub_folders_become_classes(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = tmp_path / "images"
    fill(root / "a" / "dog")
    for index in range(30):
        (root / "a" / "dog" / f"{index:03}.png").rename(fill(root / "a" / "cat", 0) / f"{index:03}.png")
    (root / "a" / "words").mkdir()
    (root / "a" / "words" / "list.txt").write_text("no image")
    dataset = open_here(root)
    assert dataset.label_words["class"] == ("cat", "dog")
    assert dataset.labels["class"].tolist() == [0.0] * 30 + [1.0] * 40
    assert dataset.labels["class"].dtype == np.float32
    assert "cat (30), dog (40)" in " ".join(dataset.notes)


def test_images_beside_sub_folders_get_a_word_too() -> None:
    labels = labels_from_folders([*map(folders_of, ("x.png", "cat/x.png", "cat/small/x.png"))])
    assert labels.words["class"] == (".", "cat", "cat/small")
    assert not labels_from_folders([*map(folders_of, ("cat/x.png", "cat/y.png"))]).values


def test_archive_members_are_read_within_bounds(
    tmp_path: Path, open_here: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaegan.data.decoding.MAX_FILE_BYTES", 2**20)
    path = fill_zip(tmp_path / "bomb.zip", {"honest.png": b"\0" * (2**20 + 1), "forged.png": b"\0" * 2**22})
    data = bytearray(path.read_bytes())
    start = data.rindex(b"forged.png") - 46  # its record in the central directory
    assert data[start : start + 4] == b"PK\1\2"
    data[start + 24 : start + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    dataset = open_here(path)
    reasons = {one.name: one.reason for one in dataset.skipped}
    assert reasons["honest.png"].startswith("too large")
    assert "forged.png" in reasons


def test_reads_stop_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 10)
    assert len(source.read_bounded(io.BytesIO(b"x" * 99))) == 11


def test_encrypted_and_damaged_members_are_skipped(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    path = fill_zip(tmp_path / "images.zip", {"locked.png": png(PIXELS[0]), "torn.png": png(PIXELS[1])})
    data = bytearray(path.read_bytes())
    for at in (data.index(b"locked.png") - 24, data.rindex(b"locked.png") - 38):
        data[at] |= 1
    data[data.index(b"torn.png") + 60] ^= 0xFF
    path.write_bytes(data)
    reasons = {one.name: one.reason for one in open_here(path).skipped}
    assert reasons["locked.png"] == "encrypted"
    assert reasons["torn.png"].startswith("cannot be unpacked")


def test_a_zip_whose_entries_all_lead_to_the_same_bytes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", bytes(4 * 2**20))
    data = path.read_bytes()
    listed, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry, count = data[listed:end], 2000  # 8 GB in 100 kB
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, count * len(entry), listed, 0)
    path.write_bytes(data[:listed] + count * entry + last)
    assert path.stat().st_size < 200_000
    assert len(zipfile.ZipFile(path).infolist()) == count
    with pytest.raises(DataError, match="over 100 times its size"):
        open_dataset(path, CONFIG, cache_dir=tmp_path / "c")


def test_tar_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, open_here: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 2**20)
    path = tmp_path / "bomb.tar.gz"
    member = tarfile.TarInfo("huge.png")
    member.size = 2**40
    with gzip.open(path, "wb") as file:
        file.write(member.tobuf() + b"\0" * 2**20)
    with pytest.raises(DataError, match="times its size"):
        open_here(path)


def test_tar_header_cannot_ask_for_memory(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 2**33
    path = tmp_path / "forged.tar"
    path.write_bytes(tarfile.TarInfo("a.png").tobuf() + member.tobuf(tarfile.GNU_FORMAT) + b"\0" * 4096)
    with pytest.raises(DataError, match="memory"):
        open_here(path)


def tar_header(kind: bytes, size: int = 0, sparse: bytes = b"") -> bytes:
    """A header of GNU's form; where `sparse` is given, the fields of a file with holes stand at its end."""
    member = tarfile.TarInfo("a.png")
    member.type, member.size = kind, size
    data = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    data[386 : 386 + len(sparse)] = sparse
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


@pytest.mark.parametrize("most", [2**16, 2**22])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE])
def test_tar_headers_of_headers_come_to_an_end(
    tmp_path: Path, open_here: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch, kind: bytes, most: int
) -> None:
    monkeypatch.setattr(archives, "MOST_TAR_HEADER_BYTES", most)
    path, chain = tmp_path / "chain.tar", tar_header(kind) * 2000 + tar_header(tarfile.REGTYPE) + bytes(1024)
    for start in (b"", tar_header(tarfile.REGTYPE)):
        path.write_bytes(start + chain)
        with pytest.raises(DataError) as caught:
            open_here(path)
        assert "\n" not in str(caught.value)


def test_a_tar_header_of_many_pieces_is_bounded(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    pieces = (b"00000000001\0" * 42 + b"\1").ljust(512, b"\0")
    start = tar_header(tarfile.REGTYPE) + tar_header(tarfile.GNUTYPE_SPARSE, sparse=bytes(96) + b"\1")
    (tmp_path / "pieces.tar").write_bytes(start + pieces * 200 + bytes(1024))
    with pytest.raises(DataError, match="memory"):
        open_here(tmp_path / "pieces.tar")


def test_global_headers_of_a_tar_take_no_memory(tmp_path: Path) -> None:
    path, count = tmp_path / "said.tar", 300
    with path.open("wb") as file:
        for index in range(count):
            said = tarfile.TarInfo.create_pax_global_header({f"comment{index}": "x" * 50_000})
            file.write(said + tarfile.TarInfo(f"{index}.png").tobuf())
        file.write(bytes(1024))
    peaks: list[int] = []
    for _ in range(2):  # a thread that an earlier test has left counts, too, but not twice
        tracemalloc.start()
        try:
            found = archives.archive(path)
            assert found is not None
            assert found.count() == count
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(peaks) < count * 50_000 / 5


def test_members_with_holes_are_skipped_and_lead_nowhere(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    end = b"\0%011o" % 1000  # of its only piece, which the file does not hold
    holes = tar_header(tarfile.GNUTYPE_SPARSE, sparse=(b"%011o" % 1 + end + b"\0").ljust(97, b"\0") + b"%011o\0" % 1000)
    with tarfile.open(tmp_path / "holes.tar", "w") as tar:
        tar.add(fill(tmp_path / "images"), "images")
    content = (tmp_path / "holes.tar").read_bytes()
    (tmp_path / "holes.tar").write_bytes(holes + content)
    dataset = open_here(tmp_path / "holes.tar")
    assert np.array_equal(dataset.images, PIXELS)
    assert [one.reason for one in dataset.skipped] == ["stored with holes: pack it again without --sparse"]
    (tmp_path / "ahead.tar").write_bytes(tar_header(tarfile.GNUTYPE_SPARSE, 2**32) + content)
    with pytest.raises(DataError, match="times its size"):
        open_here(tmp_path / "ahead.tar")


def test_a_tar_that_points_backwards_is_damaged(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    """A size of -512 leads to the header before it, for ever (CVE-2025-8194)."""
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.png", "b.png"):
            tar.addfile(tarfile.TarInfo(name))
    header = bytearray(path.read_bytes())
    header[512 + 124 : 512 + 136] = (-512 & (1 << 96) - 1).to_bytes(12, "big")
    header[512 + 148 : 512 + 156] = b" " * 8
    header[512 + 148 : 512 + 156] = b"%06o\0 " % sum(header[512:1024])
    path.write_bytes(header)
    with pytest.raises(DataError, match="damaged"):
        open_here(path)


def test_members_of_one_name_are_all_read(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "same.zip", "w") as packed:
        warnings.simplefilter("ignore")
        for index in range(COUNT):
            packed.writestr("a.png", png(PIXELS[index]))
    with tarfile.open(tmp_path / "same.tar", "w") as tar:
        for index in range(COUNT):
            member = tarfile.TarInfo("a.png")
            member.size = len(png(PIXELS[index]))
            tar.addfile(member, io.BytesIO(png(PIXELS[index])))
    for name in ("same.zip", "same.tar"):
        assert np.array_equal(open_here(tmp_path / name).images, PIXELS)


def test_truncated_archives_are_one_clear_line(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    fill_zip(tmp_path / "images.zip")
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as tar:
        tar.add(fill(tmp_path / "images"), "inside")
    for name in ("images.zip", "images.tar.gz"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
        with pytest.raises(DataError) as caught:
            open_here(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache" / "images").glob("*"))


def write_idx(path: Path, values: np.ndarray, packed: bool = False) -> Path:
    data = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_idx_pair_keeps_its_test_side_labels_and_every_pixel(
    tmp_path: Path, open_here: Callable[..., ImageDataset], packed: bool
) -> None:
    end = ".gz" if packed else ""
    classes = (np.arange(COUNT) % 3 + 5).astype(np.uint8)
    write_idx(tmp_path / "d" / f"train-images-idx3-ubyte{end}", GREY[:50], packed)
    write_idx(tmp_path / "d" / f"train-labels-idx1-ubyte{end}", classes[:50], packed)
    write_idx(tmp_path / "d" / f"t10k-images-idx3-ubyte{end}", GREY[50:], packed)
    write_idx(tmp_path / "d" / f"t10k-labels-idx1-ubyte{end}", classes[50:], packed)
    dataset = open_here(tmp_path / "d")
    assert dataset.images.shape == (COUNT, 16, 16, 1)
    assert np.array_equal(dataset.images[..., 0], GREY)
    assert dataset.indices(TEST).tolist() == list(range(50, COUNT))
    words = dataset.label_words["class"]
    assert [int(words[int(code)]) for code in dataset.labels["class"]] == classes.tolist()
    assert not dataset.flips
    assert open_here(tmp_path / "d", DataConfig(size=16, flip="on")).flips


def test_idx_file_alone_is_divided_as_any_other(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    many = np.random.default_rng(1).integers(0, 256, (2000, 16, 16), dtype=np.uint8)
    dataset = open_here(write_idx(tmp_path / "t10k-images.idx3-ubyte", many))
    assert 50 < len(dataset.indices(TEST)) < 150
    assert dataset.labels == {}


@pytest.mark.parametrize("packed", [False, True])
def test_idx_header_is_checked_before_memory_is_taken(
    tmp_path: Path, open_here: Callable[..., ImageDataset], packed: bool
) -> None:
    data = struct.pack(">BBBBIII", 0, 0, 8, 3, 2**31, 2**12, 2**12) + b"\0" * 5000
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match="claims"):
        open_here(path)


def test_idx_damage_is_one_clear_line(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    path = write_idx(tmp_path / "d" / "train-images-idx3-ubyte.gz", GREY, packed=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        open_here(tmp_path / "d")
    path.write_bytes(whole)
    write_idx(tmp_path / "d" / "train-labels-idx1-ubyte", np.zeros(3, np.uint8))
    with pytest.raises(DataError, match="labels"):
        open_here(tmp_path / "d")
    write_idx(tmp_path / "d" / "other-images-idx3-ubyte", GREY)
    with pytest.raises(DataError, match="several IDX"):
        open_here(tmp_path / "d")


@pytest.mark.parametrize("shape", [(COUNT, 16, 16), (COUNT, 16, 16, 1), (COUNT, 16, 16, 3), (COUNT, 16, 16, 4)])
def test_numpy_arrays_come_through_unchanged(
    tmp_path: Path, open_here: Callable[..., ImageDataset], shape: tuple[int, ...]
) -> None:
    values = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    if shape[-1] == 4:
        values[..., 3] = 255
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "b.npz", pictures=values, labels=np.arange(COUNT) // 35)
    expected = values.reshape(COUNT, 16, 16, -1)[..., :3]
    plain, packed = open_here(tmp_path / "a.npy"), open_here(tmp_path / "b.npz")
    assert np.array_equal(plain.images, expected)
    assert np.array_equal(packed.images, expected)
    assert plain.labels == {}
    assert packed.labels["class"].tolist() == [0.0] * 35 + [1.0] * 35
    assert plain.flips


def objects() -> np.ndarray:
    return np.array([{"a": 1}] * COUNT, dtype=object)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (GREY.astype(np.complex64), "not numbers"),
        (objects(), "not numbers"),
        (np.asfortranarray(GREY), "column by column"),
        (np.moveaxis(PIXELS, 3, 1).copy(), "channels to the end"),
        (GREY[0], "needed is"),
        (GREY[:0], "needed is"),
        (GREY[:10], "only 10 usable"),
    ],
)
def test_unusable_arrays_say_what_to_do(
    tmp_path: Path, open_here: Callable[..., ImageDataset], values: np.ndarray, said: str
) -> None:
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(DataError, match=said):
        open_here(tmp_path / "a.npy")


def test_numpy_headers_are_checked_against_the_file(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    path = tmp_path / "a.npy"
    np.save(path, GREY)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"(70,", b"(7000000000,".ljust(4))[: len(data)])
    with pytest.raises(DataError, match="damaged"):
        open_here(path)
    path.write_bytes(data[:-100])
    with pytest.raises(DataError, match="damaged"):
        open_here(path)
    path.write_bytes(b"no array")
    with pytest.raises(DataError, match="damaged"):
        open_here(path)
    np.savez(tmp_path / "b.npz", a=GREY, b=GREY)
    with pytest.raises(DataError, match="x_train"):
        open_here(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", images=GREY, labels=np.arange(3))
    with pytest.raises(DataError, match="whole numbers"):
        open_here(tmp_path / "c.npz")
    (tmp_path / "d.npz").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match="damaged"):
        open_here(tmp_path / "d.npz")


def test_one_coloured_image_makes_all_three_channels(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images", 0)
    for index in range(COUNT):
        (root / f"{index:03}.png").write_bytes(png(PIXELS[index] if index == COUNT - 1 else GREY[index]))
    dataset = open_here(root)
    assert dataset.images.shape == (COUNT, 16, 16, 3)
    assert np.array_equal(dataset.images[:-1], np.repeat(GREY[:-1, ..., None], 3, axis=3))
    assert np.array_equal(dataset.images[-1], PIXELS[-1])
    (root / f"{COUNT - 1:03}.png").write_bytes(png(GREY[-1]))
    assert open_here(root).channels == 1
    assert open_here(root, DataConfig(size=16, channels="3")).channels == 3


def test_faces_are_drawn_with_their_factors(open_here: Callable[..., ImageDataset]) -> None:
    faces, fewer = open_here("faces:80"), open_here("faces:64")
    assert faces.images.shape == (80, 16, 16, 3)
    assert np.array_equal(faces.images[:64], fewer.images)
    assert np.array_equal(faces.contents[:64], fewer.contents)
    assert faces.labels.keys() >= {"smile", "glasses", "hair_colour"}
    assert all(len(values) == 80 and values.dtype == np.float32 for values in faces.labels.values())
    assert set(faces.label_words) < set(faces.labels)


@pytest.mark.parametrize("kind", ["missing", "empty", "hidden only", "few", "text", "one image", "empty zip", "bz2"])
def test_unusable_sources_are_one_clear_line_and_leave_nothing(
    tmp_path: Path, open_here: Callable[..., ImageDataset], kind: str
) -> None:
    path = tmp_path / "source"
    if kind in ("empty", "hidden only", "few"):
        fill(path, 5 if kind == "few" else 0)
    if kind == "hidden only":
        (path / ".DS_Store").write_bytes(b"x")
    if kind in ("text", "one image"):
        path.write_bytes(b"text" if kind == "text" else png(PIXELS[0]))
    if kind == "empty zip":
        zipfile.ZipFile(path, "w").close()
    if kind == "bz2":
        path.write_bytes(bz2.compress(b"no tar"))
    with pytest.raises(DataError) as caught:
        open_here(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert caught.value.exit_code == 2
    assert not list((tmp_path / "cache").rglob("*.bin"))


def test_skipped_files_are_explained_when_too_few_remain(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images", 10)
    (root / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"only 10 usable images.* 1 file was skipped\. a\.txt: not an image\.$"):
        open_here(root)
    (root / "b.txt").write_text("x")
    (root / "c.png").write_bytes(png(PIXELS[0])[:60])
    with pytest.raises(DataError, match=r"skipped\. 2 like a\.txt: not an image; c\.png: truncated: the file ends before"):
        open_here(root)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_folder_without_permission(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images", 1)
    root.chmod(0)
    try:
        with pytest.raises(VaeganError, match="permission"):
            open_here(root)
    finally:
        root.chmod(0o755)


def test_idx_files_of_a_folder_are_known_by_their_usual_names(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    for name in ("train-images-idx3-ubyte", "t10k-images.idx3-ubyte", "emnist-letters-train-images-idx3-ubyte"):
        (tmp_path / name).mkdir()
        write_idx(tmp_path / name / name, GREY)
        assert len(open_here(tmp_path / name)) == COUNT


@pytest.mark.real
@pytest.mark.parametrize(("name", "count"), [("anime-faces.zip", 8300), ("landscapes.zip", 450), ("smiles.zip", 13165)])
def test_real_archives_open_whole(open_here: Callable[..., ImageDataset], name: str, count: int) -> None:
    dataset = open_here(need(REAL_DATA / name, "the real images"))
    assert (len(dataset), dataset.skipped) == (count, ())


@pytest.mark.real
def test_hostile_files_among_good_ones(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    hostile = need(REAL_DATA / "hostile", "the hostile images")
    root = fill(tmp_path / "images")
    for file in hostile.iterdir():
        (root / f"hostile {file.name}").write_bytes(file.read_bytes())
    dataset = open_here(root)
    assert len(dataset) + len(dataset.skipped) == COUNT + 121
    assert len(dataset) > COUNT + 40


def header(text: bytes, version: int = 1) -> bytes:
    """The start of a .npy whose header is this text."""
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


@pytest.mark.parametrize(
    "text",
    [
        b"(" * 50,
        b"[" * 50,
        b"'open",
        b"{'descr': [('a', ('b',))], 'fortran_order': False, 'shape': (80, 8, 8)}\n",
        b"{'descr': '|u1,(', 'fortran_order': False, 'shape': (80, 8, 8)}\n",
        b"-" * 9000,
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (100, -8, 8)}\n",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-80, 8, -8)}\n",
    ],
)
def test_headers_of_arrays_may_be_anything(tmp_path: Path, open_here: Callable[..., ImageDataset], text: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(header(text) + bytes(6400))
    with pytest.raises(DataError, match=r"damaged|needed is"):
        open_here(tmp_path / "x.npy")


def test_a_header_of_an_array_is_read_within_bounds(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    from vaegan.data.arrays import MOST_HEADER_BYTES, read_header

    class Long(io.RawIOBase):
        asked = 0

        def read(self, size: int = -1) -> bytes:
            self.asked += size
            assert 0 <= size <= MOST_HEADER_BYTES
            return header(b" " * 2**17, 2)[:size]

    file = Long()
    with pytest.raises(ValueError, match=r"EOF|large"):
        read_header(file)
    assert 0 < file.asked <= MOST_HEADER_BYTES


def test_an_image_and_its_mirror_image_stand_on_one_side(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    both = np.concatenate([PIXELS, PIXELS[:, :, ::-1]] * 3)
    for index in range(len(both)):  # the same pictures in different bytes, so that their sides are drawn apart
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(both[index]).save(tmp_path / f"images/{index:03}.png", compress_level=index // (2 * COUNT) * 4)
    dataset = open_here(tmp_path / "images")
    trained = {image.tobytes() for image in dataset.images[dataset.sides == TRAIN]}
    held = [dataset.images[index] for index in np.flatnonzero((dataset.sides == TEST) | (dataset.sides == VALIDATION))]
    assert len(held) > 10
    assert not [image for image in held if image.tobytes() in trained or image[:, ::-1].tobytes() in trained]
    assert any("or its mirror image" in note for note in dataset.notes)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_was_made_readable_is_read(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images")
    (root / "000.png").chmod(0)
    assert len(open_here(root)) == COUNT - 1
    (root / "000.png").chmod(0o644)
    assert len(open_here(root)) == COUNT


def test_more_images_than_can_be_kept_in_mind_are_refused(
    tmp_path: Path, open_here: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaegan.data.building.MOST_IMAGES", COUNT - 1)
    with pytest.raises(DataError, match="70 images or files, over 69"):
        open_here(fill(tmp_path / "images"))


def test_labels_of_more_images_are_not_even_read(
    tmp_path: Path, open_here: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaegan.data.building.MOST_IMAGES", COUNT - 1)
    np.savez_compressed(tmp_path / "a.npz", images=GREY, labels=np.arange(3))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"damaged")
    for path in (tmp_path / "a.npz", write_idx(tmp_path / "train-images-idx3-ubyte", GREY)):
        with pytest.raises(DataError, match="70 images or files, over 69"):
            open_here(path)


def test_the_home_of_nobody_does_not_exist(open_here: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no such user"):
        open_here("~nosuchuser/images")
    monkeypatch.setenv("VAEGAN_CACHE", "~nosuchuser/cache")
    with pytest.raises(VaeganError, match="VAEGAN_CACHE"):
        open_dataset("faces:64", CONFIG)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_folders_between_backslashes_are_folders(tmp_path: Path, open_here: Callable[..., ImageDataset], kind: str) -> None:
    members = {f"faces\\{'girl' if index % 2 else 'boy'}\\{index:03}.png": png(PIXELS[index]) for index in range(COUNT)}
    members |= {"faces\\.hidden\\x.png": b"x", "faces\\girl\\": b""}
    place = tmp_path / f"faces.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(place, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
    else:
        with tarfile.open(place, "w") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size, info.type = len(data), tarfile.REGTYPE if data else tarfile.DIRTYPE
                tar.addfile(info, io.BytesIO(data))
    dataset = open_here(place)
    assert dataset.label_words["class"] == ("boy", "girl")
    assert sorted(dataset.names)[0] == "faces/boy/000.png"
    assert not dataset.skipped
