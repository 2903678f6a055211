"""torch.export: one .pt2 file a network, for deployments that have torch but not this package."""

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.errors import ModelError
from vaegan.export.graphs import Arrays, Graph, traced

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


def save_program(graph: Graph, path: Path) -> float:
    """Writes a .pt2 file and returns its largest difference from the model, measured where this package cannot be imported.

    Raises:
        ModelError: if another Python process cannot load the file, or computes something else from it.
    """
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
