"""A folder that changes: what did not change is not decoded again, and all is as if everything had been."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from vaegan.data import DataConfig, ImageDataset, open_dataset, source
from vaegan.errors import DataError
from vaegan.pictures import save_png, to_picture

SIZE, COUNT = 16, 70
CONFIG = DataConfig(size=SIZE)
VALUES = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
DEEP = VALUES[..., 0].astype(np.uint16) * 16  # 12 bits
Checked = Callable[..., list[str]]


def everything(dataset: ImageDataset) -> dict[str, object]:
    """All that is known of the images, to be compared."""
    found = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    found["labels"] = {name: values.tobytes() for name, values in dataset.labels.items()}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded, in the order of the alphabet."""
    found: list[str] = []
    decode = source.decode

    def noted(name: str, *rest: Any) -> Any:
        found.append(name)
        return decode(name, *rest)

    monkeypatch.setattr(source, "decode", noted)
    return found


@pytest.fixture
def checked(folder: Path, decoded: list[str], tmp_path: Path) -> Checked:
    """Opens the folder, compares it with one that is prepared from the beginning, and says what was decoded."""

    def check(config: DataConfig = CONFIG, **more: bool) -> list[str]:
        decoded.clear()
        again = open_dataset(folder, config, cache_dir=tmp_path / "c", **more)
        names = sorted(decoded)
        assert everything(again) == everything(open_dataset(folder, config, cache_dir=tmp_path / "whole", **more))
        shutil.rmtree(tmp_path / "whole")
        return names

    return check


def fill(folder: Path, values: np.ndarray, kind: str = "png", start: int = 0) -> list[str]:
    """Saves images, and gives their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{index:03}.{kind}" for index in range(start, start + len(values))]
    for name, one in zip(names, values, strict=True):
        Image.fromarray(one).save(folder / name)
    return names


@pytest.mark.parametrize("channels", ["auto", "1", "3", "4"])
def test_unchanged_files_are_not_decoded_again(folder: Path, checked: Checked, channels: Literal["auto", "1", "3", "4"]) -> None:
    """The folder grows, an image changes and one goes; a coloured image among grey ones comes and goes."""
    config = DataConfig(size=SIZE, channels=channels)
    for index, one in enumerate(VALUES):
        Image.fromarray(one).convert("L").resize((16 + index % 2, 16)).save(folder / f"{index:03}.bmp")
    (folder / "notes.bmp").write_text("no image")
    Image.fromarray(np.dstack([VALUES[0], VALUES[1, ..., 0]])).save(folder / "clear.png")
    assert len(checked(config)) == COUNT + 2
    Image.fromarray(VALUES[0]).resize((16, 12)).save(folder / "new.bmp")
    assert checked(config) == ["new.bmp", "notes.bmp"]
    (folder / "new.bmp").unlink()
    (folder / "003.bmp").unlink()
    Image.fromarray(VALUES[5]).convert("L").save(folder / "005.bmp")
    os.utime(folder / "005.bmp", ns=(5, 5))
    (folder / "a").mkdir()
    (folder / "007.bmp").rename(folder / "a/007.bmp")
    assert checked(config) == ["005.bmp", "a/007.bmp", "notes.bmp"]


def test_images_of_12_bits_stay_as_they_are_until_one_of_16_comes(folder: Path, checked: Checked) -> None:
    names = fill(folder, DEEP)
    assert checked() == sorted(2 * names)  # once to find the range
    more = fill(folder, DEEP[:2] // 3, start=100)
    assert checked() == more
    deepest = fill(folder, DEEP[:1] * 16, start=200)
    assert checked() == sorted([*names, *more, *2 * deepest])
    for gone in (deepest[0], names[0]):
        (folder / gone).unlink()
    assert checked() == sorted([*names[1:], *more])


def test_only_the_kind_whose_range_changes_is_decoded_again(folder: Path, checked: Checked) -> None:
    fill(folder, VALUES[:40])
    deep = fill(folder, DEEP[:30], start=40)
    checked()
    deepest = fill(folder, DEEP[:1] * 16, start=100)
    assert checked() == sorted([*deep, *2 * deepest])


@pytest.mark.parametrize("values", [VALUES // 8, VALUES, VALUES // 200], ids=["dim", "whole", "masks"])
@pytest.mark.parametrize("levels", ["", "auto", "0:60"])
def test_the_range_is_that_of_all_images_together_whichever_are_known(
    folder: Path, checked: Checked, values: np.ndarray, levels: str
) -> None:
    """The darkest and the brightest image come, and go."""
    config = DataConfig(size=SIZE, levels=levels)
    fill(folder, np.clip(values[..., 0], values.max() // 9, values.max() // 2))
    checked(config)
    new = fill(folder, values[:2, ..., 0], start=100)
    names = checked(config)
    if levels != "auto" and values.max() != 1:
        assert names == new
    for name in new:
        (folder / name).unlink()
        checked(config)


def test_auto_finds_a_single_bright_pixel_of_a_new_image(folder: Path, checked: Checked) -> None:
    large = np.random.default_rng(1).integers(10, 60, (COUNT, 100, 100)).astype(np.uint8)
    fill(folder, large[1:])
    checked(DataConfig(size=SIZE, levels="auto"))
    large[0, 1, 2] = 90
    new = fill(folder, large[:1], start=100)
    assert checked(DataConfig(size=SIZE, levels="auto")).count(new[0]) == 2


def test_what_vanishes_on_its_background_is_warned_of_as_before(folder: Path, checked: Checked) -> None:
    fill(folder, VALUES)
    icons = np.full((4, SIZE, SIZE, 4), 255, np.uint8)
    icons[..., 3] = VALUES[:4, ..., 0] & 128
    fill(folder, icons, start=100)
    checked()
    new = fill(folder, VALUES[:1] // 2, start=200)
    assert checked() == new


def test_labels_and_sides_follow_the_folders_and_the_table(folder: Path, checked: Checked, tmp_path: Path) -> None:
    for place, some in (("train/a", VALUES[:30]), ("train/b", VALUES[20:60]), ("test/b", VALUES[60:])):
        fill(folder / place, some)
    checked()
    (folder / "labels.csv").write_text("file,smiling\n" + "".join(f"train/a/{index:03}.png,{index % 2}\n" for index in range(30)))
    assert checked() == []
    (folder / "labels.csv").write_text("file,age\n" + "".join(f"train/a/{index:03}.png,{index}\n" for index in range(25)))
    (folder / "test").rename(folder / "other")
    fill(folder / "val", VALUES[3:5])
    assert checked() == [f"other/b/{index:03}.png" for index in range(10)] + ["val/000.png", "val/001.png"]
    table = tmp_path / "table.csv"
    config = DataConfig(size=SIZE, labels=str(table))
    for words in ("ab", "cde"):
        rows = "".join(f"train/b/{index:03}.png,{words[index % len(words)]}\n" for index in range(40))
        table.write_text(f"file,word\n{rows}")
        assert (checked(config) == []) == (words == "cde")
    assert len(list((tmp_path / "c/images").iterdir())) == 5  # all in use


@pytest.mark.parametrize("kind", ["png", "webp", "gif"])
def test_what_vaegan_wrote_is_opened_once(folder: Path, checked: Checked, kind: str) -> None:
    from vaegan.pictures import save_animation

    fill(folder, VALUES)
    frames = [to_picture(one) for one in VALUES[:2]]

    def write(name: str) -> str:
        path = folder / f"{name}.{kind}"
        save_png(frames[0], path) if kind == "png" else save_animation(frames, path)
        return path.name

    first = write("first")
    assert first in checked()
    assert checked() == []
    second = write("second")
    assert checked() == [second]
    (new,) = fill(folder, VALUES[:1] // 2, start=100)
    assert checked() == [new]


def test_a_folder_of_nothing_else_is_decoded_once_until_an_image_comes(
    folder: Path, decoded: list[str], checked: Checked, tmp_path: Path
) -> None:
    for index, one in enumerate(VALUES[:20]):
        save_png(to_picture(one), folder / f"{index:03}.png")
    assert len(checked(for_training=False)) == 40  # a first look shows that there is nothing else
    assert checked(for_training=False) == []
    with pytest.raises(DataError, match="20 files"):
        open_dataset(folder, CONFIG, cache_dir=tmp_path / "c")
    fill(folder, VALUES[:3], start=100)
    checked(for_training=False)
    found = open_dataset(folder, CONFIG, cache_dir=tmp_path / "c", for_training=False)
    assert (len(found), found.own_files) == (3, 20)


def test_files_that_could_not_be_read_are_tried_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, VALUES)
    read, there = source.read_bounded, Path.open

    def dropped(path: Path, *how: Any, **more: Any) -> Any:
        if path.name in ("003.png", "004.png"):
            raise OSError(errno.EIO, "Input/output error")
        return there(path, *how, **more)

    monkeypatch.setattr(Path, "open", dropped)
    first = open_dataset(folder, CONFIG, cache_dir=tmp_path / "c")
    assert [one.name for one in first.skipped] == ["003.png", "004.png"]
    monkeypatch.setattr(source, "read_bounded", lambda file: pytest.fail("was read although nothing can be read that could not"))
    assert open_dataset(folder, CONFIG, cache_dir=tmp_path / "c").skipped == first.skipped
    monkeypatch.setattr(source, "read_bounded", read)
    monkeypatch.setattr(Path, "open", there)
    healed = open_dataset(folder, CONFIG, cache_dir=tmp_path / "c")
    assert (len(healed), healed.skipped) == (COUNT, ())
    assert everything(healed) == everything(open_dataset(folder, CONFIG, cache_dir=tmp_path / "other"))
    assert len(list((tmp_path / "c/images").iterdir())) == 1
