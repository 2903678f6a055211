"""vaegan study: the sources' experiments on one's own images."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import preset_settings
from vaegan.commands.stopping import interruptible, stoppable
from vaegan.config import DataConfig, DeviceConfig, NetworkConfig
from vaegan.config_files import load_config_file, load_preset
from vaegan.errors import RequestError


@dataclass(frozen=True)
class StudyOptions:
    """Train side by side what a question needs, measure it, and say in words what is to be seen."""

    name: Annotated[Positional[str | None], arg(metavar="NAME")] = None
    """Which study; --list shows them."""
    source: Annotated[Positional[str | None], arg(metavar="DATA")] = None
    """As for train."""
    list: bool = False
    """Show the studies and stop."""
    minutes: float | None = None
    """Of the whole study, over all arms and seeds; becomes the same number of images for every arm."""
    images: int | None = None
    """Images seen in the whole study, instead of --minutes."""
    seeds: int | None = None
    """Repetitions of every arm with seeds 0, 1, ...; by default the study's own number."""
    out: Path | None = None
    """Folder of the study, studies/NAME-DATA by default; the same command goes on with a study that was stopped."""
    preset: str = "tiny"
    """As for train."""
    config: Path | None = None
    """As for train: what the arms do not differ in."""
    json: bool = False
    """Print one JSON object at the end instead of words."""
    data: Annotated[DataConfig, arg(name="")] = field(default_factory=DataConfig)
    device: Annotated[DeviceConfig, arg(name="")] = field(default_factory=DeviceConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)


def defaults(rest: list[str]) -> StudyOptions:
    """What the options are when only the preset and the file of settings are known."""
    preset, file, config = preset_settings(rest)
    return StudyOptions(preset=preset, config=file, data=config.data, device=config.device, network=config.network)


def study(request: StudyOptions) -> None:
    """Carries out a study, or lists them."""
    from dataclasses import replace
    from shlex import quote

    from vaegan.console import Console
    from vaegan.studies.catalogue import STUDIES, find_study
    from vaegan.studies.running import run_study

    if request.list:
        listed = {one.name: one.question for one in STUDIES.values()}
        width = max(map(len, listed))
        print(
            json.dumps(listed, indent=2)
            if request.json
            else "\n".join(f"{name:{width}}  {text}" for name, text in listed.items())
        )
        return
    if request.name is None:
        raise RequestError("Which study? See vaegan study --list.")
    found = find_study(request.name)
    if request.source is None:
        raise RequestError(f"On which images? Give a folder, or: vaegan study {found.name} faces")
    base = load_preset(request.preset)
    base = base if request.config is None else load_config_file(request.config, base)
    config = replace(base, data=request.data, device=request.device, network=request.network)
    stem = Path(request.source).name.split(".")[0].replace(":", "-") or "images"
    out = request.out or Path("studies") / f"{found.name}-{stem}"
    console = Console(quiet=request.json)
    with stoppable() as stop:
        folder = run_study(
            found,
            request.source,
            config,
            out,
            minutes=request.minutes,
            images=request.images,
            seeds=request.seeds,
            preparing=interruptible(console.preparing, stop),
            progress=console.preparing,
            cancel=stop,
        )
    console.close()
    if request.json:
        facts = {"study": found.name, "folder": str(out), "report": str(folder.report), "answer": folder.story.answer}
        print(json.dumps(facts | {"findings": folder.story.sentences}, indent=2))
        return
    for sentence in folder.story.sentences:
        console.say(sentence)
    console.say(f"Figures and all numbers: {quote(str(folder.report))}")
