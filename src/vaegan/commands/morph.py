"""vaegan morph: an endless loop through several images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import FitOption, LabelOption, StageOption, check_count, images_config, load_model, open_given, report
from vaegan.commands.walking import MOST_FRAMES, PathOption, check_no_seeds, check_walk, save_walk
from vaegan.errors import RequestError


@dataclass(frozen=True)
class Morph:
    """A loop that turns one image into the next and the last into the first: an animation without seams."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGES")] = ()
    """Image files, or one folder; or use --seeds."""
    seeds: tuple[int, ...] = ()
    """Seeds, instead of images: the first samples that vaegan sample --seed makes."""
    steps: int = 16
    """Frames from one image to the next."""
    out: Path = Path("morph.gif")
    """A .gif, .webp or .mp4 (with the extra [video]); a .png lays the frames out."""
    path: PathOption = None
    milliseconds: int = 60
    """How long a frame stays."""
    stage: StageOption = None
    fit: FitOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def morph(request: Morph) -> None:
    """Draws a loop through several images."""
    check_walk(request.out, request.milliseconds, request.images)
    check_count("--steps", request.steps, MOST_FRAMES)
    if bool(request.images) == bool(request.seeds):
        raise RequestError("Give images, or seeds: --seeds 3 7 12.")
    check_no_seeds(request.images)

    from vaegan.console import Console
    from vaegan.data import to_uint8
    from vaegan.latent.walks import default_path, loop, seed_latents

    model = load_model(request.run, request.stage, request.label)
    dataset = None
    if request.images:
        model.require_encoder("loop through seeds: --seeds 3 7 12")
        config = images_config(model, request.run, request.fit)
        dataset = open_given(request.images, config, Console(quiet=request.json))
    count = len(request.seeds) if dataset is None else len(dataset)
    if count < 2 or count * request.steps > MOST_FRAMES:
        raise RequestError(
            f"{count:,} images at {request.steps} steps make no loop; give at least 2 images and at most {MOST_FRAMES:,} frames."
        )
    stops = seed_latents(model, request.seeds) if dataset is None else model.encode(dataset.load(range(count)))
    path = request.path or default_path(model)
    pixels = to_uint8(model.decode(loop(stops, request.steps, path)))
    notes = {"path": path, "stage": model.config.stage, "software": "vaegan"}
    save_walk(pixels, request.out, request.milliseconds, notes, hold=request.milliseconds)
    facts = {"out": str(request.out), "stage": model.config.stage, "path": path, "stops": count, "frames": len(pixels)}
    words = f"A loop of {len(pixels)} frames through {count} images, {path} in the latents of the {model.config.stage.upper()}"
    report(facts, f"{words}: {request.out}", request.json)
