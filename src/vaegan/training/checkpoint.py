"""Resume state: tensors and plain values of a recipe in one file that loads without pickle's code."""

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vaegan.errors import ModelError
from vaegan.files import write_atomically
from vaegan.settings import MOST_SEED
from vaegan.training.run import disk_errors

FORMAT_VERSION = 10
DAMAGED = (
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    struct.error,
)
"""What torch raises, besides its own, on files that are not what they seem (RecursionError is a RuntimeError)."""
MOST_PICKLE_BYTES = 10_000_000  # of names and plain values; a checkpoint of the preset tiny has 20,000
BUILT_OF = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage")
"""All that a checkpoint's tensors and dictionaries are built of, as pickle names it."""


class Stateful(Protocol):
    """What accompanies a training and is saved with it."""

    def state(self) -> dict[str, Any]:
        """Plain values and tensors."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave."""
        ...


def copied(value: Any) -> Any:
    """A copy of nested state on the processor that shares no memory with the original."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: copied(part) for name, part in value.items()}
    if isinstance(value, list):
        return [copied(part) for part in value]
    return value


def save_checkpoint(path: Path, recipe: nn.Module, seen: int, companions: Mapping[str, Stateful]) -> None:
    """Writes the state of `recipe` after `seen` images, atomically, and under their names that of its companions.

    Random numbers and the data's order are functions of the seed and of `seen`, so nothing else is needed.
    """
    beside = {name: companion.state() for name, companion in companions.items()}
    state = {"format_version": FORMAT_VERSION, "seen": seen, "recipe": recipe.state_dict()} | beside
    # In memory first: torch reports a full disk as an error of its own, without saying so.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with disk_errors(path.parent):
        write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint without running anything in it; ModelError if it is damaged or of another version."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch has to say about a damaged file is said below
            _check_content(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, zipfile.BadZipFile, pickle.UnpicklingError, *DAMAGED) as error:
        reason = (str(error).splitlines() or [""])[0][:80]
        raise ModelError(f"{path} is damaged ({reason}). Remove it to start this stage again.") from error
    if not isinstance(state, dict) or state.get("format_version") != FORMAT_VERSION:
        raise ModelError(f"{path} was written by another version of vaegan; use that version to go on.")
    return state


def _check_content(path: Path) -> None:
    """Refuses what would take more memory than the file has bytes: compressed tensors, or a `bytearray` of any length."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise pickle.UnpicklingError("it is larger inside")
        pickles = [entry for entry in entries if entry.filename.lower().endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > MOST_PICKLE_BYTES:
            raise pickle.UnpicklingError("it is no checkpoint")
        content = archive.read(pickles[0])
    for operation, name, _ in pickletools.genops(content):
        if operation.name == "GLOBAL" and not BUILT_OF.fullmatch(str(name)):
            raise pickle.UnpicklingError(f"it holds {name}")


def restore(recipe: nn.Module, state: dict[str, Any], path: Path, companions: Mapping[str, Stateful]) -> int:
    """Puts a checkpoint's state into a fresh recipe and its companions; the images seen. ModelError if names or shapes differ."""
    try:
        recipe.load_state_dict(state["recipe"])
        seen = int(state["seen"])
        for name, companion in companions.items():
            companion.set_state(state[name])
    except DAMAGED as error:
        # Torch's first line names the class only; what differs stands in the second.
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])[:200]
        raise ModelError(
            f"{path} does not fit the networks and settings of this run, so it is damaged or another run's: {reason}"
        ) from error
    if not 0 <= seen <= MOST_SEED:  # the most that run.json can hold
        raise ModelError(f"{path} is damaged: {seen!r:.40} images seen.")
    return seen
