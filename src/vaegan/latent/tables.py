"""Latents for other tools: in NumPy's files, in Parquet that embedding viewers read, and as text."""

import math
import re
import zipfile
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.data.arrays import read_header
from vaegan.errors import DataError, RequestError
from vaegan.extras import need
from vaegan.files import atomic_path, write_atomically
from vaegan.types import Latents

SUFFIXES = (".npz", ".parquet")
MOST_BYTES = 4 * 2**30  # larger tables of latents are not read [bytes]: 16 million latents of 64 numbers
MOST_LATENTS = 1_000_000  # more are not read, unless more are asked for
MOST_CHARACTERS = 2**20  # longer text is no latent
KEYS = ("latents", "names", "projection", "stage")  # what an .npz of latents holds beside the labels


@dataclass(frozen=True)
class LatentTable:
    """Encoded images: one row an image."""

    latents: Latents  # [n, latent]
    names: Sequence[str]  # path of each image
    projection: NDArray[np.float32]  # two numbers to draw each image at, [n, 2]
    labels: Mapping[str, NDArray[Any]]  # what is known of each image, by name: numbers or words [n]
    stage: str  # the model's stage: latents of different stages do not fit together


def write_table(table: LatentTable, path: Path) -> None:
    """Writes latents as .npz or .parquet, by the suffix, atomically; docs/latent.md names the arrays and columns."""
    vectors = table.latents.cpu().float().numpy()
    if path.suffix.lower() == ".npz":
        arrays: dict[str, Any] = _beside(table.labels, (*KEYS, "file"))  # savez has an argument of that name
        arrays |= {"latents": vectors, "names": np.array(table.names, dtype=np.str_)}
        arrays |= {"projection": table.projection, "stage": np.array(table.stage)}
        write_atomically(path, lambda file: np.savez(file, **arrays))
        return
    need("parquet", "pyarrow", purpose="A Parquet file")
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    count, dimension = vectors.shape
    # Lists of variable length, because not every reader knows those of fixed length.
    offsets = arrow.array(np.arange(count + 1, dtype=np.int32) * dimension)
    columns: dict[str, Any] = {
        "path": arrow.array(list(table.names)),
        "projection_x": table.projection[:, 0],
        "projection_y": table.projection[:, 1],
        "vector": arrow.ListArray.from_arrays(offsets, arrow.array(vectors.ravel())),
    }
    columns = {name: arrow.array(values) for name, values in _beside(table.labels, columns).items()} | columns
    content = arrow.table(columns).replace_schema_metadata({"vaegan.stage": table.stage})
    with atomic_path(path) as temporary:
        parquet.write_table(content, temporary)


def _beside(labels: Mapping[str, NDArray[Any]], taken: Container[str]) -> dict[str, NDArray[Any]]:
    """Labels under their names, or where these are taken as `label NAME`."""
    return {f"label {name}" if name in taken else name: values for name, values in labels.items()}


def as_text(names: Sequence[str]) -> list[str]:
    """Names of files and folders, which may hold bytes of any kind, as text that every format can hold."""
    return [name.encode(errors="backslashreplace").decode() for name in names]


def read_latents(path: Path, latent_dim: int, most: int = MOST_LATENTS) -> Latents:
    """The latents of an .npz (its array `latents`) or an .npy, [n, latent].

    Files of more than `most` latents are refused by what they say of themselves, before memory is taken.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} is too large to be read; {MOST_BYTES // 2**30} GB is the most.")
        if path.suffix.lower() == ".npy":
            latents = _read_array(path, path.stat().st_size, partial(path.open, "rb"), latent_dim, most)
        elif path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                member = archive.getinfo("latents.npy")
                latents = _read_array(path, member.file_size, partial(archive.open, member), latent_dim, most)
        else:
            raise DataError(f"{path} must be an .npz or .npy.")
    except (RequestError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except Exception as error:  # a damaged file can raise nearly anything
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} cannot be read: {said[:200]}.") from error
    with np.errstate(over="ignore"):
        numbers = latents.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise DataError(f"{path} holds numbers that are not finite.")
    return torch.from_numpy(numbers)


def _read_array(path: Path, size: int, opened: Callable[[], IO[bytes]], latent_dim: int, most: int) -> NDArray[Any]:
    """An array of `size` bytes in a file; by what it claims to be it is refused before memory is taken."""
    with opened() as file:
        header = read_header(file)
    if header.dtype.hasobject or min(header.shape, default=0) < 0 or header.claimed > min(size, MOST_BYTES):
        raise DataError(f"{path} is damaged, too large, or holds Python objects.")
    if header.shape[1:] != (latent_dim,) or header.dtype.kind not in "fiu":
        raise DataError(f"{path} holds {header.dtype} {list(header.shape)}; this model wants latents [n, {latent_dim}].")
    if header.shape[0] > most:
        raise DataError(f"{path} holds {header.shape[0]:,} latents; give a file of {most:,} at most.")
    with opened() as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def latent_as_text(latent: Tensor) -> str:
    """The numbers of a latent [latent] as text that `parse_latent` reads back bit for bit."""
    return ",".join(f"{number:.9g}" for number in latent.tolist())


def parse_latent(text: str, latent_dim: int) -> Latents:
    """One latent [latent] from numbers that commas, semicolons or spaces separate; brackets around them are allowed."""
    if len(text) > MOST_CHARACTERS:
        raise RequestError(f"A latent of {len(text):,} characters is too long to be one.")
    words = re.split(r"[\s,;]+", text.strip().strip("[]()").strip(" \t\r\n,;"))
    words = [word for word in words if word]
    if len(words) != latent_dim:
        raise RequestError(f"The latent has {len(words)} numbers, but this model's have {latent_dim}.")
    values: list[float] = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not abs(value) <= torch.finfo(torch.float32).max:
            raise RequestError(f"{word[:40]!r} in the latent is not a finite number.")
        values.append(value)
    return torch.tensor(values, dtype=torch.float32)
