"""What happens around a run when something else goes wrong: two trainings at once, killed processes, damaged files."""

import copy
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vaegan
from vaegan import api
from vaegan.cli import main
from vaegan.commands.train import print_finished
from vaegan.config import DataConfig, DeviceConfig, GANConfig, NetworkConfig, TrainConfig, VAEConfig
from vaegan.console import Console
from vaegan.files import TEMPORARY, atomic_folder, atomic_path
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.processes import is_first_process
from vaegan.training.checkpoint import FORMAT_VERSION, read_checkpoint
from vaegan.training.journal import read_journal
from vaegan.training.run import RunFolder, new_run_folder

TINY = TrainConfig(
    recipe="vae",
    data=DataConfig(size=16),
    network=NetworkConfig(latent_dim=4, width=8, width_limit=16),
    vae=VAEConfig(batch_size=8),
    gan=GANConfig(batch_size=8),
    device=DeviceConfig(precision="float32"),
)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs vaegan as a process of its own."""
    return subprocess.run([sys.executable, "-m", "vaegan", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.heavy
def test_a_run_is_trained_by_one_process_at_a_time() -> None:
    answers: list[subprocess.CompletedProcess[str]] = []

    def meanwhile(progress: object) -> None:
        if not answers:
            answers.append(command("train", "--resume", "run", "--images", "1000"))

    vaegan.train("faces:96", TINY, images=16, out="run", progress=meanwhile)
    assert answers[0].returncode == 1
    assert answers[0].stderr == "vaegan: Another command is at work in run; wait until it ends, or stop it.\n"
    vaegan.resume("run", images=32)


@pytest.mark.heavy
def test_a_killed_process_leaves_no_lock_and_its_leavings_are_cleared(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "vae").mkdir(parents=True)
    (run / "vae/kept.png").write_bytes(b"")
    killed = """
import sys, time
from pathlib import Path
from vaegan.files import atomic_folder, atomic_path
from vaegan.training.journal import read_journal
from vaegan.training.run import RunFolder
run = Path(sys.argv[1])
with RunFolder(run).alone(), atomic_path(run / "vae/checkpoint.pt"), atomic_folder(run / "vae/model") as folder:
    (folder / "config.json").write_text("{")
    print("here", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", killed, str(run)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        with pytest.raises(vaegan.VaeganError, match="Another command"), RunFolder(run).alone():
            pass
        assert len(list((run / "vae").iterdir())) == 3
        process.kill()
    with RunFolder(run).alone():
        assert [path.name for path in (run / "vae").iterdir()] == ["kept.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nowhere", "--dry-run"], "nowhere does not exist"),
        (["train", "faces:63", "--dry-run"], "at least 64"),
        (["train", "faces", "--dry-run", "--out", "full"], "full already exists"),
        (["train", "faces", "--dry-run", "--out", "file/run"], "is a file"),
        (["train", "faces", "--dry-run", "--init", "nowhere"], "not a run"),
        (["train", "faces", "--nodes", "2"], "torchrun or SLURM"),
        (["train", "faces", "--nodes", "2", "--dry-run"], "torchrun or SLURM"),
        (["train", "faces", "--out", "file/run"], "is a file"),
        (["preview", "faces", "--out", "full"], "must end in .png"),
        (["preview", "faces", "--out", "folder.png"], "folder.png is a folder"),
        (["preview", "faces", "--out", "file/sheet.png"], "is a file"),
        (["reconstruct", "run", "image.png", "--out", "file/sheet.png"], "is a file"),
        (["reconstruct", "run", "image.png", "--out", "folder.png"], "folder.png is a folder"),
        (["sample", "run", "--out", "file/sheet.png"], "is a file"),
        (["sample", "run", "--out", "file/folder"], "is a file"),
        (["sample", "run", "--out", "full"], "full already exists"),
    ],
)
def test_places_are_looked_at_before_any_work(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: object, **options: object) -> None:
        raise AssertionError

    for variable in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "SLURM_PROCID"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("vaegan.data.open_dataset", work)
    monkeypatch.setattr("vaegan.api.FabricEngine", work)
    monkeypatch.setattr("vaegan.model.Model.from_pretrained", work)
    Path("file").write_text("in the way")
    Path("folder.png").mkdir()
    Path("full").mkdir()
    Path("full/mine.txt").write_text("")
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.startswith("vaegan: ")
    assert captured.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("there", "made"),
    [
        ("10²", "0001-faces-96"),
        ("0041-a", "0042-faces-96"),
        ("9999-a", "10000-faces-96"),
        ("20261123-a", "0001-faces-96"),
    ],
)
def test_runs_are_numbered_on_whatever_else_lies_there(there: str, made: str) -> None:
    Path("runs", there).mkdir(parents=True)
    assert new_run_folder(None, "faces:96").path == Path("runs", made)


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"RANK": "1"}, True),
        ({"RANK": "1", "WORLD_SIZE": "1"}, True),
        ({"RANK": "1", "WORLD_SIZE": "many"}, True),
        ({"RANK": "1", "WORLD_SIZE": "2"}, False),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, True),
        ({"SLURM_PROCID": "3"}, True),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, False),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}, False),  # started by the first
    ],
)
def test_a_rank_alone_makes_no_other_process(variables: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == first


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "LOCAL_WORLD_SIZE"])
@pytest.mark.parametrize("value", ["abc", "0", "-1", ""])
def test_a_launchers_variable_that_is_no_number_is_one_line(
    variable: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match="2"):
        main(["train", "faces:96", *OPTIONS])
    assert f"The variable {variable} is '{value}'" in capsys.readouterr().err
    assert not Path("run").exists()


def test_more_processes_than_can_work_are_refused_before_any_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**options: object) -> None:
        raise AssertionError

    monkeypatch.setattr("vaegan.training.engine.Fabric", start)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for devices, words in ((3, "cannot be shared by 3 processes"), (4, "Cannot run on 4 cpu devices: this machine has 2")):
        config = replace(TINY, device=DeviceConfig("cpu", devices))
        with pytest.raises(vaegan.RequestError, match=words):
            vaegan.train("faces:96", config, images=16, out="run")


def test_a_launcher_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(device=DeviceConfig(nodes=2))
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    api.check_request(config, None, None)


@pytest.mark.parametrize("out", ["samples", "samples.png"])
def test_samples_that_cannot_all_be_written_leave_nothing(
    out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(16, 1, "gan", NetworkConfig(latent_dim=4, width=4, width_limit=8), has_encoder=False)
    Model(config, Networks(config)).save_pretrained("model")
    written: list[object] = []
    save = Image.Image.save

    def fill_the_disk(picture: Image.Image, file: Any, **options: Any) -> None:
        save(picture, file, **options)
        written.append(file)
        if len(written) == (5 if out == "samples" else 1):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    with pytest.raises(SystemExit, match="1"):
        main(["sample", "model", "-n", "9", "--out", out])
    assert "No space left" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["model"]
    monkeypatch.setattr(Image.Image, "save", save)
    main(["sample", "model", "-n", "9", "--out", out])
    assert Path(out).is_file() or len(list(Path(out).iterdir())) == 9


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_errors_name_the_place_that_was_asked_for_and_no_temporary_one(atomic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="No space") as raised, atomic(Path("out.png")) as temporary:
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))
    assert raised.value.filename == "out.png"
    with pytest.raises(OSError, match="other") as raised, atomic(Path("out.png")):
        raise OSError(errno.EACCES, "Permission denied", "other")
    assert raised.value.filename == "other"
    for make in ("mkstemp", "mkdtemp"):
        monkeypatch.setattr(f"tempfile.{make}", lambda **how: Path("missing", f"x{TEMPORARY}x").read_bytes())
    with pytest.raises(OSError, match="No such file") as raised, atomic(Path("out.png")):
        pass
    assert raised.value.filename == "out.png"
    assert list(Path().iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file names are text")
@pytest.mark.heavy
def test_names_that_are_no_text_or_orders_to_a_terminal_are_spelt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig(16, 3, "vae", NetworkConfig(latent_dim=4, width=4, width_limit=8))
    Model(config, Networks(config)).save_pretrained("model")
    odd = os.fsdecode(b"\xff\n\x1b[31m")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # as in most people's terminals
    done = command("sample", "model", "-n", "1", "--out", f"{odd}.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(f"{odd}.png").is_file()
    Path(f"{odd}.png").write_text("no image")
    done = command("reconstruct", "model", f"{odd}.png")
    assert done.returncode == 2
    assert done.stderr.startswith("vaegan: \\udcff\\n\\x1b[31m.png cannot be used")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr
    for label, side in ((f"{odd}a", 0), ("b", 1)):
        Path("data", label).mkdir(parents=True)
        for index in range(64):
            Image.new("RGB", (16, 16), (index, 3 * index, 99 * side)).save(Path("data", label, f"{odd}{index}.png"))
    done = command("preview", "data", "--size", "16")
    assert (done.returncode, done.stderr) == (0, "")
    assert "taken as the label 'class': b (64), \\udcff\\n\\x1b[31ma (64)." in done.stdout
    for suffix in (".npz", ".parquet"):
        done = command("encode", "model", "data", "--out", f"latents{suffix}")
        assert (done.returncode, done.stderr) == (0, "")
    with np.load("latents.npz") as table:
        assert any("\\udcff" in name for name in table["names"].tolist())


OPTIONS = [
    *("--size", "16", "--network.width", "8", "--network.width-limit", "16", "--network.latent-dim", "4"),
    *("--vae.batch-size", "8", "--recipe", "vae", "--precision", "float32", "--out", "run"),
]


@pytest.mark.heavy
def test_training_goes_on_when_its_reader_leaves() -> None:
    """As in `vaegan train ... 2>&1 | head -1`."""
    arguments = ["train", "faces:96", *OPTIONS, "--images", "480"]
    code = f"import vaegan.console as c; c.PLAIN_SECONDS = 0.01; from vaegan.cli import main; main({arguments!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 0
    assert RunFolder(Path("run")).read().status == "finished"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGHUP")
def test_a_closed_window_saves_and_stops() -> None:
    arguments = ["train", "faces:96", *OPTIONS, "--images", "1000000"]
    code = f"import vaegan.console as c; c.PLAIN_SECONDS = 0.01; from vaegan.cli import main; main({arguments!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"VAE  "):  # how far it is
            pass
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)  # from the terminal, and from the shell in it
        assert process.wait() == 130
    assert RunFolder(Path("run")).read().status == "interrupted"
    assert Path("run/vae/checkpoint.pt").is_file()


def test_an_early_interruption_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def torch_is_being_imported(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vaegan.commands.options.parse", torch_is_being_imported)
    with pytest.raises(SystemExit, match="130"):
        main(["train", "faces"])
    assert capsys.readouterr().err == "vaegan: Stopped.\n"


@pytest.fixture(scope="module")
def run(heavy: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a VAE, to be copied."""
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        vaegan.train("faces:96", TINY, images=480, out=path)
    return path


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inside for place in places(part, (*path, key)))]


def test_a_damaged_run_json_is_refused_in_one_line_or_harmless(run: Path, tmp_path: Path) -> None:
    whole = json.loads((run / "run.json").read_text())
    wrong = [None, [], {}, "x", -1, 1e999, [[1]], {"a": {}}, True]
    refused: list[str] = []
    for place in places(whole):
        steers = place[-1] in ("images", "finished", "handover", "vae_low_pass_error", "brought_forward") if place else False
        if "facts" in place and len(place) > 2 and not steers:
            continue  # what else was measured is shown, never used
        for value in wrong:
            document = copy.deepcopy(whole)
            if place:
                parent = reduce(lambda part, key: part[key], place[:-1], document)
                parent[place[-1]] = value
            else:
                document = value
            (tmp_path / "run.json").write_text(json.dumps(document))
            try:
                record = RunFolder(tmp_path).read()
            except vaegan.ModelError as error:
                refused.append(str(error))
            else:
                assert [plan.name for plan in record.plan] == ["vae"]
    assert len(refused) > 300
    assert not any("\n" in line or "run.json" not in line for line in refused)
    for text in ("", "[" * 100_000, "{", "\xff", "nul"):
        (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(vaegan.ModelError, match=r"run\.json is damaged"):
            RunFolder(tmp_path).read()


def test_facts_that_are_not_refused_can_be_shown(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a resumed run says at its end, and what `info` says, whatever was recorded along the way."""
    shutil.copytree(run, tmp_path / "copy")
    whole = json.loads((run / "run.json").read_text())
    shown = 0
    for place in places(whole["facts"]):
        for value in (None, "x", {"a": [1]}):
            document = copy.deepcopy(whole)
            if place:
                reduce(lambda part, key: part[key], place[:-1], document["facts"])[place[-1]] = value
            (tmp_path / "copy/run.json").write_text(json.dumps(document))
            try:
                RunFolder(tmp_path / "copy").read()
            except vaegan.ModelError:
                continue
            print_finished(RunFolder(tmp_path / "copy"), Console(), as_json=False)
            main(["info", "copy"])
            shown += 1
    assert shown > 30
    assert "x" in capsys.readouterr().out


def test_pictures_that_a_kill_prevented_are_drawn_by_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vaegan.training.session.save_animation", killed)
        with pytest.raises(KeyboardInterrupt):
            vaegan.train("faces:96", TINY, images=16, out="run")
    assert RunFolder(Path("run")).read().status == "training"
    before = Path("run/vae/model/model.safetensors").read_bytes()
    main(["train", "--resume", "run"])
    assert RunFolder(Path("run")).read().status == "finished"
    assert all(Path("run", name).is_file() for name in ("progress.webp", "progress.gif"))
    assert Path("run/vae/model/model.safetensors").read_bytes() == before


@pytest.mark.parametrize("version", [0, 6, 8, "7", None, [7]])
def test_a_run_of_another_format_is_refused(run: Path, tmp_path: Path, version: Any) -> None:
    document = json.loads((run / "run.json").read_text()) | {"format_version": version}
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(vaegan.ModelError, match="has format"):
        RunFolder(tmp_path).read()


@pytest.mark.parametrize("config", [[], None, 3, {"gan": 3}, {"vae": []}, {"vae": {}, "plan": 2}])
def test_damaged_settings_are_refused(run: Path, tmp_path: Path, config: Any) -> None:
    document = json.loads((run / "run.json").read_text()) | {"config": config}
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(vaegan.ModelError, match="damaged"):
        RunFolder(tmp_path).read()


@pytest.mark.parametrize(
    "facts",
    [
        *({"images": images} for images in (None, "x", -1, 2.5, [1])),
        *({"finished": finished} for finished in (None, 1, "no")),
        *({"handover": handover} for handover in (None, [], {"vae_low_pass_error": "x"})),
        *(
            {"inverse": inverse}
            for inverse in (None, "x", {"latent_recovery": 0.5}, {"own_source_nearest": [], "latent_recovery": 1})
        ),
        *({"perception": perception} for perception in (None, "x", {"network": "x"}, {"network": 3, "trained_on": "x"})),
        *({speed: value} for speed in ("mean_speed", "measured_speed") for value in (None, "x", [1])),
        *({words: value} for words in ("kept", "ended") for value in (None, 3)),
    ],
)
def test_damaged_facts_that_steer_a_run_are_refused(run: Path, tmp_path: Path, facts: dict[str, Any]) -> None:
    document = json.loads((run / "run.json").read_text())
    document["facts"]["vae"] |= facts
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(vaegan.ModelError, match="is damaged"):
        RunFolder(tmp_path).read()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((("spent_seconds",), value) for value in (-1.0, float("nan"), float("inf"))),
        *((("seconds_target",), value) for value in (-1.0, float("nan"), float("inf"))),
        *((("plan", 0, "images"), value) for value in (-8, 0, 10**20)),
        (("plan", 0, "schedule_end"), -8),
        (("precision",), "bogus"),
        (("status",), "bogus"),
        (("facts", "data", "channels"), "x"),
        (("facts", "data", "skipped"), "x"),
        (("facts", "vae", "heldout"), 5),
        (("facts", "vae", "objective"), 5),
        (("facts", "vae", "handover"), {"vae_low_pass_error": 0.1}),
        (("facts", "vae", "handover"), {"verified_tensors": 7, "vae_low_pass_error": float("nan")}),
    ],
)
def test_a_run_json_of_no_run_is_refused(run: Path, tmp_path: Path, place: tuple[Any, ...], value: Any) -> None:
    document = json.loads((run / "run.json").read_text())
    reduce(lambda part, key: part[key], place[:-1], document)[place[-1]] = value
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(vaegan.ModelError, match="is damaged"):
        RunFolder(tmp_path).read()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x02G\x00\x00.", "float8"),
        (b"\x80\x02K\x01Q.", "saved_id"),
        (b"\x80\x02cbuiltins\nbytearray\n\x8a\x04\x00\x00\x00\x01\x85R.", "it holds builtins bytearray"),
        (b"\x80\x02N." + bytes(10_000_000), "it is no checkpoint"),
    ],
)
def test_forged_checkpoints_are_refused_before_they_take_memory(run: Path, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "checkpoint.pt"
    with zipfile.ZipFile(run / "vae/checkpoint.pt") as whole, zipfile.ZipFile(path, "w") as forged:
        for name in whole.namelist():
            forged.writestr(name, content if name.endswith("data.pkl") else whole.read(name))
    with pytest.raises(vaegan.ModelError, match=words):
        read_checkpoint(path)


def test_a_compressed_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with zipfile.ZipFile(run / "vae/checkpoint.pt") as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(vaegan.ModelError, match="larger inside"):
        read_checkpoint(path)


def test_damaged_checkpoints_are_refused_in_one_line(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "copy")
    path = tmp_path / "copy/vae/checkpoint.pt"
    whole = path.read_bytes()
    state = torch.load(path, weights_only=True)
    weights = {name: part for name, part in state["recipe"].items() if isinstance(part, torch.Tensor)}
    (optimizer, *_) = (name for name in state["recipe"] if name.endswith("_extra_state"))

    def other(**changes: Any) -> dict[str, Any]:
        return state | {"recipe": state["recipe"] | changes}

    damaged = {
        "is damaged": [b"", whole[:1000], whole[:-1000], b"\x80\x05." + whole[3:]],
        "another version": [[1, 2], {"format_version": 99}, state | {"format_version": 9}],
        "does not fit": [
            {"format_version": FORMAT_VERSION},
            other(**{name: torch.zeros(3) for name in weights}),
            other(**{optimizer: {"state": {}, "param_groups": []}}),
            other(**{optimizer: 3}),
            state | {"recipe": weights},
            state | {"recipe": 3},
            state | {"seen": "many"},
            state | {"health": 3},
            state | {"best": {}},
            state | {"means": {"sums": {"loss": 1}, "counts": {}}},
        ],
        "images seen": [state | {"seen": -8}, state | {"seen": 10**400}],
    }
    for words, contents in damaged.items():
        for content in contents:
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                torch.save(content, path)
            with pytest.raises(vaegan.ModelError, match=words) as error:
                vaegan.resume(tmp_path / "copy", images=960)
            assert "checkpoint.pt" in str(error.value)
            assert "\n" not in str(error.value)


def test_a_damaged_journal_loses_its_damaged_lines_only(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "copy")
    path = tmp_path / "copy/vae/metrics.jsonl"
    lines = read_journal(path)
    damage = b'\xff\xfe\n5\n[]\n{"seen": "x"}\n' + b"[" * 100_000 + b'\n{"seen": 8, "kl": {}}\n{"seen": 9, "ki'
    path.write_bytes(damage[:20] + b"\n" + path.read_bytes() + damage)
    assert [line for line in read_journal(path) if line not in lines] == [{"seen": 8, "kl": {}}]
    vaegan.resume(tmp_path / "copy", images=488)
    path.unlink()
    vaegan.resume(tmp_path / "copy", images=496)


@pytest.mark.parametrize("number", ["1e308", "-1e308", "1e999", "NaN", "-Infinity", "1" + "0" * 400])
def test_a_journal_has_no_numbers_that_no_training_writes(tmp_path: Path, number: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"seen": 8, "loss": {number}}}\n{{"seen": {number}}}\n{{"seen": 16, "loss": 3e38}}\n')
    assert read_journal(path) == [{"seen": 16, "loss": 3e38}]


SLOW_DECODING = """
import sys, time
from datetime import timedelta
import vaegan.api, vaegan.training.engine
from vaegan.cli import main
from vaegan.data import open_dataset
if sys.argv[1] != "default":
    vaegan.training.engine.PATIENCE = timedelta(seconds=float(sys.argv[1]))
def slow(*arguments, **options):
    time.sleep(4 if options else 0)  # the first process decodes, with progress; the others find the cache
    return open_dataset(*arguments, **options)
vaegan.api.open_dataset = slow
main(sys.argv[2:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("patience", "finishes"), [("1", False), ("default", True)])
def test_processes_wait_for_the_first_one_to_decode(patience: str, finishes: bool) -> None:
    Path("slow.py").write_text(SLOW_DECODING)
    arguments = ["train", "faces:96", *OPTIONS, "--images", "64", "--devices", "2", "--accelerator", "cpu"]
    done = subprocess.run(
        [sys.executable, "slow.py", patience, *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode == 0) == finishes, done.stderr
    assert Path("run/vae/model/model.safetensors").is_file() == finishes


@pytest.mark.heavy
def test_a_run_goes_on_with_images_that_were_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, moved = tmp_path / "images.npy", tmp_path / "moved.npy"
    np.save(place, np.random.default_rng(0).integers(0, 256, (80, 16, 16, 3), dtype=np.uint8))
    vaegan.train(place, TINY, images=16, out="run")
    place.rename(moved)
    for arguments, words in (
        (["train", "--resume", "run", "--images", "32"], f"{place}, where the images of this run were, does not exist."),
        (["train", "--resume", "run", "--images", "32"], "vaegan train PLACE --resume run"),
        (["train", "faces:96", "--resume", "run", "--images", "32"], "are not those that run was trained on"),
    ):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        said = capsys.readouterr().err
        assert exit.value.code == 2
        assert said.count("\n") == 1
        assert words in said
    assert RunFolder(tmp_path / "run").read().source == str(place)
    main(["train", str(moved), "--resume", "run", "--images", "32"])
    assert RunFolder(tmp_path / "run").read().source == str(moved)
    vaegan.resume("run", images=48)
