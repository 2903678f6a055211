"""Optional packages: asked for in one line, by the name of the extra that brings them."""

import sys
from importlib.util import find_spec
from shlex import quote

from vaegan.errors import RequestError


def need(extra: str, *packages: str, purpose: str) -> None:
    """Refuses to begin, saying how to install them, where packages of an extra are missing; `purpose` begins the sentence."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        names = " ".join(missing)
        install = f"{quote(sys.executable)} -m pip install {names}"
        raise RequestError(f"{purpose} needs the extra [{extra}], of which is missing: {names}. Install: {install}")
