"""vaegan decode: latents from a file or a line of text as images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vaegan.commands.options import Spelling
from vaegan.commands.shared import ModelOptions, check_number, check_picture_or_folder, save_images
from vaegan.errors import RequestError

BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions):
    """Draw the images of latents: of a file that encode or another tool wrote, or of a line of numbers."""

    latents: Annotated[Path | None, Spelling("LATENTS", positional=True)] = None
    """An .npz or .npy with an array [n, latent], or a .parquet with a column vector."""
    text: str | None = None
    """One latent as text instead: its numbers, separated by commas, as the explorer copies them."""
    out: Path = Path("decoded.png")
    """A .png: one picture with all of them; anything else: a folder with one PNG each."""


def run(options: Options) -> None:
    """Decodes latents."""
    from vaegan.data import to_uint8
    from vaegan.latent.tables import parse_latent, read_latents

    if (options.latents is None) == (options.text is None):
        raise RequestError('Give a file of latents, or one latent as text: --text "0.3,-1.2,...".')
    most = check_picture_or_folder(options.out)
    model = options.model()
    if options.latents is not None:
        latents = read_latents(options.latents, model.latent_dim, most)
    else:
        latents = parse_latent(options.text or "", model.latent_dim)[None]
    check_number("The number of latents", len(latents), most)
    stage = model.config.stage
    blocks = (to_uint8(model.decode(block)) for block in latents.split(BLOCK))
    save_images(blocks, options.out, {"stage": stage, "software": "vaegan"})
    facts = {"out": str(options.out), "stage": stage, "count": len(latents)}
    options.answer(facts, f"{len(latents):,} images decoded by the {stage.upper()}: {options.out}")
