"""The model as a user and an attacker meet it: sampling, shapes, files that come back, files that are wrong."""

import json
import math
import pickle
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaegan.config import NetworkConfig
from vaegan.data import to_tensor
from vaegan.errors import ModelError, RequestError
from vaegan.export.folder import export_programs
from vaegan.model import Model
from vaegan.model_files import FORMAT_VERSION, ModelConfig, Networks
from vaegan.priors import PRIORS, Normal, Prior, Uniform, fit_mixture
from vaegan.randomness import keyed_seed

LATENT, SIZE, VARIANCE = 4, 16, 0.01
NETWORK = NetworkConfig(width=8, width_limit=16, latent_dim=LATENT)


def build(**settings: Any) -> Model:
    torch.manual_seed(0)
    config = ModelConfig(**{"size": SIZE, "channels": 3, "stage": "vae", "network": NETWORK, "variance": VARIANCE} | settings)
    return Model(config, Networks(config))


@pytest.fixture(scope="module")
def vae() -> Model:
    """With a mixture that is not the default."""
    model = build()
    latents = torch.randn(100, LATENT) * torch.tensor([0.3, 1, 2, 0.5]) + 1
    model.networks.mixture = fit_mixture(latents)
    return model


@pytest.fixture(scope="module")
def gan() -> Model:
    """From scratch: no encoder, no p(x|z)."""
    return build(stage="gan", variance=None, has_encoder=False, channels=1)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


class TestSampling:
    @pytest.mark.parametrize("count", [0, 1, 5, 64, 65, 70])
    def test_image_i_does_not_depend_on_how_many_are_asked_for(self, vae: Model, count: int) -> None:
        for options in ({}, {"sampler": "prior"}, {"observation_noise": True}):
            many = vae.sample(130, seed=3, **options)
            assert many.shape == (130, 3, SIZE, SIZE)
            assert torch.equal(vae.sample(count, seed=3, **options), many[:count])

    def test_latents_too(self, vae: Model) -> None:
        assert torch.equal(vae.latents(5), vae.latents(70)[:5])
        assert vae.latents(0).shape == (0, LATENT)
        assert torch.equal(vae.decode(vae.latents(64)), vae.sample(64))

    def test_blocks_differ_and_latents_are_standard_normal(self, vae: Model) -> None:
        latents = vae.latents(6400, sampler="prior")
        assert not torch.equal(latents[:64], latents[64:128])
        torch.testing.assert_close(latents.mean(0), torch.zeros(LATENT), atol=0.05, rtol=0)
        torch.testing.assert_close(torch.cov(latents.T), torch.eye(LATENT), atol=0.06, rtol=0)

    def test_seeds_differ_and_one_seed_repeats(self, vae: Model) -> None:
        assert torch.equal(vae.sample(3, seed=1), vae.sample(3, seed=1))
        assert not torch.equal(vae.sample(3, seed=1), vae.sample(3, seed=2))

    def test_numpys_whole_numbers_are_seeds_like_pythons(self, vae: Model) -> None:
        assert torch.equal(vae.sample(2, seed=np.int64(3)), vae.sample(2, seed=3))  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError):
            vae.sample(2, seed=3.5)  # pyright: ignore[reportArgumentType]

    def test_fewer_than_none_are_refused(self, vae: Model) -> None:
        assert len(vae.sample(0)) == len(vae.latents(0)) == 0
        for draw in (vae.sample, vae.latents, vae.sample_blocks):
            with pytest.raises(RequestError, match="-1 is no number"):
                draw(-1)

    def test_does_not_touch_the_global_random_numbers(self, vae: Model) -> None:
        before = torch.random.get_rng_state()
        vae.sample(3, observation_noise=True)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_mixture_samples_follow_the_mixture(self, vae: Model) -> None:
        latents = vae.latents(3000)
        networks = vae.networks
        wanted = networks.mixture.weights @ networks.mixture.means
        torch.testing.assert_close(latents.mean(0), wanted, atol=0.15, rtol=0)

    def test_temperature_narrows_what_latents_are_drawn_from(self, vae: Model) -> None:
        prior: dict[str, Any] = {"sampler": "prior"}
        assert torch.equal(vae.latents(70, temperature=0.5, **prior), 0.5 * vae.latents(70, **prior))
        usual, narrow = (vae.latents(3000, temperature=temperature) for temperature in (1.0, 0.25))
        mixture = vae.networks.mixture
        between = torch.cov(mixture.means.T, correction=0, aweights=mixture.weights)
        within = torch.einsum("k,kij,klj->il", mixture.weights, mixture.factors, mixture.factors)
        for latents, width in ((usual, 1.0), (narrow, 0.25)):
            wanted = (between + width**2 * within).trace()
            assert float(torch.cov(latents.T).trace()) == pytest.approx(float(wanted), rel=0.08)
        assert torch.equal(vae.sample(5, temperature=0.5, **prior), vae.decode(0.5 * vae.latents(64, **prior))[:5])
        assert torch.equal(vae.sample(5, temperature=1.0), vae.sample(5))
        for wrong in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(RequestError, match="The temperature is"):
                vae.sample(3, temperature=wrong)

    def test_a_prior_that_is_a_mixture_is_drawn_from_it(self, vae: Model, tmp_path: Path) -> None:
        model = build(stage="gan", variance=None, prior="mixture")
        model.networks.mixture = vae.networks.mixture
        assert torch.equal(model.latents(100), vae.latents(100, sampler="mixture"))
        model.save_pretrained(tmp_path / "model")
        assert torch.equal(Model.from_pretrained(tmp_path / "model").latents(100), model.latents(100))

    @pytest.mark.parametrize(("name", "kind"), [("normal", Normal), ("uniform", Uniform)])
    def test_a_gan_from_scratch_draws_through_its_prior(self, tmp_path: Path, name: Any, kind: type[Prior]) -> None:
        model = build(stage="gan", variance=None, has_encoder=False, prior=name)
        latents, prior = model.latents(130, seed=5), PRIORS[name](LATENT)
        assert isinstance(prior, kind)
        noise = [torch.randn(64, LATENT, generator=torch.Generator().manual_seed(keyed_seed(5, "sample", k))) for k in range(3)]
        assert torch.equal(latents, prior(torch.cat(noise))[:130])
        assert torch.equal(model.latents(130, seed=5, temperature=0.5), 0.5 * latents)
        assert torch.equal(model.sample(5, seed=5), model.decode(latents[:64])[:5])
        model.save_pretrained(tmp_path / "model")
        again = Model.from_pretrained(tmp_path / "model")
        assert again.config.prior == name
        assert torch.equal(again.latents(130, seed=5), latents)
        assert bool((latents.abs() <= 1).all()) == (name == "uniform")

    def test_a_mixture_that_was_never_fitted_is_refused(self, gan: Model) -> None:
        for model, why in ((build(), "no fitted mixture yet.*--resume"), (gan, "no encoder.*--sampler prior")):
            with pytest.raises(RequestError, match=why):
                model.sample(3, sampler="mixture")

    def test_a_vae_draws_from_its_mixture_once_that_is_fitted_and_a_gan_from_its_prior(self, vae: Model, gan: Model) -> None:
        for stage, fitted, wanted in (
            ("vae", True, ("mixture", "prior")),
            ("joint", True, ("mixture", "prior")),
            ("vae", False, ("prior",)),
            ("ae", True, ("mixture",)),
            ("gan", True, ("prior",)),
        ):
            model = build(stage=stage)
            model.networks.mixture = vae.networks.mixture if fitted else model.networks.mixture
            assert model.samplers == wanted
            assert torch.equal(model.latents(70, seed=2), model.latents(70, seed=2, sampler=wanted[0]))
        assert gan.samplers == ("prior",)
        assert not torch.equal(vae.latents(70), vae.latents(70, sampler="prior"))

    def test_observation_noise_is_refused_where_there_is_none(self, gan: Model) -> None:
        with pytest.raises(RequestError, match="GAN has no p"):
            gan.sample(3, observation_noise=True)

    def test_observation_noise_has_the_models_variance(self, vae: Model) -> None:
        clean, noisy = vae.sample(200), vae.sample(200, observation_noise=True)
        free = clean.abs() < 1 - 5 * VARIANCE**0.5  # what the clamp cannot reach
        noise = (noisy - clean)[free]
        assert len(noise) > 1000
        assert float(noise.var()) == pytest.approx(VARIANCE, rel=0.1)
        assert float(noise.mean()) == pytest.approx(0, abs=0.02)
        assert noisy.abs().max() <= 1


class TestShapes:
    @pytest.mark.parametrize("shape", [(LATENT,), (2, LATENT + 1), (2, LATENT, 1), (2, 0)])
    def test_wrong_latents_are_refused(self, vae: Model, shape: tuple[int, ...]) -> None:
        with pytest.raises(RequestError, match=r"this model wants \[n, 4\]"):
            vae.decode(torch.zeros(shape))

    @pytest.mark.parametrize("shape", [(3, SIZE, SIZE), (2, 1, SIZE, SIZE), (2, 3, SIZE, SIZE + 1), (2, 3, 32, 32)])
    def test_wrong_images_are_refused(self, vae: Model, shape: tuple[int, ...]) -> None:
        for call in (vae.encode, vae.posterior, vae.reconstruct):
            with pytest.raises(RequestError, match=r"this model wants \[n, 3, 16, 16\]"):
                call(torch.zeros(shape))

    @pytest.mark.parametrize(
        ("value", "said"),
        [(math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite"), (1.5, "from -1 to 1.5"), (255.0, "to_tensor")],
    )
    def test_images_of_other_values_are_refused_by_name(self, vae: Model, images: Tensor, value: float, said: str) -> None:
        images[0, 0, 0, 0], images[-1, 1, 3, 4] = -1, value
        for call in (vae.encode, vae.posterior, vae.reconstruct):
            for given in (images, images.double(), images.numpy()):
                with pytest.raises(RequestError, match=said):
                    call(given)

    def test_what_rounding_adds_and_what_a_model_made_is_taken(self, vae: Model, images: Tensor) -> None:
        vae.encode(images * 1.001)
        vae.encode(vae.decode(torch.randn(6, LATENT) * 5))

    def test_arrays_are_images(self, vae: Model) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), np.uint8)
        wanted = vae.encode(to_tensor(pixels))
        assert torch.equal(vae.encode(pixels), wanted)
        floats = pixels / 127.5 - 1
        for given in (floats, np.moveaxis(floats, 3, 1), np.moveaxis(floats, 3, 1).astype(np.float32)[:, :, ::-1][:, :, ::-1]):
            torch.testing.assert_close(vae.encode(given), wanted)
        torch.testing.assert_close(vae.decode(wanted.double().numpy()), vae.reconstruct(pixels))
        grey = build(channels=1)
        assert torch.equal(grey.encode(pixels[..., 0]), grey.encode(pixels[..., :1]))
        torch.testing.assert_close(grey.encode(floats[..., 0]), grey.encode(pixels[..., 0]))

    @pytest.mark.parametrize(
        "given",
        [
            np.zeros((2, SIZE, SIZE, 3), np.int64),
            np.zeros((2, SIZE, SIZE, 3), bool),
            np.array([None, 1]),
            np.zeros((SIZE, SIZE), np.uint8),
            np.zeros((2, SIZE, SIZE), np.uint8),
            np.zeros((2, SIZE, SIZE + 1, 3), np.float32),
            np.zeros(3),
            torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8),
            [[0.0]],
            "photo.png",
            None,
        ],
    )
    def test_what_are_no_images_is_refused_in_words(self, vae: Model, given: Any) -> None:
        with pytest.raises(RequestError, match="this model wants") as caught:
            vae.reconstruct(given)
        assert "\n" not in str(caught.value)

    def test_a_gan_from_scratch_cannot_encode(self, gan: Model) -> None:
        assert not gan.has_encoder
        for call in (gan.encode, gan.posterior, gan.reconstruct):
            with pytest.raises(RequestError, match="no encoder"):
                call(torch.zeros(2, 1, SIZE, SIZE))

    @pytest.mark.parametrize("stage", ["vae", "gan"])
    def test_encode_gives_the_posterior_mean(self, images: Tensor, stage: str) -> None:
        model = build(stage=stage)
        assert torch.equal(model.encode(images), model.posterior(images).mean)

    def test_reconstruct_is_decode_of_encode_in_range(self, vae: Model, images: Tensor) -> None:
        reconstructed = vae.reconstruct(images)
        assert torch.equal(reconstructed, vae.decode(vae.encode(images)))
        assert reconstructed.shape == images.shape
        assert vae.decode(100 * torch.ones(1, LATENT)).abs().max() == 1

    def test_long_batches_are_cut_and_joined_in_order(self, vae: Model) -> None:
        latents = vae.latents(300)
        torch.testing.assert_close(vae.decode(latents)[290:], vae.decode(latents[290:]), atol=1e-5, rtol=1e-5)
        images = vae.decode(latents)
        torch.testing.assert_close(vae.encode(images)[290:], vae.encode(images[290:]), atol=1e-4, rtol=1e-4)

    def test_what_it_gives_can_be_learned_from(self, vae: Model, images: Tensor) -> None:
        # Tensors of torch's inference mode cannot: neither a probe on encodings nor latents that are fitted.
        probe = torch.zeros(LATENT, 1, requires_grad=True)
        (vae.encode(images) @ probe - 1).square().mean().backward()
        assert probe.grad is not None
        fitted = vae.latents(2).requires_grad_()
        vae.networks.decoder(fitted).square().mean().backward()
        assert fitted.grad is not None
        assert fitted.grad.norm() > 0

    def test_nothing_tracks_gradients(self, vae: Model, images: Tensor) -> None:
        assert not any(tensor.requires_grad for tensor in vae.networks.parameters())
        assert not vae.encode(images).requires_grad
        assert not vae.networks.training


@pytest.mark.parametrize(
    "settings",
    [{"size": 15}, {"size": 257}, {"channels": 2}, {"variance": 0.0}, {"variance": float("nan")}, {"variance": float("inf")}],
)
def test_impossible_configurations_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        ModelConfig(**{"size": 16, "channels": 3, "stage": "vae"} | settings)


class TestFiles:
    def test_round_trip_is_exact(self, vae: Model, images: Tensor, tmp_path: Path) -> None:
        vae.save_pretrained(tmp_path / "new" / "model", card="# Faces\n")
        again = Model.from_pretrained(tmp_path / "new" / "model")
        assert again.config == vae.config
        for options in ({}, {"sampler": "prior"}, {"observation_noise": True}):
            assert torch.equal(again.sample(5, **options), vae.sample(5, **options))
        assert torch.equal(again.encode(images), vae.encode(images))
        assert not any(tensor.requires_grad for tensor in again.networks.parameters())
        files = {path.name for path in (tmp_path / "new" / "model").iterdir()}
        assert files == {"config.json", "model.safetensors", "README.md"}
        assert (tmp_path / "new" / "model" / "README.md").read_text() == "# Faces\n"

    @pytest.mark.parametrize("kind", ["plain", "residual"])
    @pytest.mark.parametrize("size", [16, 28])
    def test_round_trip_without_an_encoder(self, tmp_path: Path, kind: str, size: int) -> None:
        network = NetworkConfig(kind=kind, width=8, width_limit=16, latent_dim=LATENT)
        model = build(stage="gan", variance=None, has_encoder=False, channels=1, size=size, network=network)
        model.save_pretrained(tmp_path)
        again = Model.from_pretrained(str(tmp_path))
        assert torch.equal(again.sample(5), model.sample(5))
        assert "GAN" in (tmp_path / "README.md").read_text()

    def test_saving_over_a_model_replaces_it(self, vae: Model, gan: Model, tmp_path: Path) -> None:
        vae.save_pretrained(tmp_path)
        gan.save_pretrained(tmp_path)
        assert torch.equal(Model.from_pretrained(tmp_path).sample(2), gan.sample(2))

    def test_saving_over_something_else_is_refused(self, vae: Model, tmp_path: Path) -> None:
        notes, run, file = tmp_path / "notes", tmp_path / "run", tmp_path / "file"
        notes.mkdir(), run.mkdir(), file.touch()
        (notes / "README.md").write_text("mine")
        (run / "run.json").write_text("{}")
        for place, why in ((notes, "no model of this package"), (run, "is a run"), (file, "is a file")):
            with pytest.raises(RequestError, match=why):
                vae.save_pretrained(place)
        assert (notes / "README.md").read_text() == "mine"
        assert len(list(tmp_path.rglob("*"))) == 5

    def test_a_disk_that_fills_leaves_nothing_half_written(self, vae: Model, tmp_path: Path) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(OSError, match="too large") as caught:
                vae.save_pretrained(tmp_path)
            with pytest.raises(OSError, match="too large"):
                export_programs(vae, tmp_path / "exported")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert caught.value.filename == str(tmp_path / "model.safetensors")
        assert not list(tmp_path.iterdir())

    def test_a_conditional_model_knows_its_labels(self, tmp_path: Path) -> None:
        model = build(labels=("ant", "bee"))
        model.networks.decoder.label_bias.weight.data.normal_()
        model.save_pretrained(tmp_path)
        read = Model.from_pretrained(tmp_path)
        assert read.config.labels == ("ant", "bee")
        assert torch.equal(read.sample(4), model.sample(4))
        assert not torch.equal(read.for_label("ant").sample(1), read.for_label("bee").sample(1))

    @pytest.mark.parametrize("setting", ["classes", "critic_hidden"])
    def test_settings_that_networks_lost_are_unknown_in_this_format(self, gan: Model, tmp_path: Path, setting: str) -> None:
        gan.save_pretrained(tmp_path)
        values = json.loads((tmp_path / "config.json").read_text())
        values["network"][setting] = 0
        (tmp_path / "config.json").write_text(json.dumps(values))
        refused(tmp_path, setting)

    def test_config_is_plain_json_that_names_library_and_format(self, vae: Model, tmp_path: Path) -> None:
        vae.save_pretrained(tmp_path)
        values = json.loads((tmp_path / "config.json").read_text())
        assert values["library"] == "vaegan"
        assert values["format_version"] == FORMAT_VERSION
        assert values["network"]["latent_dim"] == LATENT
        assert values["variance"] == VARIANCE


def refused(folder: Path, complaint: str | None = None) -> None:
    with pytest.raises(ModelError, match=complaint) as caught:
        Model.from_pretrained(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_reading_a_model_does_not_load_torchs_compiler(gan: Model, vae: Model, tmp_path: Path) -> None:
    """It is wanted by some operations on tensors without content, and takes a second of every command."""
    for name, model in (("vae", vae), ("gan", gan)):
        model.save_pretrained(tmp_path / name)
    code = (
        "import sys; from vaegan.model import Model\n"
        f"for name in ('vae', 'gan'): Model.from_pretrained({str(tmp_path)!r} + '/' + name)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class TestWrongFiles:
    @pytest.fixture
    def saved(self, vae: Model, tmp_path: Path) -> Path:
        vae.save_pretrained(tmp_path)
        return tmp_path

    @pytest.fixture
    def rewrite(self, saved: Path) -> Callable[..., None]:
        def change(**values: Any) -> None:
            path = saved / "config.json"
            old = json.loads(path.read_text())
            network = old["network"] | values.pop("network", {})
            path.write_text(json.dumps(old | values | {"network": network}))

        return change

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_missing_file(self, saved: Path, name: str) -> None:
        (saved / name).unlink()
        refused(saved, "is missing")

    def test_missing_folder(self, tmp_path: Path) -> None:
        refused(tmp_path / "absent", "is missing")

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_folder_in_place_of_a_file(self, saved: Path, name: str) -> None:
        (saved / name).unlink()
        (saved / name).mkdir()
        refused(saved)

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "3", "null", '"vaegan"', '{"library": "vaegan"', "\ufeff{}", "{}", '{"library": ["vaegan"]}']
    )
    def test_bad_json(self, saved: Path, text: str) -> None:
        (saved / "config.json").write_text(text, "utf-8")
        refused(saved, r"config\.json")

    def test_bytes_that_are_no_text(self, saved: Path) -> None:
        (saved / "config.json").write_bytes(b"\xff\xfe\x00" * 10)
        refused(saved, r"config\.json")

    def test_endless_configuration(self, saved: Path) -> None:
        (saved / "config.json").write_bytes(b" " * 1_000_001)
        refused(saved, "too large")

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ({"library": "diffusers"}, "not the configuration"),
            ({"format_version": FORMAT_VERSION + 1}, "Install the version"),
            ({"format_version": 10}, "Install the version"),
            ({"format_version": str(FORMAT_VERSION)}, "format"),
            ({"format_version": True}, "format True"),
            ({"size": 10**9}, "not possible"),
            ({"size": -1}, "not possible"),
            ({"size": "16 by 16"}, "size"),
            ({"channels": 10**6}, "cannot be built"),
            ({"stage": "diffusion"}, "stage"),
            ({"variance": -1.0}, "variance"),
            ({"variance": float("nan")}, "variance"),
            ({"surprise": 1}, "surprise"),
            ({"network": {"latent_dim": 10**9}}, "latent-dim is 1000000000"),
            ({"network": {"width": 10**9}}, "width"),
            ({"network": {"blocks": 10**9}}, "blocks"),
            ({"network": {"latent_dim": 0}}, "latent-dim is 0"),
            ({"network": {"kind": "transformer"}}, "kind"),
        ],
    )
    def test_wrong_settings(self, saved: Path, rewrite: Callable[..., None], values: dict[str, Any], complaint: str) -> None:
        rewrite(**values)
        refused(saved, complaint)

    @pytest.mark.parametrize("network", [{"latent_dim": 10**9}, {"latent_dim": 8192}, {"width": 1024, "width_limit": 4096}])
    def test_nothing_is_allocated_for_a_configuration_the_weights_do_not_back(
        self, saved: Path, rewrite: Callable[..., None], network: dict[str, int]
    ) -> None:
        rewrite(network=network, size=256)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused(saved)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # [KiB]

    @pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 0.5, -1])
    def test_truncated_weights(self, saved: Path, keep: float) -> None:
        path = saved / "model.safetensors"
        whole = path.read_bytes()
        path.write_bytes(whole[: int(keep * len(whole))] if isinstance(keep, float) else whole[:keep])
        refused(saved, r"model\.safetensors")

    def test_header_that_claims_to_be_huge(self, saved: Path) -> None:
        path = saved / "model.safetensors"
        path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:])
        refused(saved, r"model\.safetensors")

    @pytest.mark.parametrize(
        ("name", "value"), [("decoder.start.bias", math.nan), ("decoder.start.bias", math.inf), ("mixture.ends", math.nan)]
    )
    def test_weights_that_are_not_finite(self, saved: Path, name: str, value: float) -> None:
        path = saved / "model.safetensors"
        tensors = load_file(path)
        tensors[name][1] = value
        save_file(tensors, path)
        refused(saved, rf"not finite, in '{name}' \(and 0 more")

    @pytest.mark.parametrize("change", ["wrong shape", "extra", "lacking", "integers", "double precision"])
    def test_weights_that_do_not_fit(self, saved: Path, change: str) -> None:
        path = saved / "model.safetensors"
        tensors = load_file(path)
        if change == "wrong shape":
            tensors["decoder.start.bias"] = tensors["decoder.start.bias"][:-1].clone()
        elif change in ("integers", "double precision"):
            kind = torch.int32 if change == "integers" else torch.float64
            tensors["decoder.start.bias"] = tensors["decoder.start.bias"].to(kind)
        elif change == "extra":
            tensors["decoder.start.bios"] = torch.zeros(1)
        else:
            del tensors["decoder.start.bias"]
        save_file(tensors, path)
        refused(saved, r"decoder\.start\.bi.s' \(and 0 more")

    def test_weights_of_another_size(self, saved: Path, rewrite: Callable[..., None]) -> None:
        rewrite(size=64)
        refused(saved, "does not fit")

    @pytest.mark.parametrize("name", ["size", "channels", "stage"])
    def test_a_config_that_lacks_what_it_needs(self, saved: Path, name: str) -> None:
        values = json.loads((saved / "config.json").read_text())
        del values[name]
        (saved / "config.json").write_text(json.dumps(values))
        refused(saved, f"{name} is missing")

    def test_a_config_nested_without_end(self, saved: Path) -> None:
        (saved / "config.json").write_text("[" * 200_000)
        refused(saved, "config.json")

    def test_a_config_with_a_number_beyond_all_floats(self, saved: Path) -> None:
        text = (saved / "config.json").read_text()
        (saved / "config.json").write_text(text.replace(f'"variance": {VARIANCE}', '"variance": 1' + "0" * 400))
        refused(saved, "variance")

    def test_a_pickle_is_never_run(self, saved: Path) -> None:
        trap = saved / "sprung"

        class Bomb:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (trap,)

        path = saved / "model.safetensors"
        path.write_bytes(pickle.dumps(Bomb()))
        refused(saved, r"model\.safetensors")
        torch.save({"decoder": Bomb()}, path)
        assert zipfile.is_zipfile(path)
        refused(saved, r"model\.safetensors")
        assert not trap.exists()
