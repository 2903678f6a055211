"""onnxruntime-web: found where the user says, or fetched by npm once; every file is compared with the checksum written here."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from vaegan.data import default_cache_dir
from vaegan.errors import RequestError, VaeganError
from vaegan.files import write_atomically

VERSION = "1.22.0"  # the exact version: its files are known by their checksums

# Name: (sha384, size [bytes]). The size bounds what is unpacked.
FILES = {
    "ort.wasm.min.js": ("epp8GDQUoLKx5qHa6SoDHKv7fSHILsEYk4uEsHdPRBztXEIVWCe/lhhrQJUBMZcf", 48327),
    "ort-wasm-simd-threaded.mjs": ("LXMGGJ76ujT3yGw+OWQZVB6vBmJ7lqTO957Fh6ov3385aw3EncleBNFfYFAl3vXW", 20856),
    "ort-wasm-simd-threaded.wasm": ("Eu/XUdOA62yl+TueG792KtrQlAGAMW3g10sY4G3LBYyYZUtM126Z4Gr3ljTlXUGG", 11210254),
}
SCRIPT, GLUE, BINARY = FILES

CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
NPM_SECONDS = 600


class Runtime(NamedTuple):
    """The three files that a page needs to run a network."""

    script: bytes
    glue: bytes
    binary: bytes


def integrity(name: str) -> str:
    """What a browser compares a fetched file with."""
    return f"sha384-{FILES[name][0]}"


def find_runtime(place: Path | None) -> Runtime:
    """The runtime from a place: the npm package's folder, its dist folder, or its tarball; else from the cache or npm."""
    if place is not None:
        return _read(place)
    cache = default_cache_dir() / "runtime" / f"onnxruntime-web-{VERSION}"
    with suppress(RequestError):  # a fetch that was interrupted has left some of them, a bad disk damaged ones
        return _read(cache)
    runtime = fetch_from_npm()
    for name, content in zip(FILES, runtime, strict=True):
        write_atomically(cache / name, lambda file, content=content: file.write(content))
    return runtime


def _read(place: Path) -> Runtime:
    def in_folder(name: str) -> IO[bytes] | None:
        found = next((path for path in (place / "dist" / name, place / name) if path.is_file()), None)
        return found and found.open("rb")

    def in_archive(name: str) -> IO[bytes] | None:
        with suppress(KeyError):
            return archive.extractfile(f"package/dist/{name}")
        return None

    if place.is_dir():
        return Runtime(*(_checked(in_folder(name), name, place) for name in FILES))
    if not place.is_file():
        raise RequestError(f"--runtime {place} does not exist; give the folder or tarball of the npm package onnxruntime-web.")
    try:
        with tarfile.open(place) as archive:
            return Runtime(*(_checked(in_archive(name), name, place) for name in FILES))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise RequestError(f"--runtime {place} is no package of npm: {error}") from error


def _checked(file: IO[bytes] | None, name: str, place: Path) -> bytes:
    if file is None:
        raise RequestError(f"{place} has no {name}; give the folder or tarball of onnxruntime-web {VERSION}.")
    with file:
        content = file.read(FILES[name][1] + 1)
    if base64.b64encode(hashlib.sha384(content).digest()).decode() != FILES[name][0]:
        raise RequestError(
            f"{name} of {place} is not that of onnxruntime-web {VERSION}: its checksum differs. Nothing was written."
        )
    return content


def fetch_from_npm() -> Runtime:
    """The runtime as npm brings it."""
    npm = shutil.which("npm")
    wanted = f"onnxruntime-web@{VERSION}"
    otherwise = f"Get it with `npm pack {wanted}` on a machine that has npm and give the file as --runtime, or use --cdn."
    if npm is None:
        raise VaeganError(f"The page needs {wanted}, and npm, which would bring it, is not installed. {otherwise}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", wanted, "--ignore-scripts", "--silent", "--pack-destination", folder]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=NPM_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            raise VaeganError(f"npm could not bring {wanted}. {otherwise}") from error
        packed = list(Path(folder).glob("*.tgz"))
        if len(packed) != 1:
            raise VaeganError(f"npm brought nothing that could be {wanted}. {otherwise}")
        return _read(packed[0])
