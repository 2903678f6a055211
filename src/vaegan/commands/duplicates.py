"""vaegan duplicates: images of a folder that show the same."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaegan.commands.shared import ImagesOptions, check_number, check_picture
from vaegan.errors import first_of

MOST_ROWS, COLUMNS = 100, 8
MOST_NAMED = 10  # groups whose names are printed


@dataclass(frozen=True, kw_only=True)
class Options(ImagesOptions):
    """Find images that are nearly the same: neighbours in latent space, confirmed in pixels. A row a group."""

    tolerance: float = 15.0
    """How much two images may differ: root mean square over their pixels, in levels of 255."""
    out: Path = Path("duplicates.png")
    """The picture, made only if there are any."""


def run(options: Options) -> None:
    """Finds duplicates."""
    check_picture(options.out, *options.images)
    check_number("--tolerance", options.tolerance, 255, least=0)

    from vaegan.latent.similar import find_duplicates
    from vaegan.pictures import rows, save_png

    model, dataset = options.open()
    groups = find_duplicates(options.latents(model, dataset), dataset, options.tolerance, options.console.preparing)
    if groups:
        shown = [dataset.images[list(group.members[:COLUMNS])] for group in groups[:MOST_ROWS]]
        save_png(rows(shown), options.out, {"software": "vaegan"})
    facts = {
        "out": str(options.out) if groups else None,
        "stage": model.config.stage,
        "images": len(dataset),
        "skipped": len(dataset.skipped),
        "tolerance": options.tolerance,
        "groups": [
            {"names": [dataset.names[index] for index in group.members], "difference": round(group.difference, 3)}
            for group in groups
        ],
    }
    options.answer(facts, _words(facts))


def _words(facts: dict[str, Any]) -> list[str]:
    """How many there are, and which, as far as a person reads on."""
    groups: list[list[str]] = [group["names"] for group in facts["groups"]]
    said = f"{sum(map(len, groups)):,} of {facts['images']:,} images are nearly the same as another"
    if not groups:
        return [f"{said}."]
    kind = "pair" if len(groups[0]) == 2 else "group"  # the first one is the largest
    lines = [f"{said}: {len(groups):,} {kind}{'s' if len(groups) > 1 else ''}, drawn in {facts['out']}"]
    lines += [f"  {first_of(names, COLUMNS)}" for names in groups[:MOST_NAMED]]
    if len(groups) > MOST_NAMED:
        lines.append(f"  and {len(groups) - MOST_NAMED:,} more; all of them: --json")
    return lines
