"""Study likelihood: the intractable integral seen to converge: ELBO and IWAE-k against a known truth, and on a VAE."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from vaegan.charts import Axis
from vaegan.evaluation.inference import log_weights
from vaegan.metrics.posterior import bits_per_dimension
from vaegan.model import Model
from vaegan.objectives.latent import importance_weighted_bound
from vaegan.randomness import keyed_seed
from vaegan.studies.measures import heldout_images
from vaegan.studies.study import Arm, ComputedArm, Numbers, Results, Setting, Story, Study, Subject, TrainedArm, Work, some

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
TRAINED_IMAGES = 16  # held-out images whose p(x) is estimated: 5,000 decoded latents each
VAE = "the VAE on these images"
EXACT, DIAGONAL = "exact posterior", "best diagonal posterior"
WIDE, PRIOR = "posterior, twice too wide", "the prior (plain Monte Carlo)"


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """z ~ N(0, I), x ~ N(W z, deviation^2 I): probabilistic PCA (Tipping & Bishop 1999). Everything in float64."""

    weight: Tensor  # W [values, latents]
    deviation: float

    @classmethod
    def make(cls, values: int, latents: int, deviation: float, seed: int) -> "LinearGaussian":
        """A random one, whose latents are correlated given x."""
        generator = Generator().manual_seed(seed)
        return cls(torch.randn(values, latents, generator=generator, dtype=torch.float64) / math.sqrt(latents), deviation)

    def draw(self, count: int, generator: Generator) -> Tensor:
        """[count, values]."""
        values, latents = self.weight.shape
        z = torch.randn(count, latents, generator=generator, dtype=torch.float64)
        noise = torch.randn(count, values, generator=generator, dtype=torch.float64)
        return z @ self.weight.T + self.deviation * noise

    def log_evidence(self, x: Tensor) -> Tensor:
        """The evidence log p(x) = log N(x; 0, W W' + deviation^2 I), [count] [nats]."""
        covariance = self.weight @ self.weight.T + self.deviation**2 * torch.eye(x.shape[1], dtype=x.dtype)
        return MultivariateNormal(x.new_zeros(x.shape[1]), covariance).log_prob(x)

    def log_weights(self, x: Tensor, proposal: "Posterior", draws: int, generator: Generator) -> Tensor:
        """The weights log p(x|z) + log p(z) - log q(z|x) for `draws` latents of each x, [count, draws] [nats]."""
        noise = torch.randn(len(x), draws, self.weight.shape[1], generator=generator, dtype=torch.float64)
        z = (x @ proposal.gain.T)[:, None] + noise @ proposal.root.T
        log_q = _standard_log_normal(noise) - proposal.root.diagonal().log().sum()
        residual = (x[:, None] - z @ self.weight.T) / self.deviation
        return _standard_log_normal(residual) - x.shape[1] * math.log(self.deviation) + _standard_log_normal(z) - log_q

    def proposals(self) -> dict[str, "Posterior"]:
        """The posterior itself, the best one with a diagonal covariance (Bishop 2006, Eq. 10.13), a wide one, and the prior."""
        identity = torch.eye(self.weight.shape[1], dtype=torch.float64)
        precision = identity + self.weight.T @ self.weight / self.deviation**2
        gain = torch.linalg.solve(precision, self.weight.T) / self.deviation**2
        root = torch.linalg.cholesky(torch.linalg.inv(precision))
        return {
            EXACT: Posterior(gain, root),
            DIAGONAL: Posterior(gain, torch.diag(precision.diagonal().rsqrt())),
            WIDE: Posterior(gain, 2 * root),
            PRIOR: Posterior(torch.zeros_like(gain), identity),
        }


@dataclass(frozen=True, eq=False)
class Posterior:
    """q(z|x) = N(gain x, root root'), root lower triangular."""

    gain: Tensor
    root: Tensor

    def elbo(self, model: LinearGaussian, x: Tensor) -> float:
        """Mean of log p(x) - KL(q || p(z|x)) over the rows of x, in closed form [nats]."""
        exact = model.proposals()[EXACT]
        ours, theirs = (MultivariateNormal(x @ q.gain.T, scale_tril=q.root) for q in (self, exact))
        return float((model.log_evidence(x) - kl_divergence(ours, theirs)).mean())


def _standard_log_normal(x: Tensor) -> Tensor:
    return -0.5 * (x.square().sum(-1) + x.shape[-1] * math.log(2 * math.pi))


VALUES, LATENTS, TOY_IMAGES = 20, 16, 200
TOY = LinearGaussian.make(VALUES, LATENTS, deviation=0.2, seed=0)


def arms(setting: Setting) -> Sequence[Arm]:
    """Four ways to draw latents for the toy, and a VAE."""
    toys = [ComputedArm(label, _toy(proposal)) for label, proposal in TOY.proposals().items()]
    return [*toys, TrainedArm(VAE, replace(setting.base, recipe="vae"))]


def _toy(proposal: Posterior) -> Callable[[Work], Numbers]:
    def compute(work: Work) -> Numbers:
        generator = Generator().manual_seed(keyed_seed(work.seed, "likelihood toy"))
        x = TOY.draw(TOY_IMAGES, generator)
        truth = TOY.log_evidence(x)
        bounds: dict[int, list[float]] = {count: [] for count in COUNTS}
        for at in range(0, len(x), 20):  # 20 images x 5,000 latents at a time
            log_weights = TOY.log_weights(x[at : at + 20], proposal, max(COUNTS), generator)
            for count in COUNTS:
                bounds[count] += iwae(log_weights, count).tolist()
            work.tick(at / len(x))
        curve = {str(count): sum(values) / len(values) for count, values in bounds.items()}
        true, elbo = float(truth.mean()), proposal.elbo(TOY, x)
        return {"iwae": curve, "truth": true, "elbo": curve["1"], "exact_elbo": elbo, "iwae_5000": curve["5000"],
                "gap_1": true - curve["1"], "gap_5000": true - curve["5000"]}  # fmt: skip

    return compute


def iwae(log_weights: Tensor, count: int) -> Tensor:
    """IWAE-k of each image [nats], averaged over groups of k = `count` draws: a lower bound on log p(x), tighter for larger k.

    The weights are log p(x|z) + log p(z) - log q(z|x) of independent z ~ q, [images, draws]. Draws that fill no group are unused.
    """
    groups = log_weights.shape[1] // count
    grouped = log_weights[:, : groups * count].unflatten(1, (groups, count)).permute(2, 0, 1)
    return importance_weighted_bound(grouped).mean(1)


def measure(subject: Subject) -> Numbers:
    """IWAE-k of held-out images, dequantised uniformly, and where that is a code length its bits."""
    # A density of 256 grey levels can be made as large as one likes; noise of one level's width forbids that.
    images = heldout_images(subject.setting.dataset, TRAINED_IMAGES)
    weights = log_weights(subject.model, images, max(COUNTS), subject.seed, lambda what, done, total: subject.tick(done / total))
    means = [float(iwae(weights.double().T, count).mean()) for count in COUNTS]
    curve = {str(count): value for count, value in zip(COUNTS, means, strict=True)}
    found: Numbers = {"iwae": curve, "elbo": curve["1"], "iwae_5000": curve["5000"], "values": images[0].numel()}
    if has_bits(subject.model):
        bound = torch.tensor(curve["5000"])
        found["bits_per_dim"] = float(bits_per_dimension(bound, images[0].numel(), subject.model.config.likelihood))
    return found


def has_bits(model: Model) -> bool:
    """Whether log p(x) of 8-bit images is a code length: there is a p(x|z), and it is not one of binary images."""
    return model.has_observation_noise and model.config.likelihood != "bernoulli"


def bits_of_model(model: Model, images: Tensor, draws: int, seed: int) -> float:
    """Bits a value of some images by IWAE with so many draws, of a model that `has_bits`; an upper bound."""
    weights = log_weights(model, images, draws, seed, lambda what, done, total: None)
    bound = iwae(weights.double().T, draws).mean()
    return float(bits_per_dimension(bound, images[0].numel(), model.config.likelihood))


def tell(results: Results) -> Story:
    """The gap as k grows."""
    toys = [label for label in results.labels if label != VAE]
    truth = results.mean(toys[0], "truth")
    gaps = {label: [(float(k), truth - _mean_curve(results, label)[k]) for k in COUNTS] for label in toys}
    mean = results.mean
    sentences = [
        f"A toy with {LATENTS} latents and {VALUES} values, where log p(x) is known: {truth:.2f} nats on average. "
        f"With the exact posterior one draw gives it ({mean(EXACT, 'elbo'):.2f}): the gap of the ELBO is KL(q || posterior) "
        "and nothing else. With the best diagonal posterior, which is what a VAE's encoder can say, one draw is "
        f"{mean(DIAGONAL, 'gap_1'):.2f} nats short (closed form: {truth - mean(DIAGONAL, 'exact_elbo'):.2f}), 5,000 draws "
        f"{mean(DIAGONAL, 'gap_5000'):.3f}.",
        f"A posterior twice too wide is {mean(WIDE, 'gap_1'):.1f} nats short with one draw and {mean(WIDE, 'gap_5000'):.2f} "
        "with 5,000.",
        f"Drawing latents from the prior, the sum over z that the derivation starts with, is {mean(PRIOR, 'gap_1'):,.0f} nats "
        f"short with one draw and still {mean(PRIOR, 'gap_5000'):.1f} with 5,000: that is what intractable means. The encoder "
        "is there to say where to look, and the weights p(z)/q(z|x), which the sum in the source leaves out, correct for "
        "having looked there.",
        *some(lambda: _trained(results)),
    ]
    x, y = Axis("k, draws of the latent", log=True), Axis("log p(x) - bound [nats]", log=True, low=1e-3)
    caption = "How far each bound is from the known log p(x), by what the latents are drawn from (cut off at 0.001)."
    pictures = [results.lines("toy.svg", gaps, "Toy: nats that the bound lacks", x, y, caption, marks=True)]
    if VAE in results.labels:
        bounds, y, title = _mean_curve(results, VAE), Axis("bound on log p(x) [nats]"), "The VAE on held-out images"
        curve = {"IWAE-k": [(float(k), bounds[k]) for k in COUNTS]}
        caption = "The bound rises with k; the truth is above it."
        pictures.append(results.lines("trained.svg", curve, title, x, y, caption, marks=True))
    measured = [name for name in ("elbo", "iwae_5000", "bits_per_dim") if VAE in results.labels and results.values(VAE, name)]
    return Story(sentences, pictures, {"truth": truth} | {name: mean(VAE, name) for name in measured})


def _trained(results: Results) -> str:
    bounds = _mean_curve(results, VAE)
    gained = {k: bounds[k] - bounds[1] for k in COUNTS}
    half = next(k for k in COUNTS if gained[k] >= 0.5 * gained[COUNTS[-1]])
    bits = results.values(VAE, "bits_per_dim")
    return (
        f"On the trained VAE: ELBO {bounds[1]:.1f} nats, IWAE-5000 {bounds[5000]:.1f}, {gained[5000]:.1f} nats more, half "
        f"of them by k = {half}"
        + (f". In bits a value: {results.mean(VAE, 'bits_per_dim'):.3f} (dequantised; at" if bits else
           ", and no bits a value: its p(x|z) is for binary images, and of grey ones no likelihood (at")
        + f" most {TRAINED_IMAGES} held-out images). Every value is a lower bound; how far the last one is from the truth "
        "nobody knows here, which is why the toy is beside it."
    )  # fmt: skip


def _mean_curve(results: Results, label: str) -> dict[int, float]:
    curves = [result.last["iwae"] for result in results.of(label)]
    return {k: sum(curve[str(k)] for curve in curves) / len(curves) for k in COUNTS}


COLUMNS = {
    "elbo": "ELBO [nats]",
    "iwae_5000": "IWAE-5000 [nats]",
    "truth": "log p(x) [nats]",
    "gap_1": "ELBO lacks",
    "gap_5000": "IWAE-5000 lacks",
    "bits_per_dim": "bits a value",
}

QUESTION = "What is p(x)? ELBO and IWAE-k for k = 1 to 5000 against a known truth, and on a VAE trained on these images."
SOURCE = "the VAE notes and the VAE derivation: the intractable integral"
LIKELIHOOD = Study("likelihood", QUESTION, SOURCE, arms, measure, tell, COLUMNS, minutes=6.0)
