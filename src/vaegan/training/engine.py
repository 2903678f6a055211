"""Devices, processes and precision: the only file that knows lightning-fabric."""

import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from subprocess import Popen
from typing import Any, Literal, TypeVar, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, distributed, nn
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torch.optim import Optimizer

from vaegan.config import DeviceConfig
from vaegan.errors import RequestError, TrainingError, VaeganError
from vaegan.parts.engine import Network
from vaegan.processes import (
    check_can_start_others,
    end_with_starter,
    is_launched,
    number_of_processes,
    start_others,
    was_started_by_first,
)
from vaegan.randomness import Draws
from vaegan.settings import check_seed

Precision = Literal["float32", "bfloat16"]
Result = TypeVar("Result")

PATIENCE = timedelta(hours=12)
"""How long processes wait for each other: the first one may decode millions of images while the others wait, for which torch's
own limit is too short. A process that dies is noticed by its closed connection, not by this."""
MEETING = timedelta(minutes=1)
"""How long the processes of this machine wait for each other to start."""
_LOST = ("gloo", "connection closed", "connection reset", "broken pipe", "nccl", "socket")  # in errors about a lost process


class FabricEngine:
    """Runs recipes on the devices asked for; implements `vaegan.parts.engine.Engine`."""

    def __init__(self, config: DeviceConfig, seed: int) -> None:
        """Starts the processes: with several devices everything after this runs in each of them.

        The seed is that of the run, for the keyed random streams. RequestError if the device asked for is not there.
        """
        check_seed(seed)
        self.seed = seed
        accelerator = chosen_device(config.accelerator).type
        devices = number_of_processes("LOCAL_WORLD_SIZE", config.devices)
        several = devices * config.nodes > 1 or number_of_processes("WORLD_SIZE", 1) > 1
        there = {"cpu": os.cpu_count() or 1, "cuda": torch.cuda.device_count(), "mps": 1}[accelerator]
        if devices > there:
            raise RequestError(
                f"Cannot run on {devices} {accelerator} devices: this machine has {there}; give --devices {there}."
            )
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its notes on starting are not our user's
        if devices > 1 and (was_started_by_first() or not is_launched()):
            self._meeting = _meet(devices)  # the server of Fabric's own meeting, as long as it is kept
        try:
            # 32-true, because Fabric's own autocast forbids second derivatives through a wrapped network (exact R1).
            self._fabric = Fabric(
                accelerator=accelerator,
                devices=devices,
                num_nodes=config.nodes,
                strategy=DDPStrategy(timeout=PATIENCE) if several else "auto",
                precision="32-true",
            )
            self._fabric.launch()
        except (RuntimeError, ValueError) as error:
            raise RequestError(f"Cannot run on {devices} {accelerator} device(s): {str(error).splitlines()[0]}") from error
        self.device = self._fabric.device
        self.rank, self.world_size = self._fabric.global_rank, self._fabric.world_size
        self.precision: Precision = "float32"

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def prepare(self, network: Network) -> Network:
        """Moves a network to the device, channels last, and wraps it for gradient exchange."""
        network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return cast(Network, self._fabric.setup_module(network))

    def prepare_frozen(self, network: Network) -> Network:
        """Moves a network that is never trained to the device."""
        return network.to(self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """Prepares an optimiser of prepared networks."""
        return cast(Optimizer, self._fabric.setup_optimizers(optimizer))

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss`, averaged over processes."""
        self._fabric.backward(loss)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a detached value over all processes."""
        if self.world_size == 1:
            return value
        return cast(Tensor, self._fabric.all_reduce(value.clone(), reduce_op="mean"))

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process, so that all of them stop at the same step."""
        if self.world_size == 1:
            return flag
        raised = cast(Tensor, self._fabric.all_reduce(torch.tensor(float(flag), device=self.device), reduce_op="sum"))
        return bool(raised > 0)

    def share(self, value: Any) -> Any:
        """The first process's `value`, in every process."""
        return value if self.world_size == 1 else self._fabric.broadcast(value, src=0)

    def gather(self, value: Any) -> list[Any]:
        """Every process's `value` on the CPU, in every process, in the order of their ranks."""
        if self.world_size == 1:
            return [value]
        found: list[Any] = [None] * self.world_size
        distributed.all_gather_object(found, value)
        return found

    def first_does(self, action: Callable[[], Result]) -> Result | None:
        """The first process acts, and has the result; if it fails, all of them stop with its error instead of waiting for it."""
        result, error = None, None
        if self.is_first:
            try:
                result = action()
            except VaeganError as failure:
                error = failure
        if (shared := self.share(error)) is not None:
            raise shared
        return result

    def draws(self, stage: str) -> Draws:
        """The keyed random streams of a stage, sliced for this process."""
        return Draws(self.seed, stage, self.device, self.rank, self.world_size)

    def autocast(self) -> AbstractContextManager[object]:
        """The one place where low precision is switched on."""
        low = self.precision == "bfloat16"
        # No cache: a weight cast under no_grad must not be used again where gradients are wanted.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low, cache_enabled=False)

    def wait(self) -> None:
        """Lets the processes catch up with each other."""
        self._fabric.barrier()


@contextmanager
def together(advice: str) -> Generator[None]:
    """Around what several processes do: TrainingError says in a sentence that another one has ended, with `advice`."""
    try:
        yield
    except RuntimeError as error:
        if not distributed.is_initialized() or not any(sign in str(error).lower() for sign in _LOST):
            raise
        raise TrainingError(f"Another process of this command has ended, killed or out of memory. {advice}") from error


def _meet(count: int) -> TCPStore:
    """Starts the other processes, or joins the first, and waits until all are here: TrainingError after a minute."""
    rank, others = int(os.environ.get("LOCAL_RANK", "0")), list[Popen[bytes]]()
    if was_started_by_first():
        end_with_starter()
        store = TCPStore("127.0.0.1", int(os.environ["MASTER_PORT"]), timeout=MEETING)
    else:
        check_can_start_others()
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, multi_tenant=True)
        others = start_others(count, store.port)
    store.set(f"here {rank}", "")
    until = time.monotonic() + MEETING.total_seconds()
    while not store.check([f"here {rank}" for rank in range(count)]):  # in Python, where signals are heard
        if time.monotonic() > until or any(process.poll() is not None for process in others):
            raise TrainingError(f"Not all of the {count} processes started; try again, or with fewer --devices.")
        time.sleep(0.05)
    return store


def chosen_device(wanted: str) -> torch.device:
    """Where training will be when `--accelerator` says `wanted`; RequestError if that is not there."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return torch.device("cuda" if available["cuda"] else "mps" if available["mps"] else "cpu")
    if not available[wanted]:
        there = ", ".join(name for name, present in available.items() if present)
        raise RequestError(f"No {wanted} device here (there is: {there}). Leave --accelerator at auto.")
    return torch.device(wanted)


CLEAR = 1.5
"""A ratio of two speeds that is no accident; idle machines had 0.15-0.4 (emulated bfloat16) and 1.7-3.4 (native)."""


def probe_precision(device: torch.device, seconds: float = 1.0, at_most: float = 4.0) -> tuple[Precision, dict[str, float]]:
    """The faster precision (float32 unless bfloat16 gains a tenth) for a small convolution, and the rates [GFLOP/s] of each.

    Processors without bfloat16 arithmetic emulate it at a fraction of the speed, so this is measured and not looked up. Another
    program may hold the processor for a while, and a wrong choice costs a factor of two for the whole run: the precisions take
    turns, the best time of each counts, and while they seem alike it goes on, for `at_most` seconds.
    """
    work, flop = timed_convolution(device)
    best = {False: float("inf"), True: float("inf")}
    for low in best:
        work(low)  # the first is not like the others
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or (spent < at_most and 1 / CLEAR < best[True] / best[False] < CLEAR):
        for low in best:
            begun = time.perf_counter()
            work(low)
            best[low] = min(best[low], time.perf_counter() - begun)
    rates = {"float32": flop / best[False] / 1e9, "bfloat16": flop / best[True] / 1e9}
    faster = "bfloat16" if rates["bfloat16"] > 1.1 * rates["float32"] else "float32"
    return faster, rates


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def timed_convolution(device: torch.device) -> tuple[Callable[[bool], None], float]:
    """One forward and backward pass, with bfloat16 or without, and how many operations it has."""
    # On a GPU a small layer would time its launch.
    side = 64 if device.type == "cuda" else 16
    layer = nn.Conv2d(64, 64, 3, padding=1).to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = torch.zeros(32, 64, side, side, device=device).contiguous(memory_format=torch.channels_last).requires_grad_()

    def once(low: bool) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            layer(images).float().sum().backward()
        synchronise(device)

    return once, 3 * 2 * 9 * 64 * 64 * side**2 * 32
