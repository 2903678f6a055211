"""The mean of fine details: gradients against autograd, fixed pictures found, distributions told from one another, resume."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engines import OneProcess
from vaegan.parts.mean_details import MeanDetails, finest_octaves
from vaegan.types import Batch, Images

EMPTY = Batch(torch.empty(0, 3, 32, 32), None)


def noise(count: int, seed: int, side: int = 32) -> Images:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) / 4


def term(count: int = 512, side: int = 32) -> MeanDetails:
    return MeanDetails(noise(count, 0, side), OneProcess())


def values(of: MeanDetails, samples: Images) -> Tensor:
    return of.loss(samples, samples[:0], None, EMPTY)


def settled(of: MeanDetails, samples: Images) -> Tensor:
    """The values once the running mean is that of `samples`."""
    for _ in range(200):
        values(of, samples.detach())
    return values(of, samples)


def test_the_gradient_is_that_of_half_the_squared_distance_of_means() -> None:
    details, real = term(), noise(512, 0)
    first, second = (noise(16, 1).requires_grad_() for _ in range(2))
    settled(details, first).mean().backward()
    distance = sum(
        (fake.mean(0) - true.mean(0)).square().mean() / true.square().mean() / 2
        for fake, true in zip(finest_octaves(second), finest_octaves(real), strict=True)
    )
    assert isinstance(distance, Tensor)
    distance.backward()
    assert first.grad is not None
    assert second.grad is not None
    torch.testing.assert_close(first.grad, second.grad)


def test_samples_are_not_pulled_by_their_own_part_of_the_mean() -> None:
    """Samples whose mean is right, up to chance, have no gradient along their own details, which would make them fainter."""
    details, along = term(), []
    for seed in range(100, 160):
        samples = noise(4, seed).requires_grad_()
        values(details, samples).mean().backward()
        assert samples.grad is not None
        along.append(float((samples.grad * finest_octaves(samples.detach())[0]).sum()))
    mean, error = torch.tensor(along).mean(), torch.tensor(along).std() / len(along) ** 0.5
    assert abs(mean) < 4 * error


def test_a_picture_common_to_all_samples_is_found_and_a_shade_is_not() -> None:
    mark = torch.zeros(3, 32, 32)
    mark[:, 10:12, 8:20] = 1.0
    shade = torch.full((3, 32, 32), 0.5)
    plain, marked, shaded = (
        float(settled(term(), noise(256, 2) + added).mean()) for added in (torch.zeros(3, 32, 32), mark, shade)
    )
    assert marked > 10 * plain
    assert shaded == pytest.approx(plain, rel=1e-3)


def test_other_details_of_the_same_mean_cost_nothing() -> None:
    """But for rounding by chance: the mean of n images has 1/n of the power of one, in each octave."""
    assert float(settled(term(), noise(256, 3)).mean()) < 1.3 * 3 * (1 / 256 + 1 / 512)


def test_descent_removes_the_mark() -> None:
    mark = torch.zeros(3, 32, 32)
    mark[:, 10:12, 8:20] = 1.0
    details, bias = term(), mark.clone().requires_grad_()
    steps = torch.optim.SGD([bias], lr=3.0)
    for step in range(200):
        steps.zero_grad()
        values(details, noise(16, 10 + step) + bias).mean().backward()
        steps.step()
    left = [octave.square().sum() for octave in finest_octaves(bias.detach()[None])]
    before = [octave.square().sum() for octave in finest_octaves(mark[None])]
    assert all(after < 0.1 * first for after, first in zip(left[:2], before[:2], strict=True))


def test_it_goes_on_where_it_was() -> None:
    whole, parted = term(), term()
    for seed in (1, 2):
        values(whole, noise(8, seed))
        values(parted, noise(8, seed))
    again = MeanDetails(noise(64, 9), OneProcess())
    again.load_state_dict(parted.state_dict())
    assert torch.equal(values(whole, noise(8, 3)), values(again, noise(8, 3)))


def test_two_processes_have_the_gradient_of_one() -> None:
    class Half(OneProcess):
        """Gives the means that both halves of the batch have together."""

        everyones: list[Tensor]

        def mean(self, value: Tensor) -> Tensor:
            return self.everyones.pop(0)

    one, halves = term(), [MeanDetails(noise(512, 0), Half()) for _ in range(2)]
    for step in range(3):  # the running means, too
        whole, parted = (noise(8, 20 + step).requires_grad_() for _ in range(2))
        values(one, whole).mean().backward()
        everyones = [octave.mean(0).detach() for octave in finest_octaves(parted)]
        for rank, half in enumerate(halves):
            half._engine.everyones = list(everyones)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
            (values(half, parted[rank::2]).mean() / 2).backward()
        assert whole.grad is not None
        assert parted.grad is not None
        torch.testing.assert_close(parted.grad, whole.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("side", [16, 17, 28, 45, 64])
def test_octaves_and_what_is_left_are_the_image(side: int) -> None:
    images = noise(2, 0, side)
    octaves = finest_octaves(images)
    assert [octave.shape[-1] for octave in octaves] == [side // 2 * 2, side // 2 // 2 * 2, side // 2 // 2 // 2 * 2]
    even = images[..., : side // 2 * 2, : side // 2 * 2]
    halved = F.avg_pool2d(even, 2)
    back = octaves[0] + F.interpolate(halved, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(back, even)
    assert torch.isfinite(values(term(8, side), noise(2, 1, side))).all()
