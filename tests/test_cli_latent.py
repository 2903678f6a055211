"""The latent commands as a person types them: what they print, leave behind and refuse."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vaegan import load, pictures
from vaegan.cli import main
from vaegan.commands.shared import check_picture
from vaegan.config import DataConfig, NetworkConfig
from vaegan.data import load_images, to_uint8
from vaegan.errors import RequestError
from vaegan.latent.stored import FILE, load_directions
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks

OPTIONS = [
    *("--size", "16", "--network.width", "4", "--network.width-limit", "8", "--network.latent-dim", "4"),
    *("--vae.batch-size", "8", "--precision", "float32"),
]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    generator = np.random.default_rng(0)
    for folder, level in (("light", 160), ("dark", 20), ("few", 90)):
        Path(folder).mkdir()
        for index in range(3 if folder == "few" else 12):
            Image.fromarray(generator.integers(level, level + 80, (16, 16, 3), np.uint8)).save(f"{folder}/{index}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        main(["train", "faces:96", *OPTIONS, "--recipe", "vae", "--images", "320", "--out", str(path)])
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> str:
    import shutil

    shutil.copytree(trained, tmp_path / "run")
    return "run"


@pytest.fixture
def gan() -> str:
    """A GAN trained from scratch: no encoder."""
    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=4)
    config = ModelConfig(size=16, channels=3, stage="gan", network=network, has_encoder=False)
    Model(config, Networks(config)).save_pretrained("gan")
    return "gan"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """Runs a command and returns its JSON."""
    capsys.readouterr()
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that must fail with one line and exit code 2, and returns that line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    captured = capsys.readouterr()
    assert exit.value.code == 2, captured.err
    assert captured.err.startswith("vaegan: ")
    assert captured.err.count("\n") == 1
    return captured.err


def size_of(path: str) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_vary_draws_a_row_an_image(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["vary", run, "light/1.png", "dark/1.png", "-n", "3", "--seed", "5"]
    near, far = (told(capsys, *arguments, "--strength", strength) for strength in ("0.1", "2"))
    assert size_of("variations.png") == (2 + 5 * 66, 2 + 2 * 66)
    for name in ("light/1.png", "dark/1.png"):
        assert 0 < near["mean_change"][name] < far["mean_change"][name]
    main([*arguments, "--out", "a.png"])
    main([*arguments, "--out", "b.png"])
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert "3 variations" in capsys.readouterr().out


@pytest.mark.parametrize(("suffix", "frames"), [(".png", 1), (".gif", 5), (".webp", 5)])
def test_interpolate_writes_strips_and_animations(run: str, capsys: pytest.CaptureFixture[str], suffix: str, frames: int) -> None:
    facts = told(capsys, "interpolate", run, "light/1.png", "dark/1.png", "--steps", "5", "--out", f"way{suffix}")
    assert (facts["path"], facts["steps"]) == ("linear", 5)
    with Image.open(f"way{suffix}") as picture:
        assert getattr(picture, "n_frames", 1) == frames
        assert picture.size == ((2 + 5 * 66, 68) if suffix == ".png" else (256, 256))


def test_interpolate_between_seeds_needs_no_encoder(gan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "interpolate", gan, "--seeds", "3", "7", "--steps", "4")["path"] == "spherical"
    main(["sample", gan, "-n", "1", "--seed", "7", "--out", "seven.png"])
    with Image.open("interpolation.png") as strip, Image.open("seven.png") as last:
        ends = np.asarray(strip)[2:66, -66:-2], np.asarray(last)[2:66, 2:66]
    assert np.abs(ends[0].astype(int) - ends[1]).max() <= 1
    assert "--seeds 3 7" in refused(capsys, "interpolate", gan, "light/1.png", "dark/1.png")


def test_morph_is_a_loop(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    facts = told(capsys, "morph", run, "few", "--steps", "4")
    assert (facts["stops"], facts["frames"]) == (3, 12)
    with Image.open("morph.gif") as picture:
        assert (picture.n_frames, picture.info["loop"]) == (12, 0)
    assert told(capsys, "morph", run, "--seeds", "1", "2", "--out", "m.png", "--steps", "3")["frames"] == 6


def test_similar_finds_the_image_itself(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "similar", run, "light/4.png", "--in", "light", "-n", "3")["nearest"]["light/4.png"]
    assert found[0] == {"name": "4.png", "distance": pytest.approx(0, abs=1e-3)}
    assert [one["distance"] for one in found] == sorted(one["distance"] for one in found)
    assert size_of("similar.png") == (2 + 4 * 66, 68)


def test_a_direction_is_learned_kept_and_used(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    facts = told(capsys, "direction", run, "--name", "light", "--positive", "light", "--negative", "dark")
    assert facts["directions"]["light"]["auc"] > 0.9
    assert (Path(run) / "vae/model" / FILE).is_file()
    assert size_of("direction-light.png") == (2 + 6 * 66, 2 + 8 * 66)
    main(["direction", run, "--name", "smile", "--label", "smiling", "--method", "whitened", "--beside", "light"])
    assert "AUC" in capsys.readouterr().out
    assert abs(told(capsys, "direction", run, "--list")["directions"]["smile"]["moves"]["light"]) < 1e-5
    main(["direction", run, "--principal", "2"])
    assert "2 directions" in capsys.readouterr().out
    assert list(told(capsys, "direction", run, "--list")["directions"]) == ["light", "principal-1", "principal-2", "smile"]

    told(capsys, "edit", run, "dark", "--direction", "light=2", "--out", "edited")
    told(capsys, "edit", run, "dark", "--direction", "light", "--strength", "-2", "--direction", "smile=0", "--out", "darker")
    model, config = Model.from_pretrained("run/vae/model"), DataConfig(size=16, channels="3")
    latent = model.encode(load_images([Path("dark/3.png")], config))
    vector = load_directions("run/vae/model", model)["light"].vector
    for folder, strength in (("edited", 2), ("darker", -2)):
        assert len(list(Path(folder).iterdir())) == 12
        with Image.open(f"{folder}/3.png") as picture:
            difference = np.asarray(picture).astype(int) - to_uint8(model.decode(latent + strength * vector))[0]
        assert np.abs(difference).max() <= 1
    facts = told(capsys, "edit", run, "dark/1.png", "dark/2.png", "--direction", "light=1", "--direction", "smile=-0.5")
    assert facts["directions"] == {"light": 1.0, "smile": -0.5}
    assert size_of("edited.png") == (2 + 2 * 66, 2 + 3 * 66)
    assert "no direction 'hat'; there are: light" in refused(capsys, "edit", run, "dark", "--direction", "hat=1")
    assert refused(capsys, "edit", run, "dark", "--direction", "lihgt=1").endswith("Did you mean light?\n")


def test_each_direction_has_its_own_picture(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("bright", "very bright"):
        main(["direction", run, "--name", name, "--positive", "light", "--negative", "dark"])
    main(["direction", run, "--principal", "2"])
    printed = capsys.readouterr().out
    for out in ("direction-bright.png", "direction-very-bright.png", "direction-principal.png"):
        assert Path(out).is_file()
        assert out in printed


def test_what_is_printed_of_a_direction_can_be_typed(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(run).rename("my run")
    main(["direction", "my run", "--label", "mouth open", "--stage", "vae"])
    said = capsys.readouterr().out
    assert "Try it: vaegan edit 'my run' IMAGES --stage vae --direction 'mouth open=1.5'\n" in said
    facts = told(capsys, "direction", "my run", "--label", "mouth-open")
    assert list(facts["directions"]) == ["mouth open"]  # the same one again
    assert "mouth_open" not in facts["directions"]["mouth open"]["kept"]
    assert told(capsys, "edit", "my run", "dark", "--direction", "mouth_open=1.5")["directions"] == {"mouth open": 1.5}
    main(["direction", "my run", "--name", "light", "--positive", "light", "--negative", "dark", "--beside", "mouth-open"])
    assert told(capsys, "direction", "my run", "--list")["directions"]["light"]["beside"] == ["mouth open"]


def test_a_direction_that_separates_nothing_is_no_success(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    for half in ("first", "second"):
        Path(half).mkdir()
    for index in range(12):
        image = f"{index}.png"
        Path("light", image).rename(Path("first" if index % 2 else "second", f"light-{image}"))
        Path("dark", image).rename(Path("first" if index % 2 else "second", f"dark-{image}"))
    main(["direction", run, "--name", "luck", "--positive", "first", "--negative", "second"])
    said = capsys.readouterr().out
    assert "\nluck is weak: " in said
    assert "0.5 is chance" in said
    main(["direction", run, "--list"])
    assert ", weak" in capsys.readouterr().out


def test_directions_of_a_gan_without_encoder(gan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(told(capsys, "direction", gan, "--principal", "3")["directions"]) == 3
    folders = ["--positive", "light", "--negative", "dark"]
    assert "--principal 10" in refused(capsys, "direction", gan, "--name", "light", *folders)
    assert "leave --data out" in refused(capsys, "direction", gan, "--principal", "3", "--data", "light")
    commands = (
        "vary light",
        "similar light/1.png --in dark",
        "encode light",
        "outliers light",
        "duplicates light",
        "morph light",
    )
    for command in (*commands, "edit light --direction principal-1"):
        name, *rest = command.split()
        assert "no encoder" in refused(capsys, name, gan, *rest)


def test_outliers_are_calibrated_on_held_out_images(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    facts = told(capsys, "outliers", run, "light", "-n", "5")
    assert facts["outliers"] == 0  # noise is no face, but so few held-out faces cannot prove it at 1 %
    assert facts["reference"] < 20
    assert all(one["share"] == 1 / (facts["reference"] + 1) or one["share"] > 0 for one in facts["ranking"])
    assert size_of("outliers.png") == (2 + 5 * 66, 2 + 2 * 66)
    own = told(capsys, "outliers", run, "light", "--reference", "light", "--level", "0.2")
    scores = [one["score"] for one in own["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert own["outliers"] == 1
    main(["outliers", run, "light", "--reference", "light", "--level", "0.2"])
    lines = capsys.readouterr().out.split("examining images  12 of 12\n")[-1].splitlines()
    assert "no more than chance would give (about 2.4)" in lines[0]
    assert lines[0].endswith(" 12: outliers.png")
    first = own["ranking"][0]
    assert lines[1] == f"  {first['name']}: explained {first['score']:.1f} deviations {first['reason']}"
    assert lines[-1] == "  the full ranking: --json"
    main(["outliers", run, "dark", "--reference", "light", "--level", "0.1"])
    assert "12 of 12 images are as strange" in (said := capsys.readouterr().out)
    assert ", more than chance would give (about 1.2)" in said
    main(["outliers", run, "light", "--reference", "dark", "--level", "0.1"])
    assert "explained" not in capsys.readouterr().out  # all of them better than ordinary ones


def test_duplicates_are_grouped(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["duplicates", run, "light"])
    assert "0 of 12 images are nearly the same as another." in capsys.readouterr().out
    assert not Path("duplicates.png").exists()
    Path("light/copy.png").write_bytes(Path("light/3.png").read_bytes())
    groups = told(capsys, "duplicates", run, "light")["groups"]
    assert groups == [{"names": ["3.png", "copy.png"], "difference": 0.0}]
    assert size_of("duplicates.png") == (2 + 2 * 66, 68)
    for index in range(11):
        Path(f"dark/copy-{index}.png").write_bytes(Path(f"dark/{index}.png").read_bytes())
    main(["duplicates", run, "dark"])
    lines = capsys.readouterr().out.splitlines()[-12:]
    assert lines[0].startswith("22 of 23 images ")
    assert "11 pairs" in lines[0]
    assert lines[0].endswith("duplicates.png")
    assert lines[1] == "  0.png, copy-0.png"
    assert lines[11] == "  and 1 more; all of them: --json"
    Path("light/again.png").write_bytes(Path("light/3.png").read_bytes())
    main(["duplicates", run, "light"])
    assert "3 of 14 images are nearly the same as another: 1 group, " in capsys.readouterr().out


def test_encode_and_decode_are_a_reconstruction(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = "latents.npz"
    assert told(capsys, "encode", run, "few", "--out", out)["images"] == 3
    told(capsys, "decode", run, out, "--out", "back")
    model = Model.from_pretrained("run/vae/model")
    images = load_images([Path(f"few/{index}.png") for index in range(3)], DataConfig(size=16, channels="3"))
    for path, wanted in zip(sorted(Path("back").iterdir()), to_uint8(model.reconstruct(images)), strict=True):
        assert np.abs(np.asarray(Image.open(path)).astype(int) - wanted).max() <= 1
    main(["decode", run, "--text", "0.5, 1, -1, 2"])
    assert size_of("decoded.png") == (68, 68)
    capsys.readouterr()
    main(["encode", run, "faces:70", "--out", out])
    assert "70 latents of 4 numbers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vary", "run"], "Which images"),
        (["vary", "run", "light/1.png", "-n", "0"], "-n 0"),
        (["vary", "run", "light/1.png", "--strength", "nan"], "--strength nan"),
        (["vary", "run", "light/1.png", "--strength", "-1"], "--strength -1"),
        (["vary", "run", "light/1.png", "--out", "x.jpg"], ".png"),
        (["vary", "run", "light/1.png", "--out", "light/1.png"], "none of the images"),
        (["vary", "run", "missing.png"], "missing.png"),
        (["vary", "nowhere", "light/1.png"], "not a run"),
        (["interpolate", "run"], "two images"),
        (["interpolate", "run", "light/1.png"], "two ends"),
        (["interpolate", "run", "light"], "two ends"),
        (["interpolate", "run", "1", "2"], "seeds are given with --seeds: --seeds 1 2"),
        (["morph", "run", "1", "2", "3"], "seeds are given with --seeds: --seeds 1 2 3"),
        (["interpolate", "run", "light/1.png", "light/2.png", "light/3.png"], "morph"),
        (["interpolate", "run", "light/1.png", "light/2.png", "--seeds", "1", "2"], "two images, or two seeds"),
        (["interpolate", "run", "--seeds", "1"], "two ends"),
        (["interpolate", "run", "--seeds", "1", "2", "--steps", "1"], "--steps 1"),
        (["interpolate", "run", "--seeds", "1", "2", "--out", "x.avi"], ".webp"),
        (["morph", "run", "light/1.png"], "no loop"),
        (["morph", "run", "--seeds", "1", "2", "--steps", "2000"], "2,000 frames"),
        (["similar", "run", "light/1.png", "--in", "nothing"], "nothing"),
        (["direction", "run"], "--principal N"),
        (["direction", "run", "--positive", "light", "--name", "x"], "both"),
        (["direction", "run", "--positive", "light", "--negative", "dark"], "--name"),
        (["direction", "run", "--positive", "few", "--negative", "dark", "--name", "x"], "too few: 3"),
        (["direction", "run", "--positive", "light", "--negative", "light", "--name", "x"], "Images in both groups: 12, "),
        (["direction", "run", "--positive", "light", "--negative", "dark", "--name", "a=b"], "cannot name"),
        (["direction", "run", "--positive", "light", "--negative", "dark", "--name", "x", "--beside", "y"], "no direction 'y'"),
        (["direction", "run", "--label", "beauty"], "no label 'beauty'"),
        (["direction", "run", "--label", "hair_colour"], "--label hair_colour="),
        (["direction", "run", "--principal", "0"], "--principal 0"),
        (["edit", "run", "dark"], "Along which direction"),
        (["edit", "run", "dark", "--direction", "smile=much"], "must be a number"),
        (["edit", "run", "dark", "--direction", "smile=nan"], "must be a number"),
        (["edit", "run", "dark", "--direction", "smile=1"], "vaegan direction RUN"),
        (["edit", "run", "dark", "--direction", "smile=1", "--out", "light"], "already exists"),
        (["outliers", "run", "light", "--level", "2"], "--level 2"),
        (["duplicates", "run", "light", "--tolerance", "-1"], "--tolerance -1"),
        (["encode", "run", "light", "--out", "x.csv"], ".parquet"),
        (["decode", "run"], "--text"),
        (["decode", "run", "--text", "1,2,3"], "has 3 numbers, but this model's have 4"),
        (["decode", "run", "--text", "1,2,3,x"], "not a finite number"),
        (["decode", "run", "missing.npz"], "does not exist"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(
    run: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    before = sorted(Path().iterdir())
    assert words in refused(capsys, *arguments)
    assert sorted(Path().iterdir()) == before


def test_directions_from_before_more_training_are_refused(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "direction", run, "--name", "light", "--positive", "light", "--negative", "dark")
    main(["train", "--resume", run, "--images", "640"])
    said = refused(capsys, "edit", run, "dark", "--direction", "light=1")
    assert "made before the model was trained further (light); make them again" in said
    main(["direction", run, "--name", "dark", "--positive", "dark", "--negative", "light"])
    (aside,) = Path("run/vae/model").glob("directions-of-other-weights-*")
    assert f"trained further are now in {aside}." in capsys.readouterr().out
    assert told(capsys, "direction", run, "--name", "dark", "--positive", "dark", "--negative", "light")["put_aside"] is None
    assert list(told(capsys, "direction", run, "--list")["directions"]) == ["dark"]


def test_a_model_without_its_run_does_not_know_its_images(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a run" in refused(capsys, "outliers", "run/vae/model", "light")
    assert told(capsys, "outliers", "run/vae/model", "light", "--reference", "dark")["images"] == 12
    assert "not a run" in refused(capsys, "direction", "run/vae/model", "--label", "smiling")


@pytest.mark.parametrize("out", ["face.png", "./face.png", "sub/../face.png", "link.png"])
def test_an_image_that_is_read_is_never_written_over(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path("face.png").touch()
    Path("link.png").symlink_to("face.png")
    with pytest.raises(RequestError, match="none of the images"):
        check_picture(Path(out), "other.png", tmp_path / "face.png")
    check_picture(Path("new.png"), "other.png", tmp_path / "face.png")


def test_files_may_be_named_by_numbers(run: str) -> None:
    for index in (1, 2):
        Path(f"{index}").write_bytes(Path(f"light/{index}.png").read_bytes())
    main(["interpolate", run, "1", "2"])


def test_an_empty_folder_is_told_without_a_number_that_is_not_needed(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    for arguments in (["similar", run, "light/1.png", "--in", "empty"], ["encode", run, "empty"]):
        said = refused(capsys, *arguments)
        assert "empty holds no files" in said
        assert "64" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["interpolate", "run", "light/1.png", "light/2.png", "--out", "light/2.png"],
        ["morph", "run", "light/1.png", "light/2.png", "--steps", "2", "--out", "light/1.png"],
        ["encode", "run", "data.npz", "--out", "data.npz"],
        ["outliers", "run", "dark", "--reference", "light", "--out", "light/1.png"],
        ["similar", "run", "dark/1.png", "--in", "light", "--out", "light/1.png"],
        ["direction", "run", "--positive", "light", "--negative", "dark", "--name", "x", "--out", "dark/1.png"],
        ["vary", "run", "light", "--out", "light/1.png"],
        ["preview", "light", "--out", "light/1.png"],
    ],
)
def test_no_command_writes_over_what_it_reads(run: str, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    np.savez("data.npz", images=np.zeros((70, 16, 16, 3), np.uint8))
    before = {path: path.read_bytes() for path in Path().rglob("*.[pn][np][gz]")}
    assert "none of the images" in refused(capsys, *arguments)
    assert {path: path.read_bytes() for path in before} == before


def test_files_that_cannot_be_used_are_told(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("light/cut.png").write_bytes(Path("light/1.png").read_bytes()[:100])
    for command in ("encode", "outliers", "duplicates", "reconstruct"):
        main([command, run, "light"])
        assert "Of light 1 file was skipped. cut.png:" in capsys.readouterr().out
    assert told(capsys, "outliers", run, "light")["skipped"] == 1


def test_latents_that_are_no_numbers_are_not_written(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = load(run)
    assert model.networks.encoder is not None
    for weights in model.networks.encoder.parameters():
        weights.data *= 1e30  # finite, so that nothing is wrong with the file
    model.save_pretrained("broken")
    assert "no number" in refused(capsys, "encode", "broken", "light")
    assert not Path("latents.npz").exists()


def test_images_of_one_name_are_edited_into_files_of_their_own(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "direction", run, "--name", "light", "--positive", "light", "--negative", "dark")
    for name, source in (("p/s-00002.png", 1), ("p/s.png", 2), ("q/S.png", 3), ("q/s-00003.png", 4)):
        Path("all", name).parent.mkdir(parents=True, exist_ok=True)
        Path("all", name).write_bytes(Path(f"dark/{source}.png").read_bytes())
    facts = told(capsys, "edit", run, "all", "--direction", "light=1", "--direction", "light=0.5", "--out", "edited")
    assert len({name.casefold() for name in facts["images"].values()}) == len(list(Path("edited").iterdir())) == 4
    assert facts["directions"] == {"light": 1.5}


def test_a_folder_is_whole_or_not_there(run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told(capsys, "direction", run, "--name", "light", "--positive", "light", "--negative", "dark")
    told(capsys, "encode", run, "light")
    written, save_png = [], pictures.save_png

    def fails(*arguments: Any) -> None:
        written.append(arguments)
        if len(written) % 5 == 0:
            raise OSError(28, "No space left on device")
        save_png(*arguments)

    monkeypatch.setattr("vaegan.pictures.save_png", fails)
    for arguments in (["edit", run, "light", "--direction", "light"], ["decode", run, "latents.npz"]):
        with pytest.raises(SystemExit):
            main([*arguments, "--out", "folder"])
        assert not Path("folder").exists()
        assert not list(Path().glob(".*"))


def test_no_latents_and_too_many_are_refused_in_either_form(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("none.npy", np.zeros((0, 4), np.float32))
    for out in ("none.png", "none"):
        assert "number of latents 0" in refused(capsys, "decode", run, "none.npy", "--out", out)
    np.save("many.npy", np.zeros((1_000_001, 4), np.int8))
    for out, most in (("none.png", "10,000"), ("none", "1,000,000")):
        assert f"{most} at most" in refused(capsys, "decode", run, "many.npy", "--out", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["direction", "run", "--name", "x", "--positive", "light", "--negative", "dark", "--data", "few"], "--data goes with"),
        (["direction", "run", "--principal", "2", "--method", "mean"], "--method goes with"),
        (["direction", "run", "--label", "smiling", "--fit", "pad"], "--fit goes with"),
        (["direction", "run", "--principal", "2", "--name", "n" * 64], "cannot name a direction"),
        (["export", "run", "--to", "onnx", "--cdn"], "--to html"),
        (["export", "run", "--to", "html", "--out", "light"], "must be a name that ends in .html"),
        (["outliers", "run", "light", "--reference", "dark/1.png"], "at least 2 are needed"),
    ],
)
def test_options_that_would_not_be_heeded_are_refused(
    run: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in refused(capsys, *arguments)


def test_a_level_that_is_advised_can_flag_something(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["outliers", run, "light", "--reference", "dark", "--level", "0.0004"])
    said = capsys.readouterr().out
    assert "0.04% of 12 ordinary" in said
    level = said.split("--level ")[1].split()[0]
    assert float(level) * 13 >= 1


@pytest.mark.skipif(os.name == "nt", reason="other file names")
def test_files_with_names_that_are_no_text_can_be_interpolated(run: str) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    Path(odd).write_bytes(Path("light/1.png").read_bytes())
    main(["interpolate", run, odd, "light/2.png"])
    with Image.open("interpolation.png") as picture:
        assert picture.info["from"] == r"caf\udce9.png"


def test_a_long_name_can_be_written(run: str) -> None:
    name = f"{'n' * 250}.png"
    main(["sample", run, "-n", "1", "--out", name])
    assert Path(name).is_file()


def test_numbers_of_any_size_in_a_file_of_directions_are_listed(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    from vaegan.latent.stored import Direction, load_directions, save_direction

    model = load(run)
    save_direction("run/vae/model", model, Direction("x", torch.ones(4), {"auc": 10**400}))
    main(["direction", run, "--list"])
    assert "x:" in capsys.readouterr().out
    assert list(load_directions("run/vae/model", model)) == ["x"]
    with pytest.raises(RequestError, match="not all of them 0"):
        save_direction("run/vae/model", model, Direction("nowhere", torch.zeros(4)))


def test_few_images_have_few_directions(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("two").mkdir()
    for index in range(2):
        Path(f"two/{index}.png").write_bytes(Path(f"light/{index}.png").read_bytes())
    facts = told(capsys, "direction", run, "--principal", "4", "--data", "two")
    assert set(told(capsys, "direction", run, "--list")["directions"]) == set(facts["directions"])
    assert 1 <= len(facts["directions"]) < 4
    Path("two/1.png").write_bytes(Path("two/0.png").read_bytes())
    assert "all the same to the model" in refused(capsys, "direction", run, "--principal", "4", "--data", "two")


def test_a_folder_that_stays_is_filled(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("empty").mkdir()
    Path("link").symlink_to("empty")
    main(["sample", run, "-n", "3", "--out", "link"])
    assert Path("link").is_symlink()
    assert len(list(Path("empty").iterdir())) == 3
    Path("here").mkdir()
    monkeypatch.chdir("here")
    main(["sample", f"../{run}", "-n", "3", "--out", "."])
    assert len(list(Path().iterdir())) == 3


def test_tables_may_lie_beside_images(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        told(capsys, "encode", run, "light", "--out", "light/latents.npz")


@pytest.mark.heavy
def test_processes_that_save_directions_wait_for_each_other(run: str) -> None:
    code = (
        "import sys, torch; from vaegan import load; from vaegan.latent.stored import Direction, save_direction\n"
        "model = load('run')\n"
        "for index in range(8): save_direction('run/vae/model', model, Direction(f'{sys.argv[1]}{index}', torch.ones(4)))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    from vaegan.latent.stored import load_directions

    assert len(load_directions("run/vae/model", load(run))) == 16


def test_an_interrupted_command_gives_the_cursor_back(
    run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes anything for a terminal

    def interrupted(model: object, dataset: object, indices: object, progress: Callable[[str, int, int], None]) -> None:
        progress("encoding images", 1, 12)
        raise KeyboardInterrupt

    monkeypatch.setattr("vaegan.latent.samples.encode_images", interrupted)
    with pytest.raises(SystemExit) as exit:
        main(["encode", run, "light"])
    assert exit.value.code == 130
    shown = capsys.readouterr().out
    assert "encoding images" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") > 0
