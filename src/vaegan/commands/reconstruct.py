"""vaegan reconstruct: images and their reconstructions."""

from dataclasses import dataclass
from pathlib import Path

from vaegan.commands.shared import ImagesOptions, check_number, check_picture

MOST_IMAGES, COLUMNS = 1_000, 16


@dataclass(frozen=True, kw_only=True)
class Options(ImagesOptions):
    """Encode images and decode them again: above the originals, below the reconstructions."""

    n: int = 64
    """At most so many of them, the first ones."""
    out: Path = Path("reconstructions.png")
    """The picture."""


def run(options: Options) -> None:
    """Encodes and decodes images."""
    check_picture(options.out, *options.images)
    check_number("-n", options.n, MOST_IMAGES)

    from vaegan.data import to_uint8
    from vaegan.pictures import save_png, stacked

    model, dataset = options.open()
    count = min(len(dataset), options.n)
    originals = dataset.load(range(count))
    back = model.reconstruct(originals).cpu()
    errors = (back - originals).square().flatten(1).mean(1)
    save_png(stacked([to_uint8(originals), to_uint8(back)], COLUMNS), options.out)
    facts = {
        "out": str(options.out),
        "stage": model.config.stage,
        "images": len(dataset),
        "mean_squared_error": {dataset.names[index]: round(float(error), 5) for index, error in enumerate(errors)},
    }
    some = "" if count == len(dataset) else f"The first {count} of {len(dataset):,} images. "
    words = f"{some}Originals above, reconstructions of the {model.config.stage.upper()} below: {options.out}"
    options.answer(facts, f"{words} (mean squared error {float(errors.mean()):.4f} on [-1, 1])")
