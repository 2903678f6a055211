"""The numbers of a set of images, each with what it takes to judge it, and what was left out for want of images."""

from dataclasses import dataclass, field
from typing import Any

from vaegan.metrics.statistics import Interval


@dataclass(frozen=True)
class Number:
    """One metric's value."""

    value: float
    interval: Interval | str
    """95 %, or why there is none; docs/evaluation.md says how each is made."""
    n: int
    """Images it was computed from: samples, or held-out images where only those are used."""
    features: str | None = None
    """The feature network or space, where there is one."""
    against: int | None = None
    """Held-out images that samples were compared with, where there are such."""
    chance: float | None = None
    """What it would be if nothing were to be found, where that is not plain."""

    def as_json(self) -> dict[str, Any]:
        """What evaluation.json holds of it."""
        found: dict[str, Any] = {"value": self.value, "interval": None, "n": self.n, "features": self.features}
        found |= {name: more for name in ("against", "chance") if (more := getattr(self, name)) is not None}
        return found | ({"no_interval": self.interval} if isinstance(self.interval, str) else {"interval": list(self.interval)})


@dataclass
class Findings:
    """Numbers of one set of images; names are those of metrics/table.py."""

    numbers: dict[str, Number] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    most: int | None = None
    """Images of a kind that were taken at most: -n. So many are few because of it, and not because there are no more."""

    def add(
        self,
        name: str,
        value: float,
        interval: Interval | str | None,
        n: int,
        features: str | None = None,
        against: int | None = None,
        chance: float | None = None,
    ) -> None:
        """Adds a `Number`; `interval` may be the reason why there is none."""
        self.numbers[name] = Number(value, interval or "no replicates were drawn", n, features, against, chance)

    def lacks(self, names: str | tuple[str, ...], needed: int, there: int, what: str = "held-out images") -> bool:
        """Whether there are too few images for these metrics; if so, says so in `left_out`."""
        if there >= needed:
            return False
        few = f"-n takes only {there}" if there == self.most else f"there are {there}"
        self.leave_out((names,) if isinstance(names, str) else names, f"needs {needed} {what}, and {few}")
        return True

    def leave_out(self, names: tuple[str, ...], reason: str) -> None:
        """Says why there are no numbers of these names."""
        self.left_out |= dict.fromkeys(names, reason)

    def as_json(self) -> dict[str, Any]:
        """What evaluation.json holds of the numbers."""
        return {name: number.as_json() for name, number in self.numbers.items()}
