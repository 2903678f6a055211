"""Exported networks, run by onnxruntime and by a Python that cannot import this package."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from vaegan import ModelError, RequestError, extras
from vaegan.cli import main
from vaegan.config import NetworkConfig
from vaegan.export.folder import export_onnx, export_programs, half_onnx_bytes
from vaegan.export.graphs import Graph, graphs
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.priors import fit_mixture

pytestmark = pytest.mark.heavy


def a_model(size: int, channels: int, stage: str, kind: str = "plain", has_encoder: bool = True, prior: str = "normal") -> Model:
    """Random weights."""
    torch.manual_seed(0)
    network = NetworkConfig(kind=kind, latent_dim=6, width=4, width_limit=8)  # pyright: ignore[reportArgumentType]
    variance = 0.07 if stage == "vae" else None
    named = {"has_encoder": has_encoder, "prior": prior}
    config = ModelConfig(size, channels, stage, network, variance, **named)  # pyright: ignore[reportArgumentType]
    return Model(config, Networks(config))


CASES = {
    "grey 28 vae": a_model(28, 1, "vae"),
    "colour 64 gan": a_model(64, 3, "gan"),
    "residual colour 28 gan": a_model(28, 3, "gan", "residual"),
}


@pytest.fixture(
    scope="module",
    params=["grey 28 vae", "colour 64 gan", pytest.param("residual colour 28 gan", marks=pytest.mark.slow)],
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    model = CASES[request.param]
    folder = tmp_path_factory.mktemp("onnx") / "export"
    export_onnx(model, folder)
    return model, folder


def run_onnx(path: Path, inputs: torch.Tensor) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(str(path))
    return [np.asarray(part) for part in session.run(None, {session.get_inputs()[0].name: inputs.numpy()})]


def test_onnx_files_compute_what_the_model_does(exported: tuple[Model, Path]) -> None:
    model, folder = exported
    name = "decoder" if model.config.stage == "vae" else "generator"
    assert sorted(path.name for path in folder.iterdir()) == sorted([f"{name}.onnx", "encoder.onnx"])
    for count in (1, 3, 65):
        latents = 2 * torch.randn(count, 6, generator=torch.Generator().manual_seed(count))
        images = model.decode(latents)
        (found,) = run_onnx(folder / f"{name}.onnx", latents)
        np.testing.assert_allclose(found, images.numpy(), atol=1e-5)
        mu, log_var = run_onnx(folder / "encoder.onnx", images)
        np.testing.assert_allclose(mu, model.encode(images).numpy(), atol=2e-5)
        np.testing.assert_allclose(log_var, model.posterior(images).log_var.numpy(), atol=2e-5)


def test_a_draw_from_the_exported_posterior_is_one_of_the_models(exported: tuple[Model, Path]) -> None:
    model, folder = exported
    images = model.sample(4)
    mu, log_var = run_onnx(folder / "encoder.onnx", images)
    noise = torch.randn(4, 6)
    posterior = model.posterior(images)
    wanted = posterior.mean + torch.exp(posterior.log_var / 2) * noise
    np.testing.assert_allclose(mu + np.exp(log_var / 2) * noise.numpy(), wanted.numpy(), atol=2e-5)


def test_onnx_files_say_what_they_are_and_nothing_of_this_machine(exported: tuple[Model, Path]) -> None:
    model, folder = exported
    for path in folder.iterdir():
        proto = onnx.load(path)
        onnx.checker.check_model(proto, full_check=True)
        facts = {entry.key: entry.value for entry in proto.metadata_props}
        assert (facts["size"], facts["channels"], facts["latent"]) == (str(model.config.size), str(model.config.channels), "6")
        assert facts["range"] == "[-1, 1]"
        assert facts.get("variance") == ("0.07" if model.config.stage == "vae" else None)
        if path.stem == "encoder":
            assert [value.name for value in proto.graph.output] == ["mu", "log_var"]
            assert facts.keys() >= {"mu", "log_var", "sampling"}
        assert {value.type.tensor_type.shape.dim[0].dim_param for value in proto.graph.input} == {"batch"}
        written = path.read_bytes()
        assert not any(trace in written for trace in (b"site-packages", b".py", str(Path.home()).encode(), b"stack_trace"))


def test_half_the_bytes_stay_within_sixty_decibels(tmp_path: Path) -> None:
    model = CASES["colour 64 gan"]
    half = half_onnx_bytes(graphs(model)[0])
    weights = sum(tensor.numel() for tensor in model.networks.decoder.state_dict().values())
    assert len(half) < 2 * weights + 10_000
    (tmp_path / "half.onnx").write_bytes(half)
    latents = model.latents(32, seed=1)
    (found,) = run_onnx(tmp_path / "half.onnx", latents)
    error = np.square(found - model.decode(latents).numpy()).mean()
    assert 10 * np.log10(4 / error) >= 60
    assert error > 0


def test_weights_that_float16_cannot_hold_are_refused() -> None:
    model = a_model(16, 1, "vae")
    model.networks.decoder.start.weight[0, 0] = 1e6
    with pytest.raises(ModelError, match="float32 weights"):
        half_onnx_bytes(graphs(model)[0])


@pytest.mark.parametrize("off", [1.1e-5, float("nan")])
def test_what_computes_something_else_is_refused(off: float) -> None:
    (decoder, encoder) = graphs(CASES["grey 28 vae"])

    def near(graph: Graph, off: float) -> float:
        return graph.difference(lambda batches: [[part + off for part in graph.expected(torch.tensor(b))] for b in batches])

    for graph in (decoder, encoder):
        assert 5e-6 < near(graph, 9e-6) <= 1e-5
        with pytest.raises(ModelError, match=f"exported {graph.name} differs from the model by"):
            near(graph, off)


@pytest.mark.parametrize("stage", [pytest.param("vae", marks=pytest.mark.slow), "gan"])
def test_programs_run_without_this_package(stage: str, tmp_path: Path) -> None:
    model = a_model(28, 3, stage)
    made = export_programs(model, tmp_path / "export")
    name = "decoder" if stage == "vae" else "generator"
    assert [file.path.name for file in made] == [f"{name}.pt2", "encoder.pt2"]
    assert all(file.difference <= 1e-5 for file in made)
    latents = model.latents(5)
    program = torch.export.load(made[0].path, extra_files=(stored := {"vaegan.json": ""}))
    torch.testing.assert_close(program.module()(latents), model.decode(latents), atol=1e-5, rtol=0)
    assert json.loads(stored["vaegan.json"])["stage"] == stage
    mu, log_var = torch.export.load(made[1].path).module()(model.decode(latents))
    torch.testing.assert_close(mu, model.encode(model.decode(latents)), atol=2e-5, rtol=0)
    torch.testing.assert_close(log_var, model.posterior(model.decode(latents)).log_var, atol=2e-5, rtol=0)
    for file in made:
        load = f"import sys, torch; sys.modules['vaegan'] = None; torch.export.load({str(file.path)!r}).module()"
        done = subprocess.run([sys.executable, "-I", "-c", load], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not any(trace in file.path.read_bytes() for trace in (b"site-packages", b".py"))


def test_a_plain_autoencoder_has_no_posterior_to_export() -> None:
    model = a_model(16, 1, "ae")
    decoder, encoder = graphs(model)
    assert (decoder.name, encoder.outputs, encoder.facts["prior"]) == ("decoder", ("mu",), "none")
    (mu,) = encoder.expected(encoder.examples)
    np.testing.assert_array_equal(mu, model.encode(encoder.examples).numpy())


def test_a_uniform_prior_is_told_and_tried() -> None:
    generator, prior = graphs(a_model(16, 1, "gan", has_encoder=False, prior="uniform"))
    assert "uniform on [-1, 1]" in generator.facts["prior"]
    assert 0.9 < prior.expected(prior.examples)[0].max() <= 1
    assert generator.examples.shape == (64, 6)
    assert 0.9 < generator.examples.abs().max() <= 1
    assert graphs(CASES["colour 64 gan"])[0].facts["prior"] == "N(0, I)"


def test_a_prior_that_is_a_mixture_is_a_graph_of_its_own(tmp_path: Path) -> None:
    model = a_model(16, 1, "gan", prior="mixture")
    model.networks.mixture = fit_mixture(torch.randn(300, 6, generator=torch.Generator().manual_seed(0)) ** 3)
    made = export_onnx(model, tmp_path / "export")
    assert [file.path.name for file in made] == ["generator.onnx", "encoder.onnx", "prior.onnx"]
    noise = torch.randn(9, 7, generator=torch.Generator().manual_seed(1))
    (latents,) = run_onnx(made[2].path, noise)
    np.testing.assert_allclose(latents, model.networks.mixture(noise), atol=1e-5)
    assert onnx.load(made[2].path).metadata_props[0].key
    (written,) = (file for file in export_programs(model, tmp_path / "programs") if file.path.stem == "prior")
    torch.testing.assert_close(torch.export.load(written.path).module()(noise), model.networks.mixture(noise), atol=1e-5, rtol=0)


def test_a_vaes_mixture_is_a_graph_beside_its_prior(tmp_path: Path) -> None:
    model = a_model(16, 1, "vae")
    model.networks.mixture = fit_mixture(torch.randn(300, 6, generator=torch.Generator().manual_seed(0)) ** 3)
    made = export_onnx(model, tmp_path / "export")
    assert [file.path.name for file in made] == ["decoder.onnx", "encoder.onnx", "mixture.onnx"]
    noise = torch.randn(9, 7, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(run_onnx(made[2].path, noise)[0], model.networks.mixture(noise), atol=1e-5)
    assert {entry.key: entry.value for entry in onnx.load(made[2].path).metadata_props}["prior"] == "N(0, I)"


def test_the_command_asks_for_the_extra_and_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("export").mkdir()
    Path("export/mine.txt").write_text("kept")
    with pytest.raises(SystemExit, match="2"):
        main(["export", "nowhere"])
    assert "export already exists" in capsys.readouterr().err
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(SystemExit, match="2"):
        main(["export", "nowhere", "--out", "new"])
    message = capsys.readouterr().err
    assert "[onnx]" in message
    assert message.endswith("pip install onnxscript\n")
    with pytest.raises(RequestError, match="onnxscript"):
        export_onnx(CASES["grey 28 vae"], Path("new"))
    assert [path.name for path in Path().rglob("*")] == ["export", "mine.txt"]


def test_the_command_speaks_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaegan.export.folder.save_program", lambda graph, path: path.write_bytes(b"12345") * 1e-7)
    CASES["colour 64 gan"].save_pretrained("model")
    main(["export", "model", "--to", "export", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["stage"] == "gan"
    assert facts["files"][0] == {
        "path": "export/generator.pt2",
        "input": "latents [batch, 6]",
        "outputs": ["images"],
        "difference": pytest.approx(5e-7),
        "bytes": 5,
    }
    assert [file["path"] for file in facts["files"]] == ["export/generator.pt2", "export/encoder.pt2"]


def test_the_documented_snippet_needs_numpy_and_onnxruntime_only(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    a_model(28, 1, "gan", has_encoder=False).save_pretrained("model")
    main(["export", "model"])
    printed = capsys.readouterr().out
    assert "no encoder" in printed
    assert "export/generator.onnx" in printed
    snippet = re.findall(r"```python\n(.*?)```", (repository / "docs/export.md").read_text("utf-8"), re.DOTALL)[0]
    guard = "import sys\nsys.modules.update(dict.fromkeys(['vaegan', 'torch', 'PIL', 'onnx'], None))\n"
    done = subprocess.run([sys.executable, "-I", "-c", guard + snippet], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    from PIL import Image

    with Image.open("row.ppm") as picture:
        assert picture.size == (8 * 28, 28)
