"""vaegan reconstruct: what the model keeps of images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import FitOption, LabelOption, StageOption, check_picture, images_config, load_model, report
from vaegan.errors import RequestError


@dataclass(frozen=True)
class Reconstruct:
    """Encode images and decode them again: above the originals, below what the model keeps of them."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGE...")]
    """Image files."""
    out: Path = Path("reconstructions.png")
    """The picture."""
    stage: StageOption = None
    fit: FitOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def reconstruct(request: Reconstruct) -> None:
    """Encodes and decodes images."""
    import torch

    from vaegan.data import load_images, to_uint8
    from vaegan.pictures import grid, save_png

    check_picture(request.out)
    if request.out in request.images:
        raise RequestError(f"--out {request.out} is one of the images; give another name.")
    if not request.images:
        raise RequestError("Which images? vaegan reconstruct RUN IMAGE [IMAGE ...]")
    model = load_model(request.run, request.stage, request.label)
    originals = load_images(request.images, images_config(model, request.run, request.fit))
    back = model.reconstruct(originals)
    errors = (back - originals).square().flatten(1).mean(1)
    save_png(grid(to_uint8(torch.cat([originals, back])), columns=len(originals)), request.out)
    facts = {
        "out": str(request.out),
        "stage": model.config.stage,
        "mean_squared_error": {str(path): round(float(error), 5) for path, error in zip(request.images, errors, strict=True)},
    }
    words = f"Originals above, what the {model.config.stage.upper()} keeps of them below: {request.out}"
    report(facts, f"{words} (mean squared error {float(errors.mean()):.4f} on [-1, 1])", request.json)
