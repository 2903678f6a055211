"""vaegan train and vaegan study: training, and what is said about it; Ctrl-C saves and stops."""

import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shlex import quote
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

from vaegan.commands.options import Spelling
from vaegan.commands.shared import SettingsOptions
from vaegan.config import SHORT_VAE, TrainConfig
from vaegan.errors import RequestError
from vaegan.processes import is_first_process

if TYPE_CHECKING:
    from vaegan.console import Console
    from vaegan.training.run import RunFolder


@contextmanager
def stoppable() -> Generator[Callable[[], bool]]:
    """Ctrl-C, SIGTERM and a closed window ask the training to save and stop; a second Ctrl-C stops at once.

    Yields:
        What the training asks whether to stop. Until it first asks there is nothing to save, and a signal ends it at once.
    """
    asked = threading.Event()
    before: dict[signal.Signals, Any] = {}
    hang_up: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows knows none

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            if number != hang_up:  # that comes twice: from the terminal, and from the shell in it
                raise KeyboardInterrupt
            return
        asked.set()
        with suppress(OSError):  # nobody may read it
            if is_first_process():
                print("\nStopping and saving; a moment (again to stop at once) ...", file=sys.stderr, flush=True)

    def stop() -> bool:
        if not before:
            asking = [signal.SIGINT, signal.SIGTERM]
            # A closed window asks to stop too, unless the user has said not to mind it (nohup).
            if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
                asking.append(hang_up)
            before.update({number: signal.signal(number, ask) for number in asking})
        return asked.is_set()

    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


GRAINY, CLEAR = 10_000, 20_000  # [images] of a GAN: below the first there is grain around contours, from the second on none
WITH_RESUME = ("--resume", "--minutes", "--images", "--json", "--no-json")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(SettingsOptions):
    """Train on a collection of images: a VAE first, which then grows into a GAN."""

    source: Annotated[str | None, Spelling("DATA", positional=True)] = None
    """Folder, zip or tar of images, MNIST's IDX files, .npy or .npz, or faces (drawn by the package)."""
    minutes: float | None = None
    """Training time over all stages; 4 unless --images is given."""
    images: int | None = None
    """Images seen over all stages, instead of --minutes."""
    out: Path | None = None
    """Folder of the run; the next one under runs/ by default."""
    init: Path | None = None
    """Start from the weights of an earlier run, of other images too: its VAE's, or with RUN/gan its GAN's."""
    resume: Path | None = None
    """Go on with this run; with --minutes or --images train it longer. DATA says where its images are now, if they were moved."""
    dry_run: bool = False
    """Show what would be trained, and stop."""

    @staticmethod
    def defaults(written: Mapping[str, Any]) -> dict[str, Any]:
        """The settings before those of the command line; a resumed run has its own, in its run.json."""
        if "--resume" not in written:
            return SettingsOptions.defaults(written)
        if others := [option for option in written if option not in WITH_RESUME]:
            raise RequestError(f"A resumed run keeps its settings; leave out {', '.join(others)}, or start a new run.")
        return {}


def train(options: TrainOptions) -> None:
    """Trains or goes on with a run."""
    from vaegan import api

    console = options.console
    if options.resume is None and options.source is None:
        raise RequestError("What shall it learn from? Give a folder of images, or: vaegan train faces")
    if options.dry_run:
        api.check_request(options.settings, options.minutes, options.images)
        api.check_new(str(options.source), options.settings, options.out, options.init)
        _print_plan(options, console)
        return
    length = {"minutes": options.minutes, "images": options.images}
    with stoppable() as stop:
        listening: dict[str, Any] = dict(progress=console.progress, preparing=console.preparing, say=console.say, cancel=stop)
        if options.resume is not None:
            folder = api.resume(options.resume, options.source, **length, **listening)
        else:
            start = {"out": options.out, "init": options.init}
            folder = api.train(str(options.source), options.settings, **start, **length, **listening)
    print_finished(folder, console, options.json)


def _print_plan(options: TrainOptions, console: "Console") -> None:
    from vaegan.data.dataset import find_source
    from vaegan.data.fitting import settle_size
    from vaegan.describe import network_costs

    config, minutes, images = options.settings, options.minutes, options.images
    config = replace(config, data=settle_size(find_source(str(options.source)), config.data))
    if options.json:
        facts = {"data": options.source, "minutes": minutes, "images": images, "settings": asdict(config)}
        print(json.dumps(facts, indent=2))
        return
    budget = f"{images:,} images" if images is not None else f"{4 if minutes is None else minutes:g} minutes"
    stages = " then ".join(stage.upper() for stage in config.stages)
    console.say(f"Would train {stages} on {options.source} for {budget}.")
    for name, cost in network_costs(config.network, config.data.shape, 3).items():
        sizes = f"{cost['parameters'] / 1e6:.2f} M parameters, {cost['multiply_adds'] / 1e6:.0f} M multiply-adds an image"
        console.say(f"  {name:8} {sizes}")
    console.say("Nothing was trained. All settings: add --json.")


def print_finished(folder: "RunFolder", console: "Console", as_json: bool) -> None:
    """Says what was made and what can be done with it."""
    from vaegan.model_files import read_config

    console.close()
    record = folder.read()
    stages = [plan.name for plan in record.plan]
    if as_json:
        if is_first_process():
            print(json.dumps({"run": str(folder.path), "stages": stages, "facts": record.facts}, indent=2))
        return
    seen = ", ".join(f"{name.upper()} {record.facts[name].get('images', 0):,} images" for name in stages)
    console.say(f"Done in {record.spent_seconds / 60:.1f} minutes ({seen}): {folder.path}")
    gan = record.facts.get("gan", {})
    if gan.get("inverse"):
        console.say(_recognition_words(gan["inverse"]))
    if "gan" in stages and gan.get("images", 0) < GRAINY:
        console.say(_too_few_words(record.facts))
    run = quote(str(folder.path))
    model = read_config(folder.model(stages[-1]))
    wished, needed = ("   [--label NAME]", " --label NAME") if model.labels else ("", "")
    console.say(f"  watch it learn      {folder.path / 'progress.webp'}")
    console.say(f"  new images          vaegan sample {run} -n 64 --out samples.png{wished}")
    if model.has_encoder:
        console.say(f"  your own image      vaegan reconstruct {run} IMAGE{needed}")
    console.say(f"  train it longer     vaegan train --resume {run} --minutes 10")


def _too_few_words(facts: dict[str, Any]) -> str:
    """Whoever sees noise after a short run should know why, and how long a run would have to be."""

    def seconds(stage: str, images: int) -> float:
        speed = max(facts[stage].get("measured_speed", 0.0), facts[stage].get("mean_speed", 0.0))
        return images / speed if speed > 0 else math.inf

    needed = seconds("gan", CLEAR) + (seconds("vae", SHORT_VAE) if "vae" in facts else 0.0)
    anew = f", which is about --minutes {math.ceil(needed / 60)} here" if math.isfinite(needed) else ""
    return f"The GAN has seen few images, {facts['gan'].get('images', 0):,}: expect grain. It takes some {CLEAR:,}{anew}."


def _recognition_words(inverse: dict[str, Any]) -> str:
    recognised, latent = inverse["own_source_nearest"], f"{max(0.0, inverse['latent_recovery']):.0%} of the latent is recovered."
    if isinstance(recognised, str):
        return f"Encoding: whether held-out images are recognised in the GAN's reconstructions of them {recognised}; {latent}"
    return f"Encoding: {recognised:.0%} of held-out images are recognised in the GAN's reconstructions of them, {latent}"


@dataclass(frozen=True, kw_only=True)
class StudyOptions(SettingsOptions):
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


def study(options: StudyOptions) -> None:
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
    with stoppable() as stop:
        asked: dict[str, Any] = {"minutes": options.minutes, "images": options.images, "seeds": options.seeds}
        listening: dict[str, Any] = dict(preparing=console.preparing, progress=console.preparing, cancel=stop)
        folder = run_study(found, options.source, options.settings, out, **asked, **listening)
    console.close()
    if options.json:
        facts = {"study": found.name, "folder": str(out), "report": str(folder.report), "answer": folder.story.answer}
        print(json.dumps(facts | {"findings": folder.story.sentences}, indent=2))
        return
    for sentence in folder.story.sentences:
        console.say(sentence)
    console.say(f"Figures and all numbers: {quote(str(folder.report))}")
