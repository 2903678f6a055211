"""vaegan morph: an endless loop through several images."""

from dataclasses import dataclass
from pathlib import Path

from vaegan.commands.shared import check_number
from vaegan.commands.walking import MOST_FRAMES, WalkOptions, check_walk, save_walk
from vaegan.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Options(WalkOptions):
    """A loop that turns one image into the next and the last into the first: an animation without seams."""

    steps: int = 16
    """Frames from one image to the next."""
    out: Path = Path("morph.gif")
    """A .gif, .webp or .mp4 (with the extra [video]); a .png lays the frames out."""
    milliseconds: int = 60
    """How long a frame stays."""


def run(options: Options) -> None:
    """Draws a loop through several images."""
    check_number("--steps", options.steps, MOST_FRAMES)
    check_walk(options, options.out, options.milliseconds, "images, or seeds: --seeds 3 7 12")

    from vaegan.data import to_uint8
    from vaegan.latent.walks import default_path, loop, seed_latents

    model = options.model() if options.seeds else options.encoder("loop through seeds: --seeds 3 7 12")
    dataset = None if options.seeds else options.dataset(model)
    count = len(options.seeds) if dataset is None else len(dataset)
    if count < 2 or count * options.steps > MOST_FRAMES:
        raise RequestError(
            f"{count:,} images at {options.steps} steps make no loop; give at least 2 images and at most {MOST_FRAMES:,} frames."
        )
    stops = seed_latents(model, options.seeds) if dataset is None else model.encode(dataset.load(range(count)))
    path, stage = options.path or default_path(model), model.config.stage
    pixels = to_uint8(model.decode(loop(stops, options.steps, path)))
    notes = {"path": path, "stage": stage, "software": "vaegan"}
    save_walk(pixels, options.out, options.milliseconds, notes, hold=options.milliseconds)
    facts = {"out": str(options.out), "stage": stage, "path": path, "stops": count, "frames": len(pixels)}
    words = f"A loop of {len(pixels)} frames through {count} images, {path} in the latents of the {stage.upper()}"
    options.answer(facts, f"{words}: {options.out}")
