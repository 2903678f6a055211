"""Commands on a run that was trained with --conditional: which label is meant, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vaegan.cli import main
from vaegan.config import DataConfig, NetworkConfig
from vaegan.data import TEST, open_dataset, to_uint8
from vaegan.errors import DataError, RequestError
from vaegan.evaluation import evaluate
from vaegan.evaluation.inference import log_weights
from vaegan.evaluation.reference import Condition, RealImages, References
from vaegan.explorer.state import Explorer
from vaegan.latent.outliers import surprise
from vaegan.latent.stored import Direction, load_directions, save_direction
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.objectives.likelihood import log_density
from vaegan.training.saved import load, showing

OPTIONS = [
    *("--size", "16", "--network.width", "4", "--network.width-limit", "8", "--network.latent-dim", "4"),
    *("--vae.batch-size", "8", "--precision", "float32", "--recipe", "vae", "--condition", "glasses"),
]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose label biases were then made large, so that labels are seen."""
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        main(["train", "faces:400", *OPTIONS, "--images", "64", "--out", str(path)])
    model = load(path)
    for bias in (module for module in model.networks.modules() if isinstance(module, torch.nn.Embedding)):
        torch.nn.init.normal_(bias.weight, generator=torch.Generator().manual_seed(0))
    model.save_pretrained(path / "vae/model")
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> str:
    shutil.copytree(trained, tmp_path / "run")
    Path("few").mkdir()
    dataset = open_dataset("faces:400", DataConfig(size=16))
    for index in range(4):
        Image.fromarray(np.asarray(dataset.images[index])).save(f"few/{index}.png")
    return "run"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    captured = capsys.readouterr()
    assert exit.value.code == 2, captured.err
    assert captured.err.count("\n") == 1
    return captured.err


COMMANDS = [
    ["decode", "run", "--text", "1,0,-1,0.5"],
    ["interpolate", "run", "--seeds", "1", "2", "--steps", "3"],
    ["morph", "run", "--seeds", "1", "2", "--steps", "2", "--out", "m.png"],
    ["vary", "run", "few/1.png"],
    ["similar", "run", "few/1.png", "--in", "few"],
    ["outliers", "run", "few"],
    ["duplicates", "run", "few", "--tolerance", "0"],
    ["encode", "run", "few"],
    ["reconstruct", "run", "few/1.png"],
    ["direction", "run", "--principal", "2"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_every_command_that_decodes_takes_a_label_and_asks_for_it(
    run: str, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    option = "--condition" if arguments[0] == "direction" else "--label"
    there = sorted(Path().rglob("*"))
    asked = refused(capsys, *arguments)
    assert f"say which with {option}: " in asked
    assert "knows no label 'monocle'" in refused(capsys, *arguments, option, "monocle")
    label = load(run).config.labels[0]
    assert f"Did you mean {label}?" in refused(capsys, *arguments, option, label[:-1])
    assert sorted(Path().rglob("*")) == there
    main([*arguments, option, asked.strip(".\n").split(", ")[-1], "--json"])
    assert json.loads(capsys.readouterr().out)


def test_an_export_is_of_one_label(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "say which with --label: " in refused(capsys, "export", run, "--to", "export")
    assert "knows no label 'monocle'" in refused(capsys, "export", run, "--to", "export", "--label", "monocle")


def test_the_label_chooses_the_picture(run: str) -> None:
    model = load(run)
    for code, label in enumerate(model.config.labels[:2]):
        main(["decode", run, "--text", "1,0,-1,0.5", "--label", label, "--out", f"{code}.png"])
        wanted = to_uint8(model.decode(torch.tensor([[1, 0, -1, 0.5]]), torch.tensor([code])))[0]
        with Image.open(f"{code}.png") as picture:
            assert np.abs(np.asarray(picture)[2:66:4, 2:66:4].astype(int) - wanted).max() <= 1
    assert Path("0.png").read_bytes() != Path("1.png").read_bytes()


def test_an_edit_needs_a_direction_of_the_same_label(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = load(run).config.labels[:2]
    main(["direction", run, "--label", "smiling", "--method", "mean", "--condition", first])
    main(["edit", run, "few", "--direction", "smiling=1", "--label", first])
    assert "no direction 'smiling'" in refused(capsys, "edit", run, "few", "--direction", "smiling=1", "--label", second)
    model = load(run)
    for label in (first, second):
        save_direction("run/vae/model", model.for_label(label), Direction(label, torch.ones(4)))
    kept = [set(load_directions("run/vae/model", model.for_label(label))) for label in (first, second)]
    assert kept == [{"smiling", first}, {second}]
    assert load_directions("run/vae/model", model) == {}


def test_the_map_shows_the_images_of_the_label(run: str) -> None:
    dataset = open_dataset("faces:400", DataConfig(size=16))
    label = load(run).config.labels[1]
    explorer = Explorer(Path(run), label=label)
    explorer.open_data(required=True)
    assert explorer.dataset is not None
    words = dataset.label_words["glasses"]
    wanted = np.flatnonzero((dataset.labels["glasses"] == words.index(label)) & (dataset.sides != TEST))
    assert np.array_equal(explorer.order, wanted)
    assert explorer.encodings is not None
    encoded = load(run).encode(dataset.load(wanted[:5]), torch.ones(5, dtype=torch.long))
    np.testing.assert_allclose(explorer.encodings.latents[:5], encoded, atol=1e-5)
    assert explorer.describe()["name"] == f"run, {label}"
    assert np.array_equal(showing(run, dataset, None), np.flatnonzero(dataset.sides != TEST))
    with pytest.raises(DataError, match="test side"):
        showing(run, dataset.part(dataset.indices(TEST)), None)


def test_samples_are_drawn_in_the_data_s_proportions() -> None:
    dataset = open_dataset("faces:400", DataConfig(size=16))
    words = dataset.label_words["glasses"]
    condition = Condition("glasses", words[::-1])  # a model's codes are its own
    real = RealImages(dataset, np.arange(300), "train")
    codes = condition.sample_labels(References(real, real, False), 4000, 0)
    assert codes is not None
    drawn = torch.bincount(codes, minlength=len(words)).flip(0) / 4000
    there = np.bincount(dataset.labels["glasses"][:300].astype(int), minlength=len(words)) / 300
    np.testing.assert_allclose(drawn, there, atol=4 * 0.5 / 4000**0.5)
    assert Condition("hat of felt", words).lacks(real)
    assert not Condition(None, ()).lacks(real)
    assert Condition(None, ()).sample_labels(References(real, real, False), 5, 0) is None


def test_evaluation_tells_each_image_its_own_label(trained: Path) -> None:
    found = evaluate(trained, n=64)
    dataset, model = open_dataset("faces:400", DataConfig(size=16)), load(trained)
    test = dataset.indices(TEST)
    codes = torch.from_numpy(dataset.labels["glasses"][test]).long()
    error = (model.reconstruct(dataset.load(test), codes) - dataset.load(test)).square().mean()
    assert found["stages"]["vae"]["reconstruction_error"]["value"] == pytest.approx(float(error), rel=1e-4)
    assert "copying_encoder" not in found["stages"]["vae"]
    main(["report", str(trained)])
    assert "What it keeps of an image" in (trained / "report.html").read_text("utf-8")
    assert len(found["neighbours"]["label"]) == len(found["neighbours"]["samples"]) == 8


def test_images_without_the_label_leave_out_what_needs_it(run: str) -> None:
    rng = np.random.default_rng(0)
    np.save("other.npy", rng.integers(0, 255, (70, 16, 16, 3), np.uint8))
    found = evaluate(run, "other.npy", n=64)
    assert "labels" in found["left_out"]["reconstruction_error"]
    assert "reconstruction_error" not in found["stages"]["vae"]
    assert "kernel_distance" in found["stages"]["vae"]


def test_sampling_takes_labels_one_by_one(trained: Path) -> None:
    model = load(trained)
    labels = torch.tensor([1, 0] * 40)
    images = model.sample(80, labels=labels)
    latents = model.latents(80)
    torch.testing.assert_close(images, model.decode(latents, labels), atol=1e-5, rtol=1e-5)
    assert torch.equal(model.sample(70, labels=labels[:70]), images[:70])
    assert torch.equal(model.sample(4), model.sample(4, labels=torch.arange(4) % len(model.config.labels)))


@pytest.mark.parametrize("labels", [[0, 1, 0], [0], [0, 1, 0, 1, 2], [0, 1, 0, 1, -1], [[0], [1], [0], [1], [0]]])
def test_labels_that_do_not_fit_are_refused(trained: Path, labels: Any) -> None:
    model, given = load(trained), torch.tensor(labels)
    images = model.sample(5)
    calls = [
        lambda: model.encode(images, given),
        lambda: model.decode(model.latents(5), given),
        lambda: model.sample(5, labels=given),
    ]
    for call in calls:
        with pytest.raises(RequestError, match="code"):
            call()


def test_likelihood_is_that_of_the_raw_output() -> None:
    """Logits and not their mean, which a Bernoulli model's decoder ends in."""
    network = NetworkConfig(width=4, width_limit=8, latent_dim=4, output="sigmoid")
    config = ModelConfig(size=16, channels=3, stage="vae", network=network, likelihood="bernoulli")
    torch.manual_seed(0)
    model = Model(config, Networks(config))
    images = -torch.ones(1, 3, 16, 16)
    posterior = model.posterior(images)
    raw = model.networks.decoder(posterior.mean, raw=True)
    fit = log_density("bernoulli", images, raw, torch.tensor(1.0))
    kl = 0.5 * (posterior.mean.square() + posterior.log_var.exp() - 1 - posterior.log_var).sum(1)
    torch.testing.assert_close(surprise(model, images), kl - fit)
    weights = log_weights(model, images, 3, 0, lambda *_: None)
    assert weights.shape == (3, 1)
