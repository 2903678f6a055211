"""Optional packages: asked for in one line, by the name of the extra that brings them."""

import sys
from importlib.util import find_spec
from shlex import quote

from vaegan.errors import RequestError


def need(extra: str, *packages: str, purpose: str) -> None:
    """Refuses to begin, saying how to install them, where packages of an extra are missing; `purpose` begins the sentence."""
    if wanted := lacking(extra, *packages, purpose=purpose):
        raise RequestError(wanted)


def lacking(extra: str, *packages: str, purpose: str) -> str | None:
    """What `need` refuses with; None where nothing is missing."""
    missing = [package for package in packages if find_spec(package) is None]
    if not missing:
        return None
    names = " ".join(missing)
    install = f"{quote(sys.executable)} -m pip install {names}"
    return f"{purpose} needs the extra [{extra}]: {names} is missing. Install: {install}"
