"""The table of studies."""

from vaegan.errors import RequestError
from vaegan.studies.ae_vs_vae import AE_VS_VAE
from vaegan.studies.collapse import COLLAPSE
from vaegan.studies.gan_losses import GAN_LOSSES
from vaegan.studies.generator_loss import GENERATOR_LOSS
from vaegan.studies.latent_size import LATENT_SIZE
from vaegan.studies.likelihood import LIKELIHOOD
from vaegan.studies.losses import LOSSES
from vaegan.studies.study import Study
from vaegan.studies.vae_vs_gan import VAE_VS_GAN
from vaegan.studies.warm_start import WARM_START

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (LOSSES, AE_VS_VAE, LATENT_SIZE, GENERATOR_LOSS, GAN_LOSSES, WARM_START, VAE_VS_GAN, LIKELIHOOD, COLLAPSE)
}


def find_study(name: str) -> Study:
    """The study of that name; raises a RequestError that lists them if there is none."""
    if name not in STUDIES:
        raise RequestError(f"There is no study {name!r}; the studies: {', '.join(STUDIES)}. See vaegan study --list.")
    return STUDIES[name]
