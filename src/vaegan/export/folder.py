"""Exporting a model into a folder: every network in one form, checked against the model, all of them or nothing."""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.errors import ModelError
from vaegan.export.graphs import Arrays, Graph, graphs, shape_of, traced
from vaegan.export.onnx_files import check_packages, onnx_bytes
from vaegan.files import atomic_folder, check_new_folder
from vaegan.model import Model

FACTS = "vaegan.json"
"""Name of the facts inside a .pt2 file: `torch.export.load(file, extra_files={"vaegan.json": ""})` fills them in."""

# A deployment in small: only torch and numpy, and an import of this package is an error.
DEPLOYMENT = """
import sys
sys.modules["vaegan"] = None
import numpy, torch
program = torch.export.load(sys.argv[1]).module()
for path in sys.argv[2:]:
    outputs = program(torch.from_numpy(numpy.load(path)))
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    numpy.savez(path + ".npz", *(output.detach().numpy() for output in outputs))
"""


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
    """Writes decoder.onnx (generator.onnx of a GAN), and encoder.onnx if there is an encoder, into a new or empty folder.

    Raises:
        RequestError: if the folder holds something or the extra [onnx] is missing.
        ModelError: if a file would not compute what the model does; nothing is left behind then.
    """
    check_packages()
    return _export(model, folder, ".onnx", _write_onnx)


def export_programs(model: Model, folder: Path) -> list[Exported]:
    """Writes .pt2 files, named as those of `export_onnx`, which torch loads without this package.

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


def _write_onnx(graph: Graph, path: Path) -> float:
    written, difference = onnx_bytes(graph)
    path.write_bytes(written)
    return difference


def save_program(graph: Graph, path: Path) -> float:
    """Writes a .pt2 file and returns its largest difference from the model, measured where this package cannot be imported."""
    content = io.BytesIO()  # on a full disk torch's own writer would end the process
    torch.export.save(traced(graph), content, extra_files={FACTS: json.dumps(graph.facts)})
    path.write_bytes(content.getbuffer())
    return graph.difference(lambda batches: _run_elsewhere(path, batches))


def _run_elsewhere(program: Path, batches: list[NDArray[np.float32]]) -> list[Arrays]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{index}.npy" for index in range(len(batches))]
        for path, batch in zip(paths, batches, strict=True):
            np.save(path, batch)
        command = [sys.executable, "-I", "-c", DEPLOYMENT, str(program), *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ModelError(f"The exported program cannot be run without vaegan: {reason[:200]}")
        return [_arrays(f"{path}.npz") for path in paths]


def _arrays(path: str) -> Arrays:
    with np.load(path) as stored:
        return [stored[name] for name in stored.files]
