"""What several commands share."""

import json
from pathlib import Path
from typing import Any

from vaegan.config import Stage, TrainConfig, load_config_file, load_preset

__all__ = ["Stage", "preset_settings", "report"]


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
