"""Named directions, saved beside their model in one safetensors file, with what is known of them in its header."""

import hashlib
import json
import os
import re
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vaegan.errors import ModelError, RequestError, first_of
from vaegan.files import in_turn, write_atomically
from vaegan.model import Model

FILE = "directions.safetensors"
MOST_DIRECTIONS, MOST_BYTES, MOST_FACTS = 1000, 64 * 2**20, 2**20
MOST_NAMED = 20  # in a message
NAME = re.compile(r"[^\W_][\w .-]{0,63}")


@dataclass(frozen=True)
class Direction:
    """A direction in latent space: adding `strength * vector` changes one thing about an image."""

    name: str
    vector: Tensor  # float32 [latent]; strength 1
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """How it was found and how good it is; values that JSON can hold."""


def check_name(name: str) -> str:
    """The name itself; RequestError if it cannot be used on a command line."""
    if not NAME.fullmatch(name):
        raise RequestError(f"{name!r} cannot name a direction; use up to 64 letters, digits, spaces, dots, - or _.")
    return name


def model_fingerprint(model: Model) -> str:
    """16 hexadecimal digits over the weights that decide what a latent means: a direction fits no other model."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(model.networks.state_dict().items()):
        if not name.startswith("mixture"):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def file_of(folder: str | Path, model: Model) -> Path:
    """Where a model's directions are kept; a conditional model that was told a label has a file for each label."""
    if model.fixed_label is None:
        return Path(folder) / FILE
    digest = hashlib.blake2b(model.fixed_label.encode(), digest_size=8).hexdigest()
    return Path(folder) / f"{Path(FILE).stem}-{digest}{Path(FILE).suffix}"


def save_direction(folder: str | Path, model: Model, *directions: Direction) -> Path | None:
    """Saves directions in a model's folder beside those already there, of which one of the same name is replaced.

    Directions of other weights are put aside; returns the file that they are now in, None where there were none.
    """
    for direction in directions:
        check_name(direction.name)
        vector = direction.vector
        if vector.shape != (model.latent_dim,) or not vector.isfinite().all() or not vector.any():
            raise RequestError(f"Direction {direction.name} must be {model.latent_dim} finite numbers, not all of them 0.")
    config = Path(folder) / "config.json"
    with in_turn(config) if os.access(config, os.W_OK) else nullcontext():  # another process may be saving, too
        return _save_beside(folder, model, directions)


def _save_beside(folder: str | Path, model: Model, directions: tuple[Direction, ...]) -> Path | None:
    saved = load_directions(folder, model, others="drop")
    everything = saved | {direction.name: direction for direction in directions}
    if len(everything) > MOST_DIRECTIONS:
        raise RequestError(f"{folder} would hold {len(everything):,} directions; {MOST_DIRECTIONS:,} is the most.")
    tensors = {name: one.vector.detach().cpu().float().contiguous() for name, one in everything.items()}
    facts = json.dumps({name: one.facts for name, one in everything.items()})
    metadata = {"format": "pt", "library": "vaegan", "model": model_fingerprint(model), "facts": facts}
    data, path = save(tensors, metadata=metadata), file_of(folder, model)
    aside = None
    if path.is_file() and not saved:  # named by its content, so that none that was put aside before is lost
        digest = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
        aside = path.replace(path.with_name(f"{path.stem}-of-other-weights-{digest}{path.suffix}"))
    write_atomically(path, lambda file: file.write(data))
    return aside


def load_directions(folder: str | Path, model: Model, others: str = "refuse") -> dict[str, Direction]:
    """The directions saved with a model, by name; none where none were saved.

    `others` (refuse or drop) says what to do with directions of other weights. ModelError if the file is damaged, too large, or
    refused.
    """
    path = file_of(folder, model)
    if not path.is_file():
        return {}
    if path.stat().st_size > MOST_BYTES:
        raise ModelError(f"{path} is too large to hold directions; remove it.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = cast("dict[str, str]", file.metadata() or {})
            if metadata.get("model") != model_fingerprint(model):
                if others == "drop":
                    return {}
                names = first_of([check_name(name) for name in sorted(file.keys())], MOST_NAMED)
                raise ModelError(
                    f"The directions in {path} were made before the model was trained further ({names}); make them again with: "
                    "vaegan direction"
                )
            names = sorted(file.keys())
            if len(names) > MOST_DIRECTIONS:
                raise ModelError(f"{path} holds {len(names):,} directions; {MOST_DIRECTIONS:,} is the most, so remove it.")
            facts = _parsed(metadata.get("facts", "{}"))
            found = {name: _checked(name, file, facts.get(name), model.latent_dim) for name in names}
            return {name: one for name, one in found.items() if one.vector.any()}  # what leads nowhere is no direction
    except (SafetensorError, OSError, ValueError, RecursionError, RequestError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path} cannot be used: {str(error).splitlines()[0]}") from error


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > MOST_FACTS:
        raise ValueError("its descriptions are too long")
    facts = json.loads(text)
    return cast("dict[str, Any]", facts) if isinstance(facts, dict) else {}


def _checked(name: str, file: Any, facts: Any, latent_dim: int) -> Direction:
    part = file.get_slice(check_name(name))
    if [*part.get_shape()] != [latent_dim] or part.get_dtype() != "F32":
        raise ValueError(f"{name!r} is no direction of {latent_dim} numbers")
    vector: Tensor = file.get_tensor(name)
    if not torch.isfinite(vector).all():
        raise ValueError(f"{name!r} is not finite")
    return Direction(name, vector, cast("dict[str, Any]", facts) if isinstance(facts, dict) else {})
