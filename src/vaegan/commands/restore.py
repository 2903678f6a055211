"""vaegan restore: holes filled, small images enlarged, grey ones coloured, noise taken away."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vaegan.commands.options import Spelling
from vaegan.commands.shared import ImagesOptions, check_number, check_picture_or_folder, facts_of, is_picture
from vaegan.errors import RequestError
from vaegan.transparency import COLOURS

if TYPE_CHECKING:
    from torch import Tensor

    from vaegan.data import DataConfig
    from vaegan.latent.restoring import View
    from vaegan.latent.samples import GivenImages
    from vaegan.model import Model

MOST_RESTORED, MOST_ANSWERS, MOST_NOISE = 64, 100, 2.0


@dataclass(frozen=True, kw_only=True)
class RestoreOptions(ImagesOptions):
    """Whole images from what is left of them: fill holes (--mask), enlarge (--scale), colour (--grey), take noise away (--noise).

    What can be seen of an image stays as it is; the model makes up the rest. A row an image: what is given, then answers.
    """

    mask: Annotated[Path | None, Spelling("FILE")] = None
    """A picture of the images' shape: what is white in it is made anew, what is black stays. Or one with transparency, as an
    image of which a part was erased: what is transparent is made anew."""
    scale: int | None = None
    """The images are small, and become so many times as large: 2 or 4."""
    grey: bool = False
    """The images are grey, and become coloured."""
    noise: float | None = None
    """The images are noisy: the noise's standard deviation, on pixels from -1 (black) to 1 (white). 0.1 is a little, 0.4 much."""
    n: int = 4
    """Answers for each image: first the likeliest, then others that are possible, too."""
    seed: int = 0
    """The same seed gives the same answers."""
    out: Path = Path("restored.png")
    """A .png: one picture, a row an image; anything else: a folder with one PNG an answer."""


def restore(options: RestoreOptions) -> None:
    """Restores images."""
    ways = (options.mask is not None, options.scale is not None, options.grey, options.noise is not None)
    if sum(ways) != 1:
        raise RequestError("Say what is to be done, by one of --mask FILE, --scale 2, --grey and --noise 0.2.")
    check_picture_or_folder(options.out, *options.images, options.mask)
    check_number("-n", options.n, MOST_ANSWERS)
    if options.noise is not None:
        check_number("--noise", options.noise, MOST_NOISE, least=0.01)

    import torch

    from vaegan.data import to_uint8
    from vaegan.files import atomic_folder
    from vaegan.latent.restoring import restore
    from vaegan.pictures import grid, save_png, to_picture

    model = options.model()
    model.require_encoder()
    view, images = _opened(options, model)
    seen = images.load(range(len(images)))
    seen = seen if options.scale else view.see(seen)
    found = restore(model, seen, view, options.n, options.seed, progress=options.console.preparing)
    done = ("filled", "enlarged", "coloured", "cleaned of noise")[ways.index(True)]
    notes = {"restored": done, "seed": str(options.seed), "stage": model.config.stage}
    if is_picture(options.out):
        given = seen if options.mask else view.lift(seen) if not options.noise else seen
        pixels = to_uint8(torch.cat([given[None], found.images]).transpose(0, 1).flatten(0, 1))
        save_png(grid(pixels, columns=options.n + 1), options.out, notes)
    else:
        with atomic_folder(options.out) as folder:
            for number, answers in enumerate(found.images.transpose(0, 1)):
                for answer, pixels in enumerate(to_uint8(answers)):
                    name = {"name": images.names[number], "answer": str(answer)}
                    save_png(to_picture(pixels), folder / f"{number:05d}-{answer:02d}.png", notes | name)
    facts = facts_of(options.out, model, images=list(images.names), answers=options.n, seed=options.seed, done=done)
    count = f"{len(images)} image{'' if len(images) == 1 else 's'} {done} by the {model.config.stage.upper()}"
    options.answer(facts, f"{count}, {options.n} answer{'' if options.n == 1 else 's'} each: {options.out}")


def _opened(options: RestoreOptions, model: "Model") -> "tuple[View, GivenImages]":
    """How the images are seen, and they themselves."""
    from vaegan.latent import restoring
    from vaegan.training.saved import images_config

    if options.grey and model.config.channels != 3:
        raise RequestError(
            f"This model makes {COLOURS[model.config.channels]} images; --grey is for those that make colour images."
        )
    config = images_config(model, options.run, options.fit, options.scale or 1)
    if options.mask:
        view = restoring.through_mask(1 - _hole(options.mask, config))
    elif options.scale:
        view = restoring.reduced(options.scale)
    else:
        view = restoring.in_grey() if options.grey else restoring.through_noise(options.noise or 0)
    images = options.dataset(model, *options.images, scale=options.scale or 1)
    if len(images) > MOST_RESTORED:
        raise RequestError(f"{len(images):,} images are too many; give at most {MOST_RESTORED}.")
    return view, images


def _hole(place: Path, config: "DataConfig") -> "Tensor":
    """What is to be made anew, [height, width] of 0 and 1; fitted as the images are."""
    from dataclasses import replace

    import torch
    from PIL import Image

    from vaegan.data import load_images
    from vaegan.data.pixels import prepare

    config = replace(config, channels="1", binarize="none")
    levels = load_images([place], config)[0, 0]  # refuses what is no image or too large a one
    with Image.open(place) as picture:
        if picture.has_transparency_data:
            levels = 0.5 - torch.from_numpy(prepare(picture.convert("RGBA").getchannel("A"), config)[0] / 255)
    hole = (levels > 0).float()
    if not 0 < hole.mean() < 1:
        what = "all is to be made anew: vaegan sample makes new images" if hole.any() else "nothing is to be made anew"
        raise RequestError(f"By --mask {place} {what}; paint a part of the picture white and the rest black.")
    return hole
