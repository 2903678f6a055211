"""vaegan morph: an endless loop through several images."""

from dataclasses import dataclass
from pathlib import Path

from vaegan.commands.walking import MOST_FRAMES, WalkOptions, save_walk
from vaegan.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Options(WalkOptions):
    """A loop that turns one image into the next and the last into the first: an animation without seams."""

    steps: int = 16
    """Frames from one image to the next."""
    out: Path = Path("morph.gif")
    milliseconds: int = 60


def run(options: Options) -> None:
    """Draws a loop through several images."""
    options.check("Give images, or seeds: --seeds 3 7 12.", least_steps=1)

    from vaegan.data import to_uint8
    from vaegan.latent.walks import default_path, loop

    def check_count(count: int) -> None:
        if count < 2 or count * options.steps > MOST_FRAMES:
            few = f"{count:,} images at {options.steps} steps make no loop"
            raise RequestError(f"{few}; give at least 2 images and at most {MOST_FRAMES:,} frames.")

    model, stops, names = options.stops(check_count, "loop through seeds: --seeds 3 7 12")
    path, stage = options.path or default_path(model), model.config.stage
    pixels = to_uint8(model.decode(loop(stops, options.steps, path)))
    save_walk(pixels, options, {"path": path, "stage": stage, "software": "vaegan"}, hold=options.milliseconds)
    facts = {"out": str(options.out), "stage": stage, "path": path, "stops": len(names), "frames": len(pixels)}
    words = f"A loop of {len(pixels)} frames through {len(names)} images, {path} in the latents of the {stage.upper()}"
    options.answer(facts, f"{words}: {options.out}")
