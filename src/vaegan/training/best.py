"""The best averaged model of a stage: which validation it had, when waiting for a better one ends, and what is kept."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from vaegan.glossary import scalar_title
from vaegan.recipes.recipe import Recipe
from vaegan.training.checkpoint import copied


class Point(NamedTuple):
    """A validation."""

    seen: int
    """[images]"""
    value: float


class Best:
    """Compares the validations of a stage and holds a copy of the best averaged model.

    The copy is part of the checkpoint and not a file of its own, so that the two can never be of different times.
    """

    def __init__(self, recipe: Recipe, images: int, patience: int = 0, extended_at: int = 0) -> None:
        """Prepares for a stage, whose models are compared by so many held-out `images`.

        It ends after `patience` images without improvement (0: never), which are counted anew from `extended_at` on, where it had
        ended before it was extended.
        """
        self._recipe, self._deciding = recipe, recipe.deciding
        self._images, self._patience, self._extended_at = images, patience, extended_at
        self.best: Point | None = None
        """Of the model that is kept."""
        self.lowest: Point | None = None
        """The best number so far."""
        self.last: Point | None = None
        self._last_is_sound = True
        self._kept: dict[str, Any] | None = None

    @property
    def compares(self) -> bool:
        """Whether enough images are held out for a comparison to be more than chance."""
        return self._images >= self._deciding.fewest

    @property
    def too_few(self) -> str:
        """Why models are not compared, in words."""
        if self._images == 0:
            return "without held-out images there is nothing to compare models by"
        several = "1 held-out image is" if self._images == 1 else f"{self._images} held-out images are"
        return f"{several} too few to compare models by, which takes {self._deciding.fewest}"

    def validated(self, seen: int, progress: float, values: Mapping[str, float], sound: bool) -> None:
        """Takes a validation, and a copy of the averaged model if none before was better by more than chance.

        A later model has seen more, at a lower learning rate: an earlier one is kept only if it is better by two standard errors.
        What is not `sound`, because the guards found something wrong, is not kept: a copy of the training images scores well.
        `progress` is the share of the stage's schedules that is done.
        """
        value = values.get(self._deciding.scalar, math.nan)
        if not self.compares or not math.isfinite(value):
            return
        self.last, self._last_is_sound = Point(seen, value), sound
        if not sound or progress < self._deciding.since:
            return
        if self.lowest is None or value < self.lowest.value:
            self.lowest = self.last
        error = values.get(self._deciding.error, math.nan) if self._deciding.error else 0.0
        if self.last == self.lowest or value < self.lowest.value + 2 * error:
            self.best, self._kept = self.last, self._copy()

    def forget(self) -> None:
        """Starts the comparison anew: after a roll-back another thing may be aimed at, and the time that is gone had failed."""
        self.best, self.lowest, self.last, self._kept = None, None, None, None

    @property
    def is_stale(self) -> bool:
        """Whether patience has run out. It changes with validations only, so that a resumed run ends at the same image."""
        if not self._patience or self.lowest is None or self.last is None:
            return False
        return self.last.seen - max(self.lowest.seen, self._extended_at) >= self._patience

    def settle(self) -> str:
        """Gives the recipe's averaged networks the weights of the best model; which one that is, in words."""
        if not self.compares:
            return f"the last model: {self.too_few}"
        if self.best is None or self.lowest is None or self.last is None:
            return "the last model: none was compared with it"
        assert self._kept is not None
        self._recipe.load_averaged_state(self._kept)
        title = scalar_title(self._deciding.scalar.removeprefix("heldout_")).lower()
        number, lowest = f"held-out {title} {self.best.value:.4g}", self.lowest
        if self.best.seen == self.last.seen == lowest.seen:
            return f"the last model, the best one: {number}"
        if self.best.seen == self.last.seen:
            lower = f"{lowest.value:.4g} after {lowest.seen:,} images is lower by no more than chance"
            return f"the last model: {number}; {lower}"
        unsound = "" if self._last_is_sound else ", but a guard found something wrong with it"
        return f"the model of {self.best.seen:,} images: {number}; the last one had {self.last.value:.4g}{unsound}"

    def facts(self) -> dict[str, float]:
        """For programs: the images seen by the best model, its number, and that of the last one."""
        if self.best is None or self.last is None:
            return {}
        return {"images": self.best.seen, self._deciding.scalar: self.best.value, "of_last_model": self.last.value}

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs to go on the same."""
        points = {"best": self.best, "lowest": self.lowest, "last": self.last}
        plain = {name: point and tuple(point) for name, point in points.items()}
        return plain | {"last_is_sound": self._last_is_sound, "kept": self._kept}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave; raises ValueError if the kept model is of another shape."""
        points = (state[name] and Point(int(state[name][0]), float(state[name][1])) for name in ("best", "lowest", "last"))
        self.best, self.lowest, self.last = points
        self._last_is_sound, self._kept = state["last_is_sound"], state["kept"]
        if self._kept is not None and _shapes(self._kept) != _shapes(self._copy()):
            raise ValueError("the best model so far is of another shape")

    def _copy(self) -> dict[str, Any]:
        return copied(self._recipe.averaged_state())


def _shapes(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{group}/{name}": tuple(tensor.shape) for group, part in kept.items() for name, tensor in part.items()}
