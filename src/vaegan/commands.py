"""What each command's options are and what it does with them; everything heavy is imported inside."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from vaegan.config import (
    Budget,
    DataConfig,
    DeviceConfig,
    GANConfig,
    HandoverConfig,
    NetworkConfig,
    TrainConfig,
    VAEConfig,
    load_config_file,
    load_preset,
)
from vaegan.errors import RequestError
from vaegan.processes import is_first_process

if TYPE_CHECKING:
    from vaegan.types import ProgressCallback

Stage = Literal["vae", "gan"]

MOST_IN_A_GRID, MOST_SAMPLES = 10_000, 1_000_000


@dataclass(frozen=True)
class Train:
    """Train on a collection of images: a VAE first, which then grows into a GAN."""

    source: Annotated[Positional[str | None], arg(metavar="DATA")] = None
    """Folder, zip or tar of images, MNIST's IDX files, .npy or .npz, or faces (drawn by the package)."""
    minutes: float | None = None
    """Training time over all stages; 4 unless --images is given."""
    images: int | None = None
    """Images seen over all stages, instead of --minutes."""
    out: Path | None = None
    """Folder of the run; the next one under runs/ by default."""
    preset: str = "tiny"
    """Sizes and rates of the networks: tiny (minutes on a CPU), base, large (GPUs)."""
    config: Path | None = None
    """TOML file with settings, laid over the preset; options on the command line win."""
    init: Path | None = None
    """Start from the weights of an earlier run, of other images too."""
    init_stage: Annotated[Stage, arg(name="stage")] = "vae"
    """Which model of the --init run is the start."""
    resume: Path | None = None
    """Go on with this run; with --minutes or --images train it longer."""
    dry_run: bool = False
    """Show what would be trained, and stop."""
    json: bool = False
    """Print one JSON object at the end instead of words."""
    recipe: Literal["vae-gan", "vae", "gan"] = "vae-gan"
    """vae-gan: a VAE that grows into a GAN; vae or gan: only that."""
    seed: int = 0
    """Of every random stream."""
    data: Annotated[DataConfig, arg(name="")] = field(default_factory=DataConfig)
    device: Annotated[DeviceConfig, arg(name="")] = field(default_factory=DeviceConfig)
    budget: Annotated[Budget, arg(name="")] = field(default_factory=Budget)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    handover: HandoverConfig = field(default_factory=HandoverConfig)
    gan: GANConfig = field(default_factory=GANConfig)

    @staticmethod
    def defaults(config: TrainConfig, preset: str, file: Path | None) -> "Train":
        """Defaults that a preset and a file leave behind."""
        return Train(preset=preset, config=file, **{entry.name: getattr(config, entry.name) for entry in fields(TrainConfig)})

    def settings(self) -> TrainConfig:
        """The settings of the run."""
        return TrainConfig(**{entry.name: getattr(self, entry.name) for entry in fields(TrainConfig)})


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


@dataclass(frozen=True)
class Sample:
    """Make new images."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    n: Annotated[int, arg(aliases=["-n"])] = 64
    """How many."""
    out: Path = Path("samples.png")
    """A .png: one picture with all of them; anything else: a folder with one PNG each."""
    seed: int = 0
    """The same seed gives the same images."""
    stage: Stage | None = None
    """vae or gan; the last one trained by default."""
    sampler: Literal["prior", "gmm"] = "prior"
    """prior: latents from N(0, I); gmm: from a mixture of Gaussians fitted to the encoded training images."""
    observation_noise: bool = False
    """Draw from p(x|z) of the VAE and not only its mean: honest, and grainy."""
    json: bool = False
    """Print JSON instead of words."""


@dataclass(frozen=True)
class Reconstruct:
    """Encode images and decode them again: above the originals, below what the model keeps of them."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGE...")]
    """Image files."""
    out: Path = Path("reconstructions.png")
    """The picture."""
    stage: Stage | None = None
    """vae or gan; the last one trained by default."""
    fit: Literal["crop", "pad", "stretch"] | None = None
    """How a rectangle becomes a square; as the run's training images by default."""
    json: bool = False
    """Print JSON instead of words."""


@dataclass(frozen=True)
class Info:
    """What a run is: data, networks, what was trained and how it went."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run."""
    json: bool = False
    """Print JSON instead of words."""


@dataclass(frozen=True)
class Doctor:
    """Is this machine ready: versions, devices, speed, disk; and what to fix."""

    json: bool = False
    """Print JSON instead of words."""


def run(name: str, rest: list[str]) -> None:
    """Parses the options of a command and carries it out."""
    kind, function = COMMANDS[name]
    default = _train_defaults(rest) if kind is Train else None
    extra: dict[str, Any] = {} if default is None else {"default": default}
    request = tyro.cli(kind, prog=f"vaegan {name}", args=rest, **extra)
    function(request)


def _train_defaults(rest: list[str]) -> Train:
    """A first look at the options: the preset and the file decide the defaults that --help shows."""
    preset = _value_of("--preset", rest) or "tiny"
    config, file = load_preset(preset), _value_of("--config", rest)
    if file is not None:
        config = load_config_file(Path(file), config)
    return Train.defaults(config, preset, Path(file) if file else None)


def _value_of(option: str, rest: list[str]) -> str | None:
    for index, word in enumerate(rest):
        if word == option and index + 1 < len(rest):
            return rest[index + 1]
        if word.startswith(option + "="):
            return word.partition("=")[2]
    return None


def train(request: Train) -> None:
    """Trains or goes on with a run."""
    from vaegan import api
    from vaegan.console import Console

    console = Console(quiet=request.json)
    if request.resume is not None:
        _check_resume(request)
        with _stoppable() as stop:
            folder = api.resume(
                request.resume,
                minutes=request.minutes,
                images=request.images,
                progress=console.progress,
                preparing=_interruptible(console.preparing, stop),
                say=console.say,
                cancel=stop,
            )
        console.finished(folder, request.json)
        return
    if request.source is None:
        raise RequestError("What shall it learn from? Give a folder of images, or: vaegan train faces")
    if request.dry_run:
        api.check_request(request.settings(), request.minutes, request.images)
        console.plan(request.source, request.settings(), request.minutes, request.images, request.json)
        return
    with _stoppable() as stop:
        folder = api.train(
            request.source,
            request.settings(),
            minutes=request.minutes,
            images=request.images,
            out=request.out,
            init=request.init,
            progress=console.progress,
            preparing=_interruptible(console.preparing, stop),
            say=console.say,
            cancel=stop,
        )
    console.finished(folder, request.json)


def _check_resume(request: Train) -> None:
    """Refuses what a resumed run would not heed: it goes on with the settings of its run.json."""
    if request.source is not None:
        raise RequestError("Give DATA for a new run or --resume RUN for an old one, not both.")
    plain = replace(request, resume=None, minutes=None, images=None, json=False)
    differing = [entry.name for entry in fields(Train) if getattr(plain, entry.name) != getattr(Train(), entry.name)]
    if differing:
        raise RequestError(f"A resumed run keeps its settings; leave out what sets {', '.join(differing)}, or start a new run.")


def _interruptible(preparing: "ProgressCallback", stop: Callable[[], bool]) -> "ProgressCallback":
    """Decoding has nothing to save: a request to stop ends it at once."""

    def tell(what: str, done: int, total: int) -> None:
        if stop():
            raise KeyboardInterrupt
        preparing(what, done, total)

    return tell


@contextmanager
def _stoppable() -> Generator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask the training to save and stop; a second Ctrl-C stops at once."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if is_first_process():
            print("\nStopping and saving; a moment (again to stop at once) ...", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def preview(request: Preview) -> None:
    """Shows what training will see."""
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


def sample(request: Sample) -> None:
    """Makes images."""
    from itertools import chain

    import numpy as np

    from vaegan import api
    from vaegan.data import to_uint8
    from vaegan.pictures import grid, save_png, to_picture

    one_picture = request.out.suffix.lower() == ".png"
    limit = MOST_IN_A_GRID if one_picture else MOST_SAMPLES
    if not 1 <= request.n <= limit:
        raise RequestError(f"-n {request.n} is not possible; give 1 to {limit} (one PNG), or a folder as --out for more.")
    if request.out.suffix.lower() in (".jpg", ".jpeg", ".gif", ".webp", ".bmp"):
        raise RequestError(f"--out {request.out} is no PNG; give a name that ends in .png, or a folder.")
    if not one_picture and request.out.is_dir() and any(request.out.iterdir()):
        raise RequestError(f"--out {request.out} already holds files; give a new or an empty folder.")
    model = api.load(request.run, request.stage)
    notes = {"seed": str(request.seed), "stage": model.config.stage, "sampler": request.sampler, "software": "vaegan"}
    blocks = map(to_uint8, model.sample_blocks(request.n, request.seed, request.sampler, request.observation_noise))
    if one_picture:
        save_png(grid(np.concatenate(list(blocks))), request.out, notes)
    else:
        for index, image in enumerate(chain.from_iterable(blocks)):
            save_png(to_picture(image), request.out / f"{index:05d}.png", notes | {"index": str(index)})
    facts = {"out": str(request.out), "count": request.n, "seed": request.seed, "stage": model.config.stage}
    _report(
        facts,
        f"{request.n} images of the {model.config.stage.upper()}, seed {request.seed}: {request.out}",
        request.json,
    )


def reconstruct(request: Reconstruct) -> None:
    """Encodes and decodes images."""
    import torch

    from vaegan import api
    from vaegan.data import load_images, to_uint8
    from vaegan.pictures import grid, save_png

    if request.out.suffix.lower() != ".png" or request.out in request.images:
        raise RequestError(f"--out {request.out} must be a .png that is none of the images.")
    if not request.images:
        raise RequestError("Which images? vaegan reconstruct RUN IMAGE [IMAGE ...]")
    model = api.load(request.run, request.stage)
    channels = "1" if model.config.channels == 1 else "3"
    fit = request.fit or api.fit_of(request.run)
    originals = load_images(request.images, DataConfig(size=model.config.size, fit=fit, channels=channels))
    back = model.reconstruct(originals)
    errors = (back - originals).square().flatten(1).mean(1)
    save_png(grid(to_uint8(torch.cat([originals, back])), columns=len(originals)), request.out)
    facts = {
        "out": str(request.out),
        "stage": model.config.stage,
        "mean_squared_error": {str(path): round(float(error), 5) for path, error in zip(request.images, errors, strict=True)},
    }
    words = f"Originals above, what the {model.config.stage.upper()} keeps of them below: {request.out}"
    _report(facts, f"{words} (mean squared error {float(errors.mean()):.4f} on [-1, 1])", request.json)


def info(request: Info) -> None:
    """Describes a run."""
    from vaegan.console import Console
    from vaegan.describe import describe

    facts = describe(request.run)
    if request.json:
        print(json.dumps(facts, indent=2))
    else:
        Console().info(facts)


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


def _report(facts: dict[str, Any], words: str, as_json: bool) -> None:
    print(json.dumps(facts) if as_json else words)


COMMANDS: dict[str, tuple[Any, Callable[[Any], None]]] = {
    "preview": (Preview, preview),
    "train": (Train, train),
    "sample": (Sample, sample),
    "reconstruct": (Reconstruct, reconstruct),
    "info": (Info, info),
    "doctor": (Doctor, doctor),
}
