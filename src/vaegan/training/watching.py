"""Watching a training: gathers its numbers for the guards, carries their actions out, and keeps the state to roll back to."""

from typing import Any, Protocol

from vaegan.errors import TrainingError
from vaegan.recipes.levers import Levers
from vaegan.training.checkpoint import Resumable, copied, put_back, state_of
from vaegan.training.engine import Engine
from vaegan.training.guards import Action, Guards, faded
from vaegan.training.means import Means
from vaegan.training.signals import Look, NotFinite
from vaegan.types import Scalars


class Watched(Resumable, Protocol):
    """What watching asks of a recipe beside its state."""

    levers: Levers


class Watching:
    """One stage under its guards.

    Its windows of steps are its own and are saved: the journal's are cut short by an interruption, and a resumed run must
    see what an uninterrupted one would have seen.
    """

    def __init__(self, guards: Guards, recipe: Watched, engine: Engine, extended_at: int = 0) -> None:
        """Prepares for a stage.

        Args:
            guards: what is looked at.
            recipe: whose levers are moved and whose state is kept.
            engine: processes.
            extended_at: images after which the stage had ended before it was extended: what stopped it then does not any more.
        """
        self.guards, self._recipe, self._engine = guards, recipe, engine
        self._extended_at, self._stopped_at = extended_at, 0
        self._means = Means(engine)
        self._start: dict[str, Any] | None = None
        self._good: dict[str, Any] | None = None
        self._good_at = 0
        self._quiet = True
        self._steps_seen = False
        self.is_good = True

    @property
    def acts(self) -> bool:
        """Whether what goes wrong is mended, and need not end the training."""
        return self.guards.mode == "act"

    @property
    def has_stopped(self) -> bool:
        """Whether a guard has ended the stage; saved, so that a run killed before the stage was closed does not train on."""
        return self._stopped_at > self._extended_at

    @property
    def _nothing_good(self) -> bool:
        """Whether the state to go back to is only that of the start."""
        return self._good_at == 0

    def begin(self, seen: int) -> None:
        """Keeps the state that a fresh stage starts from."""
        if self.acts and self._good is None:
            self._keep(seen)
            self._start = self._good if self.guards.needs_start else None

    def add(self, scalars: Scalars) -> None:
        """Adds one step's scalars without waiting for the device."""
        if self.guards.mode != "off":
            self._means.add(scalars)

    def window(self, seen: int, progress: float) -> Action | None:
        """Looks at the means of the steps since the last window, and acts."""
        means = self._means.take()
        if not means:
            return None
        self._steps_seen = True
        return self._look(Look(seen, progress, means))

    def checked(self, seen: int, progress: float, values: dict[str, float]) -> Action | None:
        """Looks at a validation, acts, and keeps the state when nothing has been wrong since the last one.

        A short stage has validations without a window before them: of its critic, say, nothing is known then.
        """
        action = self._look(Look(seen, progress, {}, values))
        self.is_good = action is None and self._quiet
        if self.acts and self.is_good and self._steps_seen:
            self._keep(seen)
            self._steps_seen = False
        self._quiet = action is None
        return action

    def _look(self, look: Look) -> Action | None:
        # The first process decides: rounding must not make another one act differently.
        action: Action | None = self._engine.share(self.guards.look(look, self._recipe.levers, self._nothing_good))
        if action is None:
            if look.window and self._recipe.levers.blur:
                self._recipe.levers = faded(self._recipe.levers)
            return None
        self._quiet = False
        if action.stop:
            self._stopped_at = look.seen
        if action.roll_back or action.stop:
            self._roll_back(action, look.seen)
        self._recipe.levers = action.levers
        return action

    def _roll_back(self, action: Action, seen: int) -> None:
        assert self._good is not None
        if action.stop and self._nothing_good and action.guard == NotFinite.name:
            raise TrainingError(
                f"After {seen:,} images {action.words.split(':')[0]}, and going back and slowing down did not help. "
                "Try the default settings, or --precision float32."
            )
        if action.roll_back or not self._nothing_good:
            if action.from_start:
                assert self._start is not None
                self._good, self._good_at = self._start, 0
            put_back(self._recipe, self._good)
            self._means.forget()

    def _keep(self, seen: int) -> None:
        self._good, self._good_at = copied(state_of(self._recipe)), seen

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs to go on the same."""
        return {
            "guards": self.guards.state(),
            "sums": self._means.sums,
            "counts": self._means.counts,
            "start": self._start,
            "good": self._good,
            "good_at": self._good_at,
            "quiet": self._quiet,
            "steps_seen": self._steps_seen,
            "stopped_at": self._stopped_at,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave."""
        if self.guards.mode == "off":
            return
        self.guards.set_state(state["guards"])
        self._means.set(state["sums"], state["counts"])
        self._start, self._good, self._good_at = state["start"], state["good"], state["good_at"]
        self._quiet, self._steps_seen, self._stopped_at = state["quiet"], state["steps_seen"], state["stopped_at"]
