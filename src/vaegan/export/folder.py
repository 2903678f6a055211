"""Exporting a model into a folder: every network in one form, checked against the model, all of them or nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vaegan.export.graphs import Graph, graphs, shape_of
from vaegan.export.onnx_files import check_packages, onnx_bytes
from vaegan.export.programs import save_program
from vaegan.files import atomic_folder, check_new_folder
from vaegan.model import Model


@dataclass(frozen=True)
class Exported:
    """One file that was written."""

    path: Path
    input: str
    """Its input's name and shape."""
    outputs: tuple[str, ...]
    difference: float
    """Largest difference from the model over batches of 1, 2, 7 and 64."""
    bytes: int


def export_onnx(model: Model, folder: Path) -> list[Exported]:
    """Writes decoder.onnx (generator.onnx of a GAN) and encoder.onnx.

    Args:
        model: any; without an encoder there is no encoder.onnx.
        folder: new or empty.

    Raises:
        RequestError: if the folder holds something or the extra [onnx] is missing.
        ModelError: if a file would not compute what the model does; nothing is left behind then.
    """
    check_packages()

    def write(graph: Graph, path: Path) -> float:
        written, difference = onnx_bytes(graph)
        path.write_bytes(written)
        return difference

    return _export(model, folder, ".onnx", write)


def export_programs(model: Model, folder: Path) -> list[Exported]:
    """Writes decoder.pt2 (generator.pt2 of a GAN) and encoder.pt2, which torch loads without this package.

    Args:
        model: any; without an encoder there is no encoder.pt2.
        folder: new or empty.

    Raises:
        RequestError: if the folder holds something.
        ModelError: if a file would not compute what the model does; nothing is left behind then.
    """
    return _export(model, folder, ".pt2", save_program)


def _export(model: Model, folder: Path, suffix: str, write: Callable[[Graph, Path], float]) -> list[Exported]:
    check_new_folder(folder)
    made: list[Exported] = []
    with atomic_folder(folder) as temporary:
        for graph in graphs(model):
            path = temporary / f"{graph.name}{suffix}"
            difference = write(graph, path)
            made.append(Exported(folder / path.name, shape_of(graph), graph.outputs, difference, path.stat().st_size))
    return made
