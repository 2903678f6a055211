"""vaegan export: a model in a form that runs without this package."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from vaegan.commands.shared import LabelOption, StageOption, load_model, report
from vaegan.errors import RequestError
from vaegan.files import check_new_folder


@dataclass(frozen=True)
class HtmlOptions:
    """Of --to html."""

    with_images: bool = False
    """Put thumbnails, latents and labels (names of sub-folders) of the training images, at most 5,000, into the file, and the
    directions learned from them or saved with the model; whoever has it sees them."""
    cdn: bool = False
    """Leave the runtime out (the file is small, and needs the network when it is opened); of a run the last stage alone."""
    runtime: Path | None = None
    """Folder or tarball of the npm package onnxruntime-web; npm brings it once by default."""
    float32: bool = False
    """Keep the weights as float32: twice the size."""


@dataclass(frozen=True)
class Export:
    """Write a model's networks as files that run without this package."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    to: Literal["onnx", "export", "html"] = "onnx"
    """onnx: files for onnxruntime and everything else that reads ONNX; export: torch.export programs (.pt2), for torch alone;
    html: the explorer as one file that opens by a double click, without a server."""
    stage: StageOption = None
    out: Path | None = None
    """A new or empty folder (export by default); for html a file (the run's name by default)."""
    label: LabelOption = None
    html: OmitArgPrefixes[HtmlOptions] = field(default_factory=HtmlOptions)
    json: bool = False
    """Print JSON instead of words."""


def export(request: Export) -> None:
    """Exports a model."""
    from vaegan.export.folder import export_onnx, export_programs
    from vaegan.export.onnx_files import check_packages

    if request.to == "html":
        _export_html(request)
        return
    if request.html != HtmlOptions():
        raise RequestError(f"--with-images, --cdn, --runtime and --float32 go with --to html, not with --to {request.to}.")
    out = request.out or Path("export")
    check_new_folder(out)
    if request.to == "onnx":
        check_packages()

    from vaegan.sharing import copying_warning

    model = load_model(request.run, request.stage, request.label)
    made = (export_onnx if request.to == "onnx" else export_programs)(model, out)
    files = [asdict(file) | {"path": str(file.path)} for file in made]
    warnings = [sentence for sentence in (copying_warning(model.folder, model.config.stage),) if sentence]
    facts = {"out": str(out), "stage": model.config.stage, "to": request.to, "files": files, "warnings": warnings}
    names = ", ".join(f"{file.path} ({file.bytes / 1e6:.1f} MB)" for file in made)
    checked = f"Checked: equal to the model within {max(file.difference for file in made):.0e}."
    missing = [] if model.has_encoder else ["It has no encoder, because it was trained without a VAE."]
    report(facts, " ".join([f"The {model.config.stage.upper()}: {names}.", checked, *missing, *warnings]), request.json)


def _export_html(request: Export) -> None:
    from vaegan.console import Console
    from vaegan.export.html import check_place, export_html
    from vaegan.sharing import copying_warning
    from vaegan.training.saved import model_folder

    options, console = request.html, Console(quiet=request.json)
    out = request.out or Path(f"{request.run.resolve().name}.html")
    check_place(out)
    folder = model_folder(request.run, request.stage)
    made = export_html(
        request.run,
        out,
        stage=request.stage,
        label=request.label,
        half=not options.float32,
        cdn=options.cdn,
        runtime=options.runtime,
        with_images=options.with_images,
        progress=console.preparing,
    )
    console.close()
    warnings = [sentence for sentence in (copying_warning(folder, made.stages[0]),) if sentence]
    facts = asdict(made) | {"path": str(made.path), "to": "html", "warnings": warnings}
    names = " and ".join(stage.upper() for stage in made.stages)
    words = f"The explorer of the {names}: {made.path} ({made.bytes / 1e6:.1f} MB), which opens by a double click."
    runtime = "" if made.runtime == "inside" else "It fetches its runtime when it is opened."
    report(facts, " ".join(filter(None, [words, runtime, made.said, *warnings])), request.json)
