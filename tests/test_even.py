"""Transposed convolutions without a grid: the condition, the nearest such weight, and that training keeps to it."""

import pytest
import torch
from torch import Tensor, nn

from vaegan.config import NetworkConfig
from vaegan.networks import Critic, Decoder
from vaegan.networks.even import EvenTransposed, even_layers
from vaegan.parts.optimizers import OptimizerName, optimizer_of

NETWORK = NetworkConfig(width=8, width_limit=16, latent_dim=4)


def grid(layer: nn.ConvTranspose2d) -> float:
    """How much a map differs within itself that the layer makes of a constant one, away from the border."""
    constant = torch.randn(4, layer.in_channels, 1, 1, generator=torch.Generator().manual_seed(1)).expand(-1, -1, 8, 8)
    with torch.no_grad():
        made = layer(constant)[:, :, 2:-2, 2:-2]
    return float(made.var((2, 3)).mean().sqrt())


def test_a_constant_map_stays_constant() -> None:
    torch.manual_seed(0)
    layer = EvenTransposed(3, 5)
    assert grid(layer) > 0.05
    layer.even_out()
    assert grid(layer) < 1e-6


def test_is_the_nearest_weight_of_that_kind() -> None:
    """The projection by least squares: orthogonal to every weight that is even, and the same when done again."""
    torch.manual_seed(0)
    layer = EvenTransposed(1, 1)
    before = layer.weight.detach().clone()
    layer.even_out()
    after = layer.weight.detach().clone()
    # The condition, tap by tap: what output pixel (p, q) of a block is made by is every other tap from (p, q) on.
    pixels = [(p, q) for p in range(2) for q in range(2)]
    sums = torch.stack(
        [torch.zeros(4, 4).index_put_(tuple(torch.tensor(taps(p, q)).T), torch.ones(4)).flatten() for p, q in pixels]
    )
    condition = sums[1:] - sums[0]
    wanted = before.flatten() - torch.linalg.pinv(condition) @ (condition @ before.flatten())
    torch.testing.assert_close(after.flatten(), wanted)
    layer.even_out()
    assert torch.equal(layer.weight, after)


def taps(p: int, q: int) -> list[tuple[int, int]]:
    return [(p + 2 * down, q + 2 * across) for down in range(2) for across in range(2)]


def test_memory_format_does_not_matter() -> None:
    torch.manual_seed(0)
    layer = EvenTransposed(6, 5).to(memory_format=torch.channels_last)
    layer.even_out()
    assert grid(layer) < 1e-6
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["muon", "adam", "sgd", "rmsprop"])
def test_steps_keep_it(name: OptimizerName) -> None:
    torch.manual_seed(0)
    decoder = Decoder(NETWORK, 32, 3)
    layers = even_layers(decoder)
    assert len(layers) == 2
    optimizer = optimizer_of(name, (0.9, 0.99))(decoder)
    for group in optimizer.param_groups:
        group["lr"] = 1e-2
    before = [layer.weight.detach().clone() for layer in layers]
    for _ in range(3):
        optimizer.zero_grad()
        loss(decoder(torch.randn(4, 4))).backward()
        optimizer.step()
    for layer, weight in zip(layers, before, strict=True):
        assert not torch.allclose(layer.weight, weight, atol=1e-4)
        assert grid(layer) < 1e-5


def loss(images: Tensor) -> Tensor:
    return (images - torch.randn_like(images)).square().mean()


def test_an_untrained_decoder_draws_no_grid_of_four_pixels() -> None:
    """It did, nine times as strong as what is around it, and the same in every image."""
    torch.manual_seed(0)
    decoder = Decoder(NetworkConfig(), 64, 3)
    with torch.no_grad():
        images = decoder(torch.randn(64, 64))
    power = torch.fft.fft2(images - images.mean((2, 3), keepdim=True)).abs().square().mean((0, 1))
    around = torch.cat([power[16, 1:8], power[13:16, 1:8].flatten(), power[17:20, 1:8].flatten()]).median()
    assert float(power[16, 0] / around) < 5
    assert float(power[0, 16] / around) < 5


def test_critics_have_none() -> None:
    assert even_layers(Critic(NETWORK, 32, 3)) == []
