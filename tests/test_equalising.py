"""Octaves of samples against those of real images, here drawn faces, and the layer that scales them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.config import DataConfig, NetworkConfig
from vaegan.data import open_dataset
from vaegan.metrics.spectrum import detail_energy, texture_power
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.networks import Decoder
from vaegan.networks.finished import FinishedSubPixel
from vaegan.networks.subpixel import SubPixel
from vaegan.parts.equalise import FEWEST, SAMPLES, equalise


def scaled(channels: int, finest: float = 1, second: float = 1, grid: float = 1, coarse_grid: float = 1) -> FinishedSubPixel:
    layer = FinishedSubPixel(channels)
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
    twice.scale(1, 1, 1, 1)
    torch.testing.assert_close(twice.kernel, SubPixel(3).kernel)


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


def spread(images: Tensor) -> float:
    """Amplitude of the finest octave in windows of 4x4 pixels, on average, over that of its mean power."""
    small = F.interpolate(F.avg_pool2d(images, 2), size=images.shape[-2:], mode="bilinear", align_corners=False)
    places = (images - small).square().mean(1).unfold(1, 4, 4).unfold(2, 4, 4).mean((-2, -1))
    return float(places.sqrt().mean() / places.mean().sqrt())


SIDE = 24


@dataclass
class Faces:
    """Drawn faces: some for a decoder to draw, others for it to be held against."""

    own: Tensor
    real: Tensor
    inverse: Tensor
    """From the pixels of an image to the coordinates of a plain last layer."""


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Faces:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        images = open_dataset("faces:400", DataConfig(size=SIDE)).load(np.arange(400))
    coordinates = torch.eye(12 * (SIDE // 2) ** 2, dtype=torch.float64).view(-1, 12, SIDE // 2, SIDE // 2)
    return Faces(images[:200], images[200:], torch.linalg.inv(SubPixel(3).double()(coordinates).flatten(1)))


class Drawn(Decoder):
    """A decoder whose sub-pixel layer draws given coordinates, each for an equal share of the latents."""

    def __init__(self, blocks: Tensor, floor: float = 0) -> None:
        super().__init__(NetworkConfig(latent_dim=8, width=8, width_limit=16), SIDE, 3)
        self.register_buffer("blocks", blocks)
        self.learn_under(floor)

    def forward(self, latents: Tensor, labels: Tensor | None = None, raw: bool = False) -> Tensor:
        which = (torch.special.ndtr(latents[:, 0]) * len(self.blocks)).long().clamp_max(len(self.blocks) - 1)
        return self.output(self.stages[-1](self.blocks[which]))


def with_decoder(decoder: Decoder, labels: tuple[str, ...] = ()) -> Model:
    config = ModelConfig(SIDE, 3, "gan", NetworkConfig(latent_dim=8, width=8, width_limit=16), has_encoder=False, labels=labels)
    networks = Networks(config)
    networks.decoder = decoder
    return Model(config, networks)


def drawing(faces: Faces, images: Tensor, floor: float = 0) -> Model:
    """A model whose samples are these images, if the floor does not matter."""
    blocks = (images.double().flatten(1) @ faces.inverse).view(-1, 12, SIDE // 2, SIDE // 2)
    return with_decoder(Drawn(blocks.float(), floor))


def blurred(images: Tensor, share: float = 0.5) -> Tensor:
    taps = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(taps, taps).expand(3, 1, 3, 3)
    return torch.lerp(images, F.conv2d(F.pad(images, [1] * 4, mode="replicate"), kernel, groups=3), share)


def grid(period: int) -> Tensor:
    return 0.1 * (1 - 2.0 * (torch.arange(SIDE) * 2 // period).remainder(2))


def grain(strength: float) -> Tensor:
    return strength * randn(200, 3, SIDE, SIDE)


WRONG: dict[str, Callable[[Tensor], Tensor]] = {
    "soft": blurred,
    "sharp": lambda images: images + 0.3 * (images - blurred(images, 1.0)),
    "grainy": lambda images: images + grain(0.12),
    "coarse grain": lambda images: images + F.interpolate(0.2 * randn(200, 3, SIDE // 2, SIDE // 2), SIDE),
    "gridded": lambda images: images + grid(2),
    "soft and gridded": lambda images: blurred(images) + grid(2),
    "coarsely gridded": lambda images: images + grid(4),
}
"""Ways in which samples that should look like faces do not."""


@pytest.mark.parametrize("how", WRONG)
def test_wrong_faces_get_the_power_of_other_faces(faces: Faces, how: str) -> None:
    model = drawing(faces, WRONG[how](faces.own))
    before, decoder = model.sample(SAMPLES), model.networks.decoder
    assert powers(before)[:2] != pytest.approx(powers(faces.real)[:2], rel=0.2)
    found = equalise(model, faces.real.split(50), 0)
    assert found is not None
    assert found.floor == 0
    after, wanted = powers(model.sample(SAMPLES)), powers(faces.real)
    assert after[:2] == pytest.approx(wanted[:2], rel=0.02)
    assert after[2] < 1.05 * wanted[2]
    assert after[3] < (2 if how == "coarsely gridded" else 1.05) * wanted[3]  # of which a quarter is left at least
    # Training goes on with the decoder it had.
    assert not isinstance(decoder.last_layer, FinishedSubPixel)
    model.networks.decoder = decoder
    assert torch.equal(model.sample(8), before[:8])


def test_faces_that_are_right_stay_as_they_are(faces: Faces) -> None:
    model = drawing(faces, faces.own)
    found = equalise(model, [faces.real], 0)
    assert found is not None
    assert found.gains == pytest.approx((1, 1, 1, 1), abs=0.05)


def test_real_images_count_alike_in_whatever_blocks_they_come(faces: Faces) -> None:
    mixed = torch.cat([faces.real[:50], blurred(faces.real[50:])])
    found = [equalise(drawing(faces, faces.own), blocks, 0) for blocks in ([mixed], [mixed[:50], mixed[50:]], mixed.split(7))]
    assert found[0] is not None
    assert found[0].gains[:2] != pytest.approx((1, 1), abs=0.1)
    for other in found[1:]:
        assert other is not None
        assert other.gains == pytest.approx(found[0].gains, rel=1e-3)


def test_the_floor_becomes_the_one_by_which_grainy_faces_are_as_concentrated_as_other_faces(faces: Faces) -> None:
    floors, wanted = [0.0], spread(faces.real)
    for strength in (0.03, 0.06):
        model = drawing(faces, faces.own + grain(strength), floor=0.01)
        excess = spread(model.sample(SAMPLES)) - wanted
        assert excess > 0.02
        learned = model.networks.decoder
        found = equalise(model, [faces.real], 0.03)
        assert found is not None
        assert found.floor > floors[-1] + 0.01
        floors.append(found.floor)
        assert abs(spread(model.sample(SAMPLES)) - wanted) < excess / 3
        assert powers(model.sample(SAMPLES))[:2] == pytest.approx(powers(faces.real)[:2], rel=0.02)
        # The steep floor is the kept model's; who goes on learning has a soft one.
        layer = model.networks.decoder.last_layer
        assert isinstance(layer, FinishedSubPixel)
        assert (layer.floor, layer.steep_floor, model.config.steep_floor) == (0.01, found.floor, found.floor)
        assert (learned.floor, type(learned.last_layer)) == (0.01, SubPixel)


def checkers(strength: float = 0.2) -> Tensor:
    """Blocks of two pixels in turn bright and dark: every bit of their octave's power is next to another's."""
    blocks = torch.zeros(1, 12, SIDE // 2, SIDE // 2)
    places = torch.arange(SIDE // 2)
    blocks[:, 0::4] = strength * (1 - 2.0 * (places[:, None] + places).remainder(2))
    return blocks


def test_checkers_do_not_make_it_swing_around_the_goal() -> None:
    strengths = torch.linspace(0.5, 1.5, 50)[:, None, None, None]
    model = with_decoder(Drawn(strengths * checkers()))
    real = 1.3 * model.sample(SAMPLES)
    equalise(model, [real], 0)
    assert powers(model.sample(SAMPLES))[:2] == pytest.approx(powers(real)[:2], rel=0.05)


def test_rare_labels_count_as_rarely_as_among_the_real_images(faces: Faces) -> None:
    class Told(Drawn):
        """Label 1 is three times as strong, and chance plays no part."""

        def forward(self, latents: Tensor, labels: Tensor | None = None, raw: bool = False) -> Tensor:
            assert labels is not None
            return super().forward(latents) * (1 + 2 * labels[:, None, None, None])

    model = with_decoder(Told(checkers(0.1)), labels=("a", "b"))
    labels = (torch.arange(2 * SAMPLES) % 10 == 9).long()  # every other one is never label 1
    found = equalise(model, model.sample_blocks(len(labels), labels=labels), 0, labels)
    assert found is not None
    # Its blocks are in turn bright and dark: what the second octave has and what its grid has is one.
    assert (found.gains.finest, found.gains.second * found.gains.coarse_grid) == pytest.approx((1, 1), abs=0.02)


def test_how_spread_details_are_is_asked_of_all_images_together() -> None:
    """Of noise as strong in all images it is 1, of the same in every fourth a half, though each by itself is as spread."""
    grainy = 0.2 * randn(1, 12, SIDE // 2, SIDE // 2)
    grainy[..., 3:5, :] *= 3  # a band of lines
    strengths = torch.linspace(0.9, 1.1, 50)[:, None, None, None]
    strong = with_decoder(Drawn(strengths * grainy, floor=0.06)).sample(64)
    faint = strong * torch.tensor([1.0, 0.05, 0.05, 0.05]).repeat(16)[:, None, None, None]
    floors = list[float]()
    for real in (strong, faint):
        found = equalise(with_decoder(Drawn(strengths * grainy, floor=0.06)), [real], 0.03)
        assert found is not None
        floors.append(found.floor)
    assert floors[1] == 0.1
    assert floors[1] > 1.5 * floors[0]


def test_samples_that_are_not_finite_are_left_as_they_are(faces: Faces) -> None:
    model = drawing(faces, torch.full_like(faces.own, torch.nan))
    decoder = model.networks.decoder
    assert equalise(model, [faces.real], 0.06) is None
    assert model.networks.decoder is decoder
    assert model.config.steep_floor == 0


def test_no_floor_is_higher_than_lines_can_bear_and_none_stays_none(faces: Faces) -> None:
    lines = torch.zeros(FEWEST, 3, SIDE, SIDE)
    lines[..., 8] = 1
    for floor, wanted in ((0.06, 0.1), (0, 0)):
        model = drawing(faces, grain(0.3))
        found = equalise(model, [lines], floor)
        assert found is not None
        assert found.floor == model.config.steep_floor == wanted


def test_an_octave_is_at_most_doubled_or_halved(faces: Faces) -> None:
    for images, real, limit in ((faces.own, 0 * faces.real, 0.5), (blurred(0.1 * faces.own, 1.0), faces.real, 2)):
        found = equalise(drawing(faces, images), [real], 0)
        assert found is not None
        assert found.gains[:2] == (limit, limit)


def test_no_texture_is_made_and_of_the_coarse_one_a_quarter_is_left(faces: Faces) -> None:
    found = equalise(drawing(faces, faces.own), [faces.real + grid(2) + grid(4)], 0)
    assert found is not None
    assert found.gains[2:] == (1, 1)
    found = equalise(with_decoder(Drawn(checkers())), [0.001 * randn(FEWEST, 3, SIDE, SIDE)], 0)
    assert found is not None
    assert found.gains.coarse_grid == 0.25


def test_few_images_and_other_last_layers_are_left_alone(faces: Faces) -> None:
    model = drawing(faces, faces.own)
    decoder = model.networks.decoder
    assert equalise(model, [faces.real[1:FEWEST]], 0) is None
    assert model.networks.decoder is decoder
    config = replace(model.config, network=NetworkConfig(kind="residual", latent_dim=8, width=8, width_limit=16))
    other = Model(config, Networks(config))
    decoder = other.networks.decoder
    assert equalise(other, [faces.real], 0) is None
    assert other.networks.decoder is decoder
