"""vaegan interpolate: the way from one image to another."""

from dataclasses import dataclass
from pathlib import Path

from vaegan.commands.walking import WalkOptions, save_walk
from vaegan.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Options(WalkOptions):
    """The way from one image to another, or between the samples of two seeds: a strip, or an animation."""

    steps: int = 10
    """Images on the way, both ends included."""
    out: Path = Path("interpolation.png")
    milliseconds: int = 80


def run(options: Options) -> None:
    """Draws the way between two images."""
    options.check("Give two images, or two seeds: --seeds 3 7.", least_steps=2)

    from vaegan.data import to_uint8
    from vaegan.latent.walks import default_path, interpolate

    model, ends, names = options.stops(_check_ends, "interpolate between seeds: --seeds 3 7")
    path, stage = options.path or default_path(model), model.config.stage
    pixels = to_uint8(interpolate(model, ends[0], ends[1], options.steps, path))
    save_walk(pixels, options, {"from": names[0], "to": names[1], "path": path, "stage": stage, "software": "vaegan"})
    facts = {"out": str(options.out), "stage": stage, "path": path, "steps": options.steps, "ends": names}
    words = f"{options.steps} images from {names[0]} to {names[1]}, {path} in the latents of the {stage.upper()}"
    options.answer(facts, f"{words}: {options.out}")


def _check_ends(count: int) -> None:
    if count != 2:
        raise RequestError(f"A way has two ends, and {count} were given; for a way through several: vaegan morph.")
