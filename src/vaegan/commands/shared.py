"""What several commands share."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from vaegan.config import DataConfig, Fit, Stage, TrainConfig
from vaegan.config_files import load_config_file, load_preset
from vaegan.errors import RequestError, one_line
from vaegan.files import check_file_place, check_new_folder

if TYPE_CHECKING:
    from vaegan.console import Console
    from vaegan.data import ImageDataset
    from vaegan.model import Model

IMAGES = (".png", ".gif", ".webp")
StageOption = Annotated[Stage | None, arg(help="ae, vae, gan or joint; the last one trained by default.")]
FitOption = Annotated[Fit | None, arg(help="How a rectangle becomes a square; as the run's training images by default.")]
LabelOption = Annotated[str | None, arg(help="What the images show, for a model trained with --conditional: one of its labels.")]


def report(facts: dict[str, Any], words: str | list[str], as_json: bool) -> None:
    """Says what a command did: to a person, in one line or several, or to a program."""
    lines = [words] if isinstance(words, str) else words
    print(json.dumps(facts) if as_json else "\n".join(map(one_line, lines)))


def preset_settings(rest: list[str]) -> tuple[str, Path | None, TrainConfig]:
    """The preset and the file of settings that a command line names, and the settings that they make."""
    preset, file = _value_of("--preset", rest) or "tiny", _value_of("--config", rest)
    config, path = load_preset(preset), Path(file) if file else None
    return preset, path, config if path is None else load_config_file(path, config)


def _value_of(option: str, rest: list[str]) -> str | None:
    """The value that the option parser will give an option: the last one; None where it has to say that there is none."""
    found = None
    for index, word in enumerate(rest):
        if word == option and index + 1 < len(rest) and not rest[index + 1].startswith("--"):
            found = rest[index + 1]
        elif word.startswith(option + "="):
            found = word.partition("=")[2]
    if found == "":
        raise RequestError(f"{option} is empty; give a name, or leave it out.")
    return found


def load_model(run: Path, stage: str | None, label: str | None, option: str = "--label") -> "Model":
    """The model of a run; a conditional one is told the label, and from there on it is like any other."""
    from vaegan.training.saved import load

    return load(run, stage).unconditional(label, option)


def images_config(model: "Model", run: Path, fit: Fit | None) -> DataConfig:
    """How images that a person names are prepared for a model: as the run's held-out images were.

    Of a run with --binarize dynamic they are drawn black and white once and for all, keyed by their content.
    """
    from vaegan.training.run import RunFolder
    from vaegan.training.saved import fit_of

    folder = RunFolder(run)
    binarize = folder.read().config.data.binarize if folder.record_path.is_file() else "none"
    channels = "1" if model.config.channels == 1 else "3"
    return DataConfig(size=model.config.size, fit=fit or fit_of(run), channels=channels, binarize=binarize)


def open_given(places: Sequence[str], config: DataConfig, console: "Console") -> "ImageDataset":
    """The images that a person names; what of them could not be used is said.

    Raises:
        DataError: as `open_images`.
        RequestError: as `open_images`.
    """
    from vaegan.data import open_images, skipped_in_words

    dataset = open_images(places, config, console.preparing)
    if dataset.skipped:
        console.say(f"Of {places[0]} {skipped_in_words(dataset.skipped)}.")
    return dataset


def check_suffix(out: Path, suffixes: tuple[str, ...], *inputs: str | Path | None) -> None:
    """Refuses a file that cannot be written, or that is one of those that are read, before any work is done.

    Args:
        out: where it is to be written.
        suffixes: that it can end in.
        inputs: files and folders that are read, as a person gave them.

    Raises:
        RequestError: naming what is wrong.
    """
    from vaegan.extras import need

    if out.suffix.lower() not in suffixes:
        raise RequestError(f"--out {out} must end in {' or '.join(suffixes)}.")
    check_file_place(out)
    # By os.path, which says nothing of links that lead in a circle: whoever opens them does.
    place, is_image = Path(os.path.realpath(out)), out.suffix.lower() in IMAGES
    read = [Path(os.path.realpath(os.path.expanduser(one))) for one in inputs if one is not None]
    if place in read or (is_image and place.exists() and any(folder in place.parents for folder in read)):
        raise RequestError(f"--out {out} must be none of the images that are read; give another name or place.")
    if out.suffix.lower() == ".mp4":
        need("video", "av", purpose="An MP4")
    if out.suffix.lower() == ".parquet":
        need("parquet", "pyarrow", purpose="A Parquet file")


def check_picture(out: Path, *inputs: str | Path | None) -> None:
    """Refuses a place for one PNG that is none, or is one of the files that are read; arguments and errors of `check_suffix`."""
    check_suffix(out, (".png",), *inputs)


def check_folder(out: Path) -> None:
    """Refuses a folder that already holds files, or a name that looks like a picture's.

    Raises:
        RequestError: naming what is wrong.
    """
    if out.suffix.lower() in (".jpg", ".jpeg", ".gif", ".webp", ".bmp"):
        raise RequestError(f"--out {out} is no PNG; give a name that ends in .png, or a folder.")
    check_new_folder(out)


def check_count(option: str, count: int, most: int, least: int = 1) -> None:
    """Refuses numbers that nothing can be made from.

    Raises:
        RequestError: naming the option and its limits.
    """
    if not least <= count <= most:
        raise RequestError(f"{option} {count} is not possible; give {least} to {most:,}.")
