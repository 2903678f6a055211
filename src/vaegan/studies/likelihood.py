"""Study likelihood: the intractable integral seen to converge: ELBO and IWAE-k against a known truth, and on a VAE."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vaegan.charts import Axis, save_lines
from vaegan.evaluation.inference import log_weights
from vaegan.metrics.posterior import bits_per_dimension
from vaegan.model import Model
from vaegan.objectives.latent import importance_weighted_bound
from vaegan.randomness import keyed_seed
from vaegan.studies.linear_gaussian import LinearGaussian, Posterior
from vaegan.studies.measures import heldout_images
from vaegan.studies.sheets import learning
from vaegan.studies.study import (
    Arm,
    ComputedArm,
    Numbers,
    Picture,
    Results,
    Setting,
    Story,
    Study,
    Subject,
    TrainedArm,
    Work,
    some,
)

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
TOY, TOY_IMAGES = LinearGaussian.make(values=20, latents=16, deviation=0.2, seed=0), 200
TRAINED_IMAGES = 16  # held-out images whose p(x) is estimated: 5,000 decoded latents each
VAE = "the VAE on these images"
WIDE, EXACT, DIAGONAL, PRIOR = (
    "posterior, twice too wide",
    "exact posterior",
    "best diagonal posterior",
    "the prior (plain Monte Carlo)",
)


def arms(setting: Setting) -> Sequence[Arm]:
    """Four ways to draw latents for the toy, and a VAE."""
    proposals = {EXACT: TOY.posterior, DIAGONAL: TOY.diagonal_posterior, WIDE: TOY.wide_posterior, PRIOR: TOY.prior}
    toys = [ComputedArm(label, _toy(proposal)) for label, proposal in proposals.items()]
    return [*toys, TrainedArm(VAE, replace(setting.base, recipe="vae"))]


def _toy(proposal: Posterior) -> Callable[[Work], Numbers]:
    def compute(work: Work) -> Numbers:
        generator = torch.Generator().manual_seed(keyed_seed(work.seed, "likelihood toy"))
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
    """IWAE-k of each image, averaged over groups of k draws.

    Args:
        log_weights: log p(x|z) + log p(z) - log q(z|x) of independent z ~ q, [images, draws] [nats].
        count: k; draws that fill no whole group are left out.

    Returns:
        [images] [nats]: a lower bound on log p(x) in expectation, tighter for larger k.
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
        f"A toy with {TOY.latents} latents and {TOY.values} values, where log p(x) is known: {truth:.2f} nats on average. "
        f"With the exact posterior one draw gives it ({mean(EXACT, 'elbo'):.2f}): the gap of the ELBO is KL(q || posterior) "
        "and nothing else. With the best diagonal posterior, which is what a VAE's encoder can say, one draw is "
        f"{mean(DIAGONAL, 'gap_1'):.2f} nats short (closed form: {truth - mean(DIAGONAL, 'exact_elbo'):.2f}), 5,000 draws "
        f"{mean(DIAGONAL, 'gap_5000'):.3f}.",
        _width(mean(WIDE, "gap_1"), mean(WIDE, "gap_5000"), mean(DIAGONAL, "gap_5000")),
        f"Drawing latents from the prior, the sum over z that the derivation starts with, is {mean(PRIOR, 'gap_1'):,.0f} nats "
        f"short with one draw and still {mean(PRIOR, 'gap_5000'):.1f} with 5,000: that is what intractable means. The encoder "
        "is there to say where to look, and the weights p(z)/q(z|x), which the sum in the source leaves out, correct for "
        "having looked there.",
        *some(lambda: _trained(results)),
    ]
    save_lines(results.folder / "toy.svg", gaps, "Toy: nats that the bound lacks", Axis("k, draws of the latent", log=True),
               Axis("log p(x) - bound [nats]", log=True, low=1e-3), marks=True)  # fmt: skip
    pictures = [
        Picture(
            "toy.svg", "How far each bound is from the known log p(x), by what the latents are drawn from (cut off at 0.001)."
        ),
        *some(lambda: _trained_picture(results)),
        *learning(results.folder, results.folders([VAE]), "Samples of the VAE while it learns, always from the same latents."),
    ]
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


def _trained_picture(results: Results) -> Picture:
    bounds = _mean_curve(results, VAE)
    save_lines(results.folder / "trained.svg", {"IWAE-k": [(float(k), bounds[k]) for k in COUNTS]}, "The VAE on held-out images",
               Axis("k, draws of the latent", log=True), Axis("bound on log p(x) [nats]"), marks=True)  # fmt: skip
    return Picture("trained.svg", "The bound rises with k; the truth is above it.")


def _width(lacks: float, lacks_last: float, diagonal_last: float) -> str:
    words = f"A posterior twice too wide is {lacks:.1f} nats short with one draw and {lacks_last:.2f} with 5,000"
    if lacks_last < diagonal_last:
        return f"{words}, less than the diagonal one: for the ELBO too narrow is better, for many draws too wide."
    return f"{words}, more than the diagonal one."


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

LIKELIHOOD = Study(
    name="likelihood",
    question="What is p(x)? ELBO and IWAE-k for k = 1 to 5000 against a known truth, and on a VAE trained on these images.",
    source="the VAE notes and the VAE derivation: the intractable integral",
    arms=arms,
    measure=measure,
    tell=tell,
    columns=COLUMNS,
    minutes=6.0,
)
