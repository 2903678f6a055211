"""The handover: how a VAE grows into a GAN. Its decoder becomes the generator, its encoder the critic's trunk.

Each function is one step of docs/handover.md; the recipes decide which are taken.
"""

from copy import deepcopy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaegan.errors import TrainingError
from vaegan.metrics.features import small_images
from vaegan.metrics.sliced import sliced_wasserstein
from vaegan.model import Model
from vaegan.networks import Critic, Decoder, Encoder, Gaussian
from vaegan.networks.whitening import Whitening
from vaegan.recipes.engine import Network, in_blocks
from vaegan.types import Images, Labels, Latents, PerImage


def grow_generator(decoder: Decoder, probe: Latents) -> Decoder:
    """A trainable copy of the averaged decoder, verified: same images for `probe`, every tensor accounted for.

    Raises:
        TrainingError: if any tensor was not carried over exactly.
    """
    generator = trainable_copy(decoder)
    verify_same(decoder, generator, probe)
    return generator


def trainable_copy(network: Network) -> Network:
    """A copy that shares nothing with the original and can be trained."""
    return deepcopy(network).requires_grad_(True).train()


@torch.no_grad()
def verify_same(decoder: Decoder, generator: Decoder, probe: Latents) -> None:
    """Checks that two decoders hold equal tensors under equal names and decode `probe` to equal images.

    Raises:
        TrainingError: naming the first tensor that differs.
    """
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

    With m its mean and L the symmetric root of its covariance C = Cov(mu) + diag(mean variance), the first layer becomes
    W L, b + W m, and z' = L^-1 (z - m).

    Args:
        generator: to be changed (a changed copy is returned).
        posterior: of the training images.
        probe: latents in the new coordinates, to verify with.

    Raises:
        TrainingError: if the moved generator decodes `probe` to other images.
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


@torch.no_grad()
def put_floor(generator: Decoder, floor: float, probe: Latents) -> float:
    """Takes weak details out of what the generator draws from now on; how far that moves a value, on average over `probe`.

    One that was a kept GAN's loses what was set at its end, which it never learned with. It is the one step after which it no
    longer draws what the decoder drew: so it comes after what is verified.
    """
    labels = any_labels(generator, probe)
    labels = None if labels is None else labels.to(probe.device)
    before = generator(probe, labels)
    generator.as_learned(floor)
    return float((generator(probe, labels) - before).abs().mean())


@torch.no_grad()
def strong_directions(generator: Decoder, latents: Latents) -> Tensor:
    """The projection onto the quarter of the latent directions that change coarse images most: what no temperature narrows.

    Samples are odd where much that is weak does not go together; how far the strong directions reach is what a mixture knows
    best, and narrowing them takes contrast and kinds of images away (docs/handover-log.md, "What a temperature should narrow").
    Found by linear regression of coarse images on their latents, in units of the latents' spread. Of fewer than four none is.

    Args:
        generator: decodes.
        latents: draws of its prior, many times as many as it has numbers, [count, latent].

    Returns:
        [latent, latent] on the CPU.
    """
    labels = any_labels(generator, latents)
    told = None if labels is None else labels.to(latents.device)
    images = in_blocks(lambda *block: small_images(generator(*block)), latents, told).cpu().double()
    for own in [] if labels is None else [labels == label for label in labels.unique()]:
        images[own] -= images[own].mean(0)  # what a label changes is not the latents' doing
    z = latents.cpu().double() - latents.cpu().double().mean(0)
    spread = torch.linalg.cholesky(z.T @ z / len(z) + 1e-6 * torch.eye(z.shape[1], dtype=z.dtype))
    effects = torch.linalg.solve_triangular(spread, z.T @ images / len(z), upper=False)
    strongest = torch.linalg.svd(effects, full_matrices=False).U[:, : z.shape[1] // 4]
    return (spread @ strongest @ strongest.T @ torch.linalg.inv(spread)).float()


def grow_critic(encoder: Encoder, critic: Critic) -> Critic:
    """Puts a copy of the encoder's trunk under the head of a fresh critic.

    Raises:
        TrainingError: if the two trunks have different tensors.
    """
    try:
        critic.trunk.load_state_dict(encoder.trunk.state_dict(), strict=True)
    except RuntimeError as error:
        raise TrainingError(f"The encoder's trunk does not fit the critic: {str(error).splitlines()[0]}") from error
    return critic


class Observation(NamedTuple):
    """What the frozen encoder says of a batch."""

    latents: Latents
    """Posterior means in the generator's coordinates."""
    log_vars: Latents
    """Of the posteriors, in the encoder's own coordinates."""
    views: tuple[Tensor, ...]
    """What reconstructions are compared in."""
    labels: Labels | None = None
    """Of a conditional model."""

    def first(self, count: int) -> "Observation":
        """That of the first `count` images."""
        labels = None if self.labels is None else self.labels[:count]
        return Observation(self.latents[:count], self.log_vars[:count], tuple(view[:count] for view in self.views), labels)


class Anchor(nn.Module):
    """Holds G(z) of an encoded image to that image in low frequencies and in the frozen encoder's features.

    Both are coarse on purpose: nothing pulls the generator back to the VAE's blur.
    """

    variances: Tensor

    def __init__(self, encoder: Encoder, whitening: Whitening) -> None:
        """Args: encoder: the VAE's, averaged; copied and frozen. whitening: from its coordinates to the generator's."""
        super().__init__()
        self.encoder = deepcopy(encoder).requires_grad_(False).eval()
        self.whitening = whitening
        self.register_buffer("variances", torch.ones(3))

    @torch.no_grad()
    def calibrate(self, images: Images, labels: Labels | None = None) -> None:
        """Measures the variances of what is compared on some hundred training images, so that errors are relative."""
        views = self._views(images, self.encoder.trunk(images, labels))
        self.variances.copy_(torch.stack([view.var(0).mean().clamp_min(1e-6) for view in views]))

    @torch.no_grad()
    def observe(self, images: Images, labels: Labels | None = None) -> Observation:
        """What the frozen encoder says of `images`, in one pass."""
        features = self.encoder.trunk(images, labels)
        posterior = self.encoder.posterior(features)
        return Observation(self.whitening(posterior.mean), posterior.log_var, self._views(images, features), labels)

    def distance(self, generated: Images, observed: Observation) -> PerImage:
        """Relative squared error of the low-passed image plus that of the features, averaged over their two stages."""
        views = self._views(generated, self.encoder.trunk(generated, observed.labels))
        low_pass, fine, coarse = (
            (view - target).square().flatten(1).mean(1) / variance
            for view, target, variance in zip(views, observed.views, self.variances, strict=True)
        )
        return low_pass + (fine + coarse) / 2

    def _views(self, images: Images, features: list[Tensor]) -> tuple[Tensor, ...]:
        """The low-passed image, and the encoder's features at a quarter and an eighth of the side."""
        return low_passed(images), *(features[min(stage, len(features) - 1)].float() for stage in (1, 2))


def low_passed(images: Images) -> Images:
    """Blocks of 4x4 pixels averaged."""
    return F.avg_pool2d(images, 4)


def low_pass_error(generated: Images, images: Images) -> PerImage:
    """Mean squared error a value after averaging blocks of 4x4 pixels."""
    return (low_passed(generated) - low_passed(images)).square().flatten(1).mean(1)


@torch.no_grad()
def prior_gap(generator: Decoder, prior: Latents, latents: Latents, images: Images, labels: Labels | None = None) -> float:
    """How much further from real images samples of the prior are than decodings of encoded images.

    distance(G(z ~ p), x) - distance(G(z ~ q), x), sliced Wasserstein at a quarter of the size; near 0 is good.

    Args:
        generator: before it learns.
        prior: as many draws of its prior as there are images.
        latents: samples of the posteriors of `images` in the generator's coordinates.
        images: held-out real ones.
        labels: of the images, for a conditional model.
    """
    small = low_passed(images)
    decoded = (in_blocks(lambda *block: low_passed(generator(*block)), z, labels) for z in (prior, latents))
    distances = [sliced_wasserstein(low, small) for low in decoded]
    return distances[0] - distances[1]


@torch.no_grad()
def check_inverse(model: Model, vae_error: float, heldout: Images, labels: Labels | None = None) -> dict[str, float]:
    """Whether the encoder still inverts the generator after the GAN stage.

    Args:
        model: after the GAN stage.
        vae_error: low-pass error of the VAE's reconstructions of (at most 256 of) the same images.
        heldout: validation images.
        labels: of the images, for a conditional model.

    Returns:
        latent_recovery: R^2 of mu(G(z)) against z of the prior.
        low_pass_ratio: low-pass error of reconstructions over the VAE's.
        own_source_nearest: share of reconstructions whose nearest held-out image, at a quarter of the size, is their source.
    """
    latents = model.latents(512, seed=1).to(model.device)
    of_samples = None if labels is None else labels.repeat(-(-len(latents) // len(labels)))[: len(latents)]
    recovered = model.encode(model.decode(latents, of_samples), of_samples)
    reconstructions = model.reconstruct(heldout, labels)
    error = low_pass_error(reconstructions[:256], heldout[:256]).mean()
    small, source = (low_passed(images).flatten(1) for images in (reconstructions, heldout))
    nearest = torch.cdist(small, source).argmin(1)
    own = nearest == torch.arange(len(source), device=nearest.device)
    return {
        "latent_recovery": float(1 - (recovered - latents).square().sum() / latents.square().sum()),
        "low_pass_ratio": float(error) / max(vae_error, 1e-12),
        "own_source_nearest": float(own.float().mean()),
    }
