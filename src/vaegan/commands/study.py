"""vaegan study: the sources' experiments on one's own images."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Annotated

from vaegan.commands.options import Spelling
from vaegan.commands.shared import SettingsOptions
from vaegan.commands.stopping import stoppable
from vaegan.config import TrainConfig
from vaegan.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Options(SettingsOptions):
    """Train side by side what a question needs, measure it, and say in words what is to be seen."""

    name: Annotated[str | None, Spelling("NAME", positional=True)] = None
    """Which study; --list shows them."""
    source: Annotated[str | None, Spelling("DATA", positional=True)] = None
    """The images, as for train."""
    list: bool = False
    """Show the studies and stop."""
    minutes: float | None = None
    """Time for the study, over all arms and seeds; becomes the same number of images for every arm."""
    images: int | None = None
    """Images seen in the study, instead of --minutes."""
    seeds: int | None = None
    """Repetitions of every arm with seeds 0, 1, ...; by default the study's own number."""
    out: Path | None = None
    """Folder of the study, studies/NAME-DATA by default; the same command goes on with a study that was stopped."""
    settings: Annotated[TrainConfig, Spelling(only=("data", "device", "network"))] = field(default_factory=TrainConfig)


def run(options: Options) -> None:
    """Carries out a study, or lists them."""
    from vaegan.studies.catalogue import STUDIES, find_study
    from vaegan.studies.running import run_study

    if options.list:
        listed = {one.name: one.question for one in STUDIES.values()}
        width = max(map(len, listed))
        lines = "\n".join(f"{name:{width}}  {text}" for name, text in listed.items())
        print(json.dumps(listed, indent=2) if options.json else lines)
        return
    if options.name is None:
        raise RequestError("Which study? See vaegan study --list.")
    found = find_study(options.name)
    if options.source is None:
        raise RequestError(f"On which images? Give a folder, or: vaegan study {found.name} faces")
    stem = Path(options.source).name.split(".")[0].replace(":", "-") or "images"
    out = options.out or Path("studies") / f"{found.name}-{stem}"
    console = options.console
    with stoppable(console.preparing) as (stop, preparing):
        folder = run_study(
            found,
            options.source,
            options.settings,
            out,
            minutes=options.minutes,
            images=options.images,
            seeds=options.seeds,
            preparing=preparing,
            progress=console.preparing,
            cancel=stop,
        )
    console.close()
    if options.json:
        facts = {"study": found.name, "folder": str(out), "report": str(folder.report), "answer": folder.story.answer}
        print(json.dumps(facts | {"findings": folder.story.sentences}, indent=2))
        return
    for sentence in folder.story.sentences:
        console.say(sentence)
    console.say(f"Figures and all numbers: {quote(str(folder.report))}")
