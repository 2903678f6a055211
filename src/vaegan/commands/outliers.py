"""vaegan outliers: the images of a folder that the model explains worst."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from vaegan.commands.options import Spelling
from vaegan.commands.shared import ImagesOptions, check_number, check_picture
from vaegan.config import Stage
from vaegan.errors import RequestError

MOST_DRAWN, MOST_NAMED = 1_000, 10


@dataclass(frozen=True, kw_only=True)
class Options(ImagesOptions):
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


def run(options: Options) -> None:
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

    options = replace(options, stage=options.stage or saved.stage_with_likelihood(options.run))
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
    save_png(stacked([to_uint8(shown), to_uint8(model.reconstruct(shown))], columns=20), options.out, {"software": "vaegan"})
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
    facts = {
        "out": str(options.out),
        "stage": model.config.stage,
        "surprise": measure_of(model),
        "images": len(dataset),
        "skipped": len(dataset.skipped),
        "reference": len(ordinary_scores),
        "level": options.level,
        "outliers": flagged,
        "ranking": ranked,
    }
    options.answer(facts, _words(facts, len(worst)))


def _words(facts: dict[str, Any], drawn: int) -> list[str]:
    """How many there are, whether that says anything, and the worst, as far as a person reads on."""
    named = [one for one in facts["ranking"][: min(drawn, MOST_NAMED)] if one["score"] > 0]
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
