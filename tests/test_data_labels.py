"""Shape and labels as people keep them: folders train and test, tables beside the images, arrays of Keras and MedMNIST."""

import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaegan.data import TEST, TRAIN, VALIDATION, DataConfig, ImageDataset, label_files, open_dataset
from vaegan.errors import DataError
from vaegan.latent.learning import groups_of_label

CONFIG = DataConfig(size=16)
RANDOM = np.random.default_rng(0)


def png() -> bytes:
    file = BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def fill(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png())
    return root


def some(folder: str, count: int) -> list[str]:
    return [f"{folder}/{index:03}.png" for index in range(count)]


@pytest.fixture
def open_here(tmp_path: Path) -> Callable[..., ImageDataset]:
    def opened(source: Path, labels: Path | None = None, for_training: bool = True) -> ImageDataset:
        config = DataConfig(size=16, labels=None if labels is None else str(labels))
        return open_dataset(source, config, cache_dir=tmp_path / "cache", for_training=for_training)

    return opened


def sides_by_folder(dataset: ImageDataset, depth: int) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for name, side in zip(dataset.names, dataset.sides.tolist(), strict=True):
        found.setdefault(name.split("/")[depth], set()).add(side)
    return found


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("top", ["", "data/"])
def test_folders_of_all_three_sides_are_sides_and_the_classes_lie_below(
    tmp_path: Path, open_here: Callable[..., ImageDataset], packed: bool, top: str
) -> None:
    names = [
        name
        for side, count in (("Train", 150), ("valid", 9), ("TEST", 11))
        for kind in ("boy", "girl")
        for name in some(f"{top}{side}/{kind}", count)
    ]
    place = fill(tmp_path / "images", names)
    if packed:
        place = tmp_path / "images.zip"
        with zipfile.ZipFile(place, "w") as file:
            for name in names:
                file.write(tmp_path / "images" / name, name)
    dataset = open_here(place)
    expected = {"Train": {TRAIN}, "valid": {VALIDATION}, "TEST": {TEST}}
    assert sides_by_folder(dataset, depth=top.count("/")) == expected
    assert dataset.label_words["class"] == ("boy", "girl")
    assert any("22 images" in note and "18 images" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # A test side alone: the others train and validate. The same with a validation side alone.
        ((*some("train/a", 200), *some("test/a", 9)), {"train": {TRAIN, VALIDATION}, "test": {TEST}}),
        ((*some("cats", 200), "1.png", *some("test", 9)), {"cats": {TRAIN, VALIDATION}, "1.png": {TRAIN}, "test": {TEST}}),
        ((*some("training", 200), *some("val", 9)), {"training": {TRAIN, TEST}, "val": {VALIDATION}}),
        # A train is also a vehicle, and a folder of tests alone has all sides in it.
        ((*some("bus", 120), *some("train", 120)), {"bus": {TRAIN, VALIDATION, TEST}, "train": {TRAIN, VALIDATION, TEST}}),
        (some("test", 200), {"test": {TRAIN, VALIDATION, TEST}}),
        ((*some("val", 150), *some("test", 150)), {"val": {TRAIN, VALIDATION, TEST}, "test": {TRAIN, VALIDATION, TEST}}),
    ],
)  # fmt: skip
def test_where_some_sides_are_missing(
    tmp_path: Path, open_here: Callable[..., ImageDataset], names: tuple[str, ...], expected: dict[str, set[int]]
) -> None:
    assert sides_by_folder(open_here(fill(tmp_path / "images", names)), 0) == expected


def of(dataset: ImageDataset, name: str) -> dict[str, object]:
    """A label by the images' stems: words, numbers, None where it is not known."""
    words = dataset.label_words.get(name)
    return {
        Path(image).stem: None if np.isnan(value) else float(value) if words is None else words[int(value)]
        for image, value in zip(dataset.names, dataset.labels[name], strict=True)
    }


IMAGES = [f"img/{index:03}.png" for index in range(70)]
KINDS = ["cat", "dog", "eel"]


def rows(cell: Callable[[int], str]) -> str:
    return "\n".join(cell(index) for index in range(70))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "file,kind\n" + rows(lambda i: f"img/{i:03}.png,{KINDS[i % 3]}")),
        ("labels.csv", "\ufeff;id;kind;x\n" + rows(lambda i: f"{i};{i:03};{KINDS[i % 3]};1")),  # Excel, pandas' numbers, stems
        ("metadata.csv", "kind\tfile_name\n" + rows(lambda i: f"{KINDS[i % 3]}\t./{i:03}.png")),
        ("labels.csv", "name,kind\r\n" + rows(lambda i: rf'"C:\data\img\{i:03}.png","{KINDS[i % 3]}"')),
        ("labels.csv", "path,kind\n" + rows(lambda i: f"/home/me/img/{i:03}.png, {KINDS[i % 3]} ")),
        ("dataset.json", json.dumps({"labels": {f"{i:03}.png": {"kind": KINDS[i % 3]} for i in range(70)}})),
    ],
)  # fmt: skip
def test_tables_are_read_as_people_write_them(
    tmp_path: Path, open_here: Callable[..., ImageDataset], name: str, text: str
) -> None:
    root = fill(tmp_path / "images", IMAGES)
    (root / name).write_text(text, encoding="utf-8", newline="")
    dataset = open_here(root)
    assert dataset.label_words["kind"] == ("cat", "dog", "eel")
    assert of(dataset, "kind") == {f"{index:03}": KINDS[index % 3] for index in range(70)}
    assert not dataset.skipped


def test_a_table_without_header_has_one_label_called_class(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images", IMAGES)
    (root / "labels.csv").write_text(rows(lambda i: f"{i:03}.png,{i % 30}"))
    found = of(open_here(root), "class")
    assert found["007"] == "7"
    assert found["000"] == "0"


def test_celebas_table_is_read_as_it_is(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "celeba", [f"img_align_celeba/{index:06}.jpg" for index in range(1, 71)])
    lines = [f"{index:06}.jpg {1 if index % 2 else -1:2d} {1 if index % 5 else -1:2d}" for index in range(1, 90)]
    (root / "list_attr_celeba.txt").write_text("\n".join(["89", "Smiling Wearing_Hat", *lines]))
    dataset = open_here(root)
    assert dataset.label_words["Smiling"] == dataset.label_words["Wearing_Hat"] == ("no", "yes")
    assert dataset.labels["Smiling"].tolist() == [index % 2 for index in range(1, 71)]
    assert any("19 name none" in note for note in dataset.notes)
    as_csv = tmp_path / "list_attr_celeba.csv"
    as_csv.write_text("\n".join(",".join(line.split()) for line in ["image_id Smiling Wearing_Hat", *lines]))
    (root / "list_attr_celeba.txt").rename(tmp_path / "elsewhere.txt")
    assert not open_here(root).labels
    assert open_here(root, as_csv).labels["Smiling"].tolist() == dataset.labels["Smiling"].tolist()
    assert open_here(root, tmp_path / "elsewhere.txt").labels["Smiling"].tolist() == dataset.labels["Smiling"].tolist()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_stylegans_labels_come_out_of_the_archive(
    tmp_path: Path, open_here: Callable[..., ImageDataset], kind: str, last: bool
) -> None:
    names = [f"{index // 40:05}/img{index:08}.png" for index in range(80)]
    table = {"dataset.json": json.dumps({"labels": [[name, index % 12] for index, name in enumerate(names)]}).encode()}
    images = {name: png() for name in names}
    members = images | table if last else table | images
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "faces", "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
    else:
        with tarfile.open(tmp_path / "faces", "w:gz") as file:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, BytesIO(data))
    dataset = open_here(tmp_path / "faces")
    assert dataset.label_words["class"] == tuple(map(str, range(12)))
    assert dataset.labels["class"].tolist() == [index % 12 for index in range(80)]
    assert not dataset.skipped


def test_numbers_words_and_what_is_missing(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images", IMAGES)
    cells = [f"{i:03}.png,{20 + i / 2},{'' if i % 7 == 0 else ('no', 'yes')[i % 2]},{i % 4}.0,caption {i},nan" for i in range(60)]
    text = "\n".join(["file,age,hat,room,text,empty", *cells, "x.png,1,yes,1,a,2", "y.png,1,yes,1,a,2"])
    (root / "labels.csv").write_text(text)
    dataset = open_here(root)
    assert "empty" not in dataset.labels
    assert of(dataset, "age")["011"] == 25.5
    assert of(dataset, "age")["065"] is None
    assert of(dataset, "room")["006"] == "2"
    codes, words = dataset.coded("hat")
    assert words == ("no", "yes", "unknown")
    assert (codes == 2).sum() == 9 + 10
    assert dataset.categories("hat")[2] == words
    positive, negative = groups_of_label(dataset, "hat")
    assert len(positive) + len(negative) == 70 - 19  # nobody knows whether the others have one
    assert any("2 name none" in note and "10 of 70 images have no row" in note for note in dataset.notes)


@pytest.mark.parametrize(
    "data", [b"", b"\0\xff" * 500, b'{"labels": null}', b"[" * 100_000, b"a,b\n" * 9, b'"' * 200_000, b"file,kind\n001.png"]
)
@pytest.mark.parametrize("name", ["labels.csv", "dataset.json"])
def test_a_file_that_gives_no_labels_costs_nothing_and_is_refused_where_it_was_asked_for(
    tmp_path: Path, open_here: Callable[..., ImageDataset], name: str, data: bytes
) -> None:  # fmt: skip
    root = fill(tmp_path / "images", IMAGES)
    (root / name).write_bytes(data)
    dataset = open_here(root)
    assert len(dataset) == 70
    assert not dataset.labels
    assert any(name in note for note in dataset.notes)
    with pytest.raises(DataError, match="gives no labels"):
        open_here(root, root / name)
    assert not open_here(root, root / name, for_training=False).labels  # other images may have none


def test_a_changed_table_counts_at_once_and_a_missing_one_is_said(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root, table = fill(tmp_path / "images", IMAGES), tmp_path / "words.csv"
    table.write_text("file,kind\n001.png,cat\n002.png,dog")
    assert of(open_here(root, table), "kind")["001"] == "cat"
    table.write_text("file,kind\n001.png,horse\n002.png,dog")
    assert of(open_here(root, table), "kind")["001"] == "horse"
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        open_here(root, tmp_path / "nowhere.csv")


def test_tables_that_are_too_large_are_not_read(
    tmp_path: Path, open_here: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "images", IMAGES)
    (root / "labels.csv").write_text("file,kind\n001.png,cat\n002.png,dog")
    monkeypatch.setattr(label_files, "MOST_LABEL_BYTES", 10)
    assert [one.name for one in open_here(root).skipped] == ["labels.csv"]
    with pytest.raises(DataError, match="too large"):
        open_here(root, root / "labels.csv")


def test_names_that_mean_several_images_mean_none(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    root = fill(tmp_path / "images", [*some("a", 40), *some("b", 40)])
    (root / "labels.csv").write_text("file,kind\n001.png,cat\na/002.png,dog\nc/003.png,eel\n")
    found = {
        name: value for name, value in zip(open_here(root).names, open_here(root).labels["kind"], strict=True) if value == value
    }
    assert list(found) == ["a/002.png"]


def grey(count: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, 16, 16), dtype=np.uint8)


def test_npz_of_keras_and_medmnist(tmp_path: Path, open_here: Callable[..., ImageDataset]) -> None:
    def labels(count: int) -> np.ndarray:
        return (np.arange(count) % 3 + 5).astype(np.uint8)

    np.savez(tmp_path / "mnist.npz", x_test=grey(20), x_train=grey(120), y_train=labels(120), y_test=labels(20))
    keras = open_here(tmp_path / "mnist.npz")
    assert keras.indices(TEST).tolist() == list(range(120, 140))
    assert keras.label_words["class"] == ("5", "6", "7")
    assert keras.labels["class"].tolist() == [*(index % 3 for index in range(120)), *(index % 3 for index in range(20))]
    parts = {"train": 100, "val": 10, "test": 20}
    arrays = {f"{side}_images": grey(count) for side, count in parts.items()}
    arrays |= {f"{side}_labels": labels(count)[:, None] for side, count in parts.items()}
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    medical = open_here(tmp_path / "pathmnist.npz")
    assert medical.sides.tolist() == [TRAIN] * 100 + [VALIDATION] * 10 + [TEST] * 20
    assert medical.label_words["class"] == ("5", "6", "7")
    truths = RANDOM.integers(0, 2, (100, 4))
    np.savez(tmp_path / "chest.npz", train_images=grey(100), train_labels=np.asfortranarray(truths))
    chest = open_here(tmp_path / "chest.npz")
    assert np.array_equal(np.stack([chest.labels[f"label-{number}"] for number in range(1, 5)], 1), truths)
    assert set(chest.sides.tolist()) == {TRAIN, VALIDATION, TEST}


def test_labels_stay_with_their_images_where_others_of_an_array_cannot_be_used(
    tmp_path: Path, open_here: Callable[..., ImageDataset]
) -> None:
    values, classes = RANDOM.integers(0, 4096, (100, 16, 16)), np.arange(100) % 7
    damaged = (values[:80] / 4095).astype(np.float32)
    damaged[[2, 50], 3, 3] = np.nan
    np.savez(
        tmp_path / "lung.npz",
        x_train=damaged,
        x_test=values[80:].astype(np.uint16),
        y_train=classes[:80],
        y_test=classes[80:],
    )
    found = open_here(tmp_path / "lung.npz")
    usable = np.delete(np.arange(100), [2, 50])
    assert found.labels["class"].tolist() == classes[usable].tolist()
    assert found.indices(TEST).tolist() == list(range(78, 98))
    assert np.abs(found.images[..., 0] - values[usable] * 255 / 4095).max() < 0.51
