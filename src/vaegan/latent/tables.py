"""Latents for other tools: in NumPy's .npz, in Parquet that embedding viewers read, and as text."""

import math
import re
import zipfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.data.arrays import Header, read_header
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
    arrow, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
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
    """The latents of an .npz (`latents`, or its only array of that width), an .npy or a .parquet (`vector`), [n, latent].

    Files of more than `most` latents are refused by what they say of themselves, before memory is taken.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} is too large to be read; {MOST_BYTES // 2**30} GB is the most.")
        if path.suffix.lower() == ".parquet":
            latents = _read_parquet(path, most)
            _check_fits(path, latents.dtype, latents.shape, latent_dim, most)
        else:
            latents = _read_numpy(path, latent_dim, most)
    except (RequestError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except Exception as error:  # a damaged file can raise nearly anything, in NumPy as in Arrow
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} cannot be read: {said[:200]}.") from error
    with np.errstate(over="ignore"):
        numbers = latents.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise DataError(f"{path} holds numbers that are not finite.")
    return torch.from_numpy(numbers)


def _read_numpy(path: Path, latent_dim: int, most: int) -> NDArray[Any]:
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            header = _checked_header(file, path.stat().st_size, path)
        _check_fits(path, header.dtype, header.shape, latent_dim, most)
        return np.load(path, allow_pickle=False)
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path} must be an .npz, .npy or .parquet.")
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        headers: dict[str, Header] = {}
        for name, info in members.items():
            with archive.open(info) as member:
                headers[name] = _checked_header(member, info.file_size, path)
        name = _latents_key(path, headers, latent_dim)
        _check_fits(path, headers[name].dtype, headers[name].shape, latent_dim, most)
        # Not by numpy.load, to which the name may mean another member than the one whose header was checked.
        with archive.open(members[name]) as member:
            return np.lib.format.read_array(member, allow_pickle=False)


def _latents_key(path: Path, headers: dict[str, Header], latent_dim: int) -> str:
    if "latents" in headers:
        return "latents"
    fitting = [name for name, header in headers.items() if header.shape[1:] == (latent_dim,)]
    if len(fitting) != 1:
        held = ", ".join(f"{name} {list(header.shape)}" for name, header in list(headers.items())[:8]) or "nothing"
        raise DataError(f'{path} holds no array "latents" and not exactly one of shape [n, {latent_dim}], but {held}.')
    return fitting[0]


def _checked_header(file: Any, size: int, path: Path) -> Header:
    """What an array claims to be; refused before memory is taken when the file cannot hold it."""
    header = read_header(file)
    if header.dtype.hasobject or min(header.shape, default=0) < 0 or header.claimed > min(size, MOST_BYTES):
        raise DataError(f"{path} is damaged, too large, or holds Python objects.")
    return header


def _check_fits(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], latent_dim: int, most: int) -> None:
    if shape[1:] != (latent_dim,) or dtype.kind not in "fiu":
        raise DataError(f"{path} holds {dtype} {list(shape)}; this model wants latents [n, {latent_dim}].")
    _check_count(path, shape[0], most)


def _check_count(path: Path, count: int, most: int) -> None:
    if count > most:
        raise DataError(f"{path} holds {count:,} latents; give a file of {most:,} at most.")


def _read_parquet(path: Path, most: int) -> NDArray[Any]:
    parquet = _pyarrow("pyarrow.parquet")
    file = parquet.ParquetFile(path)
    _check_count(path, file.metadata.num_rows, most)
    if "vector" not in file.schema_arrow.names:
        raise DataError(f'{path} has no column "vector"; it has {", ".join(file.schema_arrow.names[:20])}.')
    held = file.schema_arrow.field("vector").type
    types = _pyarrow("pyarrow").types
    listed = types.is_list(held) or types.is_large_list(held) or types.is_fixed_size_list(held)
    if not listed or not (types.is_floating(held.value_type) or types.is_integer(held.value_type)):
        raise DataError(f'The column "vector" of {path} holds {held}, not lists of numbers.')
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    # What is repeated takes no room in the file, so that its numbers are counted and not its bytes: 8 at most for each.
    if 8 * sum(column.num_values for column in columns if column.path_in_schema.split(".")[0] == "vector") > MOST_BYTES:
        raise DataError(f"{path} would unpack to more than {MOST_BYTES // 2**30} GB.")
    column = file.read(columns=["vector"]).column("vector").combine_chunks()
    values, rows = np.asarray(column.flatten()), len(column)
    if column.null_count or (rows and (len(values) % rows or np.ptp(np.asarray(column.value_lengths())))):
        raise DataError(f"The vectors in {path} are not all of the same length.")
    return values.reshape(rows, -1) if rows else values.reshape(0, 0)


def _pyarrow(module: str) -> Any:
    need("parquet", "pyarrow", purpose="A Parquet file")
    return import_module(module)


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
