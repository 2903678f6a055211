"""What is done once, at the end of a stage: a mixture over encoded images where there is none, and scores of samples."""

from vaegan.metrics.watch import SampleScores
from vaegan.model import Model
from vaegan.priors import fit_mixture
from vaegan.training.build import StageInputs


def finish_model(model: Model, inputs: StageInputs) -> Model:
    """Fits the mixture that a model draws its samples from, if it can encode and was not trained with one."""
    if model.has_encoder and model.config.prior != "mixture":
        encoded = model.whitened(inputs.posterior(model).mean)
        model.networks.mixture = fit_mixture(encoded, seed=inputs.mixture_seed).to(model.device)
    return model


def model_scores(model: Model, inputs: StageInputs, count: int = 512) -> dict[str, float]:
    """What validations say of samples, of those that a kept model draws."""
    images, labels = inputs.heldout(count)
    samples = model.sample(len(images), seed=1, labels=labels).to(images.device)
    known = inputs.known()
    scores = SampleScores()(samples, images, None if known is None else known.images)
    return {name: float(value) for name, value in scores.items()}
