"""The floors under the details of a decoder's last layer, against their definition in loops; how a decoder changes that layer."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.config import NetworkConfig
from vaegan.networks import Decoder
from vaegan.networks.finished import FinishedSubPixel
from vaegan.networks.subpixel import SubPixel

FLOOR = 0.05

Map = NDArray[Any]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def doubled(coarse: Map) -> Map:
    """Bilinear between the centres of 2x2 blocks, the border repeated."""
    channels, height, width = coarse.shape
    found = np.zeros((channels, 2 * height, 2 * width))
    for y, x in np.ndindex(2 * height, 2 * width):
        above, left = (y - 1) // 2, (x - 1) // 2
        for row, column in itertools.product((above, above + 1), (left, left + 1)):
            weight = (1 - abs((y - 0.5) / 2 - row)) * (1 - abs((x - 0.5) / 2 - column))
            at = np.clip((row, column), 0, (height - 1, width - 1))
            found[:, y, x] += weight * coarse[:, at[0], at[1]]
    return found


def halved(image: Map) -> Map:
    channels, height, width = image.shape
    return image.reshape(channels, height // 2, 2, width // 2, 2).mean((2, 4))


def gains(power: Map, reach: int, steep: bool = False) -> Map:
    """By the power [height, width] of details, over the window that reaches so far each way."""
    height, width = power.shape
    found = np.empty_like(power)
    for y, x in np.ndindex(height, width):
        rows, columns = (np.clip(range(at - reach, at + reach + 1), 0, side - 1) for at, side in ((y, height), (x, width)))
        around = power[np.ix_(rows, columns)].mean()
        found[y, x] = 1 / (1 + (FLOOR**2 / around) ** (2 if steep else 1))
    return found


@pytest.mark.parametrize(("channels", "soft", "steep"), [(1, FLOOR, 0), (3, FLOOR, 0), (3, FLOOR, FLOOR), (1, 0, FLOOR)])
def test_it_is_its_definition_in_pixels(channels: int, soft: float, steep: float) -> None:
    blocks = 0.2 * randn(1, 4 * channels, 6, 8).double()
    layer = SubPixel(channels).double()
    alone = blocks.clone().unflatten(1, (-1, 4))
    alone[:, :, 1:] = 0
    smooth = layer(alone.flatten(1, 2))
    fine = (layer(blocks) - smooth)[0].numpy()
    # From coordinates to the colours of even blocks.
    colours = layer.kernel.sum((-2, -1)).unflatten(1, (channels, 4))[:, :, 0].unflatten(0, (channels, 4)).mean(1).numpy()
    means = np.einsum("cd,dyx->cyx", colours, alone[0, :, 0].numpy())
    apart = means - doubled(halved(means))
    if soft > 0:
        means = doubled(halved(means)) + apart * gains(np.square(apart).mean(0), 2)
    alone[0, :, 0] = torch.tensor(np.einsum("cd,dyx->cyx", np.linalg.inv(colours), means))
    power = np.square(fine).mean(0).reshape(6, 2, 8, 2).mean((1, 3))
    wanted = layer(alone.flatten(1, 2))[0].numpy() + fine * gains(power, 1, steep > 0).repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(FinishedSubPixel(channels, soft, steep).double()(blocks)[0], wanted, atol=1e-6)
    if steep == 0:
        np.testing.assert_allclose(SubPixel(channels, soft).double()(blocks)[0], wanted, atol=1e-6)


@pytest.mark.parametrize(("soft", "steep"), [(1e-30, 0), (1e-30, 1e-30), (0, 1e-12), (0.06, 1e-20)])
def test_no_floor_is_too_low_for_an_even_picture(soft: float, steep: float) -> None:
    assert not FinishedSubPixel(3, soft, steep)(torch.zeros(1, 12, 8, 8)).any()


@pytest.mark.parametrize("size", [1e9, 1e12, 1e30])
def test_no_picture_is_too_strong_for_a_floor(size: float) -> None:
    blocks = size * randn(1, 12, 8, 8)
    found, plain = FinishedSubPixel(3, FLOOR, 0.1)(blocks), SubPixel(3)(blocks)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-5 * float(plain.abs().max()))


def test_weak_details_go_and_strong_ones_stay() -> None:
    weak, strong = torch.zeros(2, 1, 4, 32, 32)
    weak[:, 1:] = 0.02 * randn(1, 3, 32, 32)
    strong[:, 1, :, 15] = 8
    layer, plain = SubPixel(1, FLOOR), SubPixel(1)
    assert float(layer(weak).square().mean()) < 0.02 * float(plain(weak).square().mean())
    torch.testing.assert_close(layer(strong), plain(strong), atol=0.02 * float(plain(strong).max()), rtol=0)
    both = layer(strong + weak) - layer(strong)
    beside, away = float(both[..., 28:34].square().mean()), float(both[..., :16].square().mean())
    assert beside > 20 * away  # where there is a line, what is weak may stay


def test_weak_changes_of_means_go_and_a_slope_stays() -> None:
    grain, slope = torch.zeros(2, 1, 4, 32, 32)
    grain[:, 0], slope[:, 0] = 0.005 * randn(32, 32), torch.arange(32.0) / 32
    layer, plain = SubPixel(1, FLOOR), SubPixel(1)
    fine = [image - torch.nn.functional.avg_pool2d(image, 9, 1, 4) for image in (layer(grain), plain(grain))]
    assert float(fine[0].square().mean()) < 0.5 * float(fine[1].square().mean())
    inside = (..., slice(16, -16), slice(16, -16))
    torch.testing.assert_close(layer(slope)[inside], plain(slope)[inside])


def test_details_below_the_floor_can_still_be_learned() -> None:
    """A gain that is 0 below it would leave a decoder that begins there without a gradient."""
    layer, plain = SubPixel(1, FLOOR), SubPixel(1)
    drawn, wanted = torch.zeros(1, 4, 16, 16), torch.zeros(1, 4, 16, 16)
    drawn[:, 1:], wanted[:, 1:] = 0.02 * randn(1, 3, 16, 16), 2 * randn(1, 3, 16, 16, seed=1)
    drawn.requires_grad_()
    optimizer, losses = torch.optim.Adam([drawn], lr=0.05), list[float]()
    for _ in range(200):
        optimizer.zero_grad()
        loss = (layer(drawn) - plain(wanted)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.01 * losses[0]


def test_the_floor_of_one_image_hangs_on_no_other() -> None:
    blocks, layer = 0.3 * randn(3, 12, 8, 8), SubPixel(3, FLOOR)
    together = layer(blocks)
    for image, of_one in zip(together, blocks.split(1), strict=True):
        torch.testing.assert_close(layer(of_one)[0], image, rtol=0, atol=1e-6)


class TestOfADecoder:
    """Who learns has a plain last layer with a soft floor; a kept model may have a finished one."""

    latents = randn(3, 4)

    def decoder(self, kind: Any = "plain") -> Decoder:
        torch.manual_seed(0)
        return Decoder(NetworkConfig(kind=kind, width=8, width_limit=16, latent_dim=4), 16, 3)

    def test_learns_under_the_floor_that_it_is_given(self) -> None:
        decoder, other = self.decoder(), self.decoder()
        assert decoder.floor == 0
        other.learn_under(0.3)
        assert other.floor == 0.3
        assert not torch.allclose(other(self.latents), decoder(self.latents))
        other.learn_under(0)
        assert torch.equal(other(self.latents), decoder(self.latents))

    def test_what_a_finisher_set_is_gone_when_it_goes_on_learning(self) -> None:
        decoder, before = self.decoder(), self.decoder()(self.latents)
        layer = decoder.finish(0.06, 0.1)
        assert isinstance(layer, FinishedSubPixel)
        assert decoder.last_layer is layer
        assert (decoder.floor, layer.steep_floor) == (0.06, 0.1)
        layer.scale(1.3, 0.8, 0.5, 0.5)
        finished = decoder(self.latents)
        assert not torch.allclose(finished, before, atol=1e-3)
        decoder.learn_under(0.06)
        assert not isinstance(decoder.last_layer, FinishedSubPixel)
        assert not torch.equal(decoder(self.latents), finished)
        decoder.learn_under(0)
        assert torch.equal(decoder(self.latents), before)

    def test_a_finished_layer_without_factors_and_floors_is_the_plain_one(self) -> None:
        decoder, other = self.decoder(), self.decoder()
        other.finish(0, 0)
        assert other.state_dict().keys() == decoder.state_dict().keys()
        torch.testing.assert_close(other(self.latents), decoder(self.latents))

    def test_networks_without_a_sub_pixel_layer_are_left_alone(self) -> None:
        decoder = self.decoder("residual")
        before = decoder(self.latents)
        decoder.learn_under(0.1)
        assert decoder.finish(0.1, 0.1) is None
        assert decoder.last_layer is None
        assert decoder.floor == 0
        assert torch.equal(decoder(self.latents), before)
