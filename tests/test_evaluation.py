"""`vaegan evaluate`: what it measures of a run, writes and prints, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

from vaegan.cli import main
from vaegan.evaluation import evaluate
from vaegan.metrics.table import METRICS

OPTIONS = [
    *("--size", "16", "--network.width", "4", "--network.width-limit", "8", "--network.latent-dim", "4"),
    *("--vae.batch-size", "8", "--gan.batch-size", "8", "--gan.critic-warmup", "4", "--precision", "float32"),
]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        main(["train", "faces:600", *OPTIONS, "--images", "64", "--out", str(path)])
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", *arguments])
    captured = capsys.readouterr()
    assert exit.value.code == 2, captured.err
    assert captured.err.count("\n") == 1
    return captured.err


def test_evaluation_has_the_promised_form_and_repeats_itself(trained: Path) -> None:
    first = evaluate(trained, "faces:900", n=250)
    written = json.loads((trained / "evaluation.json").read_text())
    assert written == json.loads(json.dumps(first))
    again = evaluate(trained, "faces:900", n=250)
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert first["format_version"] == 1
    assert set(first["stages"]) == {"vae", "gan"}
    for numbers in (*first["stages"].values(), first["floor"]):
        assert set(numbers) <= set(METRICS)
        for number in numbers.values():
            assert set(number) == {"value", "interval", "n", "features"}
            if number["interval"]:
                assert number["interval"][0] <= number["value"] <= number["interval"][1]
    assert set(first["spectra"]) == {"real", "vae", "gan"}
    assert len(first["spectra"]["gan"]) == 8
    assert len(first["per_dimension_kl"]) == 4
    assert [len(column) for column in first["neighbours"].values()] == [8, 8, 8]
    assert len(first["verdict"]) == 3
    # Against real images a barely trained model is far off, and real ones are not.
    assert first["stages"]["gan"]["kernel_distance"]["value"] > 10 * abs(first["floor"]["kernel_distance"]["value"])


def test_few_heldout_images_leave_metrics_out_and_say_so(trained: Path) -> None:
    found = evaluate(trained, n=100, stage="gan")
    assert found["reference"]["side"] == "test"
    assert found["reference"]["count"] < 50
    assert "frechet_distance" in found["left_out"]
    assert "frechet_distance" not in found["stages"]["gan"]
    assert "kernel_distance" in found["stages"]["gan"]
    assert set(found["stages"]) == {"gan"}


def test_the_table_names_the_floor_and_the_verdict(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(trained), "-n", "64"])
    printed = capsys.readouterr().out
    for words in ("kernel distance", "real", "VAE", "GAN", "Left out", "evaluation.json"):
        assert words in printed
    main(["evaluate", str(trained), "-n", "64", "--json"])
    assert json.loads(capsys.readouterr().out)["n"] == 64


def test_wrong_requests_are_one_line(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "not a run" in refused(capsys, "nowhere")
    assert "-n 3" in refused(capsys, str(trained), "-n", "3")
    assert "nothing-here" in refused(capsys, str(trained), "nothing-here")
    other = tmp_path / "other"
    shutil.copytree(trained, other, ignore=shutil.ignore_patterns("evaluation.json"))
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(record | {"format_version": 99}))
    assert "another version" in refused(capsys, str(other))
    (other / "run.json").write_text(json.dumps(record | {"fingerprint": "0"}))
    assert "have changed" in refused(capsys, str(other))
    assert not (other / "evaluation.json").exists()
