"""vaegan explore: the latent space in a browser."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from vaegan.commands.shared import LabelOption
from vaegan.errors import RequestError, one_line

PORT = 8484


@dataclass(frozen=True)
class Explore:
    """Open a model's latent space in the browser: a map, sliders, blends, your own images. For this machine only."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    data: str | None = None
    """Other images for the map than the run's own: as for train."""
    port: int = PORT
    """Port of the page; the next free one if it is taken."""
    label: LabelOption = None
    open: bool = True
    """Open the page in the browser; --no-open only prints its address."""
    json: bool = False
    """Print the address as JSON instead of words."""


def explore(request: Explore) -> None:
    """Serves the explorer until Ctrl-C."""
    import contextlib
    import webbrowser

    from vaegan.data import check_source
    from vaegan.explorer.server import open_port, serve
    from vaegan.explorer.state import Explorer

    if not 1 <= request.port <= 65535:
        raise RequestError(f"--port {request.port} is no port; give 1 to 65535.")
    if request.data is not None:
        check_source(request.data)
    explorer = Explorer(request.run, request.data, label=request.label)
    listening = open_port(request.port)
    address, port = listening.getsockname()[:2]
    url = f"http://{address}:{port}/"

    def ready() -> None:
        taken = "" if port == request.port else f" (port {request.port} is taken)"
        words = f"The explorer of {request.run}: {url}{taken}  Ctrl-C ends it."
        print(json.dumps({"url": url, "port": port}) if request.json else one_line(words), flush=True)
        if request.open and not webbrowser.open(url):
            print("No browser could be opened; open the address yourself.", flush=True)

    with contextlib.suppress(KeyboardInterrupt):
        serve(explorer, listening, ready)
