"""What this program wrote itself, which is never data: pictures that carry its name, and folders of runs."""

from pathlib import Path
from typing import IO

from PIL import Image

SOFTWARE = "vaegan"
"""The name that pictures carry: as text of a PNG, as comment of a GIF, in the EXIF of a WebP."""
EXIF_SOFTWARE = 0x0131
RECORD = "run.json"
WRITTEN_HERE = "written by vaegan"
"""The reason for leaving a file out."""

_RECORD_HEAD = 4096  # the versions that made a run stand at the beginning of its record [bytes]


def is_own(image: Image.Image) -> bool:
    """Whether this program wrote a picture that Pillow has opened."""
    if image.format == "PNG":  # samples of older versions have a text named vaegan
        return SOFTWARE in image.info or image.info.get("software") == SOFTWARE
    if image.format == "GIF":
        return image.info.get("comment") == SOFTWARE.encode()
    return image.format == "WEBP" and SOFTWARE.encode() in image.info.get("exif", b"")[:64]


def is_own_file(path: Path) -> bool:
    """Whether a file is a picture that this program wrote; not where it cannot be opened."""
    try:
        with Image.open(path, formats=["PNG", "GIF", "WEBP"]) as image:
            return is_own(image)
    except Exception:  # Pillow raises almost every type there is when a file is damaged
        return False


def is_own_record(file: IO[bytes]) -> bool:
    """Whether an opened run.json is one that this program wrote."""
    head = file.read(_RECORD_HEAD)
    return b'"format_version"' in head and b'"versions"' in head and b'"vaegan"' in head


def own_in_words(count: int) -> str:
    """A sentence on so many files that were left out."""
    return "1 file that vaegan wrote was left out." if count == 1 else f"{count:,} files that vaegan wrote were left out."
