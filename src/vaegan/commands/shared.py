"""What several commands share."""

import json
from pathlib import Path
from typing import Any

from vaegan.config import Stage, TrainConfig, load_config_file, load_preset
from vaegan.errors import RequestError
from vaegan.files import check_file_place

__all__ = ["Stage", "check_picture", "preset_settings", "report"]


def check_picture(out: Path) -> None:
    """Refuses, before any work, a picture that could not be written.

    Raises:
        RequestError: saying why.
    """
    if out.suffix.lower() != ".png":
        raise RequestError(f"--out {out} must be a name that ends in .png.")
    check_file_place(out)


def report(facts: dict[str, Any], words: str, as_json: bool) -> None:
    """Says what a command did: to a person, or to a program."""
    print(json.dumps(facts) if as_json else words)


def preset_settings(rest: list[str]) -> tuple[str, Path | None, TrainConfig]:
    """The preset and the file of settings that a command line names, and the settings that they make."""
    preset, file = _value_of("--preset", rest) or "tiny", _value_of("--config", rest)
    config, path = load_preset(preset), Path(file) if file else None
    return preset, path, config if path is None else load_config_file(path, config)


def _value_of(option: str, rest: list[str]) -> str | None:
    for index, word in enumerate(rest):
        if word == option and index + 1 < len(rest):
            return rest[index + 1]
        if word.startswith(option + "="):
            return word.partition("=")[2]
    return None
