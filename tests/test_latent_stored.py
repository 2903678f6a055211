"""Named directions on disk: what comes back, what is refused, what is never believed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaegan.config import NetworkConfig
from vaegan.errors import ModelError, RequestError
from vaegan.latent.stored import FILE, Direction, load_directions, model_fingerprint, save_direction
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks

LATENT = 4


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=16, channels=1, stage="vae", network=network)
    return Model(config, Networks(config))


def test_what_is_saved_comes_back_and_others_stay(model: Model, tmp_path: Path) -> None:
    assert load_directions(tmp_path, model) == {}
    smile = Direction("smile", torch.arange(4.0), {"auc": 0.9, "method": "mean"})
    save_direction(tmp_path, model, smile)
    save_direction(tmp_path, model, Direction("red hair", torch.ones(4)), Direction("Größe", torch.ones(4)))
    save_direction(tmp_path, model, Direction("smile", torch.ones(4) * 2, {"auc": 0.8}))
    found = load_directions(tmp_path, model)
    assert sorted(found) == ["Größe", "red hair", "smile"]
    assert torch.equal(found["smile"].vector, 2 * torch.ones(4))
    assert found["smile"].facts == {"auc": 0.8}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_directions_of_other_weights_are_refused_then_put_aside(model: Model, tmp_path: Path) -> None:
    assert save_direction(tmp_path, model, Direction("old", torch.ones(4))) is None
    old = (tmp_path / FILE).read_bytes()
    before = model_fingerprint(model)
    model.networks.mixture.weights[0] = 1  # the mixture changes no latent's meaning
    assert model_fingerprint(model) == before
    next(model.networks.decoder.parameters()).add_(0.1)
    with pytest.raises(ModelError, match=r"made before the model was trained further \(old\)"):
        load_directions(tmp_path, model)
    aside = save_direction(tmp_path, model, Direction("new", torch.ones(4)))
    assert aside is not None
    assert aside.read_bytes() == old
    assert save_direction(tmp_path, model, Direction("newer", torch.ones(4))) is None
    assert list(load_directions(tmp_path, model)) == ["new", "newer"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([aside.name, FILE])


def test_many_directions_of_other_weights_are_named_and_counted(model: Model, tmp_path: Path) -> None:
    save_direction(tmp_path, model, *(Direction(f"d{index:02d}", torch.ones(4)) for index in range(25)))
    next(model.networks.decoder.parameters()).add_(0.1)
    with pytest.raises(ModelError, match=r"trained further \(d00, d01, .*, d19 and 5 more\)"):
        load_directions(tmp_path, model)


@pytest.mark.parametrize("name", ["", "a=b", "../up", "-x", "x" * 65, "a\nb", "_"])
def test_names_that_no_command_line_takes_are_refused(model: Model, tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="cannot name"):
        save_direction(tmp_path, model, Direction(name, torch.ones(4)))


@pytest.mark.parametrize("vector", [torch.ones(5), torch.ones(1, 4), torch.tensor([1.0, 2, 3, float("nan")])])
def test_vectors_that_do_not_fit_are_refused(model: Model, tmp_path: Path, vector: torch.Tensor) -> None:
    with pytest.raises(RequestError, match="4 finite numbers"):
        save_direction(tmp_path, model, Direction("x", vector))


def test_hostile_files_are_one_line(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / FILE
    good = {"format": "pt", "model": model_fingerprint(model), "facts": "{}"}
    nested = json.dumps(good | {"facts": "[" * 100_000})
    contents = [
        ({"x": torch.ones(9)}, good),
        ({"x": torch.ones(4, dtype=torch.float64)}, good),
        ({"x": torch.full((4,), float("inf"))}, good),
        ({"a=b": torch.ones(4)}, good),
        ({"x": torch.ones(4)}, good | {"facts": "{"}),
        ({"x": torch.ones(4)}, good | {"facts": "[" * 100_000}),
        ({"x": torch.ones(4)}, good | {"facts": nested * 20}),
    ]
    for tensors, metadata in contents:
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(ModelError) as refused:
            load_directions(tmp_path, model)
        assert "\n" not in str(refused.value)
    save_file({"x": torch.ones(4)}, path, metadata=good | {"facts": "[1]"})
    assert load_directions(tmp_path, model)["x"].facts == {}
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="cannot be used"):
        load_directions(tmp_path, model)
    monkeypatch.setattr("vaegan.latent.stored.MOST_BYTES", 50)
    with pytest.raises(ModelError, match="too large"):
        load_directions(tmp_path, model)


def test_many_directions_are_refused_and_facts_are_read_once(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_direction(tmp_path, model, *(Direction(f"d{index}", torch.ones(4), {"auc": index}) for index in range(5)))
    read: list[str] = []
    original = json.loads
    monkeypatch.setattr("vaegan.latent.stored.json.loads", lambda text: read.append(text) or original(text))
    assert load_directions(tmp_path, model)["d3"].facts == {"auc": 3}
    assert len(read) == 1
    monkeypatch.setattr("vaegan.latent.stored.MOST_DIRECTIONS", 4)
    with pytest.raises(ModelError, match="5 directions; 4 is the most"):
        load_directions(tmp_path, model)
    assert len(read) == 1


def test_the_file_is_plain_safetensors(model: Model, tmp_path: Path) -> None:
    save_direction(tmp_path, model, Direction("smile", torch.arange(4.0)))
    assert torch.equal(load_file(tmp_path / FILE)["smile"], torch.arange(4.0))
