"""What several commands share: options, checks of places and numbers, models and images as a person names them."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vaegan.commands.options import Spelling
from vaegan.config import Stage, TrainConfig
from vaegan.config_files import load_config_file, load_preset
from vaegan.errors import RequestError, first_of, one_line
from vaegan.files import atomic_folder, check_file_place, check_new_folder
from vaegan.settings import check_seed
from vaegan.shapes import Fit

if TYPE_CHECKING:
    from vaegan.console import Console
    from vaegan.latent.samples import Drawn, GivenImages
    from vaegan.model import Model
    from vaegan.types import Latents

MOST_IN_A_GRID, MOST_IN_A_FOLDER = 10_000, 1_000_000
IMAGES = (".png", ".gif", ".webp")


@dataclass(frozen=True, kw_only=True)
class JsonOption:
    """How a command answers."""

    json: bool = False
    """Print JSON instead of words."""

    @cached_property
    def console(self) -> "Console":
        """Where a person sees how far the command is; silent where JSON is asked for."""
        from vaegan.console import Console

        return Console(quiet=self.json)

    def answer(self, facts: dict[str, Any], words: str | list[str]) -> None:
        """Says what the command did: to a person, in one line or several, or to a program."""
        lines = [words] if isinstance(words, str) else words
        print(json.dumps(facts) if self.json else "\n".join(map(one_line, lines)))


@dataclass(frozen=True, kw_only=True)
class RunOptions(JsonOption):
    """Options of a command that reads a run."""

    run: Annotated[Path, Spelling("RUN", positional=True)]
    """A run; or a saved model, where nothing else of a run is needed."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions(RunOptions):
    """Options of a command that uses a model."""

    stage: Stage | None = None
    """ae, vae, gan or joint; the last one trained by default."""
    label: str | None = None
    """What the images show, for a model trained with --conditional: one of its labels."""

    def model(self) -> "Model":
        """The model; a conditional one is given the label, and from there on it is like any other."""
        from vaegan.training.saved import load

        return load(self.run, self.stage).unconditional(self.label)


def facts_of(out: Path | None, model: "Model", **others: Any) -> dict[str, Any]:
    """What a command tells a program: where it wrote, the stage of the model that it used, and what else there is to say."""
    return {"out": None if out is None else str(out), "stage": model.config.stage} | others


@dataclass(frozen=True, kw_only=True)
class ImagesOptions(ModelOptions):
    """Options of a command that encodes images."""

    images: Annotated[tuple[str, ...], Spelling("IMAGES", positional=True)] = ()
    """Image files, or samples as SEED:NUMBER (0:37: what sample --seed 0 makes after 37 others); or one folder, archive, array
    file, or the word faces. A file that sample, edit or decode wrote gives its exact latent."""
    fit: Fit | None = None
    """How a rectangle becomes a square; as the run's training images by default."""

    def model(self) -> "Model":
        """The model; a conditional one is given the label, by default the one that all samples among the images show."""
        return model_for(self.run, self.stage, self.label, self.images)

    def open(self, most: int | None = None, instead: str | None = None) -> "tuple[Model, GivenImages]":
        """The model and at `most` so many images; without an encoder (it is said what to do `instead`) only its own samples."""
        model = self.model()
        dataset = self.dataset(model, *self.images, instead=instead)
        if most is not None and len(dataset) > most:
            raise RequestError(f"{len(dataset):,} images are too many for one picture; give at most {most}.")
        return model, dataset

    def dataset(self, model: "Model", *places: str, instead: str | None = None, scale: int = 1) -> "GivenImages":
        """Images at places that a person names, prepared for the model, or `scale` times smaller."""
        return open_given(places, model, self.run, self.fit, self.console, instead, scale)

    def latents(self, model: "Model", dataset: "GivenImages") -> "Latents":
        """The latents of all images of a data set, those of samples as they were drawn."""
        return dataset.latents(model, self.console.preparing)


@dataclass(frozen=True, kw_only=True)
class SettingsOptions(JsonOption):
    """Options of a command that trains. The settings are those of the preset and the file, where the command line has none."""

    preset: str = "tiny"
    """Sizes and rates of the networks: tiny (minutes on a CPU), small (twice as wide, for a quarter of an hour and more), base,
    large (GPUs). The sources' own configurations, to compare with: comic-face-vae, comic-face-gan, mnist-vae, mnist-vae-mlp,
    celeba-vae-transposed, celeba-vae-nearest, dcgan."""
    config: Path | None = None
    """TOML file with settings, laid over the preset; options on the command line win."""
    settings: TrainConfig = field(default_factory=TrainConfig)

    @staticmethod
    def defaults(written: Mapping[str, Any]) -> dict[str, Any]:
        """The settings before those of the command line, whose options are `written`."""
        preset = load_preset(written.get("--preset", "tiny"))
        file = written.get("--config")
        return {"settings": preset if file is None else load_config_file(file, preset)}


def model_for(run: Path, stage: Stage | None, label: str | None, places: Sequence[str]) -> "Model":
    """The model that images at places are for: a conditional one of the `label`, or of the one that the samples there show."""
    from vaegan.latent.samples import common_label
    from vaegan.training.saved import load

    model = load(run, stage)
    return model.unconditional(common_label(model, places) if label is None and model.config.labels else label)


def open_given(
    places: Sequence[str],
    model: "Model",
    run: Path,
    fit: Fit | None,
    console: "Console",
    instead: str | None = None,
    scale: int = 1,
) -> "GivenImages":
    """The images that a person names, prepared for the model of a run (or smaller); what of them could not be used is said.

    RequestError, with what to do `instead`, if there are others than samples and the model has no encoder.
    """
    from vaegan.data import open_images, skipped_in_words
    from vaegan.data.own import own_in_words
    from vaegan.latent.samples import GivenImages, files_of, may_keep
    from vaegan.training.saved import images_config

    if not all(map(may_keep, places)):
        model.require_encoder(instead)
    drawn = files_of(model, places)
    dataset = open_images(places, images_config(model, run, fit, scale), console.preparing, drawn)
    if dataset.skipped:
        console.say(f"Of {places[0]} {skipped_in_words(dataset.skipped)}.")
    if dataset.own_files:
        console.say(own_in_words(dataset.own_files))
    given = GivenImages.of(model, dataset, places, drawn)
    by_reason = {reason: [name for name, its in given.reasons.items() if its == reason] for reason in given.reasons.values()}
    for reason, names in by_reason.items():
        console.say(f"{first_of(names)} {reason}: the latent in the file is not used, but the picture.")
    if len(given.kept) < len(given):
        model.require_encoder(instead)
    if exact := [name for name in map(given.names.__getitem__, given.kept) if name not in drawn]:
        console.say(f"{first_of(exact)}: drawn by this model; not encoded again, as the file keeps its latent.")
    return given


def save_images(drawn: "Iterable[Drawn]", model: "Model", out: Path, notes: dict[str, str], columns: int | None = None) -> None:
    """Writes images as one picture where `out` ends in .png, elsewhere as a folder with one PNG each; each keeps its latent."""
    import numpy as np

    from vaegan.latent.samples import family, keeping
    from vaegan.pictures import grid, save_png, to_picture

    weights = family(model)
    if is_picture(out):
        everything = list(drawn)
        picture = grid(np.stack([one.pixels for one in everything]), columns)
        if len(everything) == 1:
            notes = keeping(picture, everything[0], weights) | notes
        save_png(picture, out, notes)
        return
    with atomic_folder(out) as folder:
        for one in drawn:
            picture = to_picture(one.pixels)
            save_png(picture, folder / f"{one.name}.png", keeping(picture, one, weights) | notes)


def seeds_of(words: Sequence[str]) -> list[int]:
    """The seeds that words stand for: 7 for one, 3:17 for those from 3 to 17, both included."""
    found: list[int] = []
    for word in words:
        try:
            ends = [int(end) for end in word.split(":", 1)]
        except ValueError:
            ends = []
        for seed in ends:
            check_seed(seed)
        if not ends or ends[-1] < ends[0]:
            raise RequestError(f"--seeds {word} is not possible; give seeds, as 3 7, or the first and last of a range, as 3:17.")
        check_number("The number of seeds", len(found) + ends[-1] - ends[0] + 1, MOST_IN_A_GRID)
        found += range(ends[0], ends[-1] + 1)
    return found


def is_picture(out: Path) -> bool:
    """Whether a place is that of one picture, and not of a folder."""
    return out.suffix.lower() == ".png"


def check_suffix(out: Path, suffixes: tuple[str, ...], *inputs: str | Path | None) -> None:
    """Refuses a file to write that ends in none of the suffixes, cannot be written, or is one of the inputs or in one of them."""
    from vaegan.extras import need

    if out.suffix.lower() not in suffixes:
        raise RequestError(f"--out {out} must end in {' or '.join(suffixes)}.")
    check_file_place(out)
    # By os.path, which says nothing of links that lead in a circle: whoever opens them does.
    place, is_image = Path(os.path.realpath(out)), out.suffix.lower() in IMAGES
    read = [Path(os.path.realpath(os.path.expanduser(one))) for one in inputs if one is not None]
    if place in read or (is_image and any(folder in place.parents for folder in read) and _is_foreign(place)):
        raise RequestError(f"--out {out} must be none of the images that are read; give another name or place.")
    if out.suffix.lower() == ".parquet":
        need("parquet", "pyarrow", purpose="A Parquet file")


def _is_foreign(place: Path) -> bool:
    """Whether a picture is there that this program did not write, and which may be one of the images."""
    if not place.exists():
        return False
    from vaegan.data.own import is_own_file

    return not is_own_file(place)


def check_picture(out: Path, *inputs: str | Path | None) -> None:
    """Refuses a place for one PNG that is none, or is one of the files that are read."""
    check_suffix(out, (".png",), *inputs)


def check_picture_or_folder(out: Path, *inputs: str | Path | None) -> int:
    """Refuses a place for one PNG, or for a folder of them, that cannot be written; returns how many images it may hold."""
    if is_picture(out):
        check_picture(out, *inputs)
        return MOST_IN_A_GRID
    if out.suffix.lower() in (".jpg", ".jpeg", ".gif", ".webp", ".bmp"):
        raise RequestError(f"--out {out} is no PNG; give a name that ends in .png, or a folder.")
    check_new_folder(out)
    return MOST_IN_A_FOLDER


def check_number(option: str, number: float, most: float, least: float = 1) -> None:
    """Refuses a number that nothing can be made from, naming the option and its limits."""
    if not least <= number <= most:
        raise RequestError(
            f"{option} {number:{'d' if isinstance(number, int) else 'g'}} is not possible; give {least} to {most:,}."
        )
