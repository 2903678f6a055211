"""Means of scalars over steps, against plain sums in double precision."""

from typing import Any

import pytest
import torch

from engines import OneProcess
from vaegan.training.means import Means


def means_of(*steps: dict[str, torch.Tensor]) -> Means:
    engine: Any = OneProcess()
    means = Means(engine)
    for step in steps:
        means.add(step)
    return means


def test_scalars_of_low_precision_are_added_up_exactly() -> None:
    values = [torch.tensor(1 + k / 128, dtype=torch.bfloat16) for k in range(128)] * 4
    wanted = sum(map(float, values)) / len(values)
    assert means_of(*({"loss": value} for value in values)).read()["loss"] == pytest.approx(wanted, rel=1e-6)


def test_each_scalar_is_averaged_over_the_steps_that_had_it() -> None:
    one, three = torch.tensor(1.0), torch.tensor(3.0)
    means = means_of({"a": one, "b": one}, {"a": three})
    assert means.read() == means.take() == {"a": 2, "b": 1}
    assert means.read() == {}


def test_an_unfinished_window_goes_on_in_a_resumed_run() -> None:
    steps = [{"a": torch.tensor(0.1 * k)} | ({"b": torch.tensor(float(k))} if k % 2 else {}) for k in range(7)]
    whole, begun, resumed = means_of(*steps), means_of(*steps[:4]), means_of()
    resumed.set_state(begun.state())
    for step in steps[4:]:
        resumed.add(step)
    assert resumed.read() == whole.read()
