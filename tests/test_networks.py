"""Networks against shapes, padding rules and scale arguments that are worked out here anew."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Bernoulli, ContinuousBernoulli

from vaegan.config import NetworkConfig
from vaegan.networks import Critic, Decoder, Encoder, plan_stages
from vaegan.networks.blocks import Residual, crop_to, initialise, pad_to
from vaegan.networks.outputs import OUTPUTS, langevin
from vaegan.networks.stages import GridPlan, stage_widths
from vaegan.networks.subpixel import SubPixel
from vaegan.shapes import Shape

SIZES = (16, 20, 28, 31, 32, 48, 64, 100, 128, 200, 256)
KINDS = ("plain", "residual")
NETWORKS = (Encoder, Critic, Decoder)


def tiny(kind: str = "plain", **settings: object) -> NetworkConfig:
    return NetworkConfig(kind=kind, **{"width": 8, "width_limit": 16, "latent_dim": 4} | settings)


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_every_size_gives_right_shapes(size: int, kind: str, channels: int) -> None:
    images = torch.rand(2, channels, size, size) * 2 - 1
    encoder, critic, decoder = (network(tiny(kind), size, channels) for network in NETWORKS)

    posterior, logits, decoded = encoder(images), critic(images), decoder(torch.randn(2, 4))

    assert posterior.mean.shape == posterior.log_var.shape == (2, 4)
    assert logits.shape == (2,)
    assert decoded.shape == images.shape
    for output in (*posterior, logits, decoded):
        assert output.dtype == torch.float32
        assert output.isfinite().all()
        assert not torch.equal(output[0], output[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [Shape(28, 28), Shape(64, 64), Shape(100, 100), Shape(40, 90)])
def test_trunk_halves_the_padded_sides_at_every_stage(shape: Shape, kind: str) -> None:
    stages = plan_stages(shape)
    features = Critic(tiny(kind), shape, 1).trunk(torch.zeros(1, 1, *shape))
    for axis, padded in enumerate(stages.padded):
        wanted = [padded // 2**k for k in range(1, stages.halvings + 1)]
        assert [feature.shape[2 + axis] for feature in features] == wanted
    assert features[-1].shape[2:] == stages.grid


@given(st.integers(16, 256))
def test_plan_of_a_square_has_a_grid_of_four_to_six(size: int) -> None:
    grid = plan_stages(size).grid
    assert grid.height == grid.width
    assert 4 <= grid.height <= 6


@given(st.integers(16, 256), st.integers(16, 256))
def test_plan_pads_no_more_than_its_halvings_need(height: int, width: int) -> None:
    stages = plan_stages(Shape(height, width))
    step = 2**stages.halvings
    for side, padded, grid in zip((height, width), stages.padded, stages.grid, strict=True):
        assert side <= padded < side + step
        assert padded == grid * step
    assert stages.grid.area <= 36


@pytest.mark.parametrize("kind", [*KINDS, "classic", "mlp"])
@pytest.mark.parametrize("shape", [Shape(24, 40), Shape(64, 16)])
def test_networks_take_and_make_rectangles(shape: Shape, kind: str) -> None:
    config = NetworkConfig(kind=kind, latent_dim=8, width=8, width_limit=16)  # pyright: ignore[reportArgumentType]
    images = torch.randn(2, 3, *shape)
    assert Decoder(config, shape, 3)(torch.randn(2, 8)).shape == images.shape
    assert Encoder(config, shape, 3)(images).mean.shape == (2, 8)
    assert Critic(config, shape, 3)(images).shape == (2,)


@pytest.mark.parametrize(
    ("size", "padded", "halvings", "grid"), [(28, 32, 3, 4), (32, 32, 3, 4), (64, 64, 4, 4), (48, 48, 3, 6), (16, 16, 2, 4)]
)
def test_plan_of_known_sizes(size: int, padded: int, halvings: int, grid: int) -> None:
    stages = plan_stages(size)
    assert stages == GridPlan(Shape(padded, padded), halvings, Shape(grid, grid))


def test_tiny_preset_has_the_widths_and_parameters_it_is_said_to_have() -> None:
    config = NetworkConfig()
    assert stage_widths(config, 4) == [16, 32, 64, 128]
    # Linear, three transposed convolutions with two more behind each, the sub-pixel convolution; each with its bias.
    wanted = 65 * 128 * 16 + sum(16 * a * b + b for a, b in ((128, 64), (64, 32), (32, 16))) + 9 * 16 * 12 + 12
    wanted += sum(2 * (9 * width**2 + width) for width in (64, 32, 16))
    assert sum(parameter.numel() for parameter in Decoder(config, 64, 3).parameters()) == wanted


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 2**31))
def test_padding_repeats_the_border_and_cropping_undoes_it(size: int, taller: int, wider: int, seed: int) -> None:
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))
    padded = pad_to(images, Shape(size + taller, size + wider))
    borders = ((0, 0), (0, 0), *((more // 2, more - more // 2) for more in (taller, wider)))
    np.testing.assert_array_equal(padded.numpy(), np.pad(images.numpy(), borders, mode="edge"))
    assert torch.equal(crop_to(padded, Shape(size, size)), images)


@pytest.mark.parametrize("network", NETWORKS)
def test_residual_networks_start_as_identity_blocks(network: type[nn.Module]) -> None:
    built = network(tiny("residual", blocks=2), 32, 3)
    blocks = [module for module in built.modules() if isinstance(module, Residual)]
    assert len(blocks) == 2 * (plan_stages(32).halvings + 1)
    for block in blocks:
        x = torch.randn(2, block.first.in_channels, 8, 8)
        assert torch.equal(block(x), x)
        assert block.first.weight.abs().sum() > 0
    assert not [module for module in built.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(512, 512), (256, 512)),
        (nn.Conv2d(64, 64, 3), (16, 64, 16, 16)),
        (nn.Conv2d(32, 64, 4, stride=2), (16, 32, 32, 32)),
        (nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1), (16, 64, 16, 16)),
    ],
    ids=["linear", "conv3", "strided", "transposed"],
)
@torch.no_grad()
def test_initialisation_keeps_the_scale_through_a_leaky_relu(layer: nn.Module, shape: tuple[int, ...]) -> None:
    initialise(layer)
    out = layer(nn.functional.leaky_relu(torch.randn(shape), 0.2))
    inner = out[..., 1:-1, 1:-1] if out.ndim == 4 else out
    assert inner.square().mean() == pytest.approx(1, rel=0.1)
    assert layer.bias.abs().max() == 0


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_posterior_and_logits_are_float32_under_bfloat16(kind: str) -> None:
    encoder, critic, decoder = (network(tiny(kind), 32, 3).eval() for network in NETWORKS)
    images, latents = torch.rand(4, 3, 32, 32) * 2 - 1, torch.randn(4, 4)
    exact = (*encoder(images), critic(images), decoder(latents, raw=True))
    with torch.autocast("cpu", torch.bfloat16):
        low = (*encoder(images), critic(images), decoder(latents, raw=True))
    for wanted, output in zip(exact, low, strict=True):
        assert output.dtype == torch.float32
        assert not torch.equal(output, wanted)  # or autocast did nothing
        # Equal where only the type is float32, as of pictures, which nobody needs finer.
        assert torch.equal(output, output.bfloat16().float()) == (output.ndim == 4)
        torch.testing.assert_close(output, wanted, atol=0.05 * float(wanted.abs().max()), rtol=0)


def test_first_posteriors_are_near_the_prior_and_first_logits_near_indifference() -> None:
    images = torch.rand(16, 3, 32, 32) * 2 - 1
    posterior = Encoder(tiny(), 32, 3)(images)
    assert posterior.mean.abs().max() < 2
    assert posterior.log_var.abs().max() < 2
    critics = [Critic(tiny(), 16, 3) for _ in range(20)]  # so many that their deviation is near the one they are drawn with
    assert float(torch.cat([critic.head.weight.detach() for critic in critics]).std()) == pytest.approx(0.01, rel=0.1)
    assert all(critic.head.bias.abs().max() == 0 for critic in critics)


@torch.no_grad()
def test_critic_can_weigh_places_of_the_image_against_each_other() -> None:
    """Opposite corners share no place of the last map: a linear head adds up what each says, hidden numbers see both."""
    images = torch.zeros(4, 3, 32, 32, dtype=torch.float64)
    images[1, :, 0, 0] = images[2, :, -1, -1] = 1
    images[3] = images[1] + images[2]

    def interaction(critic: Critic) -> float:
        none, first, last, both = critic.double()(images)
        return abs(float(both - first - last + none)) / float((first - none).abs())

    linear = Critic(tiny(), 32, 3)
    linear.hidden, linear.head = nn.Identity(), nn.Linear(linear.trunk.out_features, 1)
    assert interaction(linear) < 1e-4
    assert interaction(Critic(tiny(), 32, 3)) > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_and_critic_have_the_same_trunk(kind: str) -> None:
    encoder, critic = Encoder(tiny(kind), 28, 1), Critic(tiny(kind), 28, 1)
    shapes = [{name: t.shape for name, t in network.trunk.state_dict().items()} for network in (encoder, critic)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("output", OUTPUTS)
@torch.no_grad()
def test_decoder_ends_as_told_and_within_the_range_of_images(output: str) -> None:
    decoder = Decoder(tiny(output=output), 16, 1)
    latents = 100 * torch.randn(8, 4)
    raw, images = decoder(latents, raw=True), decoder(latents)
    assert images.abs().max() <= 1
    assert torch.equal(images, decoder.output(raw))
    if output in ("linear", "tanh"):  # a squared error is taken of the raw numbers, so they must be the image wherever it is one
        assert torch.equal(images, raw.clamp(-1, 1))
    assert (raw.abs().max() > 2) == (output != "tanh")


@pytest.mark.parametrize("kind", [Bernoulli, ContinuousBernoulli])
def test_probabilistic_outputs_are_the_means_of_their_distributions(kind: type[Bernoulli] | type[ContinuousBernoulli]) -> None:
    logits = torch.cat([torch.linspace(-12, 12, 97), torch.tensor([-0.41, -0.39, -1e-3, 0, 1e-5, 0.2, 0.39, 0.41])]).double()
    output = OUTPUTS["sigmoid" if kind is Bernoulli else "continuous-bernoulli"]()
    torch.testing.assert_close(output(logits), 2 * kind(logits=logits).mean - 1, rtol=1e-4, atol=1e-6)
    assert output(torch.tensor([-400.0, 400.0])).isfinite().all()


def test_mean_of_a_continuous_bernoulli_has_a_smooth_gradient() -> None:
    logits = torch.linspace(-2, 2, 42, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(langevin, (logits,))
    assert float(langevin(torch.tensor(0.4))) != pytest.approx(float(torch.tanh(torch.tensor(0.4))), abs=0.1)


def test_sub_pixels_are_interpolated_means_with_details_less_what_they_are_around() -> None:
    patterns = (lambda y, x: 1 - 2 * x, lambda y, x: 1 - 2 * y, lambda y, x: (1 - 2 * x) * (1 - 2 * y))
    for colour, rgb in enumerate(((1, 1, 1), (1, -1, 0), (1, 1, -2))):
        length = math.sqrt(sum(part**2 for part in rgb) / 3)
        scales = ((1, 0.25, 0.25, 0.12), (0.35, 0.02, 0.02, 0.01))[min(colour, 1)]
        for shape in range(4):
            blocks = torch.zeros(1, 12, 8, 9)
            blocks[0, 4 * colour + shape, 3, 4] = 2
            image = SubPixel(3)(blocks)
            assert image.shape == (1, 3, 16, 18)
            wanted = np.zeros((3, 16, 18))
            for channel, y, x in np.ndindex(wanted.shape):
                part = 2 * scales[shape] * rgb[channel] / length
                if shape == 0:  # a tent of two blocks' side each way around the centre of the block
                    wanted[channel, y, x] = part * max(0, 1 - abs(y - 6.5) / 2) * max(0, 1 - abs(x - 8.5) / 2)
                elif abs(y // 2 - 3) <= 2 and abs(x // 2 - 4) <= 2:
                    share = float((y // 2, x // 2) == (3, 4)) - 0.75 / 25
                    wanted[channel, y, x] = part * share * patterns[shape - 1](y % 2, x % 2)
            np.testing.assert_allclose(image[0], wanted, atol=1e-6, err_msg=f"{colour} {shape}")


def test_sub_pixels_keep_an_even_picture_even_up_to_the_border() -> None:
    blocks = torch.zeros(1, 12, 8, 8)
    blocks[:, 0] = 0.7
    torch.testing.assert_close(SubPixel(3)(blocks), torch.full((1, 3, 16, 16), 0.7))


def test_sub_pixels_of_one_channel_are_the_brightness_of_three() -> None:
    grey, colour = torch.randn(2, 4, 3, 3), torch.zeros(2, 12, 3, 3)
    colour[:, :4] = grey
    torch.testing.assert_close(SubPixel(3)(colour), SubPixel(1)(grey).expand(-1, 3, -1, -1))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_of_even_sides_has_sub_pixel_coordinates(channels: int) -> None:
    layer = SubPixel(channels).double()
    columns = layer(torch.eye(16 * 4 * channels, dtype=torch.float64).view(-1, 4 * channels, 4, 4)).flatten(1)
    assert int(torch.linalg.matrix_rank(columns)) == 64 * channels
