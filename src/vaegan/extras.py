"""Optional packages: asked for in one line, by the name of the extra that brings them."""

import sys
from importlib.util import find_spec
from shlex import quote

from vaegan.errors import RequestError


def need(extra: str, *packages: str, purpose: str) -> None:
    """Makes sure that the packages of an extra are there, before any work is done.

    Args:
        extra: the name in `pip install 'vaegan[extra]'`.
        packages: as they are imported and installed.
        purpose: begins the message, such as "Exporting to ONNX".

    Raises:
        RequestError: naming what is missing and how to install it.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        names = " ".join(missing)
        install = f"{quote(sys.executable)} -m pip install {names}"
        raise RequestError(f"{purpose} needs the extra [{extra}], of which is missing: {names}. Install: {install}")
