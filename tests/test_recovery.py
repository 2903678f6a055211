"""What happens around a run when something else goes wrong: two trainings at once, killed processes, damaged files."""

import subprocess
import sys
from pathlib import Path

import pytest

import vaegan
from vaegan.config import DataConfig, GANConfig, NetworkConfig, TrainConfig, VAEConfig
from vaegan.training.run import RunFolder

TINY = TrainConfig(
    recipe="vae",
    data=DataConfig(size=16),
    network=NetworkConfig(latent_dim=4, width=8, width_limit=16),
    vae=VAEConfig(batch_size=8),
    gan=GANConfig(batch_size=8, critic_warmup=4),
)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs vaegan as a process of its own."""
    return subprocess.run([sys.executable, "-m", "vaegan", *arguments], capture_output=True, text=True, check=False)


def test_a_run_is_trained_by_one_process_at_a_time() -> None:
    answers: list[subprocess.CompletedProcess[str]] = []

    def meanwhile(progress: object) -> None:
        if not answers:
            answers.append(command("train", "--resume", "run", "--images", "1000"))

    vaegan.train("faces:96", TINY, images=16, out="run", progress=meanwhile)
    assert answers[0].returncode == 2
    assert answers[0].stderr == "vaegan: run is being trained by another process; wait until it ends, or stop it.\n"
    vaegan.resume("run", images=32)


def test_a_killed_process_leaves_no_lock_and_its_leavings_are_cleared(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "vae").mkdir(parents=True)
    (run / "vae/kept.png").write_bytes(b"")
    killed = """
import sys, time
from pathlib import Path
from vaegan.files import atomic_folder, atomic_path
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
        with pytest.raises(vaegan.RequestError, match="another process"), RunFolder(run).alone():
            pass
        assert len(list((run / "vae").iterdir())) == 3
        process.kill()
    with RunFolder(run).alone():
        assert [path.name for path in (run / "vae").iterdir()] == ["kept.png"]
