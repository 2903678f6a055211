"""Schedules at their ends and in between, and the averaged weights against a recursion by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vaegan.recipes.schedule import Average, Clock, cosine, geometric, ramp, set_learning_rate

shares = st.floats(0, 1)
positive = st.floats(1e-6, 1e3)


@given(positive, positive, shares, shares)
@pytest.mark.parametrize("curve", [cosine, geometric])
def test_curve_runs_monotonously_between_its_ends(curve, start: float, end: float, one: float, other: float) -> None:
    assert curve(start, end, 0) == pytest.approx(start)
    assert curve(start, end, 1) == pytest.approx(end)
    earlier, later = (curve(start, end, share) for share in sorted((one, other)))
    tolerance = 1e-9 * (start + end)
    assert earlier - later >= -tolerance if start > end else earlier - later <= tolerance


def test_curves_halfway() -> None:
    assert cosine(1, 3, 0.5) == pytest.approx(2)
    assert cosine(1, 0, 0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert geometric(1, 0.01, 0.5) == pytest.approx(0.1)


@given(shares, st.floats(0.001, 1))
def test_ramp_rises_linearly_and_stays(progress: float, until: float) -> None:
    assert ramp(progress, until) == pytest.approx(progress / until if progress < until else 1)
    assert ramp(progress, 0) == 1


def test_set_learning_rate_reaches_every_group() -> None:
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [weight], "lr": 1.0} for weight in weights])
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


@pytest.mark.parametrize(("start", "end"), [(1, 0), (0, 2), (0, 0)])
def test_geometric_with_an_end_at_zero_is_a_straight_line(start: float, end: float) -> None:
    for share in (0, 0.25, 0.5, 1):
        assert geometric(start, end, share) == pytest.approx(start + share * (end - start))


class TestClock:
    def test_counts_batches_and_shares(self) -> None:
        clock = Clock(seen=96, end=384, batch_size=32)
        assert clock.step == 3
        assert clock.progress == 0.25

    def test_schedules_stand_still_before_the_start_without_an_end_and_after_the_end(self) -> None:
        assert Clock(500, None, 32).progress == 0
        assert Clock(500, 384, 32).progress == 1
        assert Clock(100, 384, 32, start=128).progress == 0
        assert Clock(256, 384, 32, start=128).progress == 0.5

    @given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 500), st.integers(-1, 1000))
    def test_share_since_something_is_a_share_of_the_whole_schedule(self, seen: int, length: int, start: int, since: int) -> None:
        clock = Clock(seen, start + length, 32, start)
        wanted = max(0, seen - max(since, start)) / length if length else float(seen > start and seen > since)
        if since <= seen:
            assert clock.share_since(since) == pytest.approx(min(1, wanted))
        assert clock.share_since(start) == clock.progress


def line(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(layer.weight, value)
    return layer


class TestAverage:
    def test_is_the_recursion(self) -> None:
        cap, batch = 200, 32
        average, wanted = Average(line(5.0), cap), 5.0
        for step, value in enumerate([1.0, -2.0, 0.5, 4.0, 3.0] * 40):
            average.update(line(value), Clock(step * batch, 10_000, batch))
            half_life = min(cap, 0.05 * (step + 1) * batch)
            keep = 0.5 ** (batch / half_life)
            wanted = keep * wanted + (1 - keep) * value
            assert float(average.network.weight) == pytest.approx(wanted, rel=1e-9)

    @pytest.mark.parametrize(("cap", "seen", "half_life"), [(320, 10**6, 320), (10**6, 6400 - 32, 320)])
    def test_old_weights_count_half_after_the_half_life(self, cap: int, seen: int, half_life: int) -> None:
        average = Average(line(1.0), cap)
        for _ in range(half_life // 32):
            average.update(line(0.0), Clock(seen, None, 32))
        assert float(average.network.weight) == pytest.approx(0.5)

    def test_an_update_every_few_steps_counts_for_all_of_them(self) -> None:
        often, seldom = Average(line(1.0), 320), Average(line(1.0), 320)
        for _ in range(4):
            often.update(line(0.0), Clock(10**6, None, 32))
        seldom.update(line(0.0), Clock(10**6, None, 32), every=4)
        assert float(seldom.network.weight) == pytest.approx(float(often.network.weight))

    def test_first_step_forgets_the_start(self) -> None:
        average = Average(line(1.0), 5000)
        average.update(line(0.0), Clock(0, 1000, 32))
        assert abs(float(average.network.weight)) < 1e-5

    def test_is_a_frozen_copy_in_evaluation_mode(self) -> None:
        network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).train()
        average = Average(network, 100)
        assert not average.network.training
        for followed, parameter in itertools.zip_longest(average.network.parameters(), network.parameters()):
            assert not followed.requires_grad
            assert parameter.requires_grad
            assert followed.data_ptr() != parameter.data_ptr()
            assert torch.equal(followed, parameter)
