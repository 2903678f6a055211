"""What an evaluation keeps of images that pass by: exact sums that merge, and no more memory for more images."""

import weakref
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from vaegan.data import ImageDataset
from vaegan.evaluation.measure import Options, described
from vaegan.evaluation.reference import RealImages
from vaegan.evaluation.samples import Described, Yardstick, compare, describe, log_spectrum
from vaegan.evaluation.tally import MOST_RECORDED, Findings, Share, Tally


def images(count: int, seed: int = 0, side: int = 16) -> Tensor:
    rough = torch.randn(count, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(seed))
    return (0.5 * torch.nn.functional.interpolate(rough, size=side, mode="bilinear")).clamp(-1, 1)


class Endless:
    """A data set of any size that draws what it is asked for, and knows how many of its images are held at once."""

    fingerprint, config = "endless", SimpleNamespace(binarize="none")

    def __init__(self, count: int) -> None:
        self.contents = np.arange(count, dtype=np.uint64)
        self.held, self.most, self.given = 0, 0, 0

    def load(self, indices: Any) -> Tensor:
        block = images(len(indices), int(indices[0]))
        self.held, self.given = self.held + len(block), self.given + len(block)
        self.most = max(self.most, self.held)
        weakref.finalize(block, self.release, len(block))
        return block

    def release(self, count: int) -> None:
        self.held -= count


def real_images(source: Endless) -> RealImages:
    return RealImages(cast(ImageDataset, source), np.arange(len(source.contents)), "test")


def size(tally: Tally) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tally.state.values())


@pytest.mark.heavy
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path))
    sizes: list[int] = []
    for count in (MOST_RECORDED + 2_000, 4 * MOST_RECORDED):
        source = Endless(count)
        found = described(real_images(source), False, Options(count, False, 0, None), Share())
        assert source.given == count
        assert source.most <= 2 * 512
        assert len(found.random) == MOST_RECORDED
        assert found.tally.sums("sharpness").count.sum() == count
        sizes.append(size(found.tally))
        assert described(real_images(source), False, Options(count, False, 0, None), Share()).count == count
        assert source.given == count  # the second time it comes from the cache
    assert sizes[0] == sizes[1]


def test_sums_of_any_shards_are_those_of_the_whole() -> None:
    features = torch.randn(1_003, 9, generator=torch.Generator().manual_seed(0)).double() * 3 + 5
    chosen = np.random.default_rng(0)

    def tally(start: int, end: int) -> Tally:
        part = Tally()
        part.add("sum", start, features[start:end])
        part.add_moments("moments", start, features[start:end])
        part.record_first("rows", start, features[start:end], most=400)
        return part

    whole = tally(0, 1_003)
    assert len(whole.rows("rows")) == 400
    for parts in (2, 3, 50):
        cuts = [0, *sorted(chosen.choice(np.arange(1, 1_003), parts - 1, replace=False).tolist()), 1_003]
        shards = [tally(*ends) for ends in pairwise(cuts)]
        chosen.shuffle(cast(Any, shards))
        merged = Tally.of_states(shard.state for shard in shards)
        assert merged.state.keys() == whole.state.keys()
        assert torch.equal(merged.rows("rows"), whole.rows("rows"))
        for name, tensor in whole.state.items():
            if not name.startswith("rows/"):
                torch.testing.assert_close(merged.state[name], tensor, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.sums("sum").mean, features.mean(0), rtol=1e-12, atol=0)


@pytest.mark.heavy
def test_processes_that_share_the_blocks_find_what_one_finds() -> None:
    real, fake = images(300), images(320, 1)

    def found(world_size: int) -> tuple[dict[str, Any], list[float]]:
        sets: list[Described] = []
        for given, whole in ((False, real), (True, fake)):
            tallies = [Tally() for _ in range(world_size)]
            for block in range(0, len(whole), 64):
                describe(tallies[block // 64 % world_size], block, whole[block : block + 64], len(whole), 0, given)
            shares = [Share(rank, world_size, lambda _, all=tallies: [one.state for one in all]) for rank in range(world_size)]
            sets.append(Described(len(whole), shares[0].merged(tallies[0])))
        findings = Findings()
        compare(Yardstick(sets[0], None, 0), sets[1], findings)
        return findings.as_json(), log_spectrum(sets[1])

    (one, spectrum), (three, other) = found(1), found(3)
    assert other == pytest.approx(spectrum, abs=1e-5)
    assert one.keys() == three.keys()
    assert {"kernel_distance", "frechet_distance", "swd_full", "recall", "variety", "sharpness"} <= one.keys()
    for name, number in one.items():
        assert three[name]["value"] == pytest.approx(number["value"], rel=1e-6, abs=1e-9), name
        if number["interval"] is not None:
            assert three[name]["interval"] == pytest.approx(number["interval"], rel=1e-6, abs=1e-9), name
