"""Guards: what is done when training goes wrong. Signals in, actions out.

Nothing here touches a network: `Guards` chooses the remedy of the first signal that fires. `vaegan.training.watching` takes the
numbers from a training and carries the actions out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from vaegan.config import GuardMode
from vaegan.recipes.levers import Levers
from vaegan.training.checks import LITTLE, rounded
from vaegan.training.signals import (
    Collapse,
    Copying,
    CriticLost,
    CriticWins,
    Exploding,
    Forgetting,
    Idle,
    Look,
    NotFinite,
    Overfitting,
    Posterior,
    Runaway,
    Signal,
    Vanishing,
)


@dataclass(frozen=True)
class Remedy:
    """Something that can be done, and how it is told."""

    action: str
    """For programs."""
    words: str
    """For people: what was done beside going back or stopping."""
    change: Callable[[Levers], Levers] = lambda levers: levers
    roll_back: bool = False
    from_start: bool = False
    """Whether rolling back leads to the start of the stage, not to the last good state."""
    slower: bool = True
    """Whether learning rates are lowered when rolling back: each time twice as much as the time before."""
    stop: bool = False

    def told(self, nothing_good: bool = False) -> str:
        """For people: all that was done; `nothing_good`: whether the stage has no good state to go back to, only its start."""
        if self.stop:
            return f"stopped, {'with no good state to go back to' if nothing_good else 'the last good state is kept'}"
        if self.roll_back:
            start = nothing_good or self.from_start
            return f"back to {'the start of the stage' if start else 'the last good state'}, {self.words}"
        return self.words


def _restrained(levers: Levers) -> Levers:
    more = min(0.6, levers.augmentation + 0.1)
    return replace(levers, penalty=2 * levers.penalty, least_penalty=0.02, augmentation=more, blur=1.0)


def _augmented(levers: Levers) -> Levers:
    return replace(levers, augmentation=min(0.6, levers.augmentation + 0.05))


RESTRAIN = Remedy("penalty x2, augmentation +0.1, blur", "penalty doubled, augmentation raised, blur back", _restrained)
SLOW_CRITIC = Remedy(
    "critic rate /2", "the critic's learning rate halved", lambda levers: replace(levers, critic_rate=levers.critic_rate / 2)
)
FREE_CRITIC = Remedy("penalty /4", "penalty quartered", lambda levers: replace(levers, penalty=levers.penalty / 4))
LET_GO = Remedy(
    "penalty /10, anchor /10",
    "penalty and anchor a tenth as strong",
    lambda levers: replace(levers, penalty=levers.penalty / 10, anchor=levers.anchor / 10),
)
SLOW_GENERATOR = Remedy(
    "generator rate /2",
    "the generator's learning rate halved",
    lambda levers: replace(levers, generator_rate=levers.generator_rate / 2),
)
PAUSE_CRITIC = Remedy(
    "critic paused",
    "the critic is not trained on batches where it wins 90% of pairs",
    lambda levers: replace(levers, critic_limit=0.9),
)
AUGMENT = Remedy("augmentation +0.05", "augmentation raised", _augmented)
ROLL_BACK = Remedy("roll back", "learning rates lowered", roll_back=True)
START_OVER = Remedy(
    "roll back, penalty x2, anchor x4",
    "penalty doubled, anchor four times as strong, learning rates lowered",
    lambda levers: replace(levers, penalty=2 * levers.penalty, least_penalty=0.02, anchor=4 * levers.anchor),
    roll_back=True,
)


def _usual(levers: Levers) -> Levers:
    """Drops what other remedies have done: it was done to other settings."""
    return replace(levers, blur=1.0) if levers.usual else Levers(usual=1.0, blur=1.0)


USUAL = Remedy("default settings", "the default settings in place of the configured ones, blur back", _usual)
START_AS_USUAL = replace(USUAL, action="roll back, default settings", roll_back=True, from_start=True, slower=False)
"""From the start, because states that other settings led to are good only as long as what is wrong does not show."""


def _once_more(remedy: Remedy) -> Remedy:
    """The same where the defaults are in place already: as it then is, and is told."""
    action, words = ("roll back", "learning rates lowered, blur back") if remedy.roll_back else ("blur", "blur back")
    return replace(remedy, action=action, words=words)


def free_latents(excess: float) -> Remedy:
    """Frees the latents of a collapsed posterior.

    Free bits alone keep the KL divergence up but not what it is for: measured, the error stays that of the mean image. So a KL
    divergence that weighs more than in a bound on the likelihood is brought back to that.

    Args:
        excess: how many times too much it weighs; 1 when it does not.
    """
    much = "a little lower" if excess < LITTLE else f"divided by {rounded(excess)}"
    lighter = f"KL weight {much}, " if excess > 1 else ""
    return Remedy(
        ("roll back, KL weight lower, " if excess > 1 else "roll back, ") + "free bits +0.25, warm-up 0.5",
        f"{lighter}a quarter of a nat free for every latent, longer warm-up",
        lambda levers: replace(levers, free_bits=levers.free_bits + 0.25, kl_warmup=0.5, kl_weight=levers.kl_weight / excess),
        roll_back=True,
        slower=False,
    )


STOP = Remedy("stop", "", stop=True)

Ladders = dict[str, tuple[Remedy, ...]]

LADDERS: Ladders = {
    NotFinite.name: (ROLL_BACK, ROLL_BACK, ROLL_BACK, STOP),
    Exploding.name: (ROLL_BACK, ROLL_BACK, ROLL_BACK, STOP),
    Runaway.name: (ROLL_BACK, ROLL_BACK, ROLL_BACK, STOP),
    CriticWins.name: (RESTRAIN, SLOW_CRITIC, RESTRAIN, SLOW_CRITIC, PAUSE_CRITIC, SLOW_CRITIC),
    CriticLost.name: (FREE_CRITIC, SLOW_GENERATOR, FREE_CRITIC, SLOW_GENERATOR, SLOW_GENERATOR),
    Vanishing.name: (RESTRAIN, PAUSE_CRITIC, SLOW_CRITIC, SLOW_CRITIC),
    Idle.name: (LET_GO, LET_GO, LET_GO),
    Overfitting.name: (AUGMENT,) * 12 + (STOP,),
    Collapse.name: (START_OVER, START_OVER, START_OVER, STOP),
    Forgetting.name: (START_OVER, START_OVER, START_OVER, STOP),
    Copying.name: (AUGMENT, AUGMENT, AUGMENT, STOP),
    Posterior.name: (free_latents(1), free_latents(1)),
}
"""What is tried, in this order, each time a signal is seen again; after that training goes on as well as it can."""


def ladders_of(unusual: bool) -> Ladders:
    """The ladders of a GAN; `unusual`: whether it is configured otherwise than by default, so that the defaults may help.

    What wrecks it is put down to the configuration at once; a number that is none or explodes, which may be chance, when it
    happens again.
    """
    if not unusual:
        return LADDERS
    found = {name: (START_AS_USUAL, *LADDERS[name][1:]) for name in (Runaway.name, Collapse.name, Forgetting.name)}
    found |= {name: (ROLL_BACK, START_AS_USUAL, ROLL_BACK, STOP) for name in (NotFinite.name, Exploding.name)}
    return LADDERS | found | {name: (USUAL, *LADDERS[name]) for name in (Idle.name, Vanishing.name)}


def faded(levers: Levers) -> Levers:
    """The levers a window later: a blur that came back fades again, by its half in two windows."""
    blur = 0.7 * levers.blur
    return replace(levers, blur=blur if blur >= 0.1 else 0.0)


class Action(NamedTuple):
    """What is to be done now."""

    guard: str
    action: str
    words: str
    levers: Levers
    roll_back: bool = False
    from_start: bool = False
    stop: bool = False


class Guards:
    """All signals of a stage and the order of their remedies."""

    MOST_ROLL_BACKS = 3
    MOST_WARNINGS = 3

    def __init__(self, mode: GuardMode, signals: tuple[Signal, ...], ladders: Ladders = LADDERS) -> None:
        """Args: mode: act, warn or off; signals: looked at in order, the first to fire is answered; ladders: with what."""
        self.mode, self.ladders = mode, ladders
        self.signals = () if mode == "off" else signals
        self.fired: dict[str, int] = {}
        self.roll_backs = 0
        self.deaf = 0

    @property
    def needs_start(self) -> bool:
        """Whether any remedy goes back to the start of the stage, so that its state must be kept to the end."""
        return any(remedy.from_start for ladder in self.ladders.values() for remedy in ladder)

    def look(self, look: Look, levers: Levers, nothing_good: bool = False) -> Action | None:
        """The action that the first signal to fire asks for; `nothing_good`: whether there is no good state to go back to.

        After an action one window passes unheard, so that its effect is seen before the next; only numbers that are none are
        always answered, and no other signal is shown them.
        """
        finite = all(map(math.isfinite, (*look.window.values(), *look.checked.values())))
        shown = [signal for signal in self.signals if finite or isinstance(signal, NotFinite)]
        found = [(signal.name, words) for signal in shown if (words := signal.look(look)) is not None]
        deaf, self.deaf = self.deaf, max(0, self.deaf - bool(look.window))
        for name, words in found if not deaf or not finite else ():
            action = self._answer(name, words, levers, nothing_good)
            if action is not None:
                self.deaf = 1
                return action
        return None

    def _answer(self, name: str, words: str, levers: Levers, nothing_good: bool) -> Action | None:
        ladder = self.ladders[name]
        times = self.fired[name] = self.fired.get(name, 0) + 1
        # Who extends a stopped stage wants it to go on; but from numbers that are none nothing can be learned.
        last = math.inf if name == NotFinite.name else len(ladder)
        if times > (last if self.mode == "act" else self.MOST_WARNINGS):
            return None
        remedy = ladder[min(times, len(ladder)) - 1]
        remedy = _once_more(remedy) if remedy.change is _usual and levers.usual else remedy
        if self.mode == "warn":
            return Action(name, "none", f"{words} (with --guards act: {remedy.told()})", levers)
        if remedy.roll_back and self.roll_backs >= self.MOST_ROLL_BACKS:
            if STOP not in ladder:
                return None
            remedy = STOP
        changed = remedy.change(levers)
        if remedy.from_start or (remedy.roll_back and nothing_good):
            self._forget(but=None if remedy.from_start else name)
        if remedy.roll_back:
            self.roll_backs += 1
            slower = 2.0**self.roll_backs if remedy.slower or levers.usual else 1.0
            changed = replace(changed, generator_rate=changed.generator_rate / slower, critic_rate=changed.critic_rate / slower)
        return Action(
            name,
            remedy.action,
            f"{words}: {remedy.told(nothing_good)}",
            changed,
            remedy.roll_back,
            remedy.from_start,
            remedy.stop,
        )

    def _forget(self, but: str | None) -> None:
        """Back at the start what is remembered is of another training, except by a signal that waits for what is done to show."""
        for signal in self.signals:
            if signal.name != but:
                signal.memory.clear()

    def state(self) -> dict[str, Any]:
        """Everything remembered, as plain numbers."""
        memories = {signal.name: dict(signal.memory) for signal in self.signals}
        return {"memories": memories, "fired": dict(self.fired), "roll_backs": self.roll_backs, "deaf": self.deaf}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave."""
        for signal in self.signals:
            signal.memory.clear()
            signal.memory.update(state["memories"].get(signal.name, {}))
        self.fired, self.roll_backs, self.deaf = dict(state["fired"]), int(state["roll_backs"]), int(state["deaf"])
