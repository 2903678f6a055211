"""vaegan interpolate: the way from one image to another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import FitOption, LabelOption, StageOption, check_count, images_config, load_model, open_given, report
from vaegan.commands.walking import MOST_FRAMES, PathOption, check_no_seeds, check_walk, save_walk
from vaegan.errors import RequestError


@dataclass(frozen=True)
class Interpolate:
    """The way from one image to another, or between the samples of two seeds: a strip, or an animation."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGES")] = ()
    """Two image files; or use --seeds."""
    seeds: tuple[int, ...] = ()
    """Two seeds, instead of images: the first samples that vaegan sample --seed makes."""
    steps: int = 10
    """Images on the way, both ends included."""
    out: Path = Path("interpolation.png")
    """A .png for a strip; .gif, .webp or .mp4 (with the extra [video]) for an animation."""
    path: PathOption = None
    milliseconds: int = 80
    """How long a frame of an animation stays."""
    stage: StageOption = None
    fit: FitOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def interpolate(request: Interpolate) -> None:
    """Draws the way between two images."""
    check_walk(request.out, request.milliseconds, request.images)
    check_count("--steps", request.steps, MOST_FRAMES, least=2)
    if bool(request.images) == bool(request.seeds):
        raise RequestError("Give two images, or two seeds: --seeds 3 7.")
    check_no_seeds(request.images)
    if len(request.seeds or request.images) not in (2, 1 if request.images else 2):
        raise RequestError(
            f"A way has two ends, and {len(request.seeds or request.images)} were given; for a way through several: vaegan morph."
        )

    from vaegan.console import Console
    from vaegan.data import to_uint8
    from vaegan.latent.walks import default_path, interpolate, seed_latents

    model = load_model(request.run, request.stage, request.label)
    if request.seeds:
        ends, names = seed_latents(model, request.seeds), [f"seed {seed}" for seed in request.seeds]
    else:
        model.require_encoder("interpolate between seeds: --seeds 3 7")
        config = images_config(model, request.run, request.fit)
        dataset = open_given(request.images, config, Console(quiet=request.json))
        if len(dataset) != 2:
            raise RequestError(f"A way has two ends; given were {len(dataset)}. Through several: vaegan morph.")
        ends, names = model.encode(dataset.load(range(2))), list(dataset.names)
    path = request.path or default_path(model)
    pixels = to_uint8(interpolate(model, ends[0], ends[1], request.steps, path))
    notes = {"from": names[0], "to": names[1], "path": path, "stage": model.config.stage, "software": "vaegan"}
    save_walk(pixels, request.out, request.milliseconds, notes)
    facts = {"out": str(request.out), "stage": model.config.stage, "path": path, "steps": request.steps, "ends": names}
    words = f"{request.steps} images from {names[0]} to {names[1]}, {path} in the latents of the {model.config.stage.upper()}"
    report(facts, f"{words}: {request.out}", request.json)
