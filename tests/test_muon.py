"""Muon against a singular value decomposition, against the iteration as published, and against torch's Adam."""

import pytest
import torch
from torch import Tensor, nn

from vaegan.parts.muon import Muon, orthogonalised

BETAS = (0.9, 0.99)
QUINTIC = (3.4445, -4.7750, 2.0315)  # as published, not as imported


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def published(matrix: Tensor) -> Tensor:
    """Newton and Schulz's iteration on the matrix itself, in float64."""
    a, b, c = QUINTIC
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (32, 32), (1, 7), (7, 1)])
def test_orthogonalised_keeps_singular_vectors_and_levels_singular_values(shape: tuple[int, int]) -> None:
    matrix = draw(*shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    within = left.T @ orthogonalised(matrix) @ right.T
    levels = within.diagonal()
    # A square matrix has a singular value near 0, which five iterations do not lift to 1.
    assert levels.max() < 1.25
    assert levels.sort(descending=True).values[: max(1, len(levels) * 3 // 4)].min() > 0.65
    torch.testing.assert_close(within, torch.diag(levels), atol=2e-3, rtol=0)


def test_orthogonalised_is_the_published_iteration() -> None:
    matrix = draw(24, 60) @ torch.diag(torch.logspace(0, -3, 60))  # as ill-conditioned as gradients are
    torch.testing.assert_close(orthogonalised(matrix), published(matrix).float(), atol=2e-3, rtol=0)


def test_orthogonalised_does_not_depend_on_scale_and_leaves_zero_alone() -> None:
    matrix = draw(8, 20)
    torch.testing.assert_close(orthogonalised(1e-6 * matrix), orthogonalised(matrix), atol=1e-4, rtol=0)
    assert orthogonalised(torch.zeros(8, 20)).abs().max() == 0


def test_orthogonalised_takes_large_matrices_in_blocks() -> None:
    matrix = draw(600, 700)
    blocks = [published(block).float() for block in matrix.split(200)]
    torch.testing.assert_close(orthogonalised(matrix), torch.cat(blocks), atol=2e-3, rtol=0)
    torch.testing.assert_close(orthogonalised(matrix.T), torch.cat(blocks).T, atol=2e-3, rtol=0)


def test_orthogonalised_under_autocast_is_as_exact() -> None:
    matrix = draw(24, 60)
    expected = orthogonalised(matrix)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(orthogonalised(matrix), expected)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(5, 12, 3), nn.ConvTranspose2d(5, 12, 4), nn.Linear(30, 12)], ids=lambda it: type(it).__name__
)
def test_a_matrix_moves_by_the_learning_rate(layer: nn.Module) -> None:
    layer = layer.to(memory_format=torch.channels_last)
    weight = layer.get_parameter("weight")
    before = weight.detach().clone()
    weight.grad = draw(*weight.shape).to(memory_format=torch.channels_last) if weight.ndim == 4 else draw(*weight.shape)
    Muon([layer], 0.01, BETAS).step()
    moved = before - weight.detach()
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.01, rel=0.3)
    # Downhill, and as the published iteration on the weights seen as a matrix says.
    expected = 0.01 * max(weight.flatten(1).shape) ** 0.5 * published(weight.grad.contiguous().flatten(1)).float()
    torch.testing.assert_close(moved.contiguous().flatten(1), expected, atol=1e-4, rtol=0)


def test_momentum_is_nesterovs() -> None:
    layer, first, second = nn.Linear(20, 8, bias=False), draw(8, 20, seed=1), draw(8, 20, seed=2)
    muon = Muon([layer], 0.01, BETAS)
    layer.weight.grad = first
    muon.step()
    before = layer.weight.detach().clone()
    layer.weight.grad = second
    muon.step()
    mean = 0.9 * 0.1 * first + 0.1 * second
    expected = 0.01 * 20**0.5 * published(0.1 * second + 0.9 * mean).float()
    torch.testing.assert_close(before - layer.weight.detach(), expected, atol=1e-4, rtol=0)


def test_everything_else_is_adams() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.names, self.norm, self.head = nn.Embedding(4, 6), nn.BatchNorm2d(6), nn.Linear(6, 3)

    torch.manual_seed(0)
    mine, theirs = Odd(), Odd()
    theirs.load_state_dict(mine.state_dict())
    muon, adam = Muon([mine], 0.01, BETAS), torch.optim.Adam(theirs.parameters(), 0.01, betas=BETAS)
    for seed in range(4):
        for ours, their in zip(mine.parameters(), theirs.parameters(), strict=True):
            ours.grad = their.grad = draw(*ours.shape, seed=seed)
        muon.step()
        adam.step()
    for name, ours in mine.named_parameters():
        same = torch.allclose(ours, theirs.get_parameter(name), atol=1e-6)
        assert same == (name != "head.weight"), name


def test_a_parameter_without_gradient_stays() -> None:
    layer = nn.Linear(4, 3)
    before = layer.weight.detach().clone()
    Muon([layer], 0.1, BETAS).step()
    assert torch.equal(layer.weight, before)


def test_goes_on_bit_for_bit_from_saved_state() -> None:
    def trained(steps: int, layer: nn.Linear, muon: Muon, start: int = 0) -> None:
        for seed in range(start, start + steps):
            layer.weight.grad, layer.bias.grad = draw(8, 20, seed=seed), draw(8, seed=seed)
            muon.step()

    torch.manual_seed(0)
    whole, half = nn.Linear(20, 8), nn.Linear(20, 8)
    half.load_state_dict(whole.state_dict())
    trained(6, whole, Muon([whole], 0.01, BETAS))
    first = Muon([half], 0.01, BETAS)
    trained(3, half, first)
    resumed = Muon([half], 0.5, BETAS)
    resumed.load_state_dict(first.state_dict())
    trained(3, half, resumed, start=3)
    assert torch.equal(whole.weight, half.weight)
    assert torch.equal(whole.bias, half.bias)


def test_learns_what_adam_learns_slowly() -> None:
    """A linear map whose gradient is of low rank in most steps: inputs lie near a few directions."""
    inputs = draw(512, 32) @ torch.diag(torch.logspace(0, -2, 32))
    target = draw(16, 32, seed=1)

    def error(build: type) -> float:
        torch.manual_seed(0)
        layer = nn.Linear(32, 16, bias=False)
        optimizer = Muon([layer], 0.02, BETAS) if build is Muon else torch.optim.Adam(layer.parameters(), 0.02, betas=BETAS)
        for step in range(200):
            optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 200)
            optimizer.zero_grad()
            loss = (inputs @ (layer.weight - target).T).square().mean()
            loss.backward()
            optimizer.step()
        return float((inputs @ (layer.weight.detach() - target).T).square().mean())

    assert error(Muon) < error(torch.optim.Adam)
