"""vaegan train: the options of a run, and carrying it out or going on with it."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import preset_settings
from vaegan.commands.stopping import interruptible, stoppable
from vaegan.config import (
    AEConfig,
    Budget,
    DataConfig,
    DeviceConfig,
    GANConfig,
    GuardMode,
    HandoverConfig,
    JointConfig,
    NetworkConfig,
    RecipeName,
    Stage,
    TrainConfig,
    VAEConfig,
)
from vaegan.errors import RequestError

WIDE_MINUTES = 15.0  # with so many, twice the width makes better images on two cores (docs/handover.md, "How long and how wide")


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
    """Sizes and rates of the networks: tiny (minutes on a CPU), small (twice as wide, for a quarter of an hour and more), base,
    large (GPUs). The sources' own configurations, to compare with: comic-face-vae, comic-face-gan, mnist-vae, mnist-vae-mlp,
    celeba-vae-transposed, celeba-vae-nearest, dcgan."""
    config: Path | None = None
    """TOML file with settings, laid over the preset; options on the command line win."""
    init: Path | None = None
    """Start from the weights of an earlier run, of other images too."""
    init_stage: Annotated[Stage, arg(name="stage")] = "vae"
    """Which model of the --init run is the start."""
    resume: Path | None = None
    """Go on with this run; with --minutes or --images train it longer. DATA says where its images are now, if they were moved."""
    dry_run: bool = False
    """Show what would be trained, and stop."""
    json: bool = False
    """Print one JSON object at the end instead of words."""
    recipe: RecipeName = "vae-gan"
    """vae-gan: a VAE that grows into a GAN; vae or gan: only that; ae: a plain autoencoder, to compare with;
    joint: VAE and GAN at once (Larsen et al. 2016)."""
    seed: int = 0
    """Of every random stream."""
    guards: GuardMode = "act"
    """When training goes wrong: act mends it and says so, warn only says so, off looks away."""
    patience: float = 0.0
    """End a stage when so many passes over the training images brought no better model; 0: train as long as asked for."""
    conditional: bool = False
    """Tell the networks each image's label (sub-folder, IDX or .npz label), so that `sample --label` can ask for one."""
    condition: str | None = None
    """Which label, where the images have several (faces: hat, glasses, ...); implies --conditional."""
    data: Annotated[DataConfig, arg(name="")] = field(default_factory=DataConfig)
    device: Annotated[DeviceConfig, arg(name="")] = field(default_factory=DeviceConfig)
    budget: Annotated[Budget, arg(name="")] = field(default_factory=Budget)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    ae: AEConfig = field(default_factory=AEConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    handover: HandoverConfig = field(default_factory=HandoverConfig)
    gan: GANConfig = field(default_factory=GANConfig)
    joint: JointConfig = field(default_factory=JointConfig)

    @staticmethod
    def defaults(config: TrainConfig, preset: str, file: Path | None) -> "Train":
        """Defaults that a preset and a file leave behind."""
        return Train(preset=preset, config=file, **{entry.name: getattr(config, entry.name) for entry in fields(TrainConfig)})

    def settings(self) -> TrainConfig:
        """The settings of the run."""
        return TrainConfig(**{entry.name: getattr(self, entry.name) for entry in fields(TrainConfig)})


def defaults(rest: list[str]) -> Train:
    """A first look at the options: the preset and the file decide the defaults that --help shows."""
    preset, file, config = preset_settings(rest)
    return Train.defaults(config, preset, file)


def train(request: Train, words: list[str]) -> None:
    """Trains or goes on with a run; `words` are those of the command line that the request was read from."""
    from vaegan import api
    from vaegan.config_files import load_preset
    from vaegan.console import Console

    console = Console(quiet=request.json)
    if request.resume is not None:
        _check_resume(words)
        with stoppable() as stop:
            folder = api.resume(
                request.resume,
                request.source,
                minutes=request.minutes,
                images=request.images,
                progress=console.progress,
                preparing=interruptible(console.preparing, stop),
                say=console.say,
                cancel=stop,
            )
        console.finished(folder, request.json)
        return
    if request.source is None:
        raise RequestError("What shall it learn from? Give a folder of images, or: vaegan train faces")
    api.check_request(request.settings(), request.minutes, request.images)
    narrow = request.preset == "tiny" and request.network.width == load_preset("tiny").network.width
    if narrow and request.init is None and (request.minutes or 0) >= WIDE_MINUTES:
        console.say(f"With {request.minutes:g} minutes --preset small, twice as wide, makes clearer images (docs/handover.md).")
    if request.dry_run:
        api.check_new(request.source, request.settings(), request.out, request.init)
        console.plan(request.source, request.settings(), request.minutes, request.images, request.json)
        return
    with stoppable() as stop:
        folder = api.train(
            request.source,
            request.settings(),
            minutes=request.minutes,
            images=request.images,
            out=request.out,
            init=request.init,
            progress=console.progress,
            preparing=interruptible(console.preparing, stop),
            say=console.say,
            cancel=stop,
        )
    console.finished(folder, request.json)


def _check_resume(words: list[str]) -> None:
    """Refuses what a resumed run would not heed: it goes on with the settings of its run.json."""
    given = dict.fromkeys(word.split("=")[0] for word in words if word.startswith("--"))
    if settings := [option for option in given if option not in ("--resume", "--minutes", "--images", "--json")]:
        raise RequestError(f"A resumed run keeps its settings; leave out {', '.join(settings)}, or start a new run.")
