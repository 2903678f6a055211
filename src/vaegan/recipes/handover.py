"""The handover: how a VAE grows into a GAN. `hand_over` takes the steps of docs/handover.md, in their order."""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from vaegan.config import GANConfig
from vaegan.errors import TrainingError
from vaegan.model import Model
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.parts.engine import Network
from vaegan.priors import PRIORS, Prior, fit_mixture
from vaegan.types import Labels, Latents


class Grown(NamedTuple):
    """What a VAE hands over to a GAN."""

    generator: Decoder
    encoder: Encoder
    prior: Prior


@torch.no_grad()
def hand_over(vae: Model, means: Latents, critic: Critic, config: GANConfig, seed: int) -> Grown:
    """Turns a VAE, or a GAN that grew out of one, into the start of a GAN, whose fresh critic gets the encoder's trunk.

    `means` are encodings of training images; `seed` is of the mixture's start. TrainingError if a step changed what it must not
    change.
    """
    encoder = vae.networks.encoder
    assert encoder is not None
    probe = torch.randn(16, vae.latent_dim, generator=torch.Generator().manual_seed(0)).to(vae.device)
    # 1. The generator is the decoder: every tensor is carried over, and both draw the same images.
    generator = trainable_copy(vae.networks.decoder)
    verify_same(vae.networks.decoder, generator, probe)
    # 2. Latents are drawn from where encodings lie.
    prior = fit_mixture(means, seed=seed) if config.prior == "mixture" else PRIORS[config.prior](vae.latent_dim)
    # 3. The critic sees with the encoder's trunk.
    grow_critic(encoder, critic)
    return Grown(generator, encoder, prior)


def trainable_copy(network: Network) -> Network:
    """A copy that shares nothing with the original and can be trained."""
    return deepcopy(network).requires_grad_(True).train()


@torch.no_grad()
def verify_same(decoder: Decoder, generator: Decoder, probe: Latents) -> None:
    """TrainingError unless two decoders hold equal tensors under equal names and decode `probe` to equal images."""
    given, grown = decoder.state_dict(), generator.state_dict()
    differing = [name for name in given.keys() | grown.keys() if not _equal(given.get(name), grown.get(name))]
    if differing:
        raise TrainingError(f"The handover lost {len(differing)} of {len(given)} tensors, first {sorted(differing)[0]}.")
    # On the processor, where the same weights give the same bits.
    first, second = (deepcopy(network).cpu()(probe.cpu(), any_labels(network, probe)) for network in (decoder, generator))
    if not torch.equal(first, second):
        raise TrainingError("The handover changed the decoder: generator(z) differs from decoder(z).")


def any_labels(decoder: Decoder, latents: Latents) -> Labels | None:
    """Labels to try a decoder with, each in turn; None for one that takes none."""
    if decoder.label_bias is None:
        return None
    return torch.arange(len(latents)) % decoder.label_bias.num_embeddings


def _equal(first: Tensor | None, second: Tensor | None) -> bool:
    return first is not None and second is not None and torch.equal(first, second)


def grow_critic(encoder: Encoder, critic: Critic) -> Critic:
    """Puts a copy of the encoder's trunk under the head of a fresh critic; TrainingError if they have different tensors."""
    try:
        critic.trunk.load_state_dict(encoder.trunk.state_dict(), strict=True)
    except RuntimeError as error:
        raise TrainingError(f"The encoder's trunk does not fit the critic: {str(error).splitlines()[0]}") from error
    return critic
