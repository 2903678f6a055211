"""What is said before a model is shared, and what goes to the Hub."""

import json
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vaegan import Model, RequestError, VaeganError, extras
from vaegan.config import NetworkConfig
from vaegan.model_files import ModelConfig, Networks
from vaegan.sharing import copying_warning


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model in its place inside a run."""
    config = ModelConfig(16, 1, "vae", NetworkConfig(latent_dim=4, width=4, width_limit=8), variance=0.1)
    torch.manual_seed(0)
    Model(config, Networks(config)).save_pretrained(tmp_path / "run/vae/model", card="# My card\n")
    return Model.from_pretrained(tmp_path / "run/vae/model")


def evaluate(tmp_path: Path, **copies: str) -> None:
    (tmp_path / "run/evaluation.json").write_text(json.dumps({"format_version": 1, "copies": copies}))


class Hub:
    """Stands in for huggingface_hub.HfApi and keeps what it is given."""

    uploaded: dict[str, bytes]

    def __init__(self, **options: Any) -> None:
        Hub.options = options

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any:
        assert exist_ok
        Hub.private = private
        return type("Url", (SimpleNamespace,), {"__str__": lambda self: f"https://hub/{repo_id}"})(repo_id=repo_id)

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        Hub.uploaded = {str(path.relative_to(folder_path)): path.read_bytes() for path in Path(folder_path).rglob("*")}


def test_the_hub_gets_the_model_and_nothing_else(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    (tmp_path / "run/vae/samples").mkdir()
    (tmp_path / "run/vae/samples/000000000-reconstructions.png").write_bytes(b"training images")
    assert model.push_to_hub("me/faces", private=True, token="secret") == "https://hub/me/faces"
    assert Hub.options["token"] == "secret"
    assert Hub.private
    assert set(Hub.uploaded) == {"config.json", "model.safetensors", "README.md"}
    assert Hub.uploaded["README.md"] == b"# My card\n"
    for name, content in Hub.uploaded.items():
        (tmp_path / name).write_bytes(content)
    assert torch.equal(Model.from_pretrained(tmp_path).sample(2), model.sample(2))


@pytest.mark.parametrize("offline", [False, True])
def test_without_a_network_the_reason_is_one_line(model: Model, monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    # Port 9 of this machine takes no connections; the offline switch is the Hub library's own.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    with pytest.raises(VaeganError, match=r"Not shared as me/faces: .*hf auth login") as error:
        model.push_to_hub("me/faces", token="hf_0123456789")
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 1


def test_a_wrong_name_and_a_missing_package_are_requests(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="OWNER/NAME"):
        model.push_to_hub("a//b")
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"\[hub\].*pip install huggingface_hub"):
        model.push_to_hub("me/faces")


def test_a_model_that_copies_is_shared_with_a_warning(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.push_to_hub("me/faces")
        evaluate(tmp_path, gan="They copy: 90%.")
        model.push_to_hub("me/faces")
    evaluate(tmp_path, vae="They copy: 83% of them.")
    with pytest.warns(UserWarning, match="They copy: 83% of them"):
        model.push_to_hub("me/faces")
    assert copying_warning(model.folder, "gan") is None


@pytest.mark.parametrize(
    "text",
    ["", "[" * 100_000, "[]", '{"copies": 3}', '{"copies": {"gan": ""}}', '{"copies": {"vae": 1}}', '{"stages": {}}', "null"],
)
def test_a_damaged_evaluation_warns_of_nothing(model: Model, tmp_path: Path, text: str) -> None:
    (tmp_path / "run/evaluation.json").write_text(text)
    assert copying_warning(model.folder, "vae") is None
    assert copying_warning(None, "vae") is None


def test_export_says_that_a_model_copies(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vaegan.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaegan.export.folder.save_program", lambda graph, path: path.write_bytes(b"") * 1.0)
    evaluate(tmp_path, vae="They copy: 90% of them.")
    main(["export", "run/vae/model", "--to", "export"])
    assert "90% of them" in capsys.readouterr().out
    shutil.rmtree("export")
    main(["export", "run/vae/model", "--to", "export", "--json"])
    assert "90% of them" in json.loads(capsys.readouterr().out)["warnings"][0]
