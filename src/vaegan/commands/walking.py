"""What vaegan interpolate and vaegan morph share: options, limits, and the way as a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vaegan.commands.shared import ImagesOptions, check_number, check_suffix, is_picture
from vaegan.errors import RequestError

if TYPE_CHECKING:
    from vaegan.pictures import Pixels

MOST_FRAMES = 2_000
FRAME_SIDE = 256
"""Small images are enlarged so far in animations [pixels]."""


@dataclass(frozen=True, kw_only=True)
class WalkOptions(ImagesOptions):
    """Options of a way through latents."""

    seeds: tuple[int, ...] = ()
    """Seeds, instead of images: the first samples that vaegan sample --seed makes."""
    path: Literal["linear", "spherical"] | None = None
    """linear or spherical; by default linear for AE and VAE, spherical for a GAN, whose latents lie near a sphere, but linear for
    one with a uniform prior, whose latents fill a cube."""


def check_walk(options: WalkOptions, out: Path, milliseconds: int, what: str) -> None:
    """Refuses a file that cannot be written, frames that cannot be watched, and all but either images or seeds.

    Raises:
        RequestError: naming what can.
    """
    check_suffix(out, (".png", ".gif", ".webp", ".mp4"), *options.images)
    check_number("--milliseconds", milliseconds, 10_000, least=20)
    if bool(options.images) == bool(options.seeds):
        raise RequestError(f"Give {what}.")
    if options.images and all(image.isdecimal() and not Path(image).exists() for image in options.images):
        seeds = " ".join(options.images)
        raise RequestError(f"There is no file {options.images[0]}; seeds are given with --seeds: --seeds {seeds}")


def save_walk(pixels: "Pixels", out: Path, milliseconds: int, notes: dict[str, str], hold: int = 2000) -> None:
    """Images on a way as a strip (.png) or an animation (.gif, .webp, .mp4)."""
    from vaegan.pictures import enlarged, grid, save_animation, save_png, to_picture

    if is_picture(out):
        save_png(grid(pixels, columns=min(len(pixels), 20)), out, notes)
    else:
        save_animation([to_picture(image) for image in enlarged(pixels, FRAME_SIDE)], out, milliseconds, hold)
