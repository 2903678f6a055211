"""The handover: how a VAE grows into a GAN. `hand_over` takes the steps of docs/handover.md, in their order."""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from vaegan.config import GANConfig, HandoverConfig
from vaegan.errors import TrainingError
from vaegan.model import Model
from vaegan.networks import Critic, Decoder, Encoder, Gaussian
from vaegan.networks.whitening import Whitening
from vaegan.parts.engine import Network
from vaegan.priors import PRIORS, Prior, fit_mixture
from vaegan.types import Labels, Latents


class Grown(NamedTuple):
    """What a VAE hands over to a GAN."""

    generator: Decoder
    encoder: Encoder
    whitening: Whitening
    """From the encoder's coordinates to the generator's."""
    prior: Prior


@torch.no_grad()
def hand_over(vae: Model, posterior: Gaussian, critic: Critic, steps: HandoverConfig, config: GANConfig, seed: int) -> Grown:
    """Turns a VAE, or a GAN that grew out of one, into the start of a GAN, whose fresh critic gets the encoder's trunk.

    `posterior` is of training images, in the encoder's coordinates; `seed` is of the mixture's start. TrainingError if a step
    changed what it must not change.
    """
    encoder, whitening = vae.networks.encoder, vae.networks.whitening
    assert encoder is not None
    assert whitening is not None
    probe = torch.randn(16, vae.latent_dim, generator=torch.Generator().manual_seed(0)).to(vae.device)
    # 1. The generator is the decoder: every tensor is carried over, and both draw the same images.
    generator = trainable_copy(vae.networks.decoder)
    verify_same(vae.networks.decoder, generator, probe)
    # 2. Encodings get mean 0 and covariance 1. A GAN's have them already.
    if steps.whitening and vae.config.stage in ("vae", "joint"):
        generator, whitening = whiten(generator, posterior, probe)
    # 3. Latents are drawn from where encodings lie.
    is_mixture = config.prior == "mixture"
    prior = fit_mixture(whitening(posterior.mean), seed=seed) if is_mixture else PRIORS[config.prior](vae.latent_dim)
    # 4. The critic sees with the encoder's trunk.
    grow_critic(encoder, critic)
    return Grown(generator, encoder, whitening, prior)


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


@torch.no_grad()
def whiten(generator: Decoder, posterior: Gaussian, probe: Latents) -> tuple[Decoder, Whitening]:
    """Moves the generator to coordinates in which the aggregated posterior has mean 0 and covariance 1.

    m is the mean of that posterior, L the symmetric root of its covariance C = Cov(mu) + diag(mean variance). The first layer's
    weight becomes W L, its bias b + W m, and z' = L^-1 (z - m). Gives a changed copy; TrainingError if it decodes `probe`, in
    the new coordinates, to other images.
    """
    whitening = Whitening.of(posterior.mean, posterior.log_var)
    moved = _moved(generator, whitening.root, whitening.mean)
    before, after, change = deepcopy(generator).cpu(), deepcopy(moved).cpu(), deepcopy(whitening).cpu()
    labels = any_labels(generator, probe)
    if not torch.allclose(after(probe.cpu(), labels), before(change.undo(probe.cpu()), labels), atol=1e-3):
        raise TrainingError("Re-whitening changed the generator: generator(z') differs from decoder(L z' + m).")
    return moved, whitening


@torch.no_grad()
def unwhiten(generator: Decoder, whitening: Whitening) -> Decoder:
    """A copy of the generator in the encoder's own coordinates, where it takes z for L^-1 (z - m)."""
    return _moved(generator, whitening.inverse_root, -whitening.inverse_root @ whitening.mean)


def _moved(generator: Decoder, root: Tensor, mean: Tensor) -> Decoder:
    """A copy whose input z stands for `root z + mean`; computed in float64, which only the processor always has."""
    moved = deepcopy(generator)
    weight, root, mean = (tensor.detach().cpu().double() for tensor in (generator.start.weight, root, mean))
    moved.start.weight.copy_(weight @ root)
    moved.start.bias.copy_(generator.start.bias.cpu().double() + weight @ mean)
    return moved


def grow_critic(encoder: Encoder, critic: Critic) -> Critic:
    """Puts a copy of the encoder's trunk under the head of a fresh critic; TrainingError if they have different tensors."""
    try:
        critic.trunk.load_state_dict(encoder.trunk.state_dict(), strict=True)
    except RuntimeError as error:
        raise TrainingError(f"The encoder's trunk does not fit the critic: {str(error).splitlines()[0]}") from error
    return critic
