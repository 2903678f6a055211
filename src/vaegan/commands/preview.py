"""vaegan preview: what training will see."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import check_picture
from vaegan.config import DataConfig
from vaegan.config_files import load_preset


@dataclass(frozen=True)
class Preview:
    """See what training will see: a contact sheet after cropping, counts, what is skipped, a time estimate."""

    source: Annotated[Positional[str], arg(metavar="DATA")]
    """As for train."""
    out: Path = Path("preview.png")
    """The contact sheet."""
    json: bool = False
    """Print JSON instead of words."""
    data: Annotated[DataConfig, arg(name="")] = field(default_factory=DataConfig)


def preview(request: Preview) -> None:
    """Shows what training will see."""
    check_picture(request.out, request.source)

    from vaegan.console import Console
    from vaegan.data import open_dataset
    from vaegan.describe import measure_speed
    from vaegan.pictures import save_png
    from vaegan.preview import contact_sheet, summary

    console = Console(quiet=request.json)
    dataset = open_dataset(request.source, request.data, progress=console.preparing)
    save_png(contact_sheet(dataset), request.out)
    speed = measure_speed(load_preset("tiny").network, dataset.config.size, dataset.channels)
    facts = summary(dataset) | {"images_per_second": speed, "sheet": str(request.out)}
    if request.json:
        print(json.dumps(facts, indent=2))
    else:
        console.preview(dataset, facts, request.out)
