"""Settings dataclasses to and from plain dictionaries (JSON, TOML), with names and types checked."""

import math
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from vaegan.errors import RequestError

Settings = TypeVar("Settings")

MOST_TOML_BYTES = 1_000_000
MOST_SEED = 2**63 - 1  # what torch takes


def to_dictionary(settings: Any) -> dict[str, Any]:
    """Nested plain dictionaries of a settings dataclass."""
    return asdict(settings)


def from_dictionary(kind: type[Settings], values: Mapping[str, Any], where: str, prefix: str = "") -> Settings:
    """Builds a settings dataclass from plain values by the names of fields; what they leave out has its default.

    RequestError on a name that does not exist or a value of the wrong type, saying `where` the values come from.
    """
    hints = get_type_hints(kind)
    entries = fields(kind)  # pyright: ignore[reportArgumentType]
    names = [entry.name for entry in entries]
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in names:
            raise RequestError(f"{where}: there is no setting {prefix}{name}; there are {', '.join(names)}.")
        given[name] = _checked(hints[name], value, where, prefix + name)
    for entry in entries:
        if entry.name not in given and entry.default is MISSING and entry.default_factory is MISSING:
            raise RequestError(f"{where}: {prefix}{entry.name} is missing.")
    return kind(**given)


def _checked(hint: Any, value: Any, where: str, name: str) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise RequestError(f"{where}: {name} must be a group of settings.")
        return from_dictionary(cast(type[Any], hint), value, where, name + ".")
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise RequestError(f"{where}: {name} is {value!r}; choose one of {', '.join(map(str, get_args(hint)))}.")
        return value
    if isinstance(hint, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return value if value is None or type(value) in kinds else _checked(kinds[0], value, where, name)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise RequestError(f"{where}: {name} must be a list.")
        return tuple(_checked(get_args(hint)[0], one, where, f"{name}[{at}]") for at, one in enumerate(value))
    if get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise RequestError(f"{where}: {name} must be a group of values.")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e300 else math.inf
    kind = cast(type[Any], hint)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RequestError(f"{where}: {name} is {value!r}; it must be of type {kind.__name__}.")
    return value


def check_seed(seed: int) -> None:
    """Refuses a seed that no generator of torch takes."""
    if not 0 <= seed <= MOST_SEED:
        raise RequestError(f"The seed {seed} is not possible; give 0 to {MOST_SEED}.")


def read_toml(path: Path) -> dict[str, Any]:
    """What stands in a TOML file that somebody wrote; RequestError if it is none, or too large to have been written by hand."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # of which reading may never end
        raise RequestError(f"{path} is not a regular file; settings stand in a TOML file.")
    if found.st_size > MOST_TOML_BYTES:
        raise RequestError(f"{path} is too large to hold settings: over {MOST_TOML_BYTES:,} bytes.")
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except RecursionError as error:
        raise RequestError(f"{path} is not TOML that can be read: it is nested too deeply.") from error
    except ValueError as error:  # no TOML, no text, or a number that is too long
        raise RequestError(f"{path} is not TOML: {error}") from error
