"""vaegan vary: images that resemble given ones."""

from dataclasses import dataclass
from pathlib import Path

from vaegan.commands.shared import ImagesOptions, check_number, check_picture

MOST_ROWS, MOST_VARIATIONS, MOST_STRENGTH = 64, 1_000, 100


@dataclass(frozen=True, kw_only=True)
class Options(ImagesOptions):
    """Images that resemble yours: their latent plus noise, decoded. A row an image: it, its reconstruction, variations."""

    n: int = 9
    """Variations of each image."""
    strength: float = 0.5
    """How far they go: 0 not at all, 1 as far as two random images are from the mean; twice as much is twice as far."""
    seed: int = 0
    """The same seed gives the same variations."""
    out: Path = Path("variations.png")
    """The picture."""


def run(options: Options) -> None:
    """Makes variations."""
    check_picture(options.out, *options.images)
    check_number("-n", options.n, MOST_VARIATIONS)
    check_number("--strength", options.strength, MOST_STRENGTH, least=0)

    import torch

    from vaegan.data import to_uint8
    from vaegan.latent.walks import vary_latents
    from vaegan.pictures import grid, save_png

    model, dataset = options.open(most=MOST_ROWS)
    originals = dataset.load(range(len(dataset)))
    latents = model.encode(originals)
    rows: list[torch.Tensor] = []
    changes: dict[str, float] = {}
    for name, original, latent in zip(dataset.names, originals, latents, strict=True):
        back, varied = model.decode(latent[None]), model.decode(vary_latents(latent, options.n, options.strength, options.seed))
        changes[name] = round(float((varied - back).square().mean().sqrt()), 4)
        rows += [original[None], back.cpu(), varied.cpu()]
    notes = {"seed": str(options.seed), "strength": f"{options.strength:g}", "stage": model.config.stage, "software": "vaegan"}
    save_png(grid(to_uint8(torch.cat(rows)), columns=options.n + 2), options.out, notes)
    facts = {
        "out": str(options.out),
        "stage": model.config.stage,
        "count": options.n,
        "strength": options.strength,
        "seed": options.seed,
        "mean_change": changes,
    }
    mean = sum(changes.values()) / len(changes)
    words = f"The image, its reconstruction by the {model.config.stage.upper()}, {options.n} variations: {options.out}"
    options.answer(facts, f"{words} (strength {options.strength:g} changed pixels by {mean:.2f} on [-1, 1])")
