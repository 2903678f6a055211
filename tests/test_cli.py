"""The commands as a person types them: what they print, leave behind and refuse."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaegan
import vaegan.commands
from vaegan.cli import COMMANDS, main
from vaegan.commands.train import print_finished
from vaegan.console import Console
from vaegan.training.run import FORMAT_VERSION, RunFolder

OPTIONS = [
    *("--size", "16", "--network.width", "8", "--network.width-limit", "16", "--network.latent-dim", "4"),
    *("--vae.batch-size", "8", "--gan.batch-size", "8", "--precision", "float32"),
]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        main(["train", "faces:96", *OPTIONS, "--images", "160", "--out", str(path)])
    return path


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Runs a command that must fail with one line, and returns that line."""
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    captured = capsys.readouterr()
    assert exit.value.code == code, captured.err
    assert captured.err.startswith("vaegan: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def test_help_needs_no_torch() -> None:
    for arguments in (["--help"], ["train", "--help"], ["sample", "--help"], ["study", "--help"]):
        code = (
            "import sys; from vaegan.cli import main\n"
            f"try: main({arguments!r})\nexcept SystemExit: pass\n"
            "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL', 'lightning_fabric', 'rich', 'asyncio')))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
        assert "usage: vaegan" in done.stdout


def printed_by(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "vaegan", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_short_help_leaves_out_the_settings_that_have_a_prefix_and_says_where_they_are() -> None:
    short, whole = printed_by("train", "--help"), printed_by("train", "--help-all")
    assert "--minutes FLOAT" in short
    assert "--size SIZE" in short  # inside a dataclass of its own, without a prefix
    assert "--gan.penalty" not in short.replace("--gan.*", "")
    assert "vaegan train --help-all" in short
    for option in ("--minutes FLOAT", "--gan.penalty FLOAT", "--network.width INT"):
        assert option in whole
    assert len(short.splitlines()) < len(whole.splitlines()) / 3
    assert printed_by("sample", "--help-all") == printed_by("sample", "--help")


def test_help_shows_no_default_of_nothing_and_one_paragraph_an_option() -> None:
    shown = printed_by("sample", "--help")
    assert "None" not in shown
    assert "--sampler {mixture,prior}" in shown
    assert "(default: 1.0)" in shown
    text = " ".join(shown.split())
    assert "from a mixture of Gaussians fitted to the encoded" in text
    first = next(line for line in shown.splitlines() if "mixture: latents from" in line)
    assert len(first.rstrip()) > 65  # lines are full, wherever the source breaks them


@pytest.mark.parametrize("command", [("sample",), ("vary", "a.png"), ("similar", "a.png", "--in", "faces"), ("evaluate",)])
def test_a_wrong_number_is_refused_before_torch_is_imported(command: tuple[str, ...]) -> None:
    code = (
        "import sys; from vaegan.cli import main\n"
        f"try: main({[command[0], 'run', *command[1:], '-n', '0']!r})\nexcept SystemExit as end: told = end.code\n"
        "sys.exit(0 if told == 2 and not {'torch', 'numpy', 'PIL'} & set(sys.modules) else 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("vaegan: -n 0 is not possible; give ")


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "run", "--seed", "99999999999999999999999"),
        ("sample", "run", "--seed=-1"),
        ("vary", "run", "a.png", "--seed", str(2**63)),
        ("train", "faces:96", "--seed", str(2**63)),
        ("interpolate", "run", "--seeds", "1", str(2**63)),
        ("morph", "run", "--seeds", "1", "-2"),
    ],
)
def test_a_seed_that_torch_does_not_take_is_one_line(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not possible; give 0 to 9223372036854775807." in refused(capsys, 2, *command)
    assert not Path("runs").exists()


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    printed = capsys.readouterr().out
    folder = Path(vaegan.commands.__path__[0])
    shared = {"__init__", "options", "shared"}
    assert {module for *_, module in COMMANDS.values()} == {path.stem for path in folder.glob("*.py")} - shared
    for name, (given, does, *_) in COMMANDS.items():
        assert f"  {name} {given}" in printed
        assert does in printed


def test_few_heldout_images_do_not_say_whether_the_gan_gives_images_back(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inverse = RunFolder(run).read().facts["gan"]["inverse"]  # of 96 images a few are held out
    words = inverse["own_source_nearest"]
    assert re.fullmatch(r"needs 20 held-out images, and there (is 1|are \d+)", words)
    print_finished(RunFolder(run), Console(), as_json=False)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Encoding: " in printed
    assert f" {words}; " in printed
    main(["info", str(run)])
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_gan_of_few_images_is_no_success_and_how_long_one_takes_is_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    record = json.loads((copy / "run.json").read_text())
    record["facts"]["vae"] |= {"mean_speed": 400.0}
    for images, words in (
        (700, "few images, 700: expect grain. It takes some 20,000, which is about --minutes 5 here"),
        (10_000, ""),
    ):
        record["facts"]["gan"] |= {"images": images, "mean_speed": 50.0, "measured_speed": 100.0}
        (copy / "run.json").write_text(json.dumps(record))
        print_finished(RunFolder(copy), Console(), as_json=False)
        printed = " ".join(capsys.readouterr().out.split())
        assert words in printed
        assert ("few images" in printed) == bool(words)


def test_what_comes_next_is_what_the_model_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "faces:96", *OPTIONS, "--images", "16", "--recipe", "gan", "--condition", "hat"])
    printed = capsys.readouterr().out
    assert "--out samples.png   [--label NAME]" in printed
    assert "vaegan reconstruct" not in printed  # it has no encoder
    main(["train", "faces:96", *OPTIONS, "--images", "16", "--recipe", "vae", "--condition", "hat"])
    assert re.search(r"vaegan reconstruct \S+ IMAGE --label NAME\n", capsys.readouterr().out)


def test_train_says_what_it_made_and_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "faces:96", *OPTIONS, "--images", "64"])
    printed = capsys.readouterr().out
    assert "runs/0001-faces-96" in printed
    assert "vaegan sample" in printed
    assert Path("runs/last/run.json").exists()
    main(["train", "faces:96", *OPTIONS, "--images", "16", "--recipe", "vae", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["run"] == "runs/0002-faces-96"
    assert facts["facts"]["vae"]["images"] == 16
    assert Path("runs/last").resolve().name == "0002-faces-96"


def test_suggested_commands_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "faces:96", *OPTIONS, "--images", "16", "--out", "my run"])
    assert "vaegan sample 'my run' -n 64" in capsys.readouterr().out
    assert "--resume 'my run'" in refused(capsys, 2, "train", "faces:96", "--out", "my run")


def test_train_counts_what_it_skips(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    for index in range(70):
        Image.new("RGB", (20, 16), (index, 3 * index, 255 - index)).save(f"photos/{index}.png")
    Path("photos/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    Path("photos/notes.txt").write_text("no image")
    main(["train", "photos", *OPTIONS, "--images", "16", "--out", "run"])
    assert "2 of 72 files were skipped; why: run/skipped.csv" in capsys.readouterr().out
    assert "broken.jpg" in Path("run/skipped.csv").read_text()


def test_sample_is_repeatable_and_says_its_seed(run: Path) -> None:
    main(["sample", str(run), "-n", "5", "--seed", "7", "--out", "folder"])
    main(["sample", str(run), "-n", "9", "--seed", "7", "--out", "again"])
    main(["sample", str(run), "-n", "5", "--seed", "8", "--out", "other"])
    names = [path.name for path in sorted(Path("folder").iterdir())]
    assert names == [f"{index:05d}.png" for index in range(5)]
    for name in names:
        first, again, other = (Image.open(Path(folder) / name) for folder in ("folder", "again", "other"))
        assert first.info["seed"] == "7"
        assert first.size == (16, 16)
        assert np.array_equal(np.asarray(first), np.asarray(again))
        assert not np.array_equal(np.asarray(first), np.asarray(other))


def test_sample_at_another_temperature(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sample", str(run), "-n", "2", "--out", "usual"])
    capsys.readouterr()
    main(["sample", str(run), "-n", "2", "--temperature", "0.5", "--out", "narrow", "--json"])
    assert json.loads(capsys.readouterr().out)["temperature"] == 0.5
    with Image.open("usual/00000.png") as usual, Image.open("narrow/00000.png") as narrow:
        assert narrow.info["temperature"] == "0.5"
        assert not np.array_equal(np.asarray(usual), np.asarray(narrow))
    with pytest.raises(SystemExit) as caught:
        main(["sample", str(run), "--temperature", "0", "--out", "none"])
    assert caught.value.code == 2
    assert not Path("none").exists()


def test_sample_draws_one_grid_into_a_png(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            "sample",
            str(run),
            "-n",
            "6",
            "--out",
            "grid.png",
            "--stage",
            "vae",
            "--sampler",
            "mixture",
            "--observation-noise",
            "--json",
        ]
    )
    facts = json.loads(capsys.readouterr().out)
    assert facts["stage"] == "vae"
    with Image.open("grid.png") as picture:
        assert picture.size == (2 + 3 * 66, 2 + 2 * 66)


def test_sample_says_what_it_draws_from(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted, drawn = "Drawn from the mixture fitted to the encoded training images", {}
    shutil.copytree(run, "unfitted")
    model = vaegan.Model.from_pretrained("unfitted/vae/model")
    assert model.networks.mixture is not None
    model.networks.mixture.weights.zero_()
    model.save_pretrained("unfitted/vae/model")
    for name, arguments, said in (
        ("mixture", [str(run), "--stage", "vae"], f"{fitted}; --sampler prior draws from N(0, I)."),
        ("prior", [str(run), "--stage", "vae", "--sampler", "prior"], "Drawn from N(0, I)."),
        ("none", ["unfitted", "--stage", "vae"], "Drawn from N(0, I): the mixture is fitted when the stage is finished."),
        ("gan", [str(run)], f"{fitted}."),
    ):
        main(["sample", *arguments, "-n", "2", "--out", f"{name}.png"])
        assert capsys.readouterr().out.splitlines()[1] == said
        with Image.open(f"{name}.png") as picture:
            drawn[name] = picture.tobytes()
            assert picture.info["sampler"] == ("mixture" if name == "mixture" else "prior")
    assert drawn["mixture"] != drawn["prior"] == drawn["none"]
    assert "no fitted mixture yet" in refused(capsys, 2, "sample", "unfitted", "--stage", "vae", "--sampler", "mixture")


def test_reconstruct_shows_originals_above(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 20), (250, 10, 10)).save("red.png")
    Image.new("L", (16, 16), 128).save("grey.png")
    main(["reconstruct", str(run), "red.png", "grey.png", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert set(facts["mean_squared_error"]) == {"red.png", "grey.png"}
    with Image.open("reconstructions.png") as picture:
        assert picture.size == (2 + 2 * 66, 2 + 2 * 66)
        assert picture.convert("RGB").getpixel((34, 34)) == (250, 10, 10)
        assert picture.convert("RGB").getpixel((100, 34)) == (128, 128, 128)


def test_reconstruct_takes_the_first_images_of_a_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("many").mkdir()
    for index in range(20):
        Image.new("RGB", (16, 16), (10 * index, 10, 10)).save(f"many/{index:02d}.png")
    main(["reconstruct", str(run), "many", "-n", "18", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert list(facts["mean_squared_error"]) == [f"{index:02d}.png" for index in range(18)]
    with Image.open("reconstructions.png") as picture:  # originals 16, below them the model's; then the other two so
        assert picture.size == (2 + 16 * 66, 2 + 4 * 66)
        shown = picture.convert("RGB")
        assert [shown.getpixel((34 + 66 * column, 34 + 66 * row))[0] for column, row in ((15, 0), (1, 2))] == [150, 170]
    main(["reconstruct", str(run), "many", "-n", "18"])
    assert "The first 18 of 20 images." in capsys.readouterr().out
    assert "-n 0 is not possible" in refused(capsys, 2, "reconstruct", str(run), "many", "-n", "0")


def test_info_knows_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", str(run), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["run"]["status"] == "finished"
    assert (facts["vae"]["images"], facts["gan"]["images"]) == (136, 24)  # of a short run the VAE gets most
    # 12 maps of 8x8 to 12 by 5x5, 8 to 12 by 3x3, one transposed convolution 16 -> 8 on 4x4, two of 8 by 3x3 behind it, a
    # linear layer 4 -> 16 * 16.
    wanted = 25 * 12 * 12 * 64 + 9 * 8 * 12 * 64 + 16 * 8 * 16 * 16 + 2 * 9 * 8 * 8 * 64 + 4 * 256
    assert facts["networks"]["decoder"]["multiply_adds"] == wanted
    main(["info", str(run)])
    printed = capsys.readouterr().out
    assert "finished" in printed
    for words in (
        "KL divergence: ",
        "reconstructing real images",
        "0.5 is guessing",
    ):
        assert words in " ".join(printed.split())
    for key in ("generator equals", "prior gap", "of last", "heldout", "_", "started from", "notes"):
        assert key not in printed.replace(str(run), "")


def test_info_says_in_words_that_a_stage_ended_sooner(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, copy := tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    steps = [(7328, 6528), (6528, 5888), (9000, 8000)]  # extended after the second
    record["facts"]["vae"]["brought_forward"] = [{"after": 1, "from": before, "to": after} for before, after in steps]
    record["facts"]["vae"]["best"] = {"images": 5888, "heldout_loss": -5.0, "of_last_model": -5.0}
    (copy / "run.json").write_text(json.dumps(record))
    main(["info", str(copy)])
    printed = " ".join(capsys.readouterr().out.split())
    assert "to 5,888 instead of 7,328 images" in printed
    assert "the machine became slower" in printed
    assert "to 8,000 instead of 9,000 images" in printed
    assert "{" not in printed
    assert "best model while training" in printed
    assert "finished model, on held-out images" in printed


def test_the_run_is_named_that_the_newest_is_now(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").mkdir()
    shutil.copytree(run, "runs/0001-faces")
    Path("runs/last").symlink_to("0001-faces")
    main(["info", "runs/last", "--json"])
    assert json.loads(capsys.readouterr().out)["run"]["path"] == "runs/0001-faces"
    main(["report", "runs/last"])
    assert "runs/last" not in capsys.readouterr().out
    page = Path("runs/0001-faces/report.html").read_text()
    assert "vaegan info runs/0001-faces --json" in page
    assert "runs/last" not in page
    main(["train", "faces:96", *OPTIONS, "--images", "16", "--recipe", "vae", "--init", "runs/last"])
    assert json.loads(Path("runs/last/run.json").read_text())["init"] == str(Path("runs/0001-faces").absolute())


def test_preview_writes_a_sheet_and_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["preview", "faces:96", "--size", "16"])
    printed = capsys.readouterr().out
    assert "preview.png" in printed
    assert "4 minutes" in printed
    assert not Path("runs").exists()
    with Image.open("preview.png") as sheet:
        assert min(sheet.size) > 100


def test_preview_shortens_what_it_says_of_labels(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaegan.describe.measure_speed", lambda *arguments: {"vae": 100.0, "gan": 40.0})
    for name in range(30):
        Path(f"photos/kind{name:02d}").mkdir(parents=True)
        for index in range(8 if name == 20 else 3):
            Image.new("RGB", (20, 20), (8 * name, 9 * index, 7)).save(f"photos/kind{name:02d}/{index}.png")
    main(["preview", "photos", "--size", "16"])
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if line.startswith("label class")]
    assert row.split(maxsplit=2)[2].strip() == "kind20 8, kind00 3, kind01 3, kind02 3, and 26 more"
    main(["preview", "faces:96", "--size", "16"])
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if "label" in line]
    assert len(rows) == 9
    assert any(row.startswith("label mouth_open ") for row in rows)  # as --label takes it
    assert max(map(len, rows)) < 100


def test_few_distinct_images_are_warned_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaegan.describe.measure_speed", lambda *arguments: {"vae": 100.0, "gan": 40.0})
    for folder, distinct in (("copies", 3), ("different", 210)):
        Path(folder).mkdir()
        for index in range(210):
            Image.new("RGB", (20, 20), (index % distinct, 9, 7)).save(f"{folder}/{index}.png")
    main(["preview", "copies", "--size", "16"])
    assert "Only 3 of 210 images are distinct" in capsys.readouterr().out
    main(["preview", "different", "--size", "16"])
    assert "distinct" not in capsys.readouterr().out


def test_doctor_reports_speed_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):  # a full disk or a busy machine is a finding, not a failure of this test
        main(["doctor", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["convolution_gflops"]["float32"] > 0
    assert facts["torch"].startswith("2.")


def test_dry_run_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "faces", "--dry-run"])
    assert "Would train VAE then GAN on faces for 4 minutes." in capsys.readouterr().out
    assert not Path("runs").exists()


def test_a_config_file_is_laid_over_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text("seed = 3\n[gan]\npenalty = 0.5\n")
    main(["train", "faces", "--config", "mine.toml", "--gan.batch-size", "16", "--preset", "base", "--dry-run", "--json"])
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert (settings["seed"], settings["gan"]["penalty"], settings["gan"]["batch_size"]) == (3, 0.5, 16)
    assert settings["network"]["kind"] == "residual"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "The commands: preview, "),
        (["smaple"], "no command 'smaple'. Did you mean sample? See vaegan --help."),
        (["train"], "vaegan train faces"),
        (["train", "nowhere"], "nowhere"),
        (["train", "faces", "--minutes", "-1"], "positive"),
        (["train", "faces", "--minutes", "1", "--images", "5"], "not both"),
        (["train", "faces", "--dry-run", "--minutes", "nan"], "positive"),
        (["train", "faces", "--dry-run", "--images", "0"], "positive"),
        (["train", "faces", "--dry-run", "--network.output", "sigmoid"], "sigmoid"),
        (["train", "faces", "--preset", "huge"], "no preset"),
        (["train", "faces", "--preset", "", "--dry-run"], "empty word"),
        (["train", "faces", "--config=", "--dry-run"], "empty word"),
        (["train", "faces", "--preset", "--dry-run"], "--preset needs a value"),
        (["train", "faces", "--config", "missing.toml"], "missing.toml"),
        (["train", "faces", "--size", "8"], "16 to 256"),
        (["train", "faces", "--network.output", "sigmoid"], "sigmoid"),
        (["train", "faces", "--network.latent-dim", "0"], "--network.latent-dim is 0"),
        (["train", "--resume", "nowhere"], "not a run"),
        (["sample", "nowhere"], "not a run"),
        (["sample", "nowhere", "-n", "0"], "-n 0"),
        (["info", "nowhere"], "not a run"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in refused(capsys, 2, *arguments)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            "train faces --gan.augmentaton",
            "vaegan train does not know --gan.augmentaton. Did you mean --gan.augmentation? See vaegan train --help.",
        ),
        ("train faces --gan.floor 0.06", "vaegan train does not know --gan.floor. See vaegan train --help."),
        ("train faces --minuts 3", "vaegan train does not know --minuts. Did you mean --minutes? See vaegan train --help."),
        ("train faces --xyzzy", "vaegan train does not know --xyzzy. See vaegan train --help."),
        ("train faces more", "vaegan train does not know more. See vaegan train --help."),
        ("train faces --minutes abc", "--minutes abc is not possible; it must be a number."),
        ("train faces --images 1e5", "--images 1e5 is not possible; it must be a whole number."),
        ("train faces --recipe vaegan", "--recipe vaegan is not possible; choose one of "),
        ("sample run -n x", "-n x is not possible; it must be a whole number."),
        ("sample run --seed", "--seed needs a value. See vaegan sample --help."),
        ("sample", "vaegan sample needs RUN. See vaegan sample --help."),
        ("reconstruct", "vaegan reconstruct needs RUN. See vaegan reconstruct --help."),
        ("sample run --json=true", "vaegan sample does not know --json=true. Did you mean --json? See vaegan sample --help."),
        ("interpolate run --seeds 3 x", "--seeds x is not possible; give seeds, as 3 7, or "),
        ("study losses faces --gan.penalty 3", "vaegan study does not know --gan.penalty. See vaegan study --help."),
    ],
)
@pytest.mark.parametrize("columns", ["20", "100"])
def test_wrong_options_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: str, line: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    said = refused(capsys, 2, *arguments.split())
    assert said.startswith(f"vaegan: {line}")
    assert "None" not in said
    assert os.environ["COLUMNS"] == columns


def test_wrong_uses_of_a_run_are_refused_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "already exists" in refused(capsys, 2, "train", "faces:96", "--out", str(run))
    assert "finished" in refused(capsys, 2, "train", "--resume", str(run))
    for words, named in (
        (["--size", "32"], "--size"),
        (["--seed", "3", "--minutes", "1"], "--seed"),
        (["--gan.penalty=3", "--preset", "base", "--images", "9"], "--gan.penalty, --preset"),
        (["--gan.prior", "normal"], "--gan.prior"),
    ):
        assert f"leave out {named}, or start" in refused(capsys, 2, "train", "--resume", str(run), *words)
    assert "are not those" in refused(capsys, 2, "train", "faces:80", "--resume", str(run), "--minutes", "1")
    assert "p(x|z)" in refused(capsys, 2, "sample", str(run), "--observation-noise")
    assert "missing.png" in refused(capsys, 2, "reconstruct", str(run), "missing.png")
    Path("text.png").write_text("no image")
    assert "text.png" in refused(capsys, 2, "reconstruct", str(run), "text.png")
    Path("folder").mkdir()
    refused(capsys, 2, "train", "folder")


def test_names_that_a_terminal_would_obey_are_spelt_out(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    copy = tmp_path / "a\x1b[2J\u202eb\nc"
    shutil.copytree(run, copy)
    record = json.loads((copy / "run.json").read_text())
    record["facts"]["data"]["a\x1bb"] = "\x1b[31m"
    record["facts"]["gan"]["handover"]["c\u202ed"] = "\x07"
    (copy / "run.json").write_text(json.dumps(record))
    for command in (["info"], ["sample", "-n", "1", "--out", str(copy / "one.png")], ["report"]):
        main([command[0], str(copy), *command[1:]])
        printed = capsys.readouterr().out
        whole = "".join(line.strip() for line in printed.splitlines())  # a long path goes on in the next line
        assert r"a\x1b[2J\u202eb\nc" in whole.replace(" ", "")
        assert not {"\x1b", "\u202e", "\x07"} & set(printed)


def test_a_broken_model_is_refused_in_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    weights = copy / "gan/model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    said = refused(capsys, 2, "sample", str(copy))
    assert "model.safetensors" in said
    assert "cut off" in said
    assert "copy the model again" in said
    for text in ("{", "[]", json.dumps({"format_version": FORMAT_VERSION})):
        (copy / "run.json").write_text(text)
        said = refused(capsys, 2, "info", str(copy))
        assert "copy the run again" in said
        assert "STAGE/model" in said
    main(["sample", str(copy / "vae/model"), "-n", "1"])
    (copy / "run.json").write_text('{"format_version": 99}')
    said = refused(capsys, 2, "info", str(copy))
    assert "format 99" in said
    assert "Install the version that wrote it" in said


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder where nobody can make a file")
def test_a_folder_that_takes_no_files_is_named_as_the_user_did(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["export", "--to", "export", "--out", "/proc/x"], ["sample", "--out", "/proc/x.png"]):
        said = refused(capsys, 2, arguments[0], str(run), *arguments[1:])
        assert f"--out {arguments[-1]} cannot be written: /proc takes no files" in said


@pytest.mark.parametrize("columns", ["1", "5", "0"])
def test_a_narrow_terminal_is_no_reason_not_to_help(columns: str) -> None:
    command = [sys.executable, "-m", "vaegan", "preview", "--help"]
    done = subprocess.run(command, env=os.environ | {"COLUMNS": columns}, capture_output=True, text=True, check=True, timeout=120)
    assert "--size" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "vaegan", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(": No space left on device. Make room there, or give another place.\n")


def test_links_in_a_circle_are_refused_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("loop").symlink_to("loop")
    for out in ("loop", "loop/x.png"):
        assert "leads nowhere" in refused(capsys, 2, "sample", str(run), "--out", out)
    assert "loop" in refused(capsys, 2, "preview", "loop", "--size", "16")
    assert "loop" in refused(capsys, 2, "reconstruct", str(run), "loop")


def test_names_that_no_file_system_takes_are_wrong_requests(capsys: pytest.CaptureFixture[str]) -> None:
    assert "give a shorter one" in refused(capsys, 2, "info", "A" * 300)


def test_an_empty_word_is_not_the_current_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["preview", ""], ["sample", str(run), "--out="], ["encode", str(run), "", "--out", "e.npz"]):
        assert "empty word" in refused(capsys, 2, *words)


def test_the_last_preset_given_is_the_one_whose_settings_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "faces", "--preset", "tiny", "--preset", "base", "--dry-run", "--json"])
    assert json.loads(capsys.readouterr().out)["settings"]["network"]["kind"] == "residual"


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["--size", "32"], "The --init run has --size 16 but this run has 32; they must be the same: add --size 16."),
        (["--network.width", "9", "--network.width-limit", "9"], "the same: add --network.width 8 --network.width-limit 16."),
        (["--network.latent-dim", "5"], "has --network.latent-dim 4 but this run has 5"),
        (["--channels", "1"], "has --channels 3 but this run has 1"),
        (["--conditional", "--condition", "hat"], "this run is told some"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_decoding(
    run: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    dry: list[str],
    changed: list[str],
    words: str,
) -> None:
    monkeypatch.setattr("vaegan.api.open_dataset", None)  # nothing may be decoded
    assert words in refused(capsys, 2, "train", "faces:96", *OPTIONS, *changed, "--init", str(run), *dry)
    assert list(Path().iterdir()) == []


def test_a_start_without_encoder_leaves_no_run_behind(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "faces:96", *OPTIONS, "--recipe", "gan", "--images", "32", "--out", "gan"])
    for recipe in ("vae", "joint"):
        start = ["--recipe", recipe, "--init", "gan/gan", "--out", "new"]
        capsys.readouterr()
        assert "has no encoder" in refused(capsys, 2, "train", "faces:96", *OPTIONS, *start)
        assert not Path("new").exists()


def test_the_explorer_refuses_data_that_do_not_exist_before_it_serves(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaegan.explorer.server.serve", lambda *_: None)  # it would not end
    assert "nope does not exist" in refused(capsys, 2, "explore", str(run), "--data", "nope", "--no-open")


def test_images_smaller_than_asked_for_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("digits.npy", np.random.default_rng(0).integers(0, 255, (70, 28, 28), dtype=np.uint8))
    main(["preview", "digits.npy"])
    assert "All 70 images had fewer pixels than asked for, and were enlarged." in capsys.readouterr().out
    main(["preview", "digits.npy", "--size", "28"])
    assert "enlarged" not in capsys.readouterr().out
