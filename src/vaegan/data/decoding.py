"""One image file's bytes -> prepared uint8 pixels, or the reason in plain words why it was skipped."""

import logging
import threading
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib import import_module
from io import BytesIO
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vaegan.config import DataConfig
from vaegan.data.levels import PHOTOGRAPH, Used
from vaegan.data.own import is_own
from vaegan.data.pixels import lies, prepare
from vaegan.extras import lacking
from vaegan.shapes import Shape

MAX_PIXELS = 100_000_000
"""Larger images are not decoded [pixels]: beyond any camera a folder is likely to hold, and 400 MB when unpacked."""

MAX_FILE_BYTES = 128 * 2**20  # larger files are not read [bytes]

LARGE_FILE_BYTES = 8 * 2**20  # files above this are read one at a time, so that many readers never hold many large files [bytes]

_DECODED_BYTES = 512 * 2**20
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF 6.0
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "HEIF")
_FORMAT_LIST = "JPEG, PNG, WebP, BMP, GIF, TIFF, PPM, AVIF or HEIC"
_SIGNATURES = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*", *(b"P%d" % kind for kind in range(1, 7)))
# Bytes 8 to 12 of files whose bytes 4 to 8 are ftyp: what a phone's camera writes.
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
# Images that are not opened, by their first bytes.
_OTHERS = {
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "Photoshop",
    b"gimp xcf": "GIMP",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance",
    b"SIMPLE  =": "FITS",
    b"\0\0\x01\0": "icon",
    b"FUJIFILMCCD-RAW": "raw camera",
    b"<svg": "SVG",
}
_NOT_IMAGES = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".md", ".pdf", ".db", ".ini", ".log", ".py")
OUT_OF_MEMORY = "needs more memory than there is"
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left out, and why, in plain words."""

    name: str
    reason: str

    @property
    def for_now(self) -> bool:
        """Whether the file may be fine, and could not be read at that moment."""
        return self.reason.startswith(("cannot be read", OUT_OF_MEMORY))


@dataclass(frozen=True, slots=True)
class Prepared:
    """One usable image."""

    name: str
    content: bytes  # hash of the image's own bytes: decides its side and its place in the training order
    pixels: NDArray[np.uint8]  # [height, width] when grey, else [height, width, 3 or 4]
    traits: tuple[str, ...] = ()  # what was done to it: keys of `pixels.TRAITS`
    side: int | None = None  # validation or test where the data set itself puts it there
    own: bool = False  # whether this program wrote it
    shape: Shape | None = None  # its own height and width, upright [pixels]; None where nobody asks for it
    used: Used = PHOTOGRAPH  # the numbers that its file uses
    stamp: bytes = b""  # what its file is known by without reading it, where it has one of its own


class MemoryBudget:
    """Lets threads hold memory only while the sum stays under a limit; one that needs more goes alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Generator[None]:
        """Waits until `amount` fits, and counts it while the block runs [bytes]."""
        amount = min(amount, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._held + amount <= self._limit)
            self._held += amount
        try:
            yield
        finally:
            with self._changed:
                self._held -= amount
                self._changed.notify_all()


_decoded = MemoryBudget(_DECODED_BYTES)


def content_hash(data: bytes | memoryview) -> bytes:
    """16 bytes that stand for an image's own bytes."""
    return blake2b(data, digest_size=16).digest()


def content_keys(hashes: Sequence[bytes]) -> NDArray[np.uint64]:
    """The first 8 of every 16 bytes as a number."""
    return np.frombuffer(b"".join(hashes), dtype=">u8")[::2].astype(np.uint64)


def skip_reason(name: str, size: int) -> str | None:
    """Why a file need not even be read, from its name and size [bytes]; None when it must be looked at."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _NOT_IMAGES or PurePosixPath(name).name == "Thumbs.db":
        return "not an image"
    if suffix in _ARCHIVES:
        return "not an image: archives inside the data are not opened"
    if size == 0:
        return "empty file"
    if size > MAX_FILE_BYTES:
        return f"too large: {size / 1e6:,.0f} MB, and files over {MAX_FILE_BYTES / 1e6:.0f} MB are not read"
    return None


def decode(name: str, data: bytes, config: DataConfig) -> Prepared | Skipped:
    """Prepares one image file; never raises for what the file holds."""
    reason = skip_reason(name, len(data))
    if reason:
        return Skipped(name, reason)
    if data[4:8] == b"ftyp" and _is_heic(data) and (wanted := _lacking_heif()):
        return Skipped(name, wanted)
    try:
        # Pillow may be built without WebP or AVIF, and asking for an unknown format is an error.
        with Image.open(BytesIO(data), formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
            (width, height), tags = image.size, getattr(image, "tag_v2", {})
            # A TIFF's tile is unpacked in full however small the image is.
            tile = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))
            if max(width * height, tile) > MAX_PIXELS:
                of = f"{width} x {height}" if width * height > MAX_PIXELS else "in one tile"
                return Skipped(name, f"too many pixels: {of}, over {MAX_PIXELS // 10**6} million")
            # JPEG decodes straight to 1/2, 1/4 or 1/8; twice the wanted size is left for Lanczos to reduce.
            own = is_own(image)
            image.draft(None, (2 * max(config.shape), 2 * max(config.shape)))
            # Pillow keeps 4 bytes a pixel, and preparing needs up to three copies; a progressive JPEG also keeps
            # its coefficients at full size.
            coefficients = 6 * width * height if image.format in ("JPEG", "MPO") else 0
            with _decoded.hold(12 * image.size[0] * image.size[1] + coefficients + 4 * tile):
                # What this program wrote was scaled when it was made, whatever the files' numbers meant.
                pixels, traits, found = prepare(image, replace(config, levels="") if own else config)
                shape = Shape(width, height) if lies(image) else Shape(height, width)
    except Exception as error:  # Pillow raises almost every type there is when a file is damaged
        return Skipped(name, _reason(error, name, data))
    return Prepared(name, content_hash(data), pixels, traits, own=own, shape=shape, used=PHOTOGRAPH if own else found)


def _is_heic(data: bytes) -> bool:
    return data[8:12] in _HEIC_BRANDS and b"avif" not in data[12:64]  # an AVIF may be called mif1 first


def _lacking_heif() -> str | None:
    """Lets Pillow open HEIC from the first such file on; what is missing for it, in words."""
    if "HEIF" in Image.OPEN:
        return None
    if wanted := lacking("heif", "pillow_heif", purpose="HEIC"):
        return wanted
    import_module("pillow_heif").register_heif_opener()
    return None


@contextmanager
def quiet_pillow() -> Generator[None]:
    """Keeps warnings and log lines of Pillow off the screen; the reasons for skipping say what matters.

    To be entered once around all decoding: warning filters belong to the process, not to a thread.
    """
    handler, logger = logging.NullHandler(), logging.getLogger("PIL")
    logger.addHandler(handler)
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(handler)


def _reason(error: Exception, name: str, data: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(name, data)
    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels: over {MAX_PIXELS // 10**6} million"
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    said = " ".join(str(error).split())[:120]
    if "truncated" in said.lower() or "end of file" in said.lower():
        return "truncated: the file ends before the image does"
    return f"damaged: {said}" if said else "damaged"


def _unidentified(name: str, data: bytes) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    if data[4:8] == b"ftyp" and data[8:12] in _AVIF_BRANDS and "AVIF" not in Image.OPEN:
        return "AVIF needs a newer Pillow: install pillow 11.3 or later"
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:4] if suffix == ".svg" else data
    other = "DICOM" if data[128:132] == b"DICM" else next((kind for sign, kind in _OTHERS.items() if data.startswith(sign)), None)
    if other or (suffix == ".svg" and start.startswith(b"<")):
        return f"{other or 'SVG'} files are not opened: only {_FORMAT_LIST}"
    known = Image.registered_extensions().get(suffix)
    if known is None:
        return f"not an image (or not one of {_FORMAT_LIST})"
    if known not in (*_FORMATS, "MPO", "DIB"):
        return f"{known} files are not opened: only {_FORMAT_LIST}"
    if data.startswith(_SIGNATURES) or data[4:8] == b"ftyp":
        return "damaged: its header cannot be read"
    return f"not an image, although its name ends in {suffix}"
