"""Study losses: squared error summed, averaged, cross-entropy, and each of the two terms alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vaegan.charts import Axis
from vaegan.config import VAEConfig
from vaegan.data import TRAIN, TrainingBatches
from vaegan.files import atomic_path
from vaegan.model import Model
from vaegan.networks import Decoder, Encoder
from vaegan.objectives.gaussian import effective_beta
from vaegan.parts.schedule import Clock
from vaegan.randomness import keyed_seed
from vaegan.recipes.vae import VAE
from vaegan.studies.measures import autoencoding, heldout_images, sampling, training_images
from vaegan.studies.sheets import save_last
from vaegan.studies.study import ComputedArm, Numbers, Picture, Results, Setting, Story, Study, Subject, TrainedArm, Work, some
from vaegan.training.engine import FabricEngine
from vaegan.types import Images

SUM, MEAN, CROSS = "squared error, summed", "squared error, averaged", "cross-entropy"
NO_RECONSTRUCTION, NO_KL, CALIBRATED = "reconstruction weight 0", "KL weight 0", "calibrated (ours)"
STEPS, BATCH = 100, 128  # of the arm that is watched step by step: the source saw its loss vanish after 40
SOURCE_RATE = 1e-3  # of Adam in the source: how many steps the loss needs to vanish depends on it
WATCHED = "KL alone, step by step"
FEW, FEW_IMAGES = ", 500 images", 500  # few enough to be learned by heart: where a regulariser has something to do
FEW_SUM, FEW_NO_KL = SUM + FEW, NO_KL + FEW
PREPARED = "the 500 images"


def arms(setting: Setting) -> Sequence[ComputedArm | TrainedArm]:
    """The four losses of the source and its fifth in code, ours, the vanishing loss by steps, KL on and off for few images."""
    base = replace(setting.base, recipe="vae")

    def arm(label: str, **changes: object) -> TrainedArm:
        return TrainedArm(label, replace(base, vae=replace(base.vae, **changes)))

    few = setting.folder / "few.npy"
    cross = arm(CROSS, objective="cross-entropy")  # on [0, 1], so the decoder must end there too
    return [
        arm(SUM, objective="squared-error"),
        arm(MEAN, objective="mean-squared-error"),
        replace(cross, config=replace(cross.config, network=replace(base.network, output="sigmoid"))),
        arm(NO_RECONSTRUCTION, objective="squared-error", reconstruction_weight=0.0),
        arm(NO_KL, objective="squared-error", kl_weight=0.0),
        arm(CALIBRATED, objective="calibrated"),
        ComputedArm(WATCHED, watch, images=STEPS * BATCH / 1e6),
        ComputedArm(PREPARED, prepare_few),
        replace(arm(FEW_SUM, objective="squared-error"), data=few),
        replace(arm(FEW_NO_KL, objective="squared-error", kl_weight=0.0), data=few),
    ]


def prepare_few(work: Work) -> Numbers:
    """Puts some training images aside as a data set of their own, as `few.npy`; no held-out image is among them."""
    dataset = work.setting.dataset
    train = dataset.indices(TRAIN)
    # The largest hashes: where the data name their own test images, arrays with small ones would be test images here.
    chosen = train[dataset.contents[train].argsort(kind="stable")][-FEW_IMAGES:]
    with atomic_path(work.setting.folder / "few.npy") as temporary:
        np.save(temporary, np.asarray(dataset.images[chosen]))
    return {"prepared": len(chosen)}


def watch(work: Work) -> Numbers:
    """The loss of the first steps with reconstruction weight 0, in batches of 128 as in the source."""
    config, dataset = work.setting.base, work.setting.dataset
    loss: dict[str, Any] = {"objective": "squared-error", "reconstruction_weight": 0.0, "kl_warmup": 0.0, "batch_size": BATCH}
    rates: dict[str, Any] = {"optimizer": "adam", "learning_rate": SOURCE_RATE, "final_learning_rate": SOURCE_RATE}
    settings = VAEConfig(**loss | rates)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(work.seed, "losses"))
        encoder = Encoder(config.network, dataset.config.shape, dataset.channels)
        decoder = Decoder(config.network, dataset.config.shape, dataset.channels)
    recipe = VAE(settings, encoder, decoder, FabricEngine(config.device, work.seed))
    batches = TrainingBatches(dataset, batch_size=BATCH, seed=work.seed)
    losses: list[float] = []
    for seen in range(0, STEPS * BATCH, BATCH):
        losses.append(float(recipe.step(batches.at(seen), Clock(seen, STEPS * BATCH, BATCH))["loss"]))
        work.tick(seen / (STEPS * BATCH))
    fallen = next((step for step, loss in enumerate(losses) if loss < 0.01 * losses[0]), None)
    return {"losses": losses, "fallen_at": fallen}


def measure(subject: Subject) -> Numbers:
    """Error and rate on training and held-out images, samples, and the effective beta where it is defined."""
    dataset, config = subject.setting.dataset, subject.arm.config.vae
    heldout = heldout_images(dataset, 1000)
    found = autoencoding(subject.model, heldout)
    train = autoencoding(subject.model, training_images(subject.dataset, len(heldout)))["error"]
    values, weight = heldout[0].numel(), config.reconstruction_weight
    betas = {"squared-error": 1.0, "mean-squared-error": 1 / values, "calibrated": 1 / (2 * found.get("variance", 1.0))}
    if weight > 0 and config.objective in betas:
        found["beta"] = effective_beta(weight * betas[config.objective], config.kl_weight)
    found["drawn_error"] = drawn_error(subject.model, heldout)
    found["share_of_variance"] = 1 - found["drawn_error"] / float(heldout.var(0, unbiased=False).mean())
    found["known"] = len(subject.dataset.indices(TRAIN))
    return found | {"train_error": train, "gap": found["error"] / train - 1} | sampling(subject.model, dataset)


@torch.no_grad()
def drawn_error(model: Model, images: Images) -> float:
    """Squared error a value of images decoded from one draw of the posterior each, as the decoder was trained."""
    mean, log_var = (part.cpu() for part in model.posterior(images))
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
    decoded = model.decode(mean + torch.exp(log_var / 2) * noise).cpu()
    return float((decoded - images).square().mean())


def tell(results: Results) -> Story:
    """What each loss did."""
    mean, trained = results.mean, [label for label in results.labels if label not in (WATCHED, PREPARED, FEW_SUM, FEW_NO_KL)]
    collapsed = [label for label in trained if mean(label, "active_units") < 1]
    watched = results.of(WATCHED)[0].last
    losses = watched["losses"]
    sentences = some(
        *([lambda: f"Collapsed, with no active unit, all samples and all reconstructions alike: {', '.join(collapsed)}."]
          if collapsed else []),
        lambda: (
            f"Averaging the error over the {round(mean(MEAN, 'squared_error') / mean(MEAN, 'error')):,} values of an image "
            f"beside a summed KL is an effective beta of {mean(MEAN, 'beta'):,.0f}, against {mean(SUM, 'beta'):g} for the sum "
            f"and {mean(CALIBRATED, 'beta'):.3f} for the calibrated loss. Decoded from draws of the posterior it explains "
            f"{max(0.0, mean(MEAN, 'share_of_variance')):.0%} of the images' variance, the sum "
            f"{mean(SUM, 'share_of_variance'):.0%}, the calibrated loss "
            f'{mean(CALIBRATED, "share_of_variance"):.0%}. The source calls the averaged version "in range"; '
            + ("it is the one that collapses." if MEAN in collapsed else
               "here it has not collapsed altogether, but that is where it is going.")
        ),
        lambda: _fall(watched["fallen_at"], losses),
        lambda: (
            f"Without KL the rate is {mean(NO_KL, 'kl'):,.0f} nats (with it {mean(SUM, 'kl'):.0f}) and the held-out error "
            f"{mean(NO_KL, 'error'):.4f} (with it {mean(SUM, 'error'):.4f}), but samples of the prior are at distance "
            f"{mean(NO_KL, 'distance'):.0f} instead of {mean(SUM, 'distance'):.0f} (real images: "
            f"{mean(SUM, 'real_distance'):.0f}): nothing showed the encoder where the prior is."
        ),
        lambda: _gap(mean(SUM, "gap"), mean(NO_KL, "gap")),
        lambda: regularises(results),
    )  # fmt: skip
    curve = {"loss / loss at the start": [(step + 1.0, loss / losses[0]) for step, loss in enumerate(losses)]}
    limit = {"0.01": [(1.0, 0.01), (float(STEPS), 0.01)]}
    title, x, y = (
        "Reconstruction weight 0: the loss that vanishes",
        Axis(f"steps of {BATCH} images"),
        Axis("loss, start = 1", log=True),
    )
    caption = "With the reconstruction switched off the KL alone is left, and is soon nothing."
    pictures = [results.lines("vanishing.svg", curve | limit, title, x, y, caption)]
    answer: dict[str, Any] = {"collapsed": collapsed, "fallen_at_step": watched["fallen_at"]}
    if trained:
        best = min(trained, key=lambda label: mean(label, "distance"))
        sentences.append(f"Samples come nearest to real images with: {best} ({mean(best, 'distance'):.0f}).")
        answer["nearest_samples"] = best
    files = {name: sorted(run.glob("*/samples/*-reconstructions.png")) for name, run in results.folders(trained).items()}
    if save_last(results.folder / "reconstructions.png", files):
        still = (
            "Held-out images (above) and what each loss keeps of them (below), decoded from the posterior's mean. Where the "
            "posterior collapsed that is a latent the decoder has never seen: grey instead of the mean image."
        )
        pictures.insert(0, Picture("reconstructions.png", still))
    return Story(sentences, pictures, answer)


def _fall(fallen: int | None, losses: list[float]) -> str:
    words = f"With reconstruction weight 0 the loss is the KL, {losses[0]:.2f} nats before the first step. "
    if fallen is None:
        stands = losses[-1] / losses[0]
        return f"{words}After {len(losses)} steps of {BATCH} it stands at {stands:.3f} of that: the source's fall is not seen."
    return (
        f"{words}It falls below 0.01 of that at step {fallen} of batch {BATCH}; the source saw its loss near 0 after about "
        f"40. At step 40 it is {losses[40] / losses[0]:.4f} of the start. The samples stay noise: nothing ever showed the "
        "decoder what an image is."
    )


def _gap(with_kl: float, without: float) -> str:
    verdict = "KL narrows the gap." if with_kl < without else "KL does not narrow the gap."
    if max(with_kl, without) < OVERFITTED:
        verdict = "After this many images neither overfits, so there is nothing to regularise."
    words = "Does KL regularise? Held-out error is over training error by"
    return f"{words} {with_kl:+.1%} with KL and {without:+.1%} without. {verdict}"


def regularises(results: Results) -> str:
    """Whether KL regularises where there is something to learn by heart."""
    mean = results.mean
    if mean(PREPARED, "prepared") < FEW_IMAGES:
        return f"There are fewer than {FEW_IMAGES} training images, so what they do when there are few is what is said above."
    gaps, errors = ([mean(label, name) for label in (FEW_SUM, FEW_NO_KL)] for name in ("gap", "error"))
    words = (
        f"The same number of images shown, but of {mean(FEW_SUM, 'known'):,.0f} over and over: {gaps[0]:+.0%} with KL, "
        f"{gaps[1]:+.0%} without; held-out error {errors[0]:.4f} and {errors[1]:.4f}. "
    )
    if max(gaps) < OVERFITTED:
        return f"{words}Even these are not learned by heart yet."
    if gaps[0] >= gaps[1]:
        return f"{words}KL does not narrow the gap."
    return words + (
        "KL regularises: the gap is narrower and held-out images are nearer, too."
        if errors[0] < errors[1]
        else "KL narrows the gap, but by making training images worse, not held-out ones better: no gain in what is kept."
    )


OVERFITTED = 0.03  # held-out error over training error - 1

COLUMNS = {
    "error": "held-out error a value",
    "drawn_error": "the same from draws of the posterior",
    "kl": "KL [nats]",
    "active_units": "active units",
    "beta": "effective beta",
    "share_of_variance": "variance explained",
    "gap": "held-out / training - 1",
    "distance": "distance of samples x1000",
    "sharpness": "sharpness, real = 1",
}

QUESTION = "What does each loss do? Squared error summed, averaged, cross-entropy, reconstruction alone, KL alone."
SOURCE = "the VAE notes with ablations: four losses, and a fifth in their code"
LOSSES = Study("losses", QUESTION, SOURCE, arms, measure, tell, COLUMNS)
