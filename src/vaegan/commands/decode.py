"""vaegan decode: latents from a file or a line of text as images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import LabelOption, StageOption, check_count, check_folder, check_picture, load_model, report
from vaegan.errors import RequestError
from vaegan.files import atomic_folder

MOST_IN_A_GRID, MOST_IN_A_FOLDER = 10_000, 1_000_000
BLOCK = 256


@dataclass(frozen=True)
class Decode:
    """Draw the images of latents: of a file that encode or another tool wrote, or of a line of numbers."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    latents: Annotated[Positional[Path | None], arg(metavar="LATENTS")] = None
    """An .npz or .npy with an array [n, latent], or a .parquet with a column vector."""
    text: str | None = None
    """One latent as text instead: its numbers, separated by commas, as the explorer copies them."""
    out: Path = Path("decoded.png")
    """A .png: one picture with all of them; anything else: a folder with one PNG each."""
    stage: StageOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def decode(request: Decode) -> None:
    """Decodes latents."""
    from vaegan.data import to_uint8
    from vaegan.latent.tables import parse_latent, read_latents
    from vaegan.pictures import grid, save_png, to_picture

    if (request.latents is None) == (request.text is None):
        raise RequestError('Give a file of latents, or one latent as text: --text "0.3,-1.2,...".')
    one_picture = request.out.suffix.lower() == ".png"
    (check_picture if one_picture else check_folder)(request.out)
    model = load_model(request.run, request.stage, request.label)
    most = MOST_IN_A_GRID if one_picture else MOST_IN_A_FOLDER
    if request.latents is not None:
        latents = read_latents(request.latents, model.latent_dim, most)
    else:
        latents = parse_latent(request.text or "", model.latent_dim)[None]
    check_count("The number of latents", len(latents), most)
    if one_picture:
        save_png(grid(to_uint8(model.decode(latents))), request.out, {"stage": model.config.stage, "software": "vaegan"})
    else:
        with atomic_folder(request.out) as folder:
            for start in range(0, len(latents), BLOCK):
                for index, image in enumerate(to_uint8(model.decode(latents[start : start + BLOCK])), start):
                    save_png(to_picture(image), folder / f"{index:05d}.png")
    facts = {"out": str(request.out), "stage": model.config.stage, "count": len(latents)}
    report(facts, f"{len(latents):,} images decoded by the {model.config.stage.upper()}: {request.out}", request.json)
