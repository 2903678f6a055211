"""Keyed randomness: every draw comes from a generator seeded by what it is for and when, so there is no state to save."""

import hashlib
from operator import index

import torch
from torch import Generator, Tensor


def keyed_seed(*key: int | str) -> int:
    """A 63-bit seed that depends on every part of `key`, texts and whole numbers, and on nothing else."""
    parts = tuple(part if isinstance(part, str) else index(part) for part in key)  # 3 and np.int64(3) are shown differently
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Draws:
    """The random streams of one stage of one run, sliced for one process.

    A stream is named and indexed by images seen. Each process draws the whole batch's numbers and keeps its
    interleaved share, so that the number of processes does not change what an image gets.
    """

    def __init__(self, seed: int, stage: str, device: torch.device | str = "cpu", rank: int = 0, world_size: int = 1) -> None:
        self.seed, self.stage, self.device = seed, stage, torch.device(device)
        self.rank, self.world_size = rank, world_size

    def generator(self, stream: str, seen: int) -> Generator:
        """The generator of `stream` for the step that starts at `seen` [images]: the same in every process."""
        return Generator(self.device).manual_seed(keyed_seed(self.seed, self.stage, stream, seen))

    def mine(self, everything: Tensor) -> Tensor:
        """This process's share of something drawn for the batch of all processes (first dimension)."""
        return everything[self.rank :: self.world_size]

    def normal(self, stream: str, seen: int, count: int, *shape: int) -> Tensor:
        """Standard normal numbers [count, *shape] for this process's `count` images."""
        shape = (count * self.world_size, *shape)
        return self.mine(torch.randn(shape, generator=self.generator(stream, seen), device=self.device))

    def uniform(self, stream: str, seen: int, count: int, *shape: int) -> Tensor:
        """Numbers uniform on [0, 1), [count, *shape], for this process's `count` images."""
        shape = (count * self.world_size, *shape)
        return self.mine(torch.rand(shape, generator=self.generator(stream, seen), device=self.device))
