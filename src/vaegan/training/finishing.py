"""What is learned once, at the end of a stage."""

from vaegan.model import Model
from vaegan.priors import fit_mixture
from vaegan.training.build import StageInputs


def finish_model(model: Model, inputs: StageInputs) -> Model:
    """Fits a mixture over encoded training images to a model that can encode and was trained without one."""
    if model.has_encoder and model.config.prior != "mixture":
        model.networks.mixture = fit_mixture(inputs.encodings(model), seed=inputs.mixture_seed).to(model.device)
    return model
