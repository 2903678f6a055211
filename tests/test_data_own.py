"""What this program wrote is never data: runs and pictures among a user's images, and what opens by purpose all the same."""

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaegan.api import resume, train
from vaegan.commands.shared import check_picture
from vaegan.config import NetworkConfig, TrainConfig
from vaegan.data import DataConfig, ImageDataset, open_dataset, open_images
from vaegan.data.dataset import find_source
from vaegan.errors import DataError, RequestError
from vaegan.pictures import grid, save_animation, save_png, to_picture
from vaegan.training.run import RunFolder, RunRecord, StagePlan

COUNT = 70
CONFIG = DataConfig(size=16, channels="3")
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A user's own images, which carry another program's name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{index:03}.png", software="GIMP")
    return folder


def write_run(place: Path) -> None:
    """A run's folder with 4 files, as training leaves it."""
    plan = (StagePlan("vae", 64), StagePlan("gan", 64))
    RunFolder(place).write(RunRecord("photos", TrainConfig(), None, plan, None, "f" * 32, None, {}))
    save_png(grid(PIXELS[:9]), place / "vae" / "samples" / "000000064.png")
    Image.fromarray(PIXELS[0]).save(place / "vae" / "bare.png")  # whatever lies in a run is none of the user's images
    (place / "skipped.csv").write_text("name,reason\n")


def write_pictures(folder: Path) -> None:
    """5 pictures as commands leave them."""
    save_png(grid(PIXELS[:9]), folder / "outliers.png", {"seed": "0"})
    frames = [to_picture(pixels) for pixels in PIXELS[:3]]
    save_animation(frames, folder / "way.gif")
    save_animation(frames, folder / "way.webp")
    for index in range(2):
        save_png(to_picture(PIXELS[index]), folder / "edited" / f"{index}.png")


def opened(place: Path, cache: Path, **more: bool) -> ImageDataset:
    return open_dataset(place, CONFIG, cache_dir=cache, **more)


def packed(folder: Path, kind: str) -> Path:
    path = folder.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for one in sorted(folder.rglob("*")):
                file.write(one, one.relative_to(folder.parent))
    else:
        with tarfile.open(path, "w") as tar:
            tar.add(folder, folder.name)
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_runs_and_pictures_among_the_images_change_nothing(photos: Path, tmp_path: Path, kind: str) -> None:
    before = opened(photos, tmp_path / "cache")
    write_run(photos / "runs" / "0001-photos")
    write_pictures(photos)
    (photos / "runs" / "last").symlink_to("0001-photos")
    after = opened(photos if kind == "folder" else packed(photos, kind), tmp_path / "cache")
    assert after.fingerprint == before.fingerprint or kind == "tar"  # a tar is read once: of a run its pictures are known
    assert [Path(name).name for name in after.names if "bare" not in name] == list(before.names)
    if kind != "tar":
        assert after.own_files == 9
        assert not after.skipped
        assert sum("9 files" in note and "vaegan" in note for note in after.notes) == 1


def test_a_run_among_the_images_has_nothing_prepared_anew(photos: Path) -> None:
    before = find_source(photos).identity
    write_run(photos / "runs" / "0001-photos")
    assert find_source(photos).identity == before
    (photos / "new.png").write_bytes((photos / "000.png").read_bytes())
    assert find_source(photos).identity != before


@pytest.mark.parametrize(
    "content", ["{}", '{"name": "vaegan", "versions": {}}', '{"format_version": 1, "name": "another program"}', ""]
)
def test_run_json_of_other_programs_hides_nothing(photos: Path, tmp_path: Path, content: str) -> None:
    (photos / "run.json").write_text(content)
    assert len(opened(photos, tmp_path / "cache")) == COUNT


def test_own_pictures_alone_are_used_by_purpose_but_not_learned_from(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    for index, pixels in enumerate(PIXELS):
        save_png(to_picture(pixels), folder / f"{index:03}.png")
    for _ in range(2):  # prepared, and out of the cache
        with pytest.raises(DataError, match=r"70 files.*its own pictures"):
            opened(folder, tmp_path / "cache")
        assert np.array_equal(opened(folder, tmp_path / "cache", for_training=False).images, PIXELS)
    named = open_images([folder / "000.png", folder / "001.png"], CONFIG)
    assert np.array_equal(named.images, PIXELS[:2])


def test_a_folder_of_runs_alone_is_said_to_be_one(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "0001-photos")
    with pytest.raises(DataError, match=r"4 files.*vaegan|vaegan.*4 files"):
        opened(tmp_path / "runs", tmp_path / "cache")


def test_a_picture_of_ours_may_be_written_again_and_an_image_may_not(photos: Path) -> None:
    write_pictures(photos)
    check_picture(photos / "outliers.png", photos)
    with pytest.raises(RequestError, match="none of the images"):
        check_picture(photos / "000.png", photos)


@pytest.mark.heavy
def test_a_training_in_the_folder_of_images_goes_on_there_and_begins_anew(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    network = NetworkConfig(latent_dim=4, width=4, width_limit=8, blocks=0)
    config = TrainConfig(recipe="vae", data=CONFIG, network=network)
    run = train(".", config, images=64)
    write_pictures(photos)
    assert resume(run.path, images=128).read().facts["vae"]["images"] == 128
    again = train(".", config, images=64).read()
    assert again.fingerprint == run.read().fingerprint
    assert again.facts["data"]["images"] == COUNT


def test_own_pictures_neither_decide_the_range_of_values_nor_are_changed_by_it(tmp_path: Path) -> None:
    masks = PIXELS[..., 0] // 128
    (tmp_path / "masks").mkdir()
    for index, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / "masks" / f"{index:03}.png")
    write_pictures(tmp_path / "masks")
    found = open_dataset(tmp_path / "masks", DataConfig(size=16), cache_dir=tmp_path / "cache")
    assert (len(found), found.own_files) == (COUNT, 5)
    assert np.array_equal(found.images[..., 0], 255 * masks)
    named = open_images([tmp_path / "masks" / "edited" / "0.png"], DataConfig(size=16, channels="3", levels=found.levels))
    assert np.array_equal(named.images[0], PIXELS[0])
