"""vaegan explore: the latent space in a browser."""

import json
from dataclasses import dataclass

from vaegan.commands.shared import RunOptions
from vaegan.errors import RequestError, one_line

PORT = 8484


@dataclass(frozen=True, kw_only=True)
class ExploreOptions(RunOptions):
    """Open a model's latent space in the browser: a map, sliders, blends, your own images. For this machine only."""

    data: str | None = None
    """Other images for the map than the run's own: as for train."""
    port: int = PORT
    """Port of the page; the next free one if it is taken."""
    label: str | None = None
    """What the images show, for a model trained with --conditional: one of its labels."""
    open: bool = True
    """Open the page in the browser; --no-open only prints its address."""


def explore(options: ExploreOptions) -> None:
    """Serves the explorer until Ctrl-C."""
    import contextlib
    import webbrowser

    from vaegan.data import check_source
    from vaegan.explorer.server import open_port, serve
    from vaegan.explorer.state import Explorer

    if not 1 <= options.port <= 65535:
        raise RequestError(f"--port {options.port} is no port; give 1 to 65535.")
    if options.data is not None:
        check_source(options.data)
    explorer = Explorer(options.run, options.data, label=options.label)
    listening = open_port(options.port)
    address, port = listening.getsockname()[:2]
    url = f"http://{address}:{port}/"

    def ready() -> None:
        taken = "" if port == options.port else f" (port {options.port} is taken)"
        words = f"The explorer of {options.run}: {url}{taken}  Ctrl-C ends it."
        print(json.dumps({"url": url, "port": port}) if options.json else one_line(words), flush=True)
        if options.open and not webbrowser.open(url):
            print("No browser could be opened; open the address yourself.", flush=True)

    with contextlib.suppress(KeyboardInterrupt):
        serve(explorer, listening, ready)
