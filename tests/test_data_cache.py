"""The cache: complete or absent, reused, never trusted when damaged, and nothing left behind by what fails."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from vaegan import caching
from vaegan.cli import main
from vaegan.data import TRAIN, DataConfig, TrainingBatches, default_cache_dir, open_dataset, source
from vaegan.data.cache import CacheWriter
from vaegan.errors import DataError, RequestError, VaeganError
from vaegan.files import being_written

CONFIG = DataConfig(size=16)
VALUES = np.random.default_rng(0).integers(0, 256, (80, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def array(tmp_path: Path) -> Path:
    np.save(tmp_path / "images.npy", VALUES)
    return tmp_path / "images.npy"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for index, values in enumerate(VALUES):
        Image.fromarray(values).save(tmp_path / "images" / f"{index:02}.bmp")
    return tmp_path / "images"


def kept(place: Path) -> list[Path]:
    return sorted((place / "images").iterdir()) if (place / "images").exists() else []


def test_second_opening_decodes_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int, int]] = []
    first = open_dataset(folder, CONFIG, cache_dir=tmp_path / "c", progress=lambda *call: calls.append(call))
    assert calls[-1] == ("preparing images", 80, 80)

    def never(*_: object) -> NoReturn:
        raise AssertionError("decoded again")

    monkeypatch.setattr(source, "decode", never)
    second = open_dataset(folder, CONFIG, cache_dir=tmp_path / "c")
    assert isinstance(second.images, np.memmap)
    assert np.array_equal(first.images, second.images)
    for name in ("sides", "contents"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    for name in ("names", "skipped", "notes", "fingerprint", "label_words"):
        assert getattr(first, name) == getattr(second, name)
    # what does not touch the pixels shares the cache
    assert not open_dataset(folder, DataConfig(size=16, flip="off"), cache_dir=tmp_path / "c").flips
    assert len(kept(tmp_path / "c")) == 1


def test_changed_sources_and_preparations_are_prepared_anew(folder: Path, tmp_path: Path) -> None:
    first = open_dataset(folder, CONFIG, cache_dir=tmp_path / "c")
    os.utime(folder / "00.bmp", ns=(0, 0))
    touched = open_dataset(folder, CONFIG, cache_dir=tmp_path / "c")
    assert touched.fingerprint == first.fingerprint  # of content, not of time
    (folder / "00.bmp").unlink()
    fewer = open_dataset(folder, CONFIG, cache_dir=tmp_path / "c")
    other = open_dataset(folder, DataConfig(size=16, fit="pad"), cache_dir=tmp_path / "c")
    assert len({first.fingerprint, fewer.fingerprint, other.fingerprint}) == 3
    assert len(kept(tmp_path / "c")) == 4  # all of them in use


@pytest.mark.parametrize("file", ["images.bin", "table.npz", "record.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "other"])
def test_damaged_cache_is_built_again(array: Path, tmp_path: Path, file: str, damage: str) -> None:
    open_dataset(array, CONFIG, cache_dir=tmp_path / "c")
    path = kept(tmp_path / "c")[0] / file
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[: len(data) // 2] if damage == "short" else b"[]")
    assert np.array_equal(open_dataset(array, CONFIG, cache_dir=tmp_path / "c").images, VALUES)
    assert len(kept(tmp_path / "c")) == 1


@pytest.mark.parametrize(
    "damage", ['"label_words": [1]', '"names": 1', '"names": []', '"shape": [Infinity]', '"x": ' + "[" * 200_000]
)
def test_a_record_that_says_anything_is_built_again(array: Path, tmp_path: Path, damage: str) -> None:
    open_dataset(array, CONFIG, cache_dir=tmp_path / "c")
    path = kept(tmp_path / "c")[0] / "record.json"
    path.write_text(path.read_text().rstrip().removesuffix("}") + f", {damage}}}")  # the last one of a name counts
    assert len(open_dataset(array, CONFIG, cache_dir=tmp_path / "c").names) == len(VALUES)
    assert damage not in path.read_text()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_interrupted_build_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def interrupt(*_: object) -> NoReturn:
        raise stop

    with pytest.raises(stop):
        open_dataset(folder, CONFIG, cache_dir=tmp_path / "c", progress=interrupt)
    assert kept(tmp_path / "c") == []
    assert threading.active_count() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no locks that tell the living from the dead")
def test_leavings_of_killed_builds_are_removed_and_those_of_running_ones_are_not(array: Path, tmp_path: Path) -> None:
    killed, running = tmp_path / "c" / "images" / ".building-a", tmp_path / "c" / "images" / ".building-b"
    for left in (killed, running):
        left.mkdir(parents=True)
        (left / "images.bin").write_bytes(b"x")
        os.utime(left, (1, 1))
    with being_written(running):
        open_dataset(array, CONFIG, cache_dir=tmp_path / "c")
    assert not killed.exists()
    assert running.exists()


def test_full_disk_is_seen_before_anything_is_written(array: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 1000))
    with pytest.raises(VaeganError, match=r"Not enough disk space.*MB are needed in .*VAEGAN_CACHE") as caught:
        open_dataset(array, CONFIG, cache_dir=tmp_path / "c")
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert kept(tmp_path / "c") == []


def test_disk_that_fills_while_writing(array: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CacheWriter, "add", full)
    with pytest.raises(VaeganError, match="Not enough disk space"):
        open_dataset(array, CONFIG, cache_dir=tmp_path / "c")
    assert kept(tmp_path / "c") == []


def test_cache_that_cannot_be_written_says_what_to_do(array: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VaeganError, match="VAEGAN_CACHE"):
        open_dataset(array, CONFIG, cache_dir=tmp_path / "file")


@pytest.mark.heavy
def test_builders_at_once_leave_one_whole_cache(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from vaegan.data import *; d = open_dataset(sys.argv[1], DataConfig(size=16)); "
        "print(d.fingerprint, int(d.images.sum()))"
    )
    environment = {**os.environ, "VAEGAN_CACHE": str(tmp_path / "c"), "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = {process.communicate()[0] for process in running}
    assert len(said) == 1
    assert str(VALUES.sum()) in said.pop()
    assert len(kept(tmp_path / "c")) == 1


def test_losing_builder_uses_the_winners_work(array: Path, tmp_path: Path) -> None:
    def other_finishes_first(_what: str, _done: int, _total: int) -> None:
        open_dataset(array, CONFIG, cache_dir=tmp_path / "c")

    dataset = open_dataset(array, CONFIG, cache_dir=tmp_path / "c", progress=other_finishes_first)
    assert np.array_equal(dataset.images, VALUES)
    assert len(kept(tmp_path / "c")) == 1


def test_default_place_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("VAEGAN_CACHE")
    monkeypatch.setattr(caching.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "vaegan"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert default_cache_dir() == tmp_path / ".cache" / "vaegan"
    monkeypatch.setattr(caching.sys, "platform", "darwin")
    assert default_cache_dir() == tmp_path / "Library" / "Caches" / "vaegan"


def test_a_few_images_can_be_looked_at_but_not_trained_on(folder: Path, tmp_path: Path) -> None:
    for path in sorted(folder.iterdir())[5:]:
        path.unlink()
    few = open_dataset(folder, CONFIG, cache_dir=tmp_path / "c", for_training=False)
    assert np.array_equal(few.images, VALUES[:5])
    # Neither the finished cache nor a fresh one makes them enough.
    for place in ("c", "d"):
        with pytest.raises(DataError, match="only 5 usable"):
            open_dataset(folder, CONFIG, cache_dir=tmp_path / place)
    for path in folder.iterdir():
        path.write_text("no image")
    with pytest.raises(DataError, match=r"no usable image\. 5 files were skipped"):
        open_dataset(folder, CONFIG, cache_dir=tmp_path / "c", for_training=False)


USES = """
import sys
from vaegan.data import DataConfig, open_dataset
dataset = open_dataset(sys.argv[1], DataConfig(size=16))
print("opened", flush=True)
sys.stdin.readline()
print(int(dataset.images.sum()))
"""


def opened_by_another_process(place: Path) -> None:
    subprocess.run([sys.executable, "-c", USES, str(place)], input="\n", text=True, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.heavy
def test_a_folder_that_changes_every_day_does_not_fill_the_disk(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "c"))
    opened_by_another_process(folder)
    (before,) = kept(tmp_path / "c")
    Image.fromarray(VALUES[0]).save(folder / "new.bmp")
    assert len(open_dataset(folder, CONFIG)) == 81
    assert len(kept(tmp_path / "c")) == 1
    assert not before.exists()


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform == "win32", reason="no shared locks")
def test_what_was_not_used_longest_goes_and_what_is_in_use_stays(
    array: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "c"))
    others = {name: tmp_path / f"{name}.npy" for name in ("b", "c", "d")}
    for index, path in enumerate(others.values()):
        np.save(path, VALUES[::-1] - np.uint8(index))
    command = [sys.executable, "-c", USES, str(array)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "opened\n"
        opened_by_another_process(others["b"])
        for age, path in enumerate(sorted((tmp_path / "c/images").iterdir())):
            os.utime(path / caching.ABOUT, (age, age))  # long ago, whoever is using it
        monkeypatch.setenv("VAEGAN_CACHE_LIMIT", "0.00014")  # two sets of 80 images
        open_dataset(others["c"], CONFIG)
        main(["cache", "--json"])
        facts = json.loads(capsys.readouterr().out)
        assert [Path(entry["about"].split(" of ")[1].split(",")[0]).name for entry in facts["entries"]] == ["c.npy", "images.npy"]
        assert facts["limit"] == 140_000
        main(["cache"])
        said = capsys.readouterr().out
        assert "80 images of" in said
        assert said.count("\n") == 3
        main(["cache", "--clear"])  # the two are in use, one by this process
        assert "0.0 MB removed" in capsys.readouterr().out
        out, _ = user.communicate("\n")
        assert out == f"{VALUES.sum()}\n"
    main(["cache", "--clear"])
    assert "0.1 MB removed" in capsys.readouterr().out
    assert len(kept(tmp_path / "c")) == 1


@pytest.mark.parametrize("limit", ["ten", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE_LIMIT", limit)
    with pytest.raises(RequestError, match="VAEGAN_CACHE_LIMIT"):
        caching.cache_limit()


def test_a_cache_cut_short_under_a_running_training_is_a_sentence(array: Path, tmp_path: Path) -> None:
    """Without the check reading on would kill this very process by SIGBUS."""
    dataset = open_dataset(array, CONFIG, cache_dir=tmp_path / "c")
    batches = TrainingBatches(dataset, batch_size=8, seed=0)
    before = batches.at(0).images
    os.truncate(kept(tmp_path / "c")[0] / "images.bin", 100)
    for read in (lambda: batches.at(0), lambda: dataset.load([79]), lambda: dataset.part(dataset.indices(TRAIN))):
        with pytest.raises(VaeganError, match="cut short"):
            read()
    healed = open_dataset(array, CONFIG, cache_dir=tmp_path / "c")
    assert TrainingBatches(healed, batch_size=8, seed=0).at(0).images.equal(before)
    shutil.rmtree(tmp_path / "c")  # what is removed is still mapped
    assert TrainingBatches(healed, batch_size=8, seed=0).at(0).images.equal(before)
