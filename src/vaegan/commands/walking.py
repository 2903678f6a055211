"""What vaegan interpolate and vaegan morph share: an option, limits, and the way as a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from vaegan.commands.shared import check_count, check_suffix
from vaegan.errors import RequestError

if TYPE_CHECKING:
    from vaegan.pictures import Pixels

PathOption = Annotated[
    Literal["linear", "spherical"] | None,
    arg(
        help="linear or spherical; by default linear for AE and VAE, spherical for a GAN, whose latents lie near a sphere, "
        "but linear for one with a uniform prior, whose latents fill a cube."
    ),
]
MOST_FRAMES = 2_000
FRAME_SIDE = 256
"""Small images are enlarged so far in animations [pixels]."""


def check_walk(out: Path, milliseconds: int, images: tuple[str, ...]) -> None:
    """Refuses a file that cannot be written, or is one of the images, and frames that cannot be watched, before any work is done.

    Raises:
        RequestError: naming what can.
    """
    check_suffix(out, (".png", ".gif", ".webp", ".mp4"), *images)
    check_count("--milliseconds", milliseconds, 10_000, least=20)


def check_no_seeds(images: tuple[str, ...]) -> None:
    """Refuses numbers in the place of images.

    Raises:
        RequestError: saying how seeds are given.
    """
    if images and all(image.isdecimal() and not Path(image).exists() for image in images):
        raise RequestError(f"There is no file {images[0]}; seeds are given with --seeds: --seeds {' '.join(images)}")


def save_walk(pixels: "Pixels", out: Path, milliseconds: int, notes: dict[str, str], hold: int = 2000) -> None:
    """Images on a way as a strip (.png) or an animation (.gif, .webp, .mp4)."""
    from vaegan.pictures import enlarged, grid, save_animation, save_png, to_picture

    if out.suffix.lower() == ".png":
        save_png(grid(pixels, columns=min(len(pixels), 20)), out, notes)
    else:
        save_animation([to_picture(image) for image in enlarged(pixels, FRAME_SIDE)], out, milliseconds, hold)
