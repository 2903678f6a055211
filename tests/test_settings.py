"""Settings to plain values and back: names and types are checked, presets load, files merge."""

import inspect
import json
import math
import os
import re
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaegan.config import (
    Budget,
    ClassicGANConfig,
    DataConfig,
    DeviceConfig,
    GANConfig,
    JointConfig,
    NetworkConfig,
    TrainConfig,
    VAEConfig,
)
from vaegan.config_files import PRESETS, load_config_file, load_preset
from vaegan.errors import RequestError
from vaegan.settings import from_dictionary, read_toml, to_dictionary

GROUPS = (
    *(DataConfig, NetworkConfig, VAEConfig, GANConfig, JointConfig, ClassicGANConfig, DeviceConfig, Budget),
    TrainConfig,
)


@dataclass(frozen=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True)
class Sample:
    count: int = 3
    rate: float = 0.5
    on: bool = False
    name: str = "a"
    kind: Literal["x", "y"] = "x"
    perhaps: float | None = None
    inner: Inner = Inner()


def read(values: dict[str, Any]) -> Sample:
    return from_dictionary(Sample, values, "here.toml")


odd_settings = st.builds(
    TrainConfig,
    recipe=st.sampled_from(["vae-gan", "vae", "gan"]),
    seed=st.integers(0, 2**40),
    network=st.builds(NetworkConfig, width=st.integers(1, 64), kind=st.sampled_from(["plain", "residual"])),
    vae=st.builds(VAEConfig, learning_rate=st.floats(1e-9, 1), batch_size=st.integers(1, 512)),
    gan=st.builds(GANConfig, penalty=st.floats(1e-9, 10)),
    data=st.builds(DataConfig, size=st.integers(16, 256), fit=st.sampled_from(["crop", "pad", "stretch"])),
)


@given(odd_settings)
def test_settings_survive_json(config: TrainConfig) -> None:
    values = json.loads(json.dumps(to_dictionary(config)))
    assert from_dictionary(TrainConfig, values, "run.json") == config


def test_what_is_left_out_has_its_default() -> None:
    assert read({}) == Sample()
    assert read({"inner": {}, "count": 5}) == replace(Sample(), count=5)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"cuont": 3}, "cuont"),
        ({"inner": {"dpeth": 3}}, "inner.dpeth"),
        ({"inner": 3}, "inner must be a group"),
        ({"inner": None}, "inner must be a group"),
        ({"count": "3"}, "count is '3'; it must be of type int"),
        ({"count": 3.0}, "count is 3.0; it must be of type int"),
        ({"count": True}, "count is True; it must be of type int"),
        ({"count": None}, "count is None"),
        ({"rate": "fast"}, "rate is 'fast'; it must be of type float"),
        ({"rate": True}, "rate is True"),
        ({"on": 1}, "on is 1; it must be of type bool"),
        ({"name": 1}, "name is 1"),
        ({"kind": "z"}, "kind is 'z'; choose one of x, y"),
        ({"kind": ["x"]}, "kind is"),
        ({"perhaps": "x"}, "perhaps is 'x'; it must be of type float"),
        ({"inner": {"depth": True}}, "inner.depth is True"),
    ],
)
def test_wrong_names_and_types_are_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RequestError, match=re.escape(complaint)) as caught:
        read(values)
    assert str(caught.value).startswith("here.toml: ")
    assert "\n" not in str(caught.value)


def test_whole_numbers_become_floats_and_none_stays_none() -> None:
    found = read({"rate": 2, "perhaps": 3})
    assert (found.rate, found.perhaps) == (2.0, 3.0)
    assert isinstance(found.rate, float)
    assert isinstance(found.perhaps, float)
    assert read({"perhaps": None}).perhaps is None


@pytest.mark.parametrize("size", [0, 15, 257, 10**9, -64, 64.5, True, "64x8", "64x96x3", "wide", "", "64x", "9" * 5000])
def test_impossible_values_are_refused(size: object) -> None:
    with pytest.raises(RequestError):
        from_dictionary(TrainConfig, {"data": {"size": size}}, "run.json")


@pytest.mark.parametrize(("size", "plain"), [(64, 64), ("64", 64), ("64x64", 64), ("96x64", "96x64"), ("64 X 96", "64x96")])
def test_one_size_is_written_in_one_way(size: int | str, plain: int | str) -> None:
    config = DataConfig(size=size)
    assert config.size == plain
    assert str(config.shape) == str(plain if isinstance(plain, str) else f"{plain}x{plain}")


@pytest.mark.parametrize("name", ["latent_dim", "width", "width_limit", "blocks"])
@pytest.mark.parametrize("value", [0, -1, 10**9])
def test_impossible_networks_are_refused(name: str, value: int) -> None:
    with pytest.raises(RequestError, match=f"--network.{name.replace('_', '-')} is {value}"):
        NetworkConfig(kind="residual", **{name: value})


def test_a_plain_decoder_needs_no_residual_blocks_and_the_sources_have_none() -> None:
    assert NetworkConfig(blocks=0).blocks == 0
    with pytest.raises(RequestError, match="for plain and residual"):
        NetworkConfig(kind="mlp", blocks=2)


@pytest.mark.parametrize(
    ("group", "name", "values"),
    [
        (VAEConfig, "batch_size", (0, -1, 10**8)),
        (VAEConfig, "samples", (0, 10**6)),
        (VAEConfig, "learning_rate", (0.0, -1.0, math.nan, math.inf)),
        (VAEConfig, "average_cap", (0, -1)),
        (VAEConfig, "kl_weight", (-1.0, math.nan, math.inf)),
        (VAEConfig, "kl_warmup", (-0.1, 1.1, math.nan)),
        (GANConfig, "batch_size", (0, -1, 1, 10**8)),
        (JointConfig, "batch_size", (0, 1, 10**8)),
        (GANConfig, "final_learning_rate", (0.0, math.nan)),
        (GANConfig, "penalty", (-1.0, math.nan, math.inf)),
        (GANConfig, "augmentation", (-0.1, 1.1, math.nan)),
        (GANConfig, "refit_every", (-1, 10**16)),
        (GANConfig, "jitter", (-1, 10**20)),
        (GANConfig, "anchor", (1e30,)),
        (VAEConfig, "kl_cycles", (0, -1)),
        (Budget, "vae_share", (0.0, 1.0, math.nan)),
        (JointConfig, "kl_weight", (-1.0, math.nan)),
        (ClassicGANConfig, "batch_size", (0, 1, 10**8)),
        (ClassicGANConfig, "beta1", (1.0, -0.1, math.nan)),
        (ClassicGANConfig, "critic_steps", (0, -1)),
        (ClassicGANConfig, "clip", (-0.1, math.nan)),
    ],
)
def test_numbers_no_training_can_be_done_with_are_refused(group: type, name: str, values: tuple[float, ...]) -> None:
    for value in values:
        with pytest.raises(RequestError, match=name.replace("_", "-")) as caught:
            group(**{name: value})
        assert "\n" not in str(caught.value)


def test_losses_without_any_part_are_refused() -> None:
    with pytest.raises(RequestError, match=r"--vae\.reconstruction-weight 0 and --vae\.kl-weight 0"):
        VAEConfig(reconstruction_weight=0, kl_weight=0)


def test_what_is_infinite_is_not_told_to_be_more() -> None:
    with pytest.raises(RequestError, match="is inf; it must be more than 0 and at most 1e15"):
        VAEConfig(learning_rate=math.inf)


@pytest.mark.parametrize("name", ["penalty", "jitter", "anchor", "augmentation", "refit_every"])
def test_what_can_be_switched_off_may_be_zero(name: str) -> None:
    assert getattr(GANConfig(**{name: 0}), name) == 0


def test_recipes_name_their_stages() -> None:
    assert TrainConfig().stages == ("vae", "gan")
    assert TrainConfig(recipe="gan").stages == ("gan",)
    assert TrainConfig(recipe="classic-gan").stages == ("gan",)


def test_a_stage_has_the_batches_of_its_recipe_s_settings() -> None:
    config = TrainConfig(vae=VAEConfig(batch_size=3), gan=GANConfig(batch_size=5), classic=ClassicGANConfig(batch_size=7))
    assert [config.batch_size(stage) for stage in ("ae", "vae", "gan")] == [3, 3, 5]
    assert replace(config, recipe="classic-gan").batch_size("gan") == 7


def test_a_wasserstein_critic_is_bounded_by_something() -> None:
    with pytest.raises(RequestError, match=r"--classic\.clip 0\.01"):
        ClassicGANConfig(objective="wasserstein")
    for bound in ({"clip": 0.01}, {"penalty": 10.0}):
        assert ClassicGANConfig(objective="wasserstein", **bound)


def test_every_setting_has_a_help_text() -> None:
    """The attribute docstrings are the help: each field's name is followed by one in the source."""
    for group in GROUPS:
        source = Path(inspect.getfile(group)).read_text("utf-8")
        body = source.split(f"class {group.__name__}:")[1].split("@dataclass")[0]
        for entry in (one for one in fields(group) if one.default is not MISSING):  # a group of settings has its own docstring
            assert re.search(rf'^    {entry.name}: .*\n    """', body, re.M), f"{group.__name__}.{entry.name}"


class TestPresets:
    @pytest.mark.parametrize("name", PRESETS)
    def test_load(self, name: str) -> None:
        config = load_preset(name)
        assert config.stages == ("vae", "gan")
        assert from_dictionary(TrainConfig, to_dictionary(config), "again") == config

    def test_differ_as_they_should(self) -> None:
        tiny, small, base, large = map(load_preset, PRESETS)
        assert tiny.network.kind == small.network.kind == "plain"
        wider = replace(tiny.network, width=2 * tiny.network.width, width_limit=2 * tiny.network.width_limit)
        assert small == replace(tiny, network=wider)
        assert base.network.kind == large.network.kind == "residual"
        assert tiny.network.width < base.network.width < large.network.width
        assert tiny.vae.average_cap < base.vae.average_cap < large.vae.average_cap

    @pytest.mark.parametrize("name", ["huge", "", "../tiny", "tiny.toml"])
    def test_others_are_refused(self, name: str) -> None:
        with pytest.raises(RequestError, match="tiny, small, base, large"):
            load_preset(name)


class TestConfigFile:
    def file(self, folder: Path, text: str) -> Path:
        path = folder / "mine.toml"
        path.write_text(text, "utf-8")
        return path

    def test_merges_over_the_preset(self, tmp_path: Path) -> None:
        base = load_preset("base")
        path = self.file(tmp_path, 'seed = 5\n[network]\nwidth = 24\n[gan]\npenalty = 2\nprior = "normal"\n')
        merged = load_config_file(path, base)
        assert merged == replace(
            base,
            seed=5,
            network=replace(base.network, width=24),
            gan=replace(base.gan, penalty=2.0, prior="normal"),
        )

    def test_empty_file_changes_nothing_and_measured_results_are_no_setting(self, tmp_path: Path) -> None:
        base = load_preset("large")
        assert load_config_file(self.file(tmp_path, ""), base) == base
        assert load_config_file(self.file(tmp_path, "[measured]\nspeed = 3\n"), base) == base

    @pytest.mark.parametrize(
        "text",
        [
            "seed = ",
            "[network\n",
            "netwrok.width = 3",
            "network = 3",
            "[network]\nwidht = 3",
            "[network]\nwidth = 0",
            "[network]\nwidth = 2.5",
            "[data]\nsize = 4000",
            'recipe = "gan-vae"',
            "seed = 1\nseed = 2",
            "seed = true",
            "seed = 2020-01-01",
        ],
    )
    def test_refuses_junk_in_one_line(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(RequestError) as caught:
            load_config_file(self.file(tmp_path, text), TrainConfig())
        assert "\n" not in str(caught.value)

    def test_refuses_bytes_folders_and_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "bytes.toml").write_bytes(bytes(range(256)))
        (tmp_path / "deep.toml").write_text(f"x = {'[' * 5000}")
        (tmp_path / "digits.toml").write_text(f"seed = {'9' * 5000}")
        (tmp_path / "large.toml").write_text("# " + 1_000_000 * "-")
        cases = (
            ("bytes.toml", "is not TOML"), (".", "Cannot read"), ("absent.toml", "Cannot read"), ("deep.toml", "too deeply"),
            ("digits.toml", "is not TOML"), ("large.toml", "too large"),
        )  # fmt: skip
        for name, complaint in cases:
            with pytest.raises(RequestError, match=complaint):
                load_config_file(tmp_path / name, TrainConfig())


@pytest.mark.parametrize(("images", "part"), [(1_000, 840), (20_000, 16_800), (31_000, 24_000), (168_000, 100_800)])
def test_a_short_run_gives_the_vae_most_of_its_images(images: int, part: float) -> None:
    assert Budget().vae_images(images) == pytest.approx(part)
    assert Budget(vae_share=0.25).vae_images(images) == images / 4


@pytest.mark.parametrize(("seconds", "speed", "part"), [(100, 100, 60), (500, 100, 240), (1_000, 100, 300), (240, 2_000, 72)])
def test_a_short_run_gives_the_vae_most_of_its_time(seconds: float, speed: float, part: float) -> None:
    assert Budget().vae_seconds(seconds, speed) == pytest.approx(part)
    assert Budget(vae_share=0.25).vae_seconds(seconds, speed) == seconds / 4


@pytest.mark.parametrize("settings", [{"devices": 0}, {"devices": -3}, {"nodes": 0}])
def test_there_is_at_least_one_process(settings: dict[str, int]) -> None:
    with pytest.raises(RequestError, match=f"--{next(iter(settings))} is .*; it must be 1 or more"):
        DeviceConfig(**settings)


def test_settings_are_not_read_from_what_never_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for place in (tmp_path / "pipe.toml", Path("/dev/zero")):
        with pytest.raises(RequestError, match="not a regular file"):
            read_toml(place)
