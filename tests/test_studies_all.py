"""Every study of the catalogue from end to end on tiny images: it tells a story with numbers and leaves its pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaegan.config import NetworkConfig, TrainConfig
from vaegan.data import open_dataset
from vaegan.errors import RequestError
from vaegan.pictures import save_png
from vaegan.studies.catalogue import STUDIES, find_study
from vaegan.studies.likelihood import COUNTS
from vaegan.studies.running import run_study
from vaegan.studies.study import Result, Results, Setting, TrainedArm, arm_folder, slug, tell

QUICK = {"likelihood"}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images of three classes: a bright bar at one of three heights, with noise."""
    random, path = np.random.default_rng(0), tmp_path_factory.mktemp("bars") / "bars.npz"
    labels = random.integers(0, 3, 400)
    images = random.integers(0, 60, (400, 16, 16), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[5 * label : 5 * label + 4] += 150
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture
def config() -> TrainConfig:
    base = TrainConfig()
    return replace(
        base,
        data=replace(base.data, size=16),
        network=NetworkConfig(width=4, width_limit=8, latent_dim=3),
        vae=replace(base.vae, batch_size=8),
        gan=replace(base.gan, batch_size=8),
        device=replace(base.device, precision="float32"),
    )


def arms_of(name: str, data: Path, config: TrainConfig, folder: Path) -> list:
    from vaegan.data import open_dataset

    return list(find_study(name).arms(Setting(open_dataset(data, config.data), config, folder)))


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in STUDIES])
@pytest.mark.heavy
def test_a_study_tells_its_story(name: str, data: Path, config: TrainConfig, tmp_path: Path) -> None:
    each = 170
    units = sum(arm.images for arm in arms_of(name, data, config, tmp_path))
    folder = run_study(find_study(name), data, config, tmp_path / "s", images=round(each * units) + 1, seeds=1)
    assert len(folder.story.sentences) >= 2
    assert any(character.isdigit() for character in folder.story.sentences[0])
    assert "nan" not in " ".join(folder.story.sentences).split()
    assert folder.story.pictures
    for picture in folder.story.pictures:
        path = tmp_path / "s" / picture.name
        assert path.stat().st_size > 200
        if path.suffix != ".svg":
            with Image.open(path) as opened:
                assert min(opened.size) > 16
    facts = json.loads((tmp_path / "s/study.json").read_text())
    assert facts["status"] == "finished"
    assert any(set(find_study(name).columns) & set(result["measurements"][-1]) for result in facts["results"])
    assert folder.story.answer == json.loads(json.dumps(folder.story.answer))


NUMBERS = (
    "seen weights steps modes most of known drawn_error share good divergence classifier error squared_error kl "
    "active_units elbo exact_elbo truth "
    "iwae_5000 gap_1 gap_5000 bits_per_dim bits values variance beta share_of_variance train_error gap distance real_distance "
    "recall coverage sharpness variety psnr latent_bytes jpeg_bytes jpeg_bare pca_error limit spread near_prior near_fitted "
    "unevenness accuracy commonest gradient latent_recovery low_pass_ratio latent_dim"
)


def measured(label: str) -> dict:
    """Everything that any study measures, made up."""
    found = {name: 0.5 + len(label) for name in NUMBERS.split()}
    found |= {"latent_dim": int(label[4:]) if label.startswith("z = ") else 2, "points": [[0.5, 1.0, 1.0], [0.1, 0.2, 0.0]]}
    found |= {"gradients": [[10, 0.5], [20, 0.4]], "accuracies": [[10, 0.5]], "losses": [1.0] * 100, "fallen_at": None}
    return found | {"history": [1], "slopes": [1.0], "iwae": {str(k): -10 + k / 1000 for k in COUNTS}}


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.heavy
def test_a_story_copes_with_arms_that_have_no_numbers(name: str, data: Path, config: TrainConfig, tmp_path: Path) -> None:
    setting = Setting(open_dataset(data, config.data), config, tmp_path)
    arms, study = list(find_study(name).arms(setting)), find_study(name)
    for arm in arms:
        folder = arm_folder(tmp_path, arm.label, 0)
        files = [f"gan/samples/{file}.png" for file in ("000000001", "000000001-reconstructions")]
        for file in [*files, "manifold.png", *(f"{frame:02d}.png" for frame in range(10))]:
            save_png(Image.new("RGB", (20, 20)), folder / file)
    trained = [arm.label for arm in arms if isinstance(arm, TrainedArm)]
    cases = [(), *((label,) for label in trained), tuple(trained), *(set(trained) - {label} for label in trained)]
    for failed in cases:
        failed = {arm.label for arm in arms if arm.label in failed or getattr(arm, "start", None) in failed}
        lost = [Result(label, 0, 64, 1.0, (), "It broke.") for label in failed]
        kept = [Result(arm.label, 0, 64, 1.0, (measured(arm.label),)) for arm in arms if arm.label not in failed]
        story = tell(study, Results(setting, tmp_path, kept), lost)
        assert story.sentences
        assert " nan" not in " ".join(story.sentences)
        assert json.dumps(story.answer).count("NaN") == 0
        assert all((tmp_path / picture.name).is_file() for picture in story.pictures)
        assert failed or any(picture.name.endswith(".gif") for picture in story.pictures)
        assert all(f"{label}, seed 0: It broke." in story.sentences[0] for label in failed)


@pytest.mark.parametrize("name", STUDIES)
def test_arms_have_folders_and_starts_of_their_own(name: str, data: Path, config: TrainConfig, tmp_path: Path) -> None:
    arms = arms_of(name, data, config, tmp_path)
    folders = [slug(arm.label) for arm in arms]
    assert len(set(folders)) == len(folders)
    before: set[str] = set()
    for arm in arms:
        if isinstance(arm, TrainedArm):
            assert arm.start is None or arm.start in before
            assert arm.config.data.size == 16
        before.add(arm.label)


def test_a_study_of_classes_refuses_images_without_them(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "plain.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (100, 16, 16), dtype=np.uint8))
    with pytest.raises(RequestError, match="no classes"):
        run_study(find_study("ae-vs-vae"), path, config, tmp_path / "s", images=1000)
    assert not (tmp_path / "s").exists()


def test_an_unknown_study_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"losses.*--list"):
        find_study("loses")
