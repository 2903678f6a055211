"""vaegan vary: images that resemble given ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import (
    FitOption,
    LabelOption,
    StageOption,
    check_count,
    check_picture,
    images_config,
    load_model,
    open_given,
    report,
)
from vaegan.errors import RequestError

MOST_ROWS, MOST_VARIATIONS = 64, 1_000


@dataclass(frozen=True)
class Vary:
    """Images that resemble yours: their latent plus noise, decoded. A row an image: it, what is kept of it, variations."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGES")]
    """Image files, or one folder."""
    n: Annotated[int, arg(aliases=["-n"])] = 9
    """Variations of each image."""
    strength: float = 0.5
    """How far they go: 0 not at all, 1 as far as two random images are from the mean; twice as much is twice as far."""
    seed: int = 0
    """The same seed gives the same variations."""
    out: Path = Path("variations.png")
    """The picture."""
    stage: StageOption = None
    fit: FitOption = None
    label: LabelOption = None
    json: bool = False
    """Print JSON instead of words."""


def vary(request: Vary) -> None:
    """Makes variations."""
    check_picture(request.out, *request.images)
    check_count("-n", request.n, MOST_VARIATIONS)
    if not 0 <= request.strength <= 100:
        raise RequestError(f"--strength {request.strength:g} is not possible; give 0 to 100.")

    import torch

    from vaegan.console import Console
    from vaegan.data import to_uint8
    from vaegan.latent.walks import vary_latents
    from vaegan.pictures import grid, save_png

    model = load_model(request.run, request.stage, request.label)
    model.require_encoder()
    config = images_config(model, request.run, request.fit)
    dataset = open_given(request.images, config, Console(quiet=request.json))
    if len(dataset) > MOST_ROWS:
        raise RequestError(f"{len(dataset):,} images are too many for one picture; give at most {MOST_ROWS}.")
    originals = dataset.load(range(len(dataset)))
    latents = model.encode(originals)
    rows: list[torch.Tensor] = []
    changes: dict[str, float] = {}
    for name, original, latent in zip(dataset.names, originals, latents, strict=True):
        kept, varied = model.decode(latent[None]), model.decode(vary_latents(latent, request.n, request.strength, request.seed))
        changes[name] = round(float((varied - kept).square().mean().sqrt()), 4)
        rows += [original[None], kept.cpu(), varied.cpu()]
    notes = {"seed": str(request.seed), "strength": f"{request.strength:g}", "stage": model.config.stage, "software": "vaegan"}
    save_png(grid(to_uint8(torch.cat(rows)), columns=request.n + 2), request.out, notes)
    facts = {
        "out": str(request.out),
        "stage": model.config.stage,
        "count": request.n,
        "strength": request.strength,
        "seed": request.seed,
        "mean_change": changes,
    }
    mean = sum(changes.values()) / len(changes)
    words = f"The image, what the {model.config.stage.upper()} keeps of it, {request.n} variations: {request.out}"
    report(facts, f"{words} (strength {request.strength:g} changed pixels by {mean:.2f} on [-1, 1])", request.json)
