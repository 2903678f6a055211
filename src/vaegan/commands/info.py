"""vaegan info: what a run is and how it went."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class Info:
    """What a run is: data, networks, what was trained and how it went."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run."""
    json: bool = False
    """Print JSON instead of words."""


def info(request: Info) -> None:
    """Describes a run."""
    from vaegan.console import Console
    from vaegan.describe import describe

    facts = describe(request.run)
    if request.json:
        print(json.dumps(facts, indent=2))
    else:
        Console().info(facts)
