"""What several commands share: options, checks of places and numbers, models and images as a person names them."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vaegan.commands.options import Spelling
from vaegan.config import Stage, TrainConfig
from vaegan.config_files import load_config_file, load_preset
from vaegan.errors import RequestError, one_line
from vaegan.files import atomic_folder, check_file_place, check_new_folder
from vaegan.shapes import Fit

if TYPE_CHECKING:
    from vaegan.console import Console
    from vaegan.data import ImageDataset
    from vaegan.model import Model
    from vaegan.pictures import Pixels
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
    """Image files; or one folder, archive, array file, or the word faces."""
    fit: Fit | None = None
    """How a rectangle becomes a square; as the run's training images by default."""

    def open(self, most: int | None = None, instead: str | None = None) -> "tuple[Model, ImageDataset]":
        """The model, which must have an encoder (else it is said what to do `instead`), and at `most` so many images."""
        model = self.model()
        model.require_encoder(instead)
        dataset = self.dataset(model, *self.images)
        if most is not None and len(dataset) > most:
            raise RequestError(f"{len(dataset):,} images are too many for one picture; give at most {most}.")
        return model, dataset

    def dataset(self, model: "Model", *places: str) -> "ImageDataset":
        """Images at places that a person names, prepared for the model."""
        return open_given(places, model, self.run, self.fit, self.console)

    def latents(self, model: "Model", dataset: "ImageDataset") -> "Latents":
        """The latents of all images of a data set."""
        import numpy as np

        from vaegan.latent.learning import encode_images

        return encode_images(model, dataset, np.arange(len(dataset)), self.console.preparing)


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


def open_given(places: Sequence[str], model: "Model", run: Path, fit: Fit | None, console: "Console") -> "ImageDataset":
    """The images that a person names, prepared for the model of a run; what of them could not be used is said."""
    from vaegan.data import open_images, skipped_in_words
    from vaegan.data.own import own_in_words
    from vaegan.training.saved import images_config

    dataset = open_images(places, images_config(model, run, fit), console.preparing)
    if dataset.skipped:
        console.say(f"Of {places[0]} {skipped_in_words(dataset.skipped)}.")
    if dataset.own_files:
        console.say(own_in_words(dataset.own_files))
    return dataset


def save_images(blocks: Iterable["Pixels"], out: Path, notes: dict[str, str], names: Sequence[str] = ()) -> None:
    """Writes images as one picture where `out` ends in .png, elsewhere as a folder with one PNG each, by number or name."""
    import numpy as np

    from vaegan.pictures import grid, save_png, to_picture

    if is_picture(out):
        save_png(grid(np.concatenate(list(blocks))), out, notes)
        return
    with atomic_folder(out) as folder:
        for index, image in enumerate(chain.from_iterable(blocks)):
            name = names[index] if names else f"{index:05d}"
            save_png(to_picture(image), folder / f"{name}.png", notes | {"index": str(index)})


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
