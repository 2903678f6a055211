"""The comic faces that the package draws itself, as a source of images."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from vaegan.config import DataConfig
from vaegan.data import faces
from vaegan.data.decoding import Prepared, content_hash
from vaegan.data.layout import LabelTable
from vaegan.data.pixels import prepare
from vaegan.data.source import Result, Source, Task, digest

DRAWN_FACES = 8300
_PIXELS_AT_A_TIME = 2**22  # enough faces that the threads which draw them are worth starting, and 12 MB of them


def drawn_faces(total: int) -> Source:
    """The comic faces that the package draws itself; they are known by their number and by the code that draws them."""
    code = sorted(Path(faces.__file__).parent.glob("*.py"))
    identity = digest(str(total).encode(), *(file.read_bytes() for file in code)).encode()

    def draw(start: int, count: int, config: DataConfig) -> list[Result]:
        # As large as is asked for, so that nothing is scaled; of a rectangle the centre is left.
        drawn = faces.draw_faces(count, size=max(config.shape), seed=0, start=start)
        prepared: list[Result] = []
        for index, face in enumerate(drawn, start):
            pixels, traits, _ = prepare(Image.fromarray(face), config)
            prepared.append(Prepared(f"face-{index:05d}", content_hash(f"faces:0:{index}".encode()), pixels, traits))
        return prepared

    def tasks(config: DataConfig) -> Iterator[Task]:
        at_a_time = _PIXELS_AT_A_TIME // max(config.shape) ** 2
        return (partial(draw, first, min(at_a_time, total - first), config) for first in range(0, total, at_a_time))

    def factors(positions: Sequence[int]) -> LabelTable:
        words = {name: known for name, known in faces.FACTORS.items() if known is not None}
        return LabelTable(dict(faces.face_factors(len(positions), seed=0)), words)

    place = "faces" if total == DRAWN_FACES else f"faces:{total}"
    return Source("FacesSource", place, identity, lambda: total, tasks, factors)
