"""Who looks at the numbers of a stage while it is trained: journal, guards and the comparison of models, in step."""

from dataclasses import dataclass, replace

from vaegan.recipes.schedule import Clock
from vaegan.training.best import Best
from vaegan.training.guards import Action
from vaegan.training.journal import Journal
from vaegan.training.watching import Watching
from vaegan.types import Scalars


@dataclass(frozen=True)
class Observers:
    """Who looks at the numbers of a stage: they are written down, watched by the guards, and compared."""

    journal: Journal
    watching: Watching
    best: Best

    @property
    def have_ended_it(self) -> bool:
        """Whether a guard has stopped the stage, or patience has run out."""
        return self.watching.has_stopped or self.best.is_stale

    def add(self, scalars: Scalars) -> None:
        """Takes the scalars of a step without waiting for the device."""
        self.journal.add(scalars)
        self.watching.add(scalars)

    def validated(
        self, stage: str, clock: Clock, seen: int, seconds: float, values: dict[str, float], last: bool
    ) -> Action | None:
        """Takes a validation; the `last` of a stage counts unless a guard acts on it.

        Args:
            stage: its name.
            clock: of the step before.
            seen: images, with those of that step.
            seconds: since the stage began.
            values: of the validation.
            last: whether the stage ends here.
        """
        self.journal.line(stage, seen, seconds, values)
        action = self.watching.checked(seen, clock.progress, values)
        progress = replace(clock, seen=seen).progress  # at the end it is 1, which a blur that lasts until then waits for
        self.best.validated(seen, progress, values, self.watching.is_good or (action is None and last))
        return action

    def acted(self, stage: str, seen: int, seconds: float, action: Action) -> None:
        """Takes note of what a guard did, and drops the numbers of steps that are undone."""
        self.journal.note(stage, seen, seconds, {"guard": action.guard, "action": action.action, "words": action.words})
        if action.roll_back:
            self.journal.forget()
            self.best.forget()

    def worth_keeping(self, stage: str, seen: int) -> bool:
        """Whether what was learned since the last flush may be kept; where nobody mends it, it is an error if not."""
        if not self.watching.acts:
            self.journal.check(stage, seen)
            return True
        return self.journal.is_sound
