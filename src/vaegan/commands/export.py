"""vaegan export: a model in a form that runs without this package."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from vaegan.commands.shared import Stage, report
from vaegan.files import check_new_folder


@dataclass(frozen=True)
class Export:
    """Write a model's networks as files that run without this package."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    to: Literal["onnx", "export"] = "onnx"
    """onnx: files for onnxruntime and everything else that reads ONNX; export: torch.export programs (.pt2), for torch alone."""
    stage: Stage | None = None
    """ae, vae or gan; the last one trained by default."""
    out: Path = Path("export")
    """A new or empty folder."""
    json: bool = False
    """Print JSON instead of words."""


def export(request: Export) -> None:
    """Exports a model."""
    from vaegan.export.folder import export_onnx, export_programs
    from vaegan.export.onnx_files import check_packages

    check_new_folder(request.out)
    if request.to == "onnx":
        check_packages()

    from vaegan.sharing import copying_warning
    from vaegan.training.saved import load

    model = load(request.run, request.stage)
    made = (export_onnx if request.to == "onnx" else export_programs)(model, request.out)
    files = [asdict(file) | {"path": str(file.path)} for file in made]
    warnings = [sentence for sentence in (copying_warning(model.folder, model.config.stage),) if sentence]
    facts = {"out": str(request.out), "stage": model.config.stage, "to": request.to, "files": files, "warnings": warnings}
    names = ", ".join(f"{file.path} ({file.bytes / 1e6:.1f} MB)" for file in made)
    checked = f"Checked: equal to the model within {max(file.difference for file in made):.0e}."
    missing = [] if model.has_encoder else ["It has no encoder, because it was trained without a VAE."]
    report(facts, " ".join([f"The {model.config.stage.upper()}: {names}.", checked, *missing, *warnings]), request.json)
