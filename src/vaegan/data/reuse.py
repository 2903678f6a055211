"""What the cache of a folder hands on to the next one: each image that has not changed, by its file's stamp."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaegan.data.cache import caches_alike, open_cached, read_table
from vaegan.data.decoding import Prepared
from vaegan.data.levels import Used, range_of

Known = Callable[[bytes, str], Prepared | None]
"""An image that is prepared already, by its file's stamp, and its name."""

_STAMP_BYTES = 16
_USED = [("kind", "U7"), ("low", "f8"), ("high", "f8")]
_NOTHING = np.empty((0, 0), np.uint8)


@dataclass(eq=False)
class Reusable:
    """Collects what must be known of a folder's images beside their pixels, to take them over."""

    stamps: list[bytes] = field(default_factory=list[bytes])
    grey: list[bool] = field(default_factory=list[bool])
    traits: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    used: list[Used] = field(default_factory=list[Used])
    own: list[bytes] = field(default_factory=list[bytes])
    """Stamps of what this program wrote and what was left out for that."""

    def add(self, image: Prepared) -> None:
        """Notes an image whose pixels come next in the cache."""
        self.stamps.append(image.stamp)
        self.grey.append(image.pixels.ndim == 2)
        self.traits.append(image.traits)
        self.used.append(image.used)

    def arrays(self, contents: list[bytes]) -> dict[str, NDArray[Any]]:
        """All of it and the images' content hashes, for the cache's table."""
        lines = {"stamps": self.stamps, "hashes": contents, "own": self.own}
        traits = {name: np.array([name in had for had in self.traits]) for name in set[str]().union(*self.traits)}
        return {
            **{name: np.frombuffer(b"".join(some), np.uint8).reshape(-1, _STAMP_BYTES) for name, some in lines.items()},
            **{f"trait {name}": had for name, had in traits.items()},
            "grey": np.array(self.grey),
            "used": np.array(self.used, _USED),
        }


class KnownImages:
    """The images of a finished cache, to be found by the stamps of their files."""

    def __init__(self, images: NDArray[np.uint8], levels: str, table: dict[str, NDArray[Any]]) -> None:
        """Takes the pixels, the levels that they were prepared by, and the cache's table; KeyError if that lacks something."""
        self.levels = levels
        self._images, self._grey, self._hashes, self._used = images, table["grey"], table["hashes"], table["used"]
        self._traits = {name.removeprefix("trait "): table[name] for name in table if name.startswith("trait ")}
        self._places = {stamp.tobytes(): place for place, stamp in enumerate(table["stamps"])}
        self._own = {stamp.tobytes() for stamp in table["own"]}

    def prepared_by(self, levels: str) -> Known:
        """Only those images that these levels would prepare in the same way."""
        kinds = {kind for kind in np.unique(self._used["kind"]).tolist() if range_of(levels, kind) == range_of(self.levels, kind)}

        def known(stamp: bytes, name: str) -> Prepared | None:
            if stamp in self._own:
                return Prepared(name, b"", _NOTHING, own=True, stamp=stamp)
            place = self._places.get(stamp)
            if place is None or (used := Used(*self._used[place].tolist())).kind not in kinds:
                return None
            pixels = np.array(self._images[place, :, :, 0] if self._grey[place] else self._images[place])
            traits = tuple(one for one, had in self._traits.items() if had[place])
            return Prepared(name, self._hashes[place].tobytes(), pixels, traits, used=used, stamp=stamp)

        return known


def known_images(directory: Path) -> KnownImages | None:
    """What the newest cache of the same folder, prepared alike, has of it; None where there is no such cache."""
    for path in caches_alike(directory):
        with suppress(OSError, KeyError):  # another process has just removed it; or it is damaged
            if (cached := open_cached(path)) is not None:
                return KnownImages(cached.images, cached.levels, read_table(path))
    return None
