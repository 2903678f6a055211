"""Octaves of samples against those of real images, and the layer that scales them."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.config import NetworkConfig
from vaegan.metrics.spectrum import detail_energy, texture_power
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.networks.subpixel import SubPixel
from vaegan.recipes.equalising import FEWEST, SAMPLES, equalise


def scaled(channels: int, finest: float = 1, second: float = 1, grid: float = 1, coarse_grid: float = 1) -> SubPixel:
    layer = SubPixel(channels)
    layer.scale(finest, second, grid, coarse_grid)
    return layer


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_finest_factor_scales_what_is_added_to_the_means(channels: int) -> None:
    blocks = randn(2, 4 * channels, 8, 9)
    smooth = blocks.clone().unflatten(1, (-1, 4))
    smooth[:, :, 1:] = 0
    image, means = SubPixel(channels)(blocks), SubPixel(channels)(smooth.flatten(1, 2))
    torch.testing.assert_close(scaled(channels, finest=1.7)(blocks), means + 1.7 * (image - means))


def test_the_second_factor_scales_a_checkerboard_of_blocks_and_no_even_picture() -> None:
    even, checks = torch.zeros(2, 1, 4, 12, 12)
    even[:, 0] = 0.7
    checks[:, 0] = 1 - 2.0 * (torch.arange(12)[:, None] + torch.arange(12)).remainder(2)
    plain, more = SubPixel(1), scaled(1, second=1.4)
    torch.testing.assert_close(more(even), plain(even))
    inner = slice(6, -6)  # beyond the border's reach
    torch.testing.assert_close(more(checks)[..., inner, inner], 1.4 * plain(checks)[..., inner, inner])


def test_what_is_set_replaces_what_was_set() -> None:
    """A model that starts from a kept one has its kernel, and is itself kept."""
    twice = scaled(3, 1.3, 1.5, 0.5, 0.25)
    twice.scale(0.9, 1.2, 0.8, 0.7)
    assert torch.equal(twice.kernel, scaled(3, 0.9, 1.2, 0.8, 0.7).kernel)
    twice.steep_floor = 0.1
    twice.as_learned(0.06)
    assert torch.equal(twice.kernel, SubPixel(3).kernel)
    assert (twice.floor, twice.steep_floor) == (0.06, 0)


def test_the_grid_factor_scales_what_details_repeat_and_nothing_that_they_do_not() -> None:
    same, alone = torch.zeros(2, 1, 12, 12, 12)
    same[:, 1::4], same[:, 3::4], alone[:, 3, 6, 6] = 1, -0.5, 1
    plain, less = SubPixel(3), scaled(3, grid=0.3)
    torch.testing.assert_close(less(same), 0.3 * plain(same))
    assert float((less(alone) - plain(alone)).abs().max()) < 0.01 * float(plain(alone).abs().max())


@pytest.mark.parametrize("floor", [0.0, 0.06])
@pytest.mark.parametrize("turning", ["across", "down", "both"])
def test_the_coarse_grid_factor_scales_what_turns_around_in_every_other_block(turning: str, floor: float) -> None:
    signs = 1 - 2.0 * torch.arange(16).remainder(2)
    across, down = (signs if turning in ways else torch.ones(16) for ways in (("across", "both"), ("down", "both")))
    blocks = randn(1, 12, 1, 1) * torch.outer(down, across)
    plain, less = SubPixel(3, floor), scaled(3, coarse_grid=0.3)
    less.floor = floor
    inner = slice(8, -8)  # beyond the border's reach
    found, wanted = less(blocks)[..., inner, inner], plain(blocks)[..., inner, inner]
    if floor == 0:
        torch.testing.assert_close(found, 0.3 * wanted)
    else:  # details are weighed after they were scaled: the weaker ones lose more
        ratio = float((found * wanted).sum() / wanted.square().sum())
        assert 0.2 < ratio < 0.31


@pytest.mark.parametrize("turning", ["nowhere", "across", "down", "both"])
def test_the_coarse_grid_factor_leaves_even_pictures_and_twice_the_period_alone(turning: str) -> None:
    signs = torch.tensor([1.0, 1, -1, -1]).repeat(5)
    across, down = (signs if turning in ways else torch.ones(20) for ways in (("across", "both"), ("down", "both")))
    blocks = randn(1, 12, 1, 1) * torch.outer(down, across)
    inner = slice(8, -8)
    torch.testing.assert_close(scaled(3, coarse_grid=0.3)(blocks)[..., inner, inner], SubPixel(3)(blocks)[..., inner, inner])


def powers(images: Tensor) -> tuple[float, ...]:
    """The finest octave, the next, and the textures at two and at four pixels."""
    textures = (float(texture_power(images, period).mean()) for period in (2, 4))
    return float(detail_energy(images).mean()), float(detail_energy(F.avg_pool2d(images, 2)).mean()), *textures


@pytest.fixture
def model() -> Model:
    """A decoder with random weights, whose samples have details of every kind."""
    network = NetworkConfig(latent_dim=8, width=8, width_limit=16)
    config = ModelConfig(16, 3, "gan", network, has_encoder=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = Networks(config)
    last = networks.decoder.stages[-2]
    assert isinstance(last, torch.nn.Conv2d)
    with torch.no_grad():
        last.weight.mul_(4)
        last.bias[3] = 5  # a grid
    return Model(config, networks)


class Checkers(torch.nn.Module):
    """Draws blocks of two pixels in turn bright and dark: every bit of their octave's power is next to another's."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = torch.nn.Sequential(SubPixel(3))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        blocks = torch.zeros(1, 12, 8, 8)
        blocks[:, 0::4] = 0.2 * (1 - 2.0 * (torch.arange(8)[:, None] + torch.arange(8)).remainder(2))
        return self.stages(blocks * latents[:, :1, None, None])


def test_checkers_do_not_make_it_swing_around_the_goal(model: Model) -> None:
    model.networks.decoder = Checkers()  # pyright: ignore[reportAttributeAccessIssue]
    real = 1.3 * model.sample(SAMPLES)
    equalise(model, [real], 0)
    assert powers(model.sample(SAMPLES))[:2] == pytest.approx(powers(real)[:2], rel=0.05)


@pytest.mark.parametrize("gains", [(1.3, 1.2, 0.6, 1.0), (0.8, 0.85, 0.4, 0.7), (1.2, 1.1, 1.0, 0.5)])
def test_samples_get_the_energy_of_real_images(model: Model, gains: tuple[float, float, float, float]) -> None:
    other = deepcopy(model)
    layer = other.networks.decoder.stages[-1]
    assert isinstance(layer, SubPixel)
    layer.scale(*gains)
    real = other.sample(SAMPLES)  # of the same latents, so that nothing is left to chance
    before, decoder = model.sample(8), model.networks.decoder
    assert powers(model.sample(SAMPLES)) != pytest.approx(powers(real), rel=0.1)
    found = equalise(model, [real], 0)
    assert found is not None
    assert found.gains[:2] == pytest.approx(gains[:2], rel=0.05)
    assert found.gains[2:] == pytest.approx(gains[2:], abs=0.1)  # beside them there is other power at two and four pixels
    assert powers(model.sample(SAMPLES)) == pytest.approx(powers(real), rel=0.05)
    # Training goes on with the decoder it had.
    model.networks.decoder = decoder
    assert torch.equal(model.sample(8), before)


def test_real_images_count_alike_in_whatever_blocks_they_come(model: Model) -> None:
    mixed = torch.cat([1.4 * model.sample(SAMPLES // 4), model.sample(SAMPLES)[SAMPLES // 4 :]])
    few, many = mixed[: SAMPLES // 4], mixed[SAMPLES // 4 :]
    equalise(model, [few, many], 0)
    assert powers(model.sample(SAMPLES))[:2] == pytest.approx(powers(mixed)[:2], rel=0.02)


def test_rare_labels_count_as_rarely_as_among_the_real_images(model: Model) -> None:
    class Telling(Checkers):
        """Label 1 is three times as strong, and chance plays no part."""

        def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
            assert labels is not None
            return super().forward(torch.ones_like(latents)) * (1 + 2 * labels[:, None, None, None])

    config = replace(model.config, labels=("a", "b"), network=replace(model.config.network, classes=2))
    told = Model(config, model.networks)
    told.networks.decoder = Telling()  # pyright: ignore[reportAttributeAccessIssue]
    labels = (torch.arange(2 * SAMPLES) % 10 == 9).long()  # every other one is never label 1
    found = equalise(told, told.sample_blocks(len(labels), labels=labels), 0, labels)
    assert found is not None
    # Its blocks are in turn bright and dark: what the second octave has and what its grid has is one.
    assert (found.gains.finest, found.gains.second * found.gains.coarse_grid) == pytest.approx((1, 1), abs=0.02)


def spread(images: Tensor) -> float:
    """Amplitude of the finest octave in windows of 4x4 pixels, on average, over that of its mean power."""
    small = F.interpolate(F.avg_pool2d(images, 2), size=images.shape[-2:], mode="bilinear", align_corners=False)
    places = (images - small).square().mean(1).unfold(1, 4, 4).unfold(2, 4, 4).mean((-2, -1))
    return float(places.sqrt().mean() / places.mean().sqrt())


class Grainy(torch.nn.Module):
    """Draws a little everywhere, and a band of lines."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = torch.nn.Sequential(SubPixel(3))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        blocks = 0.2 * randn(1, 12, 8, 8)
        blocks[..., 3:5, :] *= 3
        return self.stages(blocks * (1 + 0.1 * latents[:, :1, None, None]))


@pytest.mark.parametrize("wanted", [0.04, 0.08])
def test_the_floor_becomes_the_one_by_which_samples_are_as_concentrated_as_real_images(model: Model, wanted: float) -> None:
    model.networks.decoder = Grainy()  # pyright: ignore[reportAttributeAccessIssue]
    other = deepcopy(model)
    low, learned = other.networks.decoder.stages[-1], model.networks.decoder.stages[-1]
    assert isinstance(low, SubPixel)
    assert isinstance(learned, SubPixel)
    low.floor = learned.floor = 0.06
    low.steep_floor = wanted
    real = other.sample(SAMPLES)  # of the same latents
    found = equalise(model, [real], 0.06)  # it begins with neither
    assert found is not None
    assert found.floor == pytest.approx(wanted, rel=0.1)
    assert spread(model.sample(SAMPLES)) == pytest.approx(spread(real), rel=0.003)
    assert powers(model.sample(SAMPLES))[:2] == pytest.approx(powers(real)[:2], rel=0.02)
    # It is the model's; who goes on learning has a soft one.
    assert model.config.steep_floor == found.floor
    assert (learned.floor, learned.steep_floor) == (0.06, 0)


def test_how_spread_details_are_is_asked_of_all_images_together(model: Model) -> None:
    """Of noise as strong in all images it is 1, of the same in every fourth a half, though each by itself is as spread."""
    model.networks.decoder = Grainy()  # pyright: ignore[reportAttributeAccessIssue]
    learned = model.networks.decoder.stages[-1]
    assert isinstance(learned, SubPixel)
    learned.floor = 0.06
    strong = model.sample(64)
    faint = strong * torch.tensor([1.0, 0.05, 0.05, 0.05]).repeat(16)[:, None, None, None]
    floors = list[float]()
    for real in (strong, faint):
        found = equalise(model, [real], 0.03)
        assert found is not None
        floors.append(found.floor)
        model.networks.decoder = Grainy()  # pyright: ignore[reportAttributeAccessIssue]
    assert floors[1] == 0.1
    assert floors[1] > 1.5 * floors[0]


def test_samples_that_are_not_finite_are_left_as_they_are(model: Model) -> None:
    decoder = model.networks.decoder
    with torch.no_grad():
        decoder.start.bias[0] = torch.nan
    assert equalise(model, [randn(FEWEST, 3, 16, 16)], 0.06) is None
    assert model.networks.decoder is decoder
    assert model.config.steep_floor == 0


def test_no_floor_is_higher_than_lines_can_bear_and_none_stays_none(model: Model) -> None:
    lines = torch.zeros(FEWEST, 3, 16, 16)
    lines[..., 8] = 1
    for floor, wanted in ((0.06, 0.1), (0, 0)):
        found = equalise(model, [lines], floor)
        assert found is not None
        assert found.floor == model.config.steep_floor == wanted


def test_an_octave_is_at_most_doubled_or_halved(model: Model) -> None:
    found = equalise(model, [torch.zeros(FEWEST, 3, 16, 16)], 0)
    assert found is not None
    assert found.gains[:2] == (0.5, 0.5)


def test_no_texture_is_made_and_of_the_coarse_one_a_quarter_is_left(model: Model) -> None:
    other = deepcopy(model)
    layer = other.networks.decoder.stages[-1]
    assert isinstance(layer, SubPixel)
    layer.scale(1, 1, 1.5, 1.5)
    found = equalise(model, [other.sample(SAMPLES)], 0)
    assert found is not None
    assert found.gains[2:] == (1, 1)
    model.networks.decoder = Checkers()  # pyright: ignore[reportAttributeAccessIssue]
    found = equalise(model, [0.001 * randn(FEWEST, 3, 16, 16)], 0)
    assert found is not None
    assert found.gains.coarse_grid == 0.25


def test_few_images_and_other_last_layers_are_left_alone(model: Model) -> None:
    decoder, real = model.networks.decoder, randn(FEWEST, 3, 16, 16)
    assert equalise(model, [real[1:]], 0) is None
    decoder.stages[-1] = torch.nn.Identity()
    assert equalise(model, [real], 0) is None
    assert model.networks.decoder is decoder
