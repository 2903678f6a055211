"""vaegan similar, outliers and duplicates: which images of a folder are alike, and which are strange."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from vaegan.commands.options import Spelling
from vaegan.commands.shared import ImagesOptions, check_number, check_picture, facts_of
from vaegan.config import Stage
from vaegan.errors import RequestError, first_of

MOST_ASKED, MOST_NEIGHBOURS = 64, 500


@dataclass(frozen=True, kw_only=True)
class SimilarOptions(ImagesOptions):
    """The images of a folder that are most like yours, by distance in latent space. A row an image: it, then the nearest."""

    in_: Annotated[str, Spelling("DATA")]
    """Where to look: a folder, an archive, IDX or array files, or the word faces."""
    n: int = 8
    """How many of the nearest."""
    out: Path = Path("similar.png")
    """The picture."""


def similar(options: SimilarOptions) -> None:
    """Finds the nearest images."""
    check_picture(options.out, *options.images, options.in_)
    check_number("-n", options.n, MOST_NEIGHBOURS)

    import numpy as np

    from vaegan.latent.similar import nearest
    from vaegan.pictures import grid, save_png

    model, asked = options.open(most=MOST_ASKED)
    dataset = options.dataset(model, options.in_)
    found = nearest(options.latents(model, dataset), options.latents(model, asked), options.n)
    rows = [np.concatenate([asked.images[row][None], dataset.images[near.numpy()]]) for row, near in enumerate(found.indices)]
    save_png(grid(np.concatenate(rows), columns=len(rows[0])), options.out)
    neighbours = {
        name: [
            {"name": str(dataset.names[index]), "distance": round(float(distance), 4)}
            for index, distance in zip(indices.tolist(), distances.tolist(), strict=True)
        ]
        for name, indices, distances in zip(asked.names, found.indices, found.distances, strict=True)
    }
    facts = facts_of(options.out, model, searched=len(dataset), skipped=len(dataset.skipped), nearest=neighbours)
    name, first = next(iter(neighbours.items()))
    words = f"Nearest to {name} among {len(dataset):,} images: {', '.join(str(one['name']) for one in first[:3])}"
    options.answer(facts, f"{words}{' ...' if len(first) > 3 else ''}; a row an image: {options.out}")


MOST_DRAWN, MOST_OUTLIERS_NAMED = 1_000, 10


@dataclass(frozen=True, kw_only=True)
class OutliersOptions(ImagesOptions):
    """Rank the images of a folder by how badly the model explains them: finds what is no face among faces."""

    n: int = 40
    """How many of the worst are drawn."""
    reference: Annotated[str | None, Spelling("DATA")] = None
    """Ordinary images to compare with; the run's own held-out images by default."""
    level: float = 0.01
    """An image is called an outlier if at most this share of ordinary images is explained as badly."""
    out: Path = Path("outliers.png")
    """The picture: the worst first, and below each what the model makes of it."""
    stage: Stage | None = None
    """ae, vae or gan; vae by default where the run has one, because a GAN has no likelihood."""


def outliers(options: OutliersOptions) -> None:
    """Ranks images."""
    check_picture(options.out, *options.images, options.reference)
    check_number("-n", options.n, MOST_DRAWN)
    if not 0 < options.level < 1:
        raise RequestError(f"--level {options.level:g} is no share; give a number between 0 and 1.")

    import numpy as np

    from vaegan.data import to_uint8
    from vaegan.latent.outliers import REASONS, explain, measure_of, share_above, strangeness
    from vaegan.pictures import save_png, stacked
    from vaegan.training import saved

    options = replace(options, stage=options.stage or saved.its_vae(options.run))
    model, dataset = options.open()
    progress = options.console.preparing
    if options.reference is not None:
        ordinary = options.dataset(model, options.reference)
        reference = (ordinary, np.arange(len(ordinary)))
    else:
        reference = saved.heldout_images(options.run, progress, options.label)
    found = explain(model, dataset, np.arange(len(dataset)), progress)
    scores, ordinary_scores, reasons = strangeness(found, explain(model, *reference, progress))
    shares = share_above(scores, ordinary_scores)
    order = scores.argsort(descending=True, stable=True)
    flagged = int((shares <= options.level).sum())
    worst = order[: options.n].numpy()
    shown = dataset.load(worst)
    save_png(stacked([to_uint8(shown), to_uint8(model.reconstruct(shown))], columns=20), options.out)
    ranked = [
        {
            "name": dataset.names[index],
            "score": round(float(scores[index]), 4),
            "reason": REASONS[int(reasons[index])],
            "share": round(float(shares[index]), 5),
            "surprise": round(float(found.surprise[index]), 5),
            "squared_error": round(float(found.error[index]), 5),
        }
        for index in order.tolist()
    ]
    facts = facts_of(
        options.out,
        model,
        surprise=measure_of(model),
        images=len(dataset),
        skipped=len(dataset.skipped),
        reference=len(ordinary_scores),
        level=options.level,
        outliers=flagged,
        ranking=ranked,
    )
    options.answer(facts, _outliers_in_words(facts, len(worst)))


def _outliers_in_words(facts: dict[str, Any], drawn: int) -> list[str]:
    named = [one for one in facts["ranking"][: min(drawn, MOST_OUTLIERS_NAMED)] if one["score"] > 0]
    return [
        f"{facts['outliers']:,} of {facts['images']:,} images are as strange to the {facts['stage'].upper()} as at most "
        f"{100 * facts['level']:g}% of {facts['reference']:,} ordinary ones{_conclusion(facts)}; "
        f"the worst {drawn}: {facts['out']}",
        *(f"  {one['name']}: explained {one['score']:.1f} deviations {one['reason']}" for one in named),
        *(["  the full ranking: --json"] if len(named) < facts["images"] else []),
    ]


def _conclusion(facts: dict[str, Any]) -> str:
    """Whether the number of outliers is beyond chance, by two deviations."""
    flagged, images, reference, level = (facts[name] for name in ("outliers", "images", "reference", "level"))
    if level * (reference + 1) < 1:
        least = math.ceil(10_000 / (reference + 1)) / 10_000
        return f" (too few ordinary ones to say so of any: give --level {least:g} or more)"
    chance = level * images
    # The ordinary images are a draw, too: the fewer there are, the less is known how strange one in so many is.
    deviation = math.sqrt(chance * (1 - level) * (1 + images / (reference + 1)))
    more = "more" if flagged > chance + 2 * deviation else "no more"
    about = f"{chance:,.0f}" if chance >= 10 else f"{chance:.2g}"
    return f", {more} than chance would give (about {about})"


MOST_ROWS, COLUMNS = 100, 8
MOST_NAMED = 10  # groups whose names are printed


@dataclass(frozen=True, kw_only=True)
class DuplicatesOptions(ImagesOptions):
    """Find images that are nearly the same: neighbours in latent space, confirmed in pixels. A row a group."""

    tolerance: float = 15.0
    """How much two images may differ: root mean square over their pixels, in levels of 255."""
    out: Path = Path("duplicates.png")
    """The picture, made only if there are any."""


def duplicates(options: DuplicatesOptions) -> None:
    """Finds duplicates."""
    check_picture(options.out, *options.images)
    check_number("--tolerance", options.tolerance, 255, least=0)

    from vaegan.latent.similar import find_duplicates
    from vaegan.pictures import rows, save_png

    model, dataset = options.open()
    groups = find_duplicates(options.latents(model, dataset), dataset, options.tolerance, options.console.preparing)
    if groups:
        shown = [dataset.images[list(group.members[:COLUMNS])] for group in groups[:MOST_ROWS]]
        save_png(rows(shown), options.out)
    facts = facts_of(
        options.out if groups else None,
        model,
        images=len(dataset),
        skipped=len(dataset.skipped),
        tolerance=options.tolerance,
        groups=[
            {"names": [dataset.names[index] for index in group.members], "difference": round(group.difference, 3)}
            for group in groups
        ],
    )
    options.answer(facts, _duplicates_in_words(facts))


def _duplicates_in_words(facts: dict[str, Any]) -> list[str]:
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
