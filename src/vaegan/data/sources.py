"""How a path or a word becomes a source of images; the drawn faces as one of them."""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from PIL import Image

from vaegan.config import DataConfig
from vaegan.data import faces
from vaegan.data.archives import archive
from vaegan.data.arrays import idx_file, idx_folder, numpy_file
from vaegan.data.building import FEWEST_TO_TRAIN
from vaegan.data.decoding import Prepared, Skipped, content_hash
from vaegan.data.image_files import FolderSource
from vaegan.data.pixels import prepare
from vaegan.data.source import LabelTable, Source, Task, digest
from vaegan.errors import DataError

DRAWN_FACES = 8300
_FACES_WORD = re.compile(r"faces(?::(\d{1,7}))?")
_PIXELS_AT_A_TIME = 2**22  # enough faces that the threads which draw them are worth starting, and 12 MB of them


class FacesSource(Source):
    """The comic faces that the package draws itself."""

    def __init__(self, total: int = DRAWN_FACES) -> None:
        """Stores how many are drawn [images]."""
        super().__init__("faces" if total == DRAWN_FACES else f"faces:{total}")
        self.total = total

    def identity(self) -> bytes:
        """The number of faces and the code that draws them."""
        code = sorted(Path(faces.__file__).parent.glob("*.py"))
        return digest(str(self.total).encode(), *(file.read_bytes() for file in code)).encode()

    def count(self) -> int:
        """How many are drawn [images]."""
        return self.total

    @contextmanager
    def tasks(self, config: DataConfig) -> Generator[Iterator[Task]]:
        """Draws at the size asked for, so that nothing is scaled."""
        at_a_time = _PIXELS_AT_A_TIME // config.size**2
        starts = range(0, self.total, at_a_time)
        yield (partial(self._draw, start, min(at_a_time, self.total - start), config) for start in starts)

    def _draw(self, start: int, count: int, config: DataConfig) -> list[Prepared | Skipped]:
        drawn = faces.draw_faces(count, size=config.size, seed=0, start=start)
        prepared: list[Prepared | Skipped] = []
        for index, face in enumerate(drawn, start):
            pixels, traits = prepare(Image.fromarray(face), config)
            prepared.append(Prepared(f"face-{index:05d}", content_hash(f"faces:0:{index}".encode()), pixels, config.size, traits))
        return prepared

    def labels(self, names: Sequence[str]) -> LabelTable:
        """The factors each face was drawn from."""
        words = {name: known for name, known in faces.FACTORS.items() if known is not None}
        return LabelTable(dict(faces.face_factors(len(names), seed=0)), words)


def find_source(source: str | Path) -> Source:
    """Finds out what kind of source a path or a word names.

    Args:
        source: "faces", "faces:500" (the first 500), or a path: a folder, a zip or tar of images, IDX, .npy or .npz.

    Raises:
        DataError: the path does not exist, cannot be read, or holds nothing that can be used.
    """
    word = _FACES_WORD.fullmatch(source) if isinstance(source, str) else None
    if word:
        return FacesSource(int(word[1] or DRAWN_FACES))
    try:
        path = Path(source).expanduser()
    except RuntimeError:
        raise DataError(f"{source} does not exist: there is no such user.") from None
    try:
        if path.is_dir():
            folder = FolderSource(path)
            return idx_folder(path, [path / item.name for item in folder.items]) or folder
        if path.is_file() and (found := numpy_file(path) or idx_file(path) or archive(path)):
            return found
    except PermissionError as error:
        raise DataError(f"No permission to read {error.filename or path}: change its permissions or choose another.") from None
    if path.is_file():
        raise DataError(f"{path} is not a zip or tar of images, IDX, .npy or .npz: give one of these, or a folder of images.")
    if path.exists():
        raise DataError(f"{path} is neither a folder nor a file: give a folder of images, an archive or an array file.")
    raise DataError(f"{path} does not exist: give a folder of images, a zip or tar, IDX, .npy or .npz, or the word faces.")


def check_source(source: str | Path) -> None:
    """Makes sure that there is something to decode, without decoding it.

    Raises:
        DataError: as for `find_source`, or if there are too few files for the fewest images that a training needs.
    """
    found = find_source(source)
    count = found.count()
    if count < FEWEST_TO_TRAIN:
        raise DataError(f"{found.place} holds only {count} images or files, and at least {FEWEST_TO_TRAIN} are needed: add more.")
