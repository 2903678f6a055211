"""Networks as ONNX files and as programs of torch: any batch size, equal to the model or refused, and all of them or nothing."""

import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.errors import ModelError, RequestError
from vaegan.export.graphs import Arrays, Graph, graphs, shape_of, traced
from vaegan.extras import need
from vaegan.files import atomic_folder, check_new_folder
from vaegan.model import Model

OPSET = 18  # from 2022: read by every onnxruntime since 1.14, in browsers too
MAXIMUM_BYTES = 2**31 - 2**20  # a protobuf message, and so an ONNX file without others beside it, cannot be larger
LEAST_DECIBELS = 60.0  # how close float16 weights must stay to float32: peak signal-to-noise ratio over the range [-1, 1]

FACTS = "vaegan.json"
"""Name of the facts inside a .pt2 file: `torch.export.load(file, extra_files={"vaegan.json": ""})` fills them in."""


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

    ModelError if a file would not compute what the model does; nothing is left behind then.
    """
    check_packages()
    return _export(model, folder, ".onnx", _write_onnx)


def export_programs(model: Model, folder: Path) -> list[Exported]:
    """Writes .pt2 files, which torch loads without this package; names and errors are those of `export_onnx`."""
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
    """Writes a .pt2 file and returns the largest difference from the model of what torch loads from it."""
    content = io.BytesIO()  # on a full disk torch's own writer would end the process
    torch.export.save(traced(graph), content, extra_files={FACTS: json.dumps(graph.facts)})
    path.write_bytes(content.getbuffer())
    program = torch.export.load(path).module()
    loaded = replace(graph, module=program)
    return graph.difference(lambda batches: [loaded.expected(torch.from_numpy(batch)) for batch in batches])


def onnx_bytes(graph: Graph) -> tuple[bytes, float]:
    """An ONNX file of one graph, and its largest difference from torch as measured with onnxruntime."""
    written = _converted(graph).SerializeToString()
    return written, graph.difference(runner(written))


def half_onnx_bytes(graph: Graph) -> bytes:
    """An ONNX file of one graph with float16 weights, which halves it; arithmetic, inputs and outputs stay float32."""
    proto = _converted(graph)
    _halve(proto)
    written = proto.SerializeToString()
    wanted, (found, *_) = graph.expected(graph.examples)[0], runner(written)([graph.examples.numpy()])[0]
    error = float(np.square(found.astype(np.float64) - wanted).mean())
    decibels = math.inf if error == 0 else 10 * math.log10(4 / error)  # of values that range over [-1, 1]
    if not decibels >= LEAST_DECIBELS:
        raise ModelError(
            f"With float16 weights the {graph.name} reaches {decibels:.0f} dB against float32, not {LEAST_DECIBELS:.0f}. "
            "Export it with float32 weights."
        )
    return written


def check_packages() -> None:
    """Raises RequestError if the extra [onnx] is missing."""
    need("onnx", "onnx", "onnxscript", "onnxruntime", purpose="Exporting to ONNX")


def runner(written: bytes) -> Callable[[list[NDArray[np.float32]]], list[Arrays]]:
    """What onnxruntime computes on the CPU from an ONNX file, for each of several inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores to others
    session = onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batches: [[np.asarray(output) for output in session.run(None, {name: batch})] for batch in batches]


def _converted(graph: Graph) -> Any:
    """The graph as an onnx.ModelProto with names and facts, and nothing of this machine in it."""
    check_packages()
    size = sum(tensor.numel() * tensor.element_size() for tensor in graph.module.state_dict().values())
    if size > MAXIMUM_BYTES:
        raise RequestError(f"The {graph.name} has {size / 1e9:.1f} GB of weights; one ONNX file holds at most 2.")
    with _quiet():
        program = traced(graph)
        made = torch.onnx.export(
            program,
            (),
            dynamo=True,
            external_data=False,
            input_names=[graph.input],
            output_names=list(graph.outputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert made is not None
    proto: Any = made.model_proto
    _strip(proto)
    proto.producer_name, proto.producer_version = "vaegan", graph.facts["software"].split()[-1]
    proto.graph.name = graph.name
    for key, value in graph.facts.items():
        proto.metadata_props.add(key=key, value=value)
    return proto


def _strip(proto: Any) -> None:
    """Removes the exporter's notes on every node and tensor: source lines and paths of this machine among them."""
    main = proto.graph
    for value in (*main.input, *main.output):
        first = value.type.tensor_type.shape.dim[0]
        if first.HasField("dim_param"):  # the symbol that torch.export chose
            first.dim_param = "batch"
    del main.value_info[:]  # shapes in between, named by that symbol; every reader infers them
    for part in (proto, main, *main.node, *main.input, *main.output, *main.initializer, *proto.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _halve(proto: Any) -> None:
    """Stores weight matrices and kernels as float16; a runtime casts them to float32 once, when it loads the file."""
    from onnx import TensorProto, helper, numpy_helper

    casts: list[Any] = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        name = tensor.name
        with np.errstate(over="ignore"):  # too large becomes infinite, which the comparison with torch finds
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


@contextmanager
def _quiet() -> Generator[None]:
    """The exporter warns about its own code and about packages that nothing here needs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
