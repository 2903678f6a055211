"""A number of an evaluation with what it takes to judge it, and what was left out for want of images."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Number:
    """One metric's value; its fields are those of evaluation.json."""

    value: float
    interval: tuple[float, float] | None
    """95 %: by the bootstrap, of what neighbours say by halves, of copying by the dispersion of what real images attract."""
    n: int
    """Images it was computed from: samples, or held-out images where only those are used."""
    features: str | None = None
    """The feature network or space, where there is one."""


@dataclass
class Findings:
    """Numbers of one set of images; names are those of metrics/table.py."""

    numbers: dict[str, Number] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float, interval: tuple[float, float] | None, n: int, features: str | None = None) -> None:
        """Keeps a number."""
        self.numbers[name] = Number(value, interval, n, features)

    def lacks(self, names: str | tuple[str, ...], needed: int, there: int, what: str = "held-out images") -> bool:
        """Whether there are too few images for these metrics; if so, says so in `left_out`."""
        if there >= needed:
            return False
        for name in (names,) if isinstance(names, str) else names:
            self.left_out[name] = f"needs {needed} {what}, and there are {there}"
        return True

    def as_json(self) -> dict[str, Any]:
        """What evaluation.json holds of the numbers."""
        return {
            name: asdict(number) | {"interval": number.interval and list(number.interval)}
            for name, number in self.numbers.items()
        }
