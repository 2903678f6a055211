"""vaegan doctor: is this machine ready, and how fast is it."""

import json
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from vaegan import __version__
from vaegan.commands.shared import JsonOption
from vaegan.config_files import load_preset

NEEDED_GIGABYTES = 2.0
SLOW_GFLOPS = 60.0  # a third of the 195 that two slow cores of 2021 reach when idle


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(JsonOption):
    """Is this machine ready: versions, devices, speed, disk; and what to fix."""


def doctor(options: DoctorOptions) -> None:
    """Examines the machine, and exits with 1 if there is something to fix."""
    facts, problems = _examine()
    if options.json:
        print(json.dumps(facts | {"problems": problems}, indent=2))
    else:
        console = options.console
        console.table({name.replace("_", " "): value for name, value in facts.items()})
        for sentence in [f"To fix: {problem}" for problem in problems] or ["Everything is in order."]:
            console.say(sentence)
    if problems:
        sys.exit(1)


def _examine() -> tuple[dict[str, Any], list[str]]:
    """Versions, devices, the speed of a convolution and of training, free disk; and what to fix."""
    import torch

    from vaegan.data import default_cache_dir
    from vaegan.describe import measure_speed
    from vaegan.training.engine import chosen_device, probe_precision

    device = chosen_device("auto")
    faster, rates = probe_precision(device)
    cache = default_cache_dir()
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = {"cache": shutil.disk_usage(place).free / 1e9, "here": shutil.disk_usage(".").free / 1e9}
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    devices += ["Apple GPU"] if torch.backends.mps.is_available() else []
    facts: dict[str, Any] = {
        "vaegan": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "torch": torch.__version__,
        "lightning_fabric": version("lightning-fabric"),
        "processor_cores": os.cpu_count(),
        "threads_torch_uses": torch.get_num_threads(),
        "devices": devices or ["no GPU: the processor is used"],
        "convolution_gflops": {name: round(rate) for name, rate in rates.items()},
        "faster_precision": faster,
        "cache": str(cache),
        "free_gigabytes": {name: round(value, 1) for name, value in free.items()},
    }
    speed = measure_speed(load_preset("tiny").network, 64, 3)
    facts["tiny_images_per_second"] = {stage: round(rate) for stage, rate in speed.items()}
    problems = [
        f"only {value:.1f} GB free ({name}); free some space or set VAEGAN_CACHE elsewhere."
        for name, value in free.items()
        if value < NEEDED_GIGABYTES
    ]
    if device.type == "cpu" and max(rates.values()) < SLOW_GFLOPS:
        rate = f"{max(rates.values()):.0f} GFLOP/s"
        problems.append(f"convolutions run at {rate}, slower than a laptop: close other programs, or plan more minutes.")
    return facts, problems
