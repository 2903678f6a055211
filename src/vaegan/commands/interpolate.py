"""vaegan interpolate: the way from one image to another."""

from dataclasses import dataclass
from pathlib import Path

from vaegan.commands.shared import check_number
from vaegan.commands.walking import MOST_FRAMES, WalkOptions, check_walk, save_walk
from vaegan.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Options(WalkOptions):
    """The way from one image to another, or between the samples of two seeds: a strip, or an animation."""

    steps: int = 10
    """Images on the way, both ends included."""
    out: Path = Path("interpolation.png")
    """A .png for a strip; .gif, .webp or .mp4 (with the extra [video]) for an animation."""
    milliseconds: int = 80
    """How long a frame of an animation stays."""


def run(options: Options) -> None:
    """Draws the way between two images."""
    check_number("--steps", options.steps, MOST_FRAMES, least=2)
    check_walk(options, options.out, options.milliseconds, "two images, or two seeds: --seeds 3 7")
    _check_ends(len(options.seeds) or max(2, len(options.images)))

    from vaegan.data import to_uint8
    from vaegan.latent.walks import default_path, interpolate, seed_latents

    if options.seeds:
        model = options.model()
        ends, names = seed_latents(model, options.seeds), [f"seed {seed}" for seed in options.seeds]
    else:
        model = options.encoder("interpolate between seeds: --seeds 3 7")
        dataset = options.dataset(model)
        _check_ends(len(dataset))
        ends, names = model.encode(dataset.load(range(2))), list(dataset.names)
    path, stage = options.path or default_path(model), model.config.stage
    pixels = to_uint8(interpolate(model, ends[0], ends[1], options.steps, path))
    notes = {"from": names[0], "to": names[1], "path": path, "stage": stage, "software": "vaegan"}
    save_walk(pixels, options.out, options.milliseconds, notes)
    facts = {"out": str(options.out), "stage": stage, "path": path, "steps": options.steps, "ends": names}
    words = f"{options.steps} images from {names[0]} to {names[1]}, {path} in the latents of the {stage.upper()}"
    options.answer(facts, f"{words}: {options.out}")


def _check_ends(count: int) -> None:
    if count != 2:
        raise RequestError(f"A way has two ends, and {count} were given; for a way through several: vaegan morph.")
