"""Signals: what goes wrong in training and how it shows in its numbers. Named means in, words out.

Nothing here touches a network. Each signal is one failure of docs/guards.md; `vaegan.training.guards` says what is done about it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Thresholds:
    """Where healthy ends. Each number stands between what healthy runs showed and what broken ones did: docs/guards.md."""

    pair_accuracy: float = 0.97
    """Healthy runs of up to 84,000 images stayed under 0.94, as a mean over 50 batches against the generator as it is. Held-out
    pairs against the averaged generator are no signal: the critic never trains against it, and healthy ones win 99 % of them."""
    lost: float = 0.53
    """The same, too low: healthy runs came down to 0.56 before the blur of the start was gone. At chance it has no direction
    to give."""
    vanished: float = 0.03
    """Of the generator's early gradient. It has no scale of its own, so only a fall of one and a half orders says something."""
    idle: float = 1.3
    """Sharpness over that of the stage's first validation, after 35 % of the stage: five healthy runs were at 1.8 to 4.3 times,
    those that a penalty or an anchor of 100 held at 1.1."""
    sharp: float = 0.5
    """Sharpness, real images 1: a generator with as much detail need not get more. A VAE's images have 0.03 to 0.35."""
    overfitting: float = 0.5
    """Halfway between treating held-out images as known ones (0) and as generated ones (1); StyleGAN2-ADA aims at 0.6."""
    scratch_start: float = 0.15
    """Share of a stage from scratch before which a critic that wins is no sign: against noise every critic wins."""
    critic_loss: float = 20.0
    """A critic that answers 0 to everything has 0.5 to 2, whatever the objective but Wasserstein's; healthy runs stayed
    under 1.4."""
    forgotten: float = 3.0
    """Error of real images given back over that of the first validation: healthy runs of up to 84,000 images stayed under 2."""
    variety: float = 0.5
    """Of the best so far, but never of more than real images have: dropping modes halves it, taste does not."""
    least_variety: float = 0.1
    """Of that of real images, after a quarter of the stage and no longer rising: small networks were seen at 0.3."""
    recall: float = 0.25
    """Of the best so far. Healthy runs lose half of it while a VAE's smooth samples become sharp: 0.60 to 0.32 in 84,000 anime
    faces, 0.30 to 0.14 in 3,000 drawn ones."""
    useful_recall: float = 0.2
    """Below it recall is a count of a few images, and its fall is chance."""
    copying: float = 0.65
    """Share of samples nearer to training than to held-out images, far above what chance makes of 256 of them."""
    nearness: float = 0.5
    """Distance to training images over that of held-out images: 0.9 to 1.3 when healthy, near 0 for copies."""
    gradient: float = 10.0
    """Times the running average: healthy gradients grow, but not tenfold within 50 steps."""
    kl: float = 1.0
    """[nats]: fewer cannot tell three images apart. Healthy VAEs use tens."""
    active_share: float = 0.1
    """Of the latent dimensions. Healthy VAEs use more than half of them."""


class Look(NamedTuple):
    """What the signals are shown: means over a window of steps, or a validation (the other one is then empty)."""

    seen: int
    progress: float
    """Share of the stage's schedules that is done."""
    window: Mapping[str, float]
    checked: Mapping[str, float] = {}


class Signal(ABC):
    """One way in which training goes wrong."""

    name = ""

    def __init__(self, limits: Thresholds) -> None:
        """Args: limits: thresholds."""
        self.limits = limits
        self.memory: dict[str, float] = {}
        """What is remembered from look to look."""

    @abstractmethod
    def look(self, look: Look) -> str | None:
        """What is wrong, in words that a sentence can begin with; None when nothing is."""


class NotFinite(Signal):
    """A number that is none: an overflow, a division by zero, a weight that exploded."""

    name = "not finite"

    def look(self, look: Look) -> str | None:
        """Names the first number that is not finite."""
        wrong = [name for name, value in (*look.window.items(), *look.checked.items()) if not math.isfinite(value)]
        return f"the {wrong[0].replace('_', ' ')} is not a number any more" if wrong else None


class Exploding(Signal):
    """A gradient far above its own running average: the next steps would leave everything that was learned."""

    name = "exploding gradient"

    def look(self, look: Look) -> str | None:
        """Compares each gradient's norm with its running average; an outlier does not enter the average.

        A critic that warms up has hardly any gradient: 0.4, and 6.8 in the next window, when it began to play, of a healthy run.
        """
        found = None
        for name in ("generator_gradient", "critic_gradient", "gradient"):
            value = look.window.get(name)
            if value is None or (name == "critic_gradient" and "generator_loss" not in look.window):
                continue
            average = self.memory.get(name)
            if average and value > self.limits.gradient * average:
                found = found or f"the {name.replace('_', ' ')} is {value / average:.0f} times its average"
            else:
                self.memory[name] = value if average is None else 0.7 * average + 0.3 * value
        return found


class Runaway(Signal):
    """A critic far worse than one that says nothing: its steps are so large that each undoes the one before, and more."""

    name = "runaway critic"

    def look(self, look: Look) -> str | None:
        """Looks at its loss, which has a scale of its own and so needs no healthy window before."""
        loss = look.window.get("critic_loss", 0.0)
        return f"the critic's loss is {loss:,.0f}, where guessing costs 2 at most" if loss > self.limits.critic_loss else None


class CriticWins(Signal):
    """A critic that wins nearly every pair: the generator is told that it is wrong, but not in which direction."""

    name = "critic wins"

    def __init__(self, limits: Thresholds, since: float = 0.0) -> None:
        """Args: limits: thresholds; since: share of the stage after which it is looked at: against noise every critic wins."""
        super().__init__(limits)
        self.since = since

    def look(self, look: Look) -> str | None:
        """Looks at the pairs of the training steps themselves, once the generator is trained."""
        accuracy = look.window.get("pair_accuracy", 0.0)
        if "generator_loss" not in look.window or look.progress < self.since or accuracy <= self.limits.pair_accuracy:
            return None
        return f"the critic wins {_percent(accuracy)} of pairs"


class CriticLost(Signal):
    """A critic that tells nothing apart any more: its slope is held down, or the generator runs away from it."""

    name = "critic lost"

    def __init__(self, limits: Thresholds, since: float = 0.0) -> None:
        """Args: limits: thresholds; since: share of the stage over which what it sees is blurred, which makes pairs alike."""
        super().__init__(limits)
        self.since = since

    def look(self, look: Look) -> str | None:
        """Pairs of two windows in a row, once the blur of the start has faded."""
        accuracy = look.window.get("pair_accuracy")
        if accuracy is None or "generator_loss" not in look.window or look.progress < self.since:
            return None
        low = self.memory["low"] = self.memory.get("low", 0.0) + 1 if accuracy < self.limits.lost else 0.0
        return f"the critic is right in only {_percent(accuracy)} of pairs" if low >= 2 else None


class Vanishing(Signal):
    """A generator's loss whose gradient at the images has faded away: it stands still whatever its learning rate."""

    name = "vanishing gradient"

    def look(self, look: Look) -> str | None:
        """Compares |dL/d image| with the mean of its first two windows."""
        value = look.window.get("image_gradient")
        if value is None:
            return None
        count, early = self.memory.get("count", 0.0), self.memory.get("early", 0.0)
        if count < 2:
            self.memory |= {"count": count + 1, "early": (early * count + value) / (count + 1)}
            return None
        if value >= self.limits.vanished * early:
            return None
        return f"the generator's gradient at its images fell to {value / early:.1%} of what it was"


class Idle(Signal):
    """A generator that makes what it made when the stage began: a VAE's soft images. Penalty or anchor hold it."""

    name = "idle generator"

    def look(self, look: Look) -> str | None:
        """Detail of the averaged generator's samples against that of the first validation, every other time.

        A short stage may hold its generator back for half of it: what it makes then is no sign.
        For a generator that grew out of a VAE: one from scratch begins with noise, which has more detail than any image.
        """
        if "generator_loss" in look.window:
            self.memory.setdefault("plays", look.progress)
        sharpness = look.checked.get("heldout_sharpness")
        if sharpness is None:
            return None
        first = self.memory.get("first")
        if first is None:
            self.memory["first"] = sharpness
            return None
        wait = self.memory["wait"] = max(0.0, self.memory.get("wait", 0.0) - 1)
        early = look.progress < max(0.35, self.memory.get("plays", 1.0) + 0.1)
        if wait or early or sharpness > self.limits.sharp or sharpness > self.limits.idle * first:
            return None
        self.memory["wait"] = 2.0  # what is done takes a while to show
        return f"samples are as soft as when the stage began, with {_percent(sharpness)} of the detail of real images"


class Overfitting(Signal):
    """A critic that knows the training images by heart: it takes other real images for generated ones."""

    name = "overfitting critic"

    def look(self, look: Look) -> str | None:
        """Where held-out images stand between known (0) and generated ones (1)."""
        share = look.checked.get("overfitting", 0.0)
        if share <= self.limits.overfitting:
            return None
        return f"the critic knows the training images by heart: held-out ones look {_percent(min(share, 1.0))} generated to it"


class Collapse(Signal):
    """A generator that makes fewer kinds of images than it did, or never made more than one."""

    name = "mode collapse"

    def look(self, look: Look) -> str | None:
        """Variety of the batches against its own best and that of real images; recall against its own best."""
        variety, recall = look.window.get("variety"), look.checked.get("heldout_recall")
        if variety is not None and math.isfinite(variety):
            best = self.memory["variety"] = max(min(variety, 1.0), self.memory.get("variety", 0.0))
            if variety < self.limits.variety * best:
                return f"generated images differ {best / max(variety, 1e-3):.1f} times less from each other than they did"
            before = self.memory.get("before", math.inf)
            self.memory["before"] = variety
            # A hardly trained start has little variety, but gains some from window to window.
            least = self.limits.least_variety
            if look.progress > 0.25 and variety < least and variety - before < 0.1 * least and before < math.inf:
                return f"generated images differ from each other only {_percent(variety)} as much as real ones"
        if recall is not None:
            best = self.memory["recall"] = max(recall, self.memory.get("recall", 0.0))
            if best >= self.limits.useful_recall and recall < self.limits.recall * best:
                return f"samples reach {_percent(recall)} of held-out images, and reached {_percent(best)}"
        return None


class Forgetting(Signal):
    """A generator that no longer gives real images back: it has left not only its VAE's blur but what the VAE knew."""

    name = "forgetting"

    def look(self, look: Look) -> str | None:
        """Low-passed error of held-out images given back, against that of the first validation."""
        error = look.checked.get("heldout_low_pass_error")
        if error is None:
            return None
        times = error / self.memory.setdefault("first", error)
        return f"real images come back {times:.1f} times as wrong as at first" if times > self.limits.forgotten else None


class Copying(Signal):
    """A generator that gives training images back instead of new ones."""

    name = "copying"

    def look(self, look: Look) -> str | None:
        """Samples much nearer to training images than held-out images are, or nearer to them in too many cases."""
        nearness, share = look.checked.get("nearness", 1.0), look.checked.get("copying", 0.5)
        # A sample unlike all real images is nearer to either side by chance: then the share says nothing.
        if nearness < self.limits.nearness or (share > self.limits.copying and nearness < 0.75):
            return f"samples are copies: {nearness:.1f} times as far from training images as other real images are"
        return None


class Posterior(Signal):
    """A VAE whose posteriors all equal the prior: the latents say nothing, and every image is decoded to the mean image."""

    name = "posterior collapse"

    def __init__(self, limits: Thresholds, latent_dim: int, reason: str) -> None:
        """Args: limits: thresholds; latent_dim: length of a latent; reason: what in the settings makes it so, in words."""
        super().__init__(limits)
        self.latent_dim, self.reason = latent_dim, reason

    def look(self, look: Look) -> str | None:
        """KL divergence of two windows in a row, or of a validation, and active units."""
        kl = look.window.get("kl")
        if kl is not None:
            low = self.memory["low"] = self.memory.get("low", 0.0) + 1 if kl < self.limits.kl else 0.0
            if low < 2:
                return None
            self.memory["low"] = -4.0  # what is done takes a few windows to show
            return f"the KL divergence is {kl:.2f} nats, so the latents say nothing: {self.reason}"
        active, kl = look.checked.get("active_units"), look.checked.get("heldout_kl")
        if active is None or kl is None or look.progress < 0.1:
            return None
        if kl < self.limits.kl or active < self.limits.active_share * self.latent_dim:
            return f"only {active:.0f} of {self.latent_dim} latents are used ({kl:.1f} nats): {self.reason}"
        return None


def _percent(share: float) -> str:
    return f"{share:.0%}"
