"""Health: what goes wrong in training, how it shows in the numbers, and what is done about it (docs/guards.md).

A check is a function from named means to words. Those in `ROLL_BACK` send the stage back to its last good state, slower, because
that saved runs of the list of bad configurations (benchmarks/bad_configurations.toml); the others only warn.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vaegan.config import GuardMode
from vaegan.errors import TrainingError
from vaegan.recipes.recipe import Recipe
from vaegan.recipes.vae import VAE
from vaegan.training.checkpoint import copied
from vaegan.training.engine import FabricEngine

MOST_ROLL_BACKS = 3
MOST_WARNINGS = 3
# Where healthy ends. Each number stands between what healthy runs showed and what broken ones did: docs/guards.md.
WINNING, LOST = 0.97, 0.53  # pair accuracy as a mean over 50 batches; healthy runs have 0.56 to 0.94
GUESSING = 20.0  # critic's loss; one that answers 0 to everything has 0.5 to 2, whatever the objective but Wasserstein's
GRADIENT = 10.0  # times the running average
VANISHED = 0.03  # of the generator's early gradient at its images
VARIETY, LEAST_VARIETY = 0.5, 0.1  # of the best so far; of real images, after a quarter of the stage
RECALL, USEFUL_RECALL = 0.25, 0.2  # of the best so far; below the second it is a count of a few images
FORGOTTEN = 3.5
"""Low-passed error of real images that come back, over the VAE's: up to 2.6 before the encoder is fitted, 1.9 after."""
SHARP, SOFTER = 0.5, 1.3  # sharpness over that of real images, and over that of the first validation
OVERFITTING = 0.5  # between treating held-out images as known ones (0) and as generated ones (1)
COPYING, NEARNESS = 0.65, 0.5  # share of samples nearer to training than to held-out images; distance over that of real images
KL, ACTIVE = 1.0, 0.1  # [nats]; share of the latent dimensions


class Look(NamedTuple):
    """What checks are shown: means over a window of steps, or a validation (the other one is then empty)."""

    seen: int
    progress: float
    """Share of the stage's schedules that is done."""
    window: Mapping[str, float]
    validation: Mapping[str, float] = {}


Memory = dict[str, float]
Check = Callable[[Look, Memory], str | None]
"""What is wrong, in words that a sentence can begin with; None when nothing is. The memory is its own, from look to look."""


def not_finite(look: Look, memory: Memory) -> str | None:
    """A number that is none: an overflow, a division by zero, a weight that exploded."""
    wrong = [name for name, value in (*look.window.items(), *look.validation.items()) if not math.isfinite(value)]
    return f"the {wrong[0].replace('_', ' ')} is not a number any more" if wrong else None


def exploding_gradient(look: Look, memory: Memory) -> str | None:
    """A gradient far above its own running average: the next steps would leave everything that was learned."""
    found = None
    for name in ("generator_gradient", "critic_gradient", "gradient"):
        if (value := look.window.get(name)) is None:
            continue
        average = memory.get(name)
        if average and value > GRADIENT * average:
            found = found or f"the {name.replace('_', ' ')} is {value / average:.0f} times its average"
        else:  # an outlier does not enter the average
            memory[name] = value if average is None else 0.7 * average + 0.3 * value
    return found


def runaway_critic(look: Look, memory: Memory) -> str | None:
    """A critic far worse than one that guesses: each of its steps undoes the one before, and more."""
    loss = look.window.get("critic_loss", 0.0)
    return f"the critic's loss is {loss:,.0f}, where guessing costs 2 at most" if loss > GUESSING else None


def mode_collapse(look: Look, memory: Memory) -> str | None:
    """A generator that makes fewer kinds of images than it did, or never made more than one."""
    variety, recall = look.window.get("variety"), look.validation.get("heldout_recall")
    if variety is not None and math.isfinite(variety):
        best = memory["variety"] = max(min(variety, 1.0), memory.get("variety", 0.0))
        if variety < VARIETY * best:
            return f"generated images differ {best / max(variety, 1e-3):.1f} times less from each other than they did"
        before, memory["before"] = memory.get("before", math.inf), variety
        # A hardly trained start has little variety, but gains some from window to window.
        rising = variety - before >= 0.1 * LEAST_VARIETY
        if look.progress > 0.25 and variety < LEAST_VARIETY and before < math.inf and not rising:
            return f"generated images differ from each other only {variety:.0%} as much as real ones"
    if recall is not None:
        best = memory["recall"] = max(recall, memory.get("recall", 0.0))
        if best >= USEFUL_RECALL and recall < RECALL * best:
            return f"samples reach {recall:.0%} of held-out images, and reached {best:.0%}"
    return None


def forgetting(vae_error: float) -> Check:
    """Finds a generator that no longer gives real images back: it has left what its VAE, with this low-passed error, knew."""

    def check(look: Look, memory: Memory) -> str | None:
        times = look.validation.get("heldout_low_pass_error", 0.0) / max(vae_error, 1e-12)
        return f"real images come back {times:.1f} times as wrong as from the VAE" if times > FORGOTTEN else None

    return check


def critic_wins(look: Look, memory: Memory) -> str | None:
    """A critic that wins nearly every pair: the generator is told that it is wrong, but not in which direction."""
    accuracy = look.window.get("pair_accuracy", 0.0)
    return f"the critic wins {accuracy:.0%} of pairs" if accuracy > WINNING and look.progress > 0.15 else None


def critic_lost(look: Look, memory: Memory) -> str | None:
    """A critic that tells nothing apart any more, in two windows in a row."""
    if (accuracy := look.window.get("pair_accuracy")) is None:
        return None
    low = memory["low"] = memory.get("low", 0.0) + 1 if accuracy < LOST else 0.0
    return f"the critic is right in only {accuracy:.0%} of pairs" if low >= 2 else None


def vanishing_gradient(look: Look, memory: Memory) -> str | None:
    """A generator's loss whose gradient at the images fell far below the mean of its first two windows."""
    if (value := look.window.get("image_gradient")) is None:
        return None
    count, early = memory.get("count", 0.0), memory.get("early", 0.0)
    if count < 2:
        memory |= {"count": count + 1, "early": (early * count + value) / (count + 1)}
        return None
    fallen = value / max(early, 1e-30)
    return f"the generator's gradient at its images fell to {fallen:.1%} of what it was" if fallen < VANISHED else None


def idle_generator(look: Look, memory: Memory) -> str | None:
    """A generator that makes what it made when the stage began, a VAE's soft images: a penalty or an anchor holds it."""
    if (sharpness := look.validation.get("heldout_sharpness")) is None:
        return None
    first = memory.setdefault("first", sharpness)
    if look.progress < 0.35 or sharpness > SHARP or sharpness > SOFTER * first:
        return None
    return f"samples are as soft as when the stage began, with {sharpness:.0%} of the detail of real images"


def overfitting_critic(look: Look, memory: Memory) -> str | None:
    """A critic that knows the training images by heart: it takes other real images for generated ones."""
    share = look.validation.get("overfitting", 0.0)
    known = f"the critic knows the training images by heart: held-out ones look {min(share, 1.0):.0%} generated to it"
    return known if share > OVERFITTING else None


def copying(look: Look, memory: Memory) -> str | None:
    """A generator that gives training images back: samples nearer to them than other real images are."""
    nearness, share = look.validation.get("nearness", 1.0), look.validation.get("copying", 0.5)
    # A sample unlike all real images is nearer to either side by chance: then the share says nothing.
    if nearness < NEARNESS or (share > COPYING and nearness < 0.75):
        return f"samples are copies: {nearness:.1f} times as far from training images as other real images are"
    return None


def posterior_collapse(latent_dim: int, reason: str) -> Check:
    """Finds a VAE whose posteriors all equal the prior, and says which setting makes it so: every image is the mean image."""

    def check(look: Look, memory: Memory) -> str | None:
        found, low = None, memory.get("low", 0.0)
        if (kl := look.window.get("kl")) is not None:
            low = memory["low"] = low + 1 if kl < KL or low < 0 else 0.0
            found = f"the KL divergence is {kl:.2f} nats, so the latents say nothing: {reason}" if low >= 2 else None
        elif look.progress >= 0.1 and low >= 0:
            kl, active = (look.validation.get(name, math.inf) for name in ("heldout_kl", "active_units"))
            if kl < KL or active < ACTIVE * latent_dim:
                found = f"only {active:.0f} of {latent_dim} latents are used ({kl:.1f} nats): {reason}"
        if found is not None:
            memory["low"] = -4.0  # what is done takes a few windows to show
        return found

    return check


POSTERIOR, FORGETTING = "posterior collapse", "forgetting"
ROLL_BACK = {
    "not finite": 4.0,  # may be chance
    "exploding gradient": 4.0,
    "runaway critic": 10.0,  # rates are far too high: there is no time to find out by how much
    "mode collapse": 10.0,
    FORGETTING: 10.0,
    POSTERIOR: 1.0,  # the weight of the KL divergence changes, not the rate
}
"""Checks that send a stage back, each with the divisor of the learning rates that comes on top; the others warn."""
# What can go wrong in any stage; in any GAN; in the sources' GANs, which alone measure the gradient at their images; and in one
# whose logits have a scale: a Wasserstein critic is meant to be ahead.
GRADIENTS: dict[str, Check] = {"not finite": not_finite, "exploding gradient": exploding_gradient}
GAME: dict[str, Check] = {"mode collapse": mode_collapse, "copying": copying, "overfitting critic": overfitting_critic}
CLASSIC: dict[str, Check] = {"vanishing gradient": vanishing_gradient}
LOGITS: dict[str, Check] = {"runaway critic": runaway_critic, "critic wins": critic_wins, "critic lost": critic_lost}


class Action(NamedTuple):
    """What was found and done."""

    guard: str
    action: str
    """For programs: none, roll back, or stop."""
    words: str
    """For people."""


SAVED = ("_memories", "_fired", "_good", "_good_at", "_stopped_at", "roll_backs", "slowdown", "_quiet", "_steps_seen")
"""Attributes of `Health` that a checkpoint keeps."""


class Health:
    """One stage under its checks, with the state to go back to. All of it is saved with a checkpoint."""

    def __init__(
        self,
        mode: GuardMode,
        checks: Mapping[str, Check],
        recipe: Recipe,
        engine: FabricEngine,
        excess: float = 1.0,
        extended_at: int = 0,
    ) -> None:
        """Prepares for a stage, whose checks are made in order; the first that finds something is answered.

        `excess` is how many times too much a VAE's KL divergence weighs. `extended_at` is where the stage had ended before it was
        extended [images]: what stopped it there does so no more.
        """
        self.mode, self._checks, self._recipe, self._engine = mode, {} if mode == "off" else checks, recipe, engine
        self._excess, self._extended_at = excess, extended_at
        self._memories: dict[str, Memory] = {name: {} for name in self._checks}
        self._fired: dict[str, int] = {}
        self._good: dict[str, Any] | None = None
        self._good_at = self._stopped_at = self.roll_backs = 0
        self._quiet, self._steps_seen = True, False
        self.slowdown = 1.0
        """Divisor of every learning rate."""
        self.is_good = True
        """Whether nothing was wrong since the validation before the last."""

    @property
    def acts(self) -> bool:
        """Whether what goes wrong is mended, and need not end the training."""
        return self.mode == "act"

    @property
    def has_stopped(self) -> bool:
        """Whether the stage is ended; saved, so that a run killed before the stage was closed does not train on."""
        return self._stopped_at > self._extended_at

    def begin(self, seen: int) -> None:
        """Keeps the state that a fresh stage starts from."""
        if self.acts and self._good is None:
            self._keep(seen)

    def window(self, seen: int, progress: float, means: dict[str, float]) -> Action | None:
        """Checks the means of a window of steps, and acts."""
        self._steps_seen = True
        return self._look(Look(seen, progress, means))

    def validated(self, seen: int, progress: float, values: dict[str, float]) -> Action | None:
        """Checks a validation, acts, and keeps the state when nothing has been wrong since the last one.

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
        found: tuple[str, str] | None = self._engine.share(self._found(look))
        if found is None:
            return None
        self._quiet = False
        name, words = found
        self._fired[name] = self._fired.get(name, 0) + 1
        if not self.acts or name not in ROLL_BACK:
            does = "with --guards act: back to the last good state, slower" if name in ROLL_BACK else "nothing is changed"
            return Action(name, "none", f"{words} ({does})" if not self.acts else words)
        if self.roll_backs >= MOST_ROLL_BACKS:
            goes_on = self._stopped_at and name != "not finite"  # who extends a stopped stage wants it to go on
            return Action(name, "none", words) if goes_on else self._stop(name, words, look.seen)
        return self._roll_back(name, words)

    def _found(self, look: Look) -> tuple[str, str] | None:
        """The first check that finds something; one that only warns does so three times."""
        finite = all(map(math.isfinite, (*look.window.values(), *look.validation.values())))
        found = {
            name: words
            for name, check in self._checks.items()
            if (finite or name == "not finite") and (words := check(look, self._memories[name])) is not None
        }
        acted = () if not self.acts else ROLL_BACK if not self._stopped_at else ("not finite",)
        heard = (name for name in found if name in acted or self._fired.get(name, 0) < MOST_WARNINGS)
        return next(((name, found[name]) for name in heard), None)

    def _roll_back(self, name: str, words: str) -> Action:
        self.roll_backs, self.slowdown = self.roll_backs + 1, self.slowdown * ROLL_BACK[name]
        where = "the start of the stage" if self._good_at == 0 else "the last good state"
        self._put_back()
        if self._good_at == 0:  # what is remembered is of another training
            self._memories = {other: memory if other == name else {} for other, memory in self._memories.items()}
        done = f"back to {where}" + (f", learning rates at 1/{self.slowdown:g}" if self.slowdown > 1 else "")
        if name == POSTERIOR and isinstance(self._recipe, VAE):
            self._recipe.relieve(self._excess)
            self._good = {**(self._good or {}), "relief": copied(self._recipe.relief)}  # a later roll-back does not undo it
            done += ", KL weight lower" if self._excess > 1 else ""
            done += ", a quarter of a nat free for every latent, longer warm-up"
        return Action(name, "roll back", f"{words}: {done}")

    def _stop(self, name: str, words: str, seen: int) -> Action:
        if self._good_at == 0 and name == "not finite":
            raise TrainingError(
                f"After {seen:,} images {words}, and going back and slowing down did not help. "
                "Try the default settings, or --precision float32."
            )
        self._stopped_at = seen
        if self._good_at > 0:
            self._put_back()
        kept = "the last good state is kept" if self._good_at else "with no good state to go back to"
        return Action(name, "stop", f"{words}: stopped, {kept}")

    def _keep(self, seen: int) -> None:
        self._good, self._good_at = copied(self._recipe.state_dict()), seen

    def _put_back(self) -> None:
        assert self._good is not None
        self._recipe.load_state_dict(self._good)

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs to go on alike."""
        return {name: getattr(self, name) for name in SAVED}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave; raises KeyError where something is missing."""
        if self.mode != "off":
            for name in SAVED:
                setattr(self, name, state[name])
            self._memories = {name: dict(self._memories.get(name, {})) for name in self._checks}
