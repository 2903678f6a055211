"""vaegan direction: learn a direction in latent space, measure it, and keep it with the model."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from vaegan.commands.shared import (
    FitOption,
    StageOption,
    check_count,
    check_picture,
    images_config,
    load_model,
    open_given,
    report,
)
from vaegan.errors import RequestError, did_you_mean, meant

if TYPE_CHECKING:
    from vaegan.console import Console
    from vaegan.latent.learning import Examples
    from vaegan.latent.stored import Direction as Found
    from vaegan.model import Model
    from vaegan.types import Latents

STRENGTHS = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0)
PRINCIPAL_STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
SHOWN = 8
LOW_AREA = 0.7
"""Under this AUC a person is told that the direction was hardly found."""


@dataclass(frozen=True)
class Direction:
    """Learn a direction in latent space and keep it with the model: from two folders, from labels, or without labels."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    name: str | None = None
    """What the direction is called, for edit; the label's by default."""
    positive: Annotated[str | None, arg(metavar="DATA")] = None
    """A folder of images that have it."""
    negative: Annotated[str | None, arg(metavar="DATA")] = None
    """A folder of images that do not."""
    label: str | None = None
    """Instead of folders: a label of the images, as smiling, or hair_colour=blond; of a number, the top and bottom third."""
    principal: int | None = None
    """Instead of both: so many directions without labels, those first that change images most."""
    data: str | None = None
    """The images for --label and --principal; the run's own by default."""
    method: Literal["whitened", "classifier", "mean"] = "whitened"
    """whitened: the difference of the two groups' means after whitening within the groups (LDA), which told held-out images
    apart best; classifier: the normal of a logistic regression; mean: the plain difference."""
    beside: tuple[str, ...] = ()
    """Directions already kept that this one must not change."""
    list: bool = False
    """Only list the directions kept with the model."""
    out: Path | None = None
    """A picture: a row an image, along the direction; direction-NAME.png by default."""
    stage: StageOption = None
    fit: FitOption = None
    told: str | None = None
    """For a model trained with --conditional: the label that it is told; only images that show it are used of the run's own."""
    json: bool = False
    """Print JSON instead of words."""


def direction(request: Direction) -> None:
    """Learns or lists directions."""
    from vaegan.console import Console
    from vaegan.latent.stored import check_name, load_directions, model_fingerprint, save_direction
    from vaegan.training import saved

    _check_sources(request)
    name = check_name(request.name or (request.label or "principal").replace("=", " "))
    console = Console(quiet=request.json)
    folder = saved.model_folder(request.run, request.stage)
    model = load_model(request.run, request.stage, request.told, "--told")
    if request.list:
        _list(load_directions(folder, model), request.json)
        return
    if request.principal is not None:
        check_name(f"{name}-{request.principal}")
    kept = load_directions(folder, model, others="drop")
    if request.name is None:
        name = meant(name, kept) or name  # the same label, spelt another way, is the same direction
    out = request.out or Path(f"direction-{name.replace(' ', '-')}.png")
    check_picture(out, request.positive, request.negative, request.data)
    if request.principal is not None:
        found, latents, strengths = *_principal(request, model, name, console), PRINCIPAL_STRENGTHS
    else:
        found, latents = _learn(request, model, name, kept, console)
        strengths = STRENGTHS
    aside = save_direction(folder, model, *found)
    _draw(model, found, latents, strengths, out)
    facts = {
        "out": str(out),
        "stage": model.config.stage,
        "model": model_fingerprint(model),
        "directions": {one.name: one.facts for one in found},
        "put_aside": None if aside is None else str(aside),
    }
    old = "" if aside is None else f" Directions made before the model was trained further were put aside: {aside}."
    said = [_words(found, model.config.stage, out) + old]
    if model.has_encoder:  # else there is nothing to edit
        said.append(f"Try it: {_edit_command(request, found[0].name)}")
    report(facts, said, request.json)


def _check_sources(request: Direction) -> None:
    folders = request.positive is not None or request.negative is not None
    given = [folders, request.label is not None, request.principal is not None, request.list]
    if sum(given) != 1:
        raise RequestError("From what? Give --positive DIR --negative DIR, or --label NAME, or --principal N; or --list.")
    if folders and (request.positive is None or request.negative is None):
        raise RequestError("A direction leads from one group to another: give both --positive DIR and --negative DIR.")
    if folders and request.name is None:
        raise RequestError("What is it called? Add --name, as in --name smile.")
    if request.principal is not None:
        check_count("--principal", request.principal, 100)
        if request.beside or request.method != "whitened":
            option = "--beside" if request.beside else "--method"
            raise RequestError(f"{option} goes with --positive and --negative or --label, not with --principal.")
    if folders and request.data is not None:
        raise RequestError("--data goes with --label or --principal: with --positive and --negative these are the images.")
    if request.fit is not None and not folders and request.data is None:
        raise RequestError("--fit goes with images that are given: the run's own are prepared as they were for training.")


def _learn(
    request: Direction, model: "Model", name: str, kept: "dict[str, Found]", console: "Console"
) -> "tuple[list[Found], Latents]":
    import torch

    from vaegan.latent.groups import evenly
    from vaegan.latent.learning import learn_direction

    without = "find directions without labels: --principal 10"
    model.require_encoder(without)
    beside: dict[str, Found] = {}
    for asked in request.beside:
        other = meant(asked, kept)
        if other is None:
            known = f"kept are: {', '.join(kept) or 'none'}.{did_you_mean(asked, kept)}"
            raise RequestError(f"There is no direction {asked!r} to stay beside of; {known}")
        beside[other] = kept[other]
    positive, negative = _groups(request, model, console)
    label = None if request.label is None else meant(request.label.partition("=")[0], positive.dataset.labels)
    found = learn_direction(
        model, name, positive, negative, request.method, beside, kept, console.preparing, label=label, say=console.say
    )
    shown = negative.dataset.load(evenly(negative.indices, SHOWN))
    return [found], model.encode(shown).to(torch.float32)


def _groups(request: Direction, model: "Model", console: "Console") -> "tuple[Examples, Examples]":
    import numpy as np

    from vaegan.latent.groups import groups_of_label
    from vaegan.latent.learning import Examples
    from vaegan.training import saved

    config = images_config(model, request.run, request.fit)
    if request.positive is not None and request.negative is not None:
        folders = [open_given([folder], config, console) for folder in (request.positive, request.negative)]
        groups = [Examples(dataset, np.arange(len(dataset))) for dataset in folders]
        return groups[0], groups[1]
    run_images = request.data is None
    dataset = saved.run_images(request.run, console.preparing) if run_images else open_given([str(request.data)], config, console)
    label, _, word = (request.label or "").partition("=")
    found = groups_of_label(dataset, label, word or None)
    shown = np.isin(np.arange(len(dataset)), saved.showing(request.run, dataset, model.told_label))
    learned = [indices[shown[indices]] for indices in (found.positive, found.negative)]
    return Examples(dataset, learned[0]), Examples(dataset, learned[1])


def _principal(request: Direction, model: "Model", name: str, console: "Console") -> "tuple[list[Found], Latents]":
    from vaegan.latent.groups import MOST_IMAGES, encode_images, evenly
    from vaegan.latent.learning import learn_principal
    from vaegan.training import saved

    assert request.principal is not None
    if model.has_encoder:
        config = images_config(model, request.run, request.fit)
        own = request.data is None
        dataset = saved.run_images(request.run, console.preparing) if own else open_given([str(request.data)], config, console)
        used = saved.showing(request.run, dataset, model.told_label)
        latents = encode_images(model, dataset, evenly(used, MOST_IMAGES), console.preparing)
    elif request.data is not None:
        model.require_encoder("leave --data out: the directions are then found on its own samples")
        raise AssertionError
    else:
        latents = model.latents(1024)
    found = learn_principal(model, latents, request.principal, name)
    return found, latents[:1].repeat(len(found), 1)


def _draw(model: "Model", found: "list[Found]", latents: "Latents", strengths: tuple[float, ...], out: Path) -> None:
    import torch

    from vaegan.data import to_uint8
    from vaegan.pictures import grid, save_png

    vectors = torch.stack([one.vector for one in found]) if len(found) > 1 else found[0].vector[None]
    rows = torch.stack([latents.cpu() + strength * vectors for strength in strengths], 1)
    notes = {"strengths": " ".join(f"{strength:g}" for strength in strengths), "software": "vaegan"}
    save_png(grid(to_uint8(model.decode(rows.flatten(0, 1))), columns=len(strengths)), out, notes)


def _words(found: "list[Found]", stage: str, out: Path) -> str:
    if len(found) > 1 or found[0].facts["method"] == "principal":
        effects = ", ".join(f"{one.name} {one.facts['pixel_change']:.3f}" for one in found[:5])
        return f"{len(found)} directions without labels, by how much strength 1 changes a pixel on [-1, 1]: {effects}; {out}"
    one, facts = found[0], found[0].facts
    moved = {other: amount for other, amount in facts["moves"].items() if abs(amount) >= 0.1}
    also = ", ".join(f"{amount:+.2f} {other}" for other, amount in sorted(moved.items(), key=lambda pair: -abs(pair[1]))[:4])
    learned = f"from {facts['positive']:,} and {facts['negative']:,} images"
    if facts["auc"] < LOW_AREA:
        return (
            f"{one.name} was hardly found: {learned}, the {stage.upper()} tells held-out ones apart with AUC {facts['auc']:.3f} "
            "(0.5 is guessing, 1 always right), so that edits along it will change something else. Train longer or with more "
            f"latents, or give more images that differ in nothing else. Kept all the same; along it: {out}."
        )
    return (
        f"{one.name}, {learned}: tells held-out ones apart with AUC {facts['auc']:.3f}; "
        f"at strength 1, {facts['identity_kept']:.0%} of {facts['identity_of']} edited images stay nearest to their source"
        f"{f', and each also gets {also}' if also else ''}. Kept with the {stage.upper()}; along it: {out}."
    )


def _edit_command(request: Direction, name: str) -> str:
    """What to type to use the direction, on images of one's own."""
    options = (("--stage", request.stage), ("--label", request.told), ("--direction", f"{name}=1.5"))
    words = [f"{option} {quote(value)}" for option, value in options if value is not None]
    return " ".join(["vaegan edit", quote(str(request.run)), "IMAGES", *words])


def _list(kept: "dict[str, Found]", as_json: bool) -> None:
    facts: dict[str, Any] = {name: one.facts for name, one in kept.items()}
    lines = [f"{name}: {_line(one.facts)}" for name, one in kept.items()]
    report({"directions": facts}, lines or "No directions are kept with this model.", as_json)


def _line(facts: dict[str, Any]) -> str:
    shown = [
        f"{key.replace('_', ' ')} {facts[key]:.3g}" for key in ("auc", "identity_kept", "pixel_change") if _number(facts.get(key))
    ]
    found = not _number(facts.get("auc")) or facts["auc"] >= LOW_AREA
    return ", ".join([str(facts.get("method", "")), *shown, *([] if found else ["hardly found"])])


def _number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1e9)
