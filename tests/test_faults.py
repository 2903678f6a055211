"""Kills and signals: what a command leaves behind, what it says, and whether its other processes end with it."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import vaegan
from vaegan.cli import main
from vaegan.config import DeviceConfig, NetworkConfig, TrainConfig
from vaegan.files import TEMPORARY, atomic_folder, atomic_path, being_written
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.training import engine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="other signals")
TINY = ["--size", "16", "--network.width", "8", "--network.width-limit", "16", "--network.latent-dim", "4"]
VAE = ["faces:96", *TINY, "--vae.batch-size", "8", "--recipe", "vae", "--precision", "float32", "--accelerator", "cpu"]
TWO = [sys.executable, "-m", "vaegan", "train", *VAE, "--images", "400000", "--devices", "2", "--out", "run"]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def save_model() -> None:
    config = ModelConfig(16, 1, "gan", NetworkConfig(latent_dim=4, width=4, width_limit=8), has_encoder=False)
    Model(config, Networks(config)).save_pretrained("model")


def wait_for(what: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_any_command_like_ctrl_c(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model()
    monkeypatch.setattr("vaegan.pictures.to_picture", lambda image: os.kill(os.getpid(), number))
    monkeypatch.setattr("signal.getsignal", lambda number: signal.SIG_DFL)  # as in a process of its own
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with pytest.raises(SystemExit, match="130"):
            main(["sample", "model", "-n", "9", "--out", "samples"])
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert capsys.readouterr().err == "vaegan: Stopped.\n"
    assert [path.name for path in Path().iterdir()] == ["model"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 12 bytes."),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("vaegan.commands.images.sample", work)
    with pytest.raises(SystemExit, match="1"):
        main(["sample", "model"])
    said = capsys.readouterr().err
    assert said.startswith("vaegan: Out of memory.")
    assert said.count("\n") == 1


@pytest.mark.heavy
def test_a_terminated_command_leaves_nothing_behind() -> None:
    save_model()
    command = [sys.executable, "-m", "vaegan", "sample", "model", "-n", "1000000", "--out", "samples"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: any(Path().glob(f".samples{TEMPORARY}*/*.png")))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    assert (process.returncode, said) == (130, "vaegan: Stopped.\n")
    assert [path.name for path in Path().iterdir()] == ["model"]


KILLED = """
import sys, time
from pathlib import Path
from vaegan.files import atomic_folder, atomic_path
with atomic_path(Path("out.png")), atomic_folder(Path("samples")) as folder:
    (folder / "00000.png").write_text("x")
    print("here", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_command_left_is_cleared_by_the_next_one() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        left = sorted(Path().glob(f".*{TEMPORARY}*"))
        assert len(left) == 2
        living = Path(f".other{TEMPORARY}z.png")
        living.write_text("half-writt")
        for path in (*left, living):
            os.utime(path, (1, 1))
        with being_written(living):
            with atomic_path(Path("first.png").absolute()) as temporary:  # everything is still being written
                temporary.write_text("first")
            assert sorted(Path().glob(f".*{TEMPORARY}*")) == sorted([*left, living])
            process.kill()
            process.wait()
            # Another process, because one looks only once.
            code = "from pathlib import Path; from vaegan.files import write_json; write_json(Path('next.json'), 1)"
            subprocess.run([sys.executable, "-c", code], check=True)
            assert sorted(path.name for path in Path().iterdir()) == [living.name, "first.png", "next.json"]
    with atomic_folder(Path("sub/samples")):
        pass


STARTS = """
import os, sys, time
from vaegan.processes import end_with_starter, start_others, was_started_by_first
if was_started_by_first():
    end_with_starter()
    print(os.getpid(), os.environ["LOCAL_RANK"], os.environ["WORLD_SIZE"], *sys.argv[1:], flush=True)
else:
    start_others(2, 1234)
time.sleep(60)
"""


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z" if Path("/proc/self/stat").exists() else True


def test_the_other_processes_end_with_the_first() -> None:
    Path("starts.py").write_text(STARTS)
    with subprocess.Popen([sys.executable, "starts.py", "a", "b c"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        other, *rest = process.stdout.readline().split()
        assert rest == ["1", "2", "a", "b", "c"]
        process.kill()
        wait_for(lambda: not is_alive(int(other)), 5)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """Settings for two processes, on a machine that has room for them, and with nothing of a launcher."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    return TrainConfig(device=DeviceConfig("cpu", 2))


def test_several_processes_are_refused_where_there_is_no_script(two: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("subprocess.Popen", start)
    for name in (None, "<stdin>"):
        monkeypatch.setattr(sys.modules["__main__"], "__file__", name, raising=False)
        with pytest.raises(vaegan.RequestError, match="script of its own"):
            vaegan.train("faces:96", two, images=64)
    assert list(Path().iterdir()) == []


def test_processes_that_do_not_come_are_not_waited_for_long(two: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    monkeypatch.setattr(engine, "start_others", lambda count, port: [])
    monkeypatch.setattr(engine, "MEETING", timedelta(seconds=0.3))
    with pytest.raises(vaegan.TrainingError, match="Not all of the 2 processes started"):
        vaegan.train("faces:96", two, images=64)
    monkeypatch.setattr(engine, "MEETING", timedelta(hours=1))
    monkeypatch.setattr(engine, "start_others", lambda count, port: [subprocess.Popen([sys.executable, "-c", "exit(3)"])])
    with pytest.raises(vaegan.TrainingError, match="Not all of the 2 processes started"):
        vaegan.train("faces:96", two, images=64)


@pytest.mark.parametrize("several", [True, False])
def test_a_lost_process_is_a_sentence(several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: several)
    with pytest.raises(vaegan.TrainingError if several else RuntimeError) as caught, engine.together("Go on."):
        raise RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1")
    assert ("gloo" in str(caught.value)) != several
    with pytest.raises(RuntimeError, match="shape"), engine.together("Go on."):
        raise RuntimeError("shape '[3]' is invalid")


def second_of(first: int) -> int:
    """The process that the first one started."""
    found: list[int] = []

    def look() -> bool:
        found[:] = map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())
        return bool(found)

    wait_for(look)
    return found[0]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for children in /proc")
@pytest.mark.parametrize("began", [False, True])
@pytest.mark.parametrize(
    ("which", "number", "code"),
    [
        ("first", signal.SIGKILL, -9),
        ("first", signal.SIGTERM, 130),
        ("second", signal.SIGKILL, 1),
        ("second", signal.SIGTERM, None),
    ],
)
def test_two_processes_end_together_and_say_so_in_a_sentence(
    which: str, number: signal.Signals, code: int | None, began: bool
) -> None:
    with subprocess.Popen(TWO, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        second = second_of(process.pid)
        if began:
            wait_for(Path("run/vae/metrics.jsonl").is_file)
        os.kill(process.pid if which == "first" else second, number)
        _, said = process.communicate(timeout=20)
        wait_for(lambda: not is_alive(second), 3)
    # A second one that is asked to stop before there is anything to save has ended for the first.
    assert process.returncode == (code if code is not None else 130 if began else 1)
    lines = [line for line in said.splitlines() if line and "Stopping and saving" not in line]
    assert len(lines) == (0 if code == -9 else 1), said
    if began and code == 1:
        assert "Go on with: vaegan train --resume run" in said


@pytest.mark.slow
def test_a_program_on_standard_input_is_refused_and_lives() -> None:
    program = """
import vaegan
from vaegan.config import DeviceConfig, TrainConfig
try:
    vaegan.train("faces:96", TrainConfig(device=DeviceConfig("cpu", 2)), images=64)
except vaegan.RequestError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable], input=program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("refused:")
