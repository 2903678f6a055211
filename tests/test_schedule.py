"""Schedules at their ends and in between, and a player: its rate, its averaged weights against a recursion by hand, its state."""

import io
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from engines import OneProcess
from vaegan.parts.optimizers import OptimizerName, optimizer_of
from vaegan.parts.player import Player, minimise
from vaegan.parts.schedule import Clock, cosine, faded_in, geometric

shares = st.floats(0, 1)
positive = st.floats(1e-6, 1e3)


@given(positive, positive, shares, shares)
@pytest.mark.parametrize("curve", [cosine, geometric])
def test_curve_runs_monotonously_between_its_ends(
    curve: Callable[[float, float, float], float], start: float, end: float, one: float, other: float
) -> None:
    assert curve(start, end, 0) == pytest.approx(start)
    assert curve(start, end, 1) == pytest.approx(end)
    earlier, later = (curve(start, end, share) for share in sorted((one, other)))
    tolerance = 1e-9 * (start + end)
    assert earlier - later >= -tolerance if start > end else earlier - later <= tolerance


def test_curves_halfway() -> None:
    assert cosine(1, 3, 0.5) == pytest.approx(2)
    assert cosine(1, 0, 0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert geometric(1, 0.01, 0.5) == pytest.approx(0.1)


@given(shares)
@pytest.mark.parametrize(("start", "end"), [(1, 0), (0, 2), (0, 0)])
def test_geometric_with_an_end_at_zero_is_zero(start: float, end: float, share: float) -> None:
    assert geometric(start, end, share) == 0


@given(shares, st.floats(0.001, 1))
def test_what_is_faded_in_rises_linearly_and_stays(progress: float, until: float) -> None:
    assert faded_in(progress, until) == pytest.approx(progress / until if progress < until else 1)
    assert faded_in(progress, 0) == 1


def test_cycles_fade_in_anew_in_each_part_of_the_stage_and_end_at_one() -> None:
    found = [faded_in(share, 0.5, cycles=2) for share in (0, 0.125, 0.25, 0.4, 0.5, 0.625, 0.75, 0.99, 1)]
    assert found == pytest.approx([0, 0.5, 1, 1, 0, 0.5, 1, 1, 1])


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

    def test_an_extended_stage_has_a_start_before_its_first_image(self) -> None:
        assert Clock(0, 100, 10, start=-100).progress == 0.5

    @given(st.integers(0, 1000), st.integers(0, 1000), st.integers(-500, 500))
    def test_progress_is_the_share_of_the_schedules(self, seen: int, length: int, start: int) -> None:
        wanted = (seen - start) / length if length else seen - start
        assert Clock(seen, start + length, 32, start).progress == pytest.approx(min(1, max(0, wanted)))


def line(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(layer.weight, value)
    return layer


def player_of(
    network: nn.Module,
    cap: int | None = None,
    every: int = 1,
    rate: Callable[[float], float] = lambda progress: 0.0,
    optimizer: OptimizerName = "sgd",
) -> Player[nn.Module]:
    return Player(network, optimizer_of(optimizer, (0.9, 0.99)), rate, OneProcess(), cap, every)


def put(player: Player[nn.Module], value: float, clock: Clock) -> None:
    """A step that leads the weight to `value`."""
    with torch.no_grad():
        for parameter in player.network.parameters():
            parameter.fill_(value)
    player.finish(clock)


def weight_of(network: nn.Module) -> float:
    return float(next(network.parameters()).detach())


class TestAverage:
    def test_is_the_recursion(self) -> None:
        cap, batch = 200, 32
        player, wanted = player_of(line(5.0), cap), 5.0
        for step, value in enumerate([1.0, -2.0, 0.5, 4.0, 3.0] * 40):
            put(player, value, Clock(step * batch, 10_000, batch))
            half_life = min(cap, 0.05 * (step + 1) * batch)
            keep = 0.5 ** (batch / half_life)
            wanted = keep * wanted + (1 - keep) * value
            assert weight_of(player.averaged) == pytest.approx(wanted, rel=1e-9)

    @pytest.mark.parametrize(("cap", "seen", "half_life"), [(320, 10**6, 320), (10**6, 6400 - 32, 320)])
    def test_old_weights_count_half_after_the_half_life(self, cap: int, seen: int, half_life: int) -> None:
        player = player_of(line(1.0), cap)
        for _ in range(half_life // 32):
            put(player, 0.0, Clock(seen, None, 32))
        assert weight_of(player.averaged) == pytest.approx(0.5)

    def test_a_player_that_moves_every_few_steps_forgets_as_fast(self) -> None:
        often, seldom = player_of(line(1.0), 320), player_of(line(1.0), 320, every=4)
        for _ in range(4):
            put(often, 0.0, Clock(10**6, None, 32))
        put(seldom, 0.0, Clock(10**6, None, 32))
        assert weight_of(seldom.averaged) == pytest.approx(weight_of(often.averaged))

    def test_first_step_forgets_the_start(self) -> None:
        player = player_of(line(1.0), 5000)
        put(player, 0.0, Clock(0, 1000, 32))
        assert abs(weight_of(player.averaged)) < 1e-5

    def test_an_average_of_one_image_is_the_network_itself(self) -> None:
        player = player_of(line(1.0), 1)
        put(player, 3.0, Clock(0, 1000, 128))
        assert weight_of(player.averaged) == 3

    def test_is_a_frozen_copy_in_evaluation_mode(self) -> None:
        network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).train()
        average = player_of(network, 100).averaged
        assert not average.training
        for followed, parameter in itertools.zip_longest(average.parameters(), network.parameters()):
            assert not followed.requires_grad
            assert parameter.requires_grad
            assert followed.data_ptr() != parameter.data_ptr()
            assert torch.equal(followed, parameter)

    def test_without_one_the_network_stands_for_it(self) -> None:
        player = player_of(line(1.0))
        assert player.averaged is player.network
        assert not any("average" in name for name in player.state_dict())


class TestPlayer:
    def test_every_group_of_its_optimiser_has_the_rate_of_the_schedule_slowed_down(self) -> None:
        player = player_of(nn.Linear(3, 2), rate=lambda progress: 1 - progress / 2, optimizer="muon")
        assert len(player.optimizer.param_groups) == 2
        for slowdown, wanted in ((1.0, 0.75), (8.0, 0.75 / 8)):
            player.finish(Clock(50, 100, 10, slowdown=slowdown))
            assert [group["lr"] for group in player.optimizer.param_groups] == [wanted] * 2

    def test_minimise_moves_each_player_along_its_own_gradient_of_this_loss_alone(self) -> None:
        one, other, third = (player_of(line(value), rate=lambda progress: 0.1) for value in (2.0, 3.0, 4.0))
        for _ in range(2):  # what was left of the gradient before is forgotten
            before = [weight_of(each.network) for each in (one, other, third)]
            states = [dict(each.optimizer.state) for each in (one, other, third)]
            weights = [next(each.network.parameters()) for each in (one, other, third)]
            minimise((weights[0] ** 2 * weights[1]).sum(), Clock(0, 100, 10), one, other)
            assert float(weights[0].grad) == pytest.approx(2 * before[0] * before[1])
            assert float(weights[1].grad) == pytest.approx(before[0] ** 2)
            assert weight_of(one.network) < before[0]
            assert weight_of(other.network) < before[1]
            assert weight_of(third.network) == before[2]
            assert not states[2]

    def test_its_forward_is_the_networks(self) -> None:
        player, x = player_of(line(2.0)), torch.ones(1, 1, dtype=torch.float64)
        assert torch.equal(player(x), player.network(x))
        assert player(x).requires_grad

    @pytest.mark.parametrize("optimizer", ["muon", "adam", "sgd", "rmsprop"])
    def test_goes_on_bit_for_bit_from_a_saved_state(self, optimizer: OptimizerName) -> None:
        def built(weights: int) -> Player[nn.Module]:
            torch.manual_seed(weights)
            return player_of(nn.Linear(6, 4), 100, 1, lambda progress: 0.01, optimizer)

        def trained(player: Player[nn.Module], steps: range) -> None:
            for step in steps:
                inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
                player.minimise(player(inputs).square().mean(), Clock(step * 8, 100, 8))

        whole, resumed = built(0), built(1)
        trained(whole, range(3))
        file = io.BytesIO()
        torch.save(whole.state_dict(), file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        resumed.load_state_dict(state)
        kept = [value.clone() for value in tensors_of(state)]
        trained(whole, range(3, 6))
        trained(resumed, range(3, 6))
        assert all(map(torch.equal, tensors_of(whole.state_dict()), tensors_of(resumed.state_dict())))
        assert all(map(torch.equal, kept, tensors_of(state)))  # what was put back is not changed by going on


def tensors_of(state: object) -> list[Tensor]:
    """Every tensor of a nested state, in order."""
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]
