"""Is this machine ready, and how fast is it."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from vaegan.data import default_cache_dir
from vaegan.training.engine import chosen_device, probe_precision

NEEDED_GIGABYTES = 2.0
SLOW_GFLOPS = 60.0  # a third of the 195 that two slow cores of 2021 reach when idle


def examine() -> dict[str, Any]:
    """Versions, devices, the speed of a convolution, free disk; `problems` says what to fix."""
    device = chosen_device("auto")
    faster, rates = probe_precision(device)
    cache = default_cache_dir()
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = {"cache": shutil.disk_usage(place).free / 1e9, "here": shutil.disk_usage(".").free / 1e9}
    facts: dict[str, Any] = {
        "vaegan": _version("vaegan"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "torch": torch.__version__,
        "lightning_fabric": _version("lightning-fabric"),
        "processor_cores": os.cpu_count(),
        "threads_torch_uses": torch.get_num_threads(),
        "devices": _devices(),
        "convolution_gflops": {name: round(rate) for name, rate in rates.items()},
        "faster_precision": faster,
        "cache": str(cache),
        "free_gigabytes": {name: round(value, 1) for name, value in free.items()},
        "problems": [],
    }
    for name, value in free.items():
        if value < NEEDED_GIGABYTES:
            facts["problems"].append(f"only {value:.1f} GB free ({name}); free some space or set VAEGAN_CACHE elsewhere.")
    if device.type == "cpu" and max(rates.values()) < SLOW_GFLOPS:
        facts["problems"].append(
            f"convolutions run at {max(rates.values()):.0f} GFLOP/s, slower than a laptop: "
            "close other programs, or plan more minutes."
        )
    return facts


def _devices() -> list[str]:
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("Apple GPU")
    return names or ["no GPU: the processor is used"]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
