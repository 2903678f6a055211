"""The sources' presets and networks: what they are, what batch normalisation asks for, and what is refused."""

import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engines import OneProcess
from vaegan.config import DeviceConfig, NetworkConfig, TrainConfig
from vaegan.config_files import PRESETS, SOURCES, load_preset
from vaegan.errors import ModelError, RequestError
from vaegan.export.folder import onnx_bytes
from vaegan.export.graphs import graphs, traced
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.networks.classic import plan_grids
from vaegan.networks.normalisation import normalises_batches
from vaegan.parts.optimizers import optimizer_of
from vaegan.parts.player import Player
from vaegan.parts.schedule import Clock
from vaegan.recipes import classic_gan
from vaegan.settings import to_dictionary
from vaegan.training.checks import check_settings

NORMALISED = NetworkConfig(kind="classic", norm="batch", latent_dim=4, width=4, width_limit=8)
MLP = NetworkConfig(kind="mlp", latent_dim=4, width=12, layers=2)


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def networks_of(name: str) -> tuple[Encoder, Decoder, Critic]:
    config = load_preset(name)
    channels = 1 if config.data.channels == "1" else 3
    with torch.device("meta"):
        return tuple(kind(config.network, config.data.size, channels) for kind in (Encoder, Decoder, Critic))  # pyright: ignore


class TestPresets:
    def test_every_file_is_known_and_states_its_source_and_differences(self) -> None:
        folder = resources.files("vaegan").joinpath("presets", "sources")
        assert {file.name.removesuffix(".toml") for file in folder.iterdir()} == set(SOURCES)
        for name in SOURCES:
            text = folder.joinpath(f"{name}.toml").read_text("utf-8")
            for part in ("# Source: ", "# As there: ", "# Differences: "):
                assert part in text, name
            assert tomllib.loads(text)["measured"]["status"], name

    @pytest.mark.parametrize("name", SOURCES)
    def test_can_be_trained_as_they_are_without_schedules_or_flips(self, name: str) -> None:
        config = load_preset(name)
        check_settings(config, 1)
        stage: Any = getattr(config, config.group(config.stages[0]))
        assert config.stages == (("gan",) if "gan" in name else ("vae",))
        assert config.recipe == ("classic-gan" if "gan" in name else "vae")
        assert stage.batch_size == 128
        if config.recipe == "vae":  # the GANs' rate is constant, and nothing of them is averaged
            assert stage.learning_rate == stage.final_learning_rate
            assert stage.average_cap == 1
        assert classic_gan.AVERAGE_CAP == 1
        assert "muon" not in to_dictionary(stage).values()  # which is younger than the sources
        assert config.data.flip == "off"
        assert config.guards == "warn"

    def test_comic_faces_are_trained_with_the_patience_of_the_source(self) -> None:
        assert load_preset("comic-face-vae").patience == 10

    def test_a_wrong_name_shows_them_after_our_own(self) -> None:
        with pytest.raises(RequestError, match=rf"{', '.join(PRESETS)}, or a source's: {', '.join(SOURCES)}\.$"):
            load_preset("dcgna")

    def test_comic_face_networks_have_the_layers_of_the_source(self) -> None:
        encoder, decoder, _ = networks_of("comic-face-vae")
        kernels = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
        assert [layer.out_channels for layer in kernels] == [32, 64, 128, 256]
        assert {(layer.kernel_size, layer.stride) for layer in kernels} == {((4, 4), (2, 2))}
        assert (encoder.head.in_features, encoder.head.out_features) == (256 * 4 * 4, 2 * 512)
        back = [layer for layer in decoder.modules() if isinstance(layer, nn.ConvTranspose2d)]
        assert (decoder.start_channels, decoder.grid) == (512, (4, 4))
        assert [layer.out_channels for layer in back] == [256, 128, 64, 3]
        assert not normalises_batches(encoder)
        assert not normalises_batches(decoder)

    def test_dcgan_has_the_parameters_of_the_published_tutorial_and_a_few_biases(self) -> None:
        _, generator, critic = networks_of("dcgan")
        assert parameters(generator) == 3_576_704 + 512 * 4 * 4 + 3
        assert parameters(critic) == 2_765_568 + 64 + 1

    def test_mlp_is_784_400_20_and_back(self) -> None:
        encoder, decoder, _ = networks_of("mnist-vae-mlp")
        assert parameters(encoder) == 785 * 400 + 401 * 2 * 20
        assert parameters(decoder) == 21 * 400 + 401 * 784

    @pytest.mark.parametrize(("name", "layer"), [("transposed", nn.ConvTranspose2d), ("nearest", nn.Upsample)])
    def test_celeba_doubles_its_side_four_times_by_its_upsampler(self, name: str, layer: type[nn.Module]) -> None:
        encoder, decoder, _ = networks_of(f"celeba-vae-{name}")
        other = nn.Upsample if layer is nn.ConvTranspose2d else nn.ConvTranspose2d
        kinds = [type(one) for one in decoder.modules()]
        assert (kinds.count(layer), kinds.count(other)) == (4, 0)
        assert (decoder.grid, encoder.head.out_features) == ((8, 8), 2 * 200)


def test_classic_weights_are_drawn_as_asked_for() -> None:
    config = replace(NORMALISED, width=32, width_limit=64, weights="normal")
    decoder = Decoder(config, 32, 3)
    assert float(decoder.start.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    scales = torch.cat([layer.weight.detach() for layer in decoder.modules() if isinstance(layer, nn.BatchNorm2d)])
    assert float(scales.mean()) == pytest.approx(1, abs=0.01)
    assert float(scales.std()) == pytest.approx(0.02, rel=0.3)
    uniform = Encoder(replace(config, weights="uniform"), 32, 3).head.weight.detach()
    assert float(uniform.abs().max()) == pytest.approx(uniform.shape[1] ** -0.5, rel=0.01)  # torch: +-1/sqrt(inputs)


@pytest.mark.parametrize("size", [16, 20, 28, 31, 64, 100])
@pytest.mark.parametrize("config", [NORMALISED, replace(NORMALISED, upsampling="nearest", norm="none"), MLP])
@torch.no_grad()
def test_every_size_gives_right_shapes(config: NetworkConfig, size: int) -> None:
    images = torch.rand(3, 3, size, size) * 2 - 1
    assert Decoder(config, size, 3)(torch.randn(3, 4)).shape == images.shape
    assert Encoder(config, size, 3)(images).mean.shape == (3, 4)
    assert Critic(config, size, 3)(images).shape == (3,)


def test_sides_are_halved_down_to_four_and_no_further() -> None:
    found = {size: plan_grids(size, 4) for size in (16, 28, 31, 64, 128)}
    assert {size: (one.halvings, one.grid.height, one.padded.width) for size, one in found.items()} == {
        16: (2, 4, 16),
        28: (2, 7, 28),
        31: (2, 8, 32),
        64: (4, 4, 64),
        128: (4, 8, 128),
    }


def model_of(config: NetworkConfig, size: int = 16) -> Model:
    """With statistics that are no longer those of a fresh network."""
    networks = Networks(ModelConfig(size=size, channels=1, stage="vae", network=config, variance=0.1))
    assert networks.encoder is not None
    for _ in range(3):
        networks.decoder(networks.encoder(torch.randn(8, 1, size, size)).mean)
    return Model(ModelConfig(size=size, channels=1, stage="vae", network=config, variance=0.1), networks)


class TestBatchNormalisation:
    @torch.no_grad()
    def test_a_models_image_does_not_depend_on_its_batch(self) -> None:
        model, latents = model_of(NORMALISED), torch.randn(6, 4)
        together, alone = model.decode(latents), torch.cat([model.decode(one) for one in latents.split(1)])
        torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(model.encode(together)[:1], model.encode(together[:1]), atol=1e-6, rtol=1e-5)
        model.networks.decoder.train()  # what would happen with a batch's own statistics
        assert not torch.allclose(model.networks.decoder(latents)[:2], model.networks.decoder(latents[:2]), atol=1e-3)

    def test_a_model_comes_back_as_it_was_saved(self, tmp_path: Path) -> None:
        for config in (NORMALISED, MLP):
            model, latents = model_of(config), torch.randn(3, 4)
            model.save_pretrained(tmp_path)
            again = Model.from_pretrained(tmp_path)
            assert torch.equal(again.decode(latents), model.decode(latents))
            assert not again.networks.training

    def test_counts_of_another_kind_are_refused(self, tmp_path: Path) -> None:
        model_of(NORMALISED).save_pretrained(tmp_path)
        tensors = load_file(tmp_path / "model.safetensors")
        name = next(name for name in tensors if name.endswith("num_batches_tracked"))
        assert int(tensors[name]) == 3
        save_file(tensors | {name: tensors[name].float()}, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match="num_batches_tracked"):
            Model.from_pretrained(tmp_path)

    def test_the_average_takes_over_the_statistics(self) -> None:
        decoder = Decoder(NORMALISED, 16, 1)
        player = Player(decoder, optimizer_of("adam", (0.5, 0.999)), lambda progress: 0.0, OneProcess(), 1000)
        decoder(5 * torch.randn(8, 4))
        player.finish(Clock(0, 100, 8))
        kept, wanted = dict(player.averaged.named_buffers()), dict(decoder.named_buffers())
        assert kept.keys() == wanted.keys()
        assert all(torch.equal(kept[name], wanted[name]) for name in kept)
        assert not player.averaged.training


def settings(network: NetworkConfig = NORMALISED, **rest: Any) -> TrainConfig:
    return replace(TrainConfig(**rest), network=network)


class TestRefusals:
    @pytest.mark.parametrize(
        ("config", "names"),
        [
            (settings(), ("--network.norm batch", "--recipe vae-gan")),
            (settings(recipe="joint"), ("--network.norm batch", "--recipe joint")),
            (settings(recipe="gan"), ("--network.norm batch", "--recipe gan")),
            (settings(recipe="vae", device=DeviceConfig(devices=2)), ("--network.norm batch", "--devices 2")),
        ],
    )
    def test_name_both_settings_in_one_line(self, config: TrainConfig, names: tuple[str, str]) -> None:
        with pytest.raises(RequestError) as caught:
            check_settings(config, 1)
        assert all(name in str(caught.value) for name in names)
        assert "\n" not in str(caught.value)

    def test_what_hands_nothing_over_may_be_normalised(self) -> None:
        for recipe in ("ae", "vae", "classic-gan"):
            check_settings(settings(recipe=recipe), 1)
        for recipe in ("vae-gan", "joint", "gan"):
            check_settings(settings(MLP, recipe=recipe), 1)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"norm": "batch"},
            {"upsampling": "nearest"},
            {"decoder_width": 8},
            {"activation": "relu"},
            {"layers": 0},
            {"layers": 8},
            {"kind": "mlp", "blocks": 5},
        ],
    )
    def test_networks_that_lack_it(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(RequestError, match=next(iter(wrong)).replace("_", ".")):
            NetworkConfig(**wrong)


@pytest.mark.parametrize("config", [replace(NORMALISED, upsampling="nearest"), MLP])
def test_exported_programs_equal_the_model(config: NetworkConfig) -> None:
    for graph in graphs(model_of(config)):
        program = traced(graph).module()
        assert graph.difference(lambda batches, run=program: [arrays(run(torch.from_numpy(one))) for one in batches]) < 1e-5


def arrays(outputs: Any) -> list[Any]:
    return [one.numpy() for one in (outputs if isinstance(outputs, tuple) else (outputs,))]


@pytest.mark.slow
@pytest.mark.parametrize("config", [NORMALISED, replace(NORMALISED, upsampling="nearest"), MLP])
def test_onnx_equals_the_model(config: NetworkConfig) -> None:
    pytest.importorskip("onnxruntime")
    for graph in graphs(model_of(config)):
        assert onnx_bytes(graph)[1] < 1e-5
