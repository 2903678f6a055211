"""vaegan explore and export: a model in the browser, and in forms that run without this package."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from vaegan.commands.shared import ModelOptions, RunOptions
from vaegan.errors import RequestError, one_line
from vaegan.files import check_new_folder

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


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ModelOptions):
    """Write a model's networks as files that run without this package."""

    to: Literal["onnx", "export", "html"] = "onnx"
    """onnx: files for onnxruntime and everything else that reads ONNX; export: torch.export programs (.pt2), for torch alone;
    html: the explorer as one file that opens by a double click, without a server."""
    out: Path | None = None
    """A new or empty folder (export by default); for html a file (the run's name by default)."""
    with_images: bool = False
    """For --to html: put thumbnails, latents and labels (names of sub-folders) of the training images, at most 5,000, into the
    file, and the directions learned from them or saved with the model; whoever has it sees them."""
    cdn: bool = False
    """For --to html: leave the runtime out (the file is small, and needs the network when it is opened); of a run the last stage
    alone."""
    runtime: Path | None = None
    """For --to html: folder or tarball of the npm package onnxruntime-web; npm brings it once by default."""
    float32: bool = False
    """For --to html: keep the weights as float32: twice the size."""


def export(options: ExportOptions) -> None:
    """Exports a model."""
    from vaegan.export.folder import check_packages, export_onnx, export_programs

    if options.to == "html":
        _export_html(options)
        return
    if options.with_images or options.cdn or options.runtime is not None or options.float32:
        raise RequestError(f"--with-images, --cdn, --runtime and --float32 go with --to html, not with --to {options.to}.")
    out = options.out or Path("export")
    check_new_folder(out)
    if options.to == "onnx":
        check_packages()

    from vaegan.sharing import copying_warning

    model = options.model()
    made = (export_onnx if options.to == "onnx" else export_programs)(model, out)
    files = [asdict(file) | {"path": str(file.path)} for file in made]
    warnings = [sentence for sentence in (copying_warning(model.folder, model.config.stage),) if sentence]
    facts = {"out": str(out), "stage": model.config.stage, "to": options.to, "files": files, "warnings": warnings}
    names = ", ".join(f"{file.path} ({file.bytes / 1e6:.1f} MB)" for file in made)
    checked = f"Checked: equal to the model within {max(file.difference for file in made):.0e}."
    missing = [] if model.has_encoder else ["It has no encoder, because it was trained without a VAE."]
    options.answer(facts, " ".join([f"The {model.config.stage.upper()}: {names}.", checked, *missing, *warnings]))


def _export_html(options: ExportOptions) -> None:
    from vaegan.export.html import export_html
    from vaegan.report.page import check_out
    from vaegan.sharing import copying_warning
    from vaegan.training.saved import model_folder

    console = options.console
    out = options.out or Path(f"{options.run.resolve().name}.html")
    check_out(out)
    folder = model_folder(options.run, options.stage)
    how: dict[str, Any] = {name: getattr(options, name) for name in ("stage", "label", "cdn", "runtime", "with_images")}
    made = export_html(options.run, out, **how, half=not options.float32, progress=console.preparing)
    console.close()
    warnings = [sentence for sentence in (copying_warning(folder, made.stages[0]),) if sentence]
    facts = asdict(made) | {"path": str(made.path), "to": "html", "warnings": warnings}
    names = " and ".join(stage.upper() for stage in made.stages)
    words = f"The explorer of the {names}: {made.path} ({made.bytes / 1e6:.1f} MB), which opens by a double click."
    runtime = "" if made.runtime == "inside" else "It fetches its runtime when it is opened."
    options.answer(facts, " ".join(filter(None, [words, runtime, made.said, *warnings])))
