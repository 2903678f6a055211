"""vaegan interpolate and vaegan morph: ways through latents, as strips and animations."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vaegan.commands.shared import ImagesOptions, check_number, check_suffix, facts_of, is_picture, seeds_of
from vaegan.errors import RequestError

if TYPE_CHECKING:
    from vaegan.model import Model
    from vaegan.pictures import Pixels
    from vaegan.types import Latents


MOST_FRAMES = 2_000
FRAME_SIDE = 256
"""Small images are enlarged so far in animations [pixels]."""


@dataclass(frozen=True, kw_only=True)
class WalkOptions(ImagesOptions):
    """Options of a way through latents, and what follows from them."""

    seeds: tuple[str, ...] = ()
    """Seeds, instead of images: the first sample of each; 3:17 is the seeds from 3 to 17."""
    steps: int
    """Images from one end of the way to the other, or from one image of a loop to the next."""
    out: Path
    """A .gif or .webp for an animation; a .png lays the frames out."""
    path: Literal["linear", "spherical"] | None = None
    """linear or spherical; by default linear for AE and VAE, spherical for a GAN, whose latents lie near a sphere, but linear for
    one with a uniform prior, whose latents fill a cube."""
    milliseconds: int
    """How long a frame of an animation stays."""

    def check(self, wanted: str, least_steps: int) -> None:
        """Refuses, before any work, what is no way: `wanted` says in a sentence which ends it has."""
        check_suffix(self.out, (".png", ".gif", ".webp"), *self.images)
        check_number("--milliseconds", self.milliseconds, 10_000, least=20)
        check_number("--steps", self.steps, MOST_FRAMES, least_steps)
        if bool(self.images) == bool(self.seeds):
            raise RequestError(wanted)
        if self.images and all(image.isdecimal() and not Path(image).exists() for image in self.images):
            seeds = " ".join(self.images)
            raise RequestError(f"There is no file {self.images[0]}; seeds are given with --seeds: --seeds {seeds}")

    def stops(self, check_count: Callable[[int], None], instead: str) -> "tuple[Model, Latents, list[str]]":
        """The model, the latents that the way leads through, and what they are called."""
        from vaegan.latent.walks import seed_latents

        if self.seeds:
            seeds = seeds_of(self.seeds)
            check_count(len(seeds))
            model = self.model()
            return model, seed_latents(model, seeds), [f"seed {seed}" for seed in seeds]
        model, dataset = self.open(instead=instead)
        check_count(len(dataset))
        return model, self.latents(model, dataset), list(dataset.names)


def save_walk(pixels: "Pixels", options: WalkOptions, notes: dict[str, str], hold: int = 2000) -> None:
    """Images on a way as a strip (.png) or an animation (.gif, .webp), whose last frame is held [ms]."""
    from vaegan.pictures import enlarged, grid, save_animation, save_png, to_picture
    from vaegan.transparency import over_checkers

    if is_picture(options.out):
        save_png(grid(pixels, columns=min(len(pixels), 20)), options.out, notes)
    else:
        frames = [to_picture(image) for image in over_checkers(enlarged(pixels, FRAME_SIDE))]
        save_animation(frames, options.out, options.milliseconds, hold)


@dataclass(frozen=True, kw_only=True)
class InterpolateOptions(WalkOptions):
    """The way from one image to another, or between the samples of two seeds: a strip, or an animation."""

    steps: int = 10
    """Images on the way, both ends included."""
    out: Path = Path("interpolation.png")
    milliseconds: int = 80


def interpolate(options: InterpolateOptions) -> None:
    """Draws the way between two images."""
    options.check("Give two images, or two seeds: --seeds 3 7.", least_steps=2)

    from vaegan.data import to_uint8
    from vaegan.latent.walks import default_path, interpolate

    model, ends, names = options.stops(_check_ends, "interpolate between seeds: --seeds 3 7")
    path, stage = options.path or default_path(model), model.config.stage
    pixels = to_uint8(interpolate(model, ends[0], ends[1], options.steps, path))
    save_walk(pixels, options, {"from": names[0], "to": names[1], "path": path, "stage": stage})
    facts = facts_of(options.out, model, path=path, steps=options.steps, ends=names)
    words = f"{options.steps} images from {names[0]} to {names[1]}, {path} in the latents of the {stage.upper()}"
    options.answer(facts, f"{words}: {options.out}")


def _check_ends(count: int) -> None:
    if count != 2:
        raise RequestError(f"A way has two ends, and {count} were given; for a way through several: vaegan morph.")


@dataclass(frozen=True, kw_only=True)
class MorphOptions(WalkOptions):
    """A loop that turns one image into the next and the last into the first: an animation without seams."""

    steps: int = 16
    """Frames from one image to the next."""
    out: Path = Path("morph.gif")
    milliseconds: int = 60


def morph(options: MorphOptions) -> None:
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
    save_walk(pixels, options, {"path": path, "stage": stage}, hold=options.milliseconds)
    facts = facts_of(options.out, model, path=path, stops=len(names), frames=len(pixels))
    words = f"A loop of {len(pixels)} frames through {len(names)} images, {path} in the latents of the {stage.upper()}"
    options.answer(facts, f"{words}: {options.out}")
