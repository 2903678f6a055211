"""What is measured about a handover, apart from the handover itself: at its start, and after the GAN stage."""

from typing import Any

import torch

from vaegan.metrics.neighbours import own_source_share
from vaegan.metrics.sliced import sliced_wasserstein
from vaegan.model import Model
from vaegan.parts.anchor import low_passed
from vaegan.parts.engine import in_blocks
from vaegan.parts.refit import low_pass_error
from vaegan.recipes.handover import Grown
from vaegan.types import Batch, Images, Labels

COMPARED = 256  # held-out images whose low-passed error is compared
FEWEST_RECOGNISED = 20  # [images] among fewer the nearest one is the right one too easily


@torch.no_grad()
def handover_facts(vae: Model, grown: Grown, heldout: Batch) -> dict[str, Any]:
    """What run.json records about the start of a grown GAN, whose tensors the handover has verified.

    The prior gap is how much further from real images samples of the prior are than decodings of encoded images: sliced
    Wasserstein distance at a quarter of the size; near 0 is good. The GAN's reconstructions are held against the VAE's error.
    """
    images, labels = heldout
    posterior = vae.posterior(*heldout)
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(1)).to(posterior.mean)
    encoded = posterior.mean + torch.exp(posterior.log_var / 2) * noise
    drawn = grown.prior.sample(len(encoded), torch.Generator().manual_seed(0)).to(encoded)
    first = heldout.first(COMPARED)
    return {
        "verified_tensors": len(grown.generator.state_dict()),
        "prior_gap": _distance(grown, drawn, images, labels) - _distance(grown, encoded, images, labels),
        "vae_low_pass_error": float(low_pass_error(vae.reconstruct(*first), first.images).mean()),
    }


def _distance(grown: Grown, latents: torch.Tensor, images: Images, labels: Labels | None) -> float:
    decoded = in_blocks(lambda *block: low_passed(grown.generator(*block)), latents, labels)
    return sliced_wasserstein(decoded, low_passed(images))


@torch.no_grad()
def inverse_facts(model: Model, vae_error: float, heldout: Batch) -> dict[str, Any]:
    """Whether the encoder still inverts the generator after the GAN stage; `vae_error` is the VAE's low-passed error.

    The recovery is R^2 of mu(G(z)) against z of the prior; `own_source_nearest` is the share of reconstructions whose nearest
    held-out image, at a quarter of the size, is their source, or words where there are fewer than 20 images.
    """
    images, labels = heldout
    latents = model.latents(512, seed=1).to(model.device)
    of_samples = None if labels is None else labels.repeat(-(-len(latents) // len(labels)))[: len(latents)]
    recovered = model.encode(model.decode(latents, of_samples).nan_to_num(), of_samples)
    reconstructions = model.reconstruct(images, labels)
    error = low_pass_error(reconstructions[:COMPARED], images[:COMPARED]).mean()
    own = own_source_share(reconstructions, images)
    count = len(images)
    there = "is 1" if count == 1 else f"are {count}"
    too_few = f"needs {FEWEST_RECOGNISED} held-out images, and there {there}"
    return {
        "latent_recovery": float(1 - (recovered - latents).square().sum() / latents.square().sum()),
        "low_pass_ratio": float(error) / max(vae_error, 1e-12),
        "own_source_nearest": own if count >= FEWEST_RECOGNISED else too_few,
    }
