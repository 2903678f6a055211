"""vaegan doctor: is this machine ready."""

import json
import sys
from dataclasses import dataclass

from vaegan.config_files import load_preset


@dataclass(frozen=True)
class Doctor:
    """Is this machine ready: versions, devices, speed, disk; and what to fix."""

    json: bool = False
    """Print JSON instead of words."""


def doctor(request: Doctor) -> None:
    """Examines the machine."""
    from vaegan.console import Console
    from vaegan.describe import measure_speed
    from vaegan.doctor import examine

    facts = examine()
    facts["tiny_images_per_second"] = {
        stage: round(rate) for stage, rate in measure_speed(load_preset("tiny").network, 64, 3).items()
    }
    if request.json:
        print(json.dumps(facts, indent=2))
    else:
        Console().doctor(facts)
    if facts["problems"]:
        sys.exit(1)
