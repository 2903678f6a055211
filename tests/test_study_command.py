"""vaegan study as a person types it."""

import json
from pathlib import Path

import numpy as np
import pytest

from vaegan.cli import main

SMALL = [
    "--size",
    "16",
    "--network.width",
    "4",
    "--network.width-limit",
    "8",
    "--network.latent-dim",
    "2",
    "--precision",
    "float32",
]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit:
        main(["study", *arguments])
    captured = capsys.readouterr()
    assert exit.value.code == 2
    assert captured.err.startswith("vaegan: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_the_studies_are_listed_in_words_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["study", "--list"])
    words = capsys.readouterr().out
    main(["study", "--list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    known = {
        "losses",
        "ae-vs-vae",
        "latent-size",
        "generator-loss",
        "gan-losses",
        "warm-start",
        "vae-vs-gan",
        "likelihood",
        "collapse",
    }
    assert set(listed) == known
    for name, question in listed.items():
        assert f"{name} " in words
        assert question in words


def test_wrong_requests_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("plain.npy", np.random.default_rng(0).integers(0, 255, (100, 16, 16), dtype=np.uint8))
    assert "--list" in refused(capsys)
    assert "faces" in refused(capsys, "losses")
    assert "no study 'loses'" in refused(capsys, "loses", "faces")
    assert "nowhere" in refused(capsys, "losses", "nowhere")
    assert "not both" in refused(capsys, "losses", "plain.npy", "--minutes", "1", "--images", "9")
    assert "more --minutes or --images" in refused(capsys, "losses", "plain.npy", "--images", "9", *SMALL)
    assert "no classes" in refused(capsys, "ae-vs-vae", "plain.npy", "--images", "9000", *SMALL)
    assert "no preset" in refused(capsys, "losses", "plain.npy", "--preset", "huge")
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    assert "no study" in refused(capsys, "losses", "plain.npy", "--out", "mine", "--images", "9000", *SMALL)
    assert sorted(path.name for path in Path().iterdir()) == ["mine", "plain.npy"]


@pytest.mark.slow
def test_a_study_prints_its_findings_or_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    main(["study", "likelihood", "faces:96", *SMALL, "--images", "100"])
    words = capsys.readouterr().out
    assert "IWAE-5000" in words
    assert "studies/likelihood-faces-96/report.html" in words
    main(["study", "likelihood", "faces:96", *SMALL, "--json"])  # finished: told again, not trained again
    facts = json.loads(capsys.readouterr().out)
    assert facts["answer"]["iwae_5000"] >= facts["answer"]["elbo"]
    assert facts["findings"][0] in words
    assert Path(facts["report"]).is_file()
