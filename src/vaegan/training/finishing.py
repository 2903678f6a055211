"""Finishers: what is done once to a kept model, each reported before and after. A new one is a function and one line here."""

from collections.abc import Callable
from typing import Any

from vaegan.metrics.watch import SampleScores
from vaegan.model import Model
from vaegan.priors import Mixture, fit_mixture
from vaegan.training.build import StageInputs

Finisher = Callable[[Model, StageInputs], dict[str, Any] | None]
"""Changes a model; what it set, for run.json. None where it changed nothing."""


def narrow_prior(model: Model, inputs: StageInputs) -> dict[str, Any] | None:
    """Narrows the mixture that a grown GAN draws from: fewer odd samples, and fewer kinds."""
    temperature = inputs.config.gan.temperature
    if model.config.prior != "mixture" or temperature == 1:
        return None
    assert isinstance(model.networks.mixture, Mixture)
    model.networks.mixture = model.networks.mixture.tempered(temperature)
    return {"temperature": temperature}


FINISHERS: dict[str, tuple[Finisher, ...]] = {"gan": (narrow_prior,)}
"""By stage, in their order."""


def finish_model(model: Model, inputs: StageInputs, facts: dict[str, Any]) -> Model:
    """Adds what is learned once, at the end: a mixture over encoded images where there is none, and what finishers do.

    `facts` gets what each finisher set, and the scores of samples before and after it.
    """
    if model.has_encoder and model.config.prior != "mixture":
        encoded = model.whitened(inputs.posterior(model).mean)
        model.networks.mixture = fit_mixture(encoded, seed=inputs.mixture_seed).to(model.device)
    finishers = FINISHERS.get(model.config.stage, ()) if inputs.config.recipe != "classic-gan" else ()
    scores, finished = model_scores(model, inputs) if finishers else {}, []
    for finisher in finishers:
        if (found := finisher(model, inputs)) is not None:
            before, scores = scores, model_scores(model, inputs)
            finished.append({"name": finisher.__name__, "set": found, "before": before, "after": scores})
    if finished:
        facts["finished_by"] = finished
    return model


def model_scores(model: Model, inputs: StageInputs, count: int = 512) -> dict[str, float]:
    """What validations say of samples, of those that a kept model draws."""
    images, labels = inputs.heldout(count)
    samples = model.sample(len(images), seed=1, labels=labels).to(images.device)
    known = inputs.known()
    scores = SampleScores()(samples, images, None if known is None else known.images)
    return {name: float(value) for name, value in scores.items()}
