"""Presets and settings files: TOML to the settings of config.py."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from vaegan.config import TrainConfig
from vaegan.errors import RequestError
from vaegan.settings import from_dictionary, read_toml, to_dictionary

PRESETS = ("tiny", "small", "base", "large")
SOURCES = (
    "comic-face-vae",
    "comic-face-gan",
    "mnist-vae",
    "mnist-vae-mlp",
    "celeba-vae-transposed",
    "celeba-vae-nearest",
    "dcgan",
)
"""Presets that are the sources' own configurations, to compare with."""


def load_preset(name: str) -> TrainConfig:
    """The settings of a preset that comes with the package.

    Raises:
        RequestError: if there is none of that name.
    """
    if name not in (*PRESETS, *SOURCES):
        raise RequestError(
            f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}, or a source's: {', '.join(SOURCES)}."
        )
    folder = ("presets",) if name in PRESETS else ("presets", "sources")
    text = resources.files("vaegan").joinpath(*folder, f"{name}.toml").read_text("utf-8")
    return from_dictionary(TrainConfig, _settings_part(tomllib.loads(text)), f"preset {name}")


def load_config_file(path: Path, base: TrainConfig) -> TrainConfig:
    """The settings of a TOML file over those of `base`; RequestError if it cannot be read or names one that does not exist."""
    try:
        values = read_toml(path)
    except OSError as error:
        raise RequestError(f"Cannot read {path}: {error.strerror}.") from error
    return from_dictionary(TrainConfig, _merged(to_dictionary(base), _settings_part(values)), str(path))


def _settings_part(values: dict[str, Any]) -> dict[str, Any]:
    """Presets carry a table [measured] beside their settings: what they reached, at what cost, on what."""
    return {name: value for name, value in values.items() if name != "measured"}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged
