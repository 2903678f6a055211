"""What is exported of a model: plain graphs with named inputs and outputs, and how their equality with the model is checked."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vaegan
from vaegan.errors import ModelError
from vaegan.model import Model
from vaegan.types import Images, Latents

TOLERANCE = 1e-5
"""Largest difference from torch: absolute on images in [-1, 1], relative to values of the encoder that are larger than 1."""

BATCHES = (1, 2, 7, 64)  # batch sizes at which an exported graph is compared with the model

Arrays = list[NDArray[np.float32]]


class DecoderGraph(nn.Module):
    """Latents to images, as `Model.decode` gives them."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Latents) -> Images:
        """[batch, latent] to [batch, channel, height, width] in [-1, 1]."""
        images: Tensor = self.decoder(latents)
        return images


class EncoderGraph(nn.Module):
    """Images to the posterior q(z|x), as `Model.posterior` gives it."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Images) -> tuple[Latents, Latents]:
        """[batch, channel, height, width] to mu and log_var, [batch, latent] each."""
        posterior = self.encoder(images)
        return posterior.mean, posterior.log_var


class CodeGraph(nn.Module):
    """Images to their latents, for a plain autoencoder, which has no posterior."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Images) -> Latents:
        """[batch, channel, height, width] to [batch, latent]."""
        mean: Tensor = self.encoder(images).mean
        return mean


@dataclass(frozen=True)
class Graph:
    """One network of a model, ready to be exported."""

    name: str  # decoder, generator (a GAN's decoder), encoder or prior; files are named by it
    module: nn.Module
    input: str
    outputs: tuple[str, ...]
    facts: dict[str, str]  # travels inside the file
    examples: Tensor  # 64 inputs: latents from the prior, images that the model makes of them, or noise

    def expected(self, inputs: Tensor) -> Arrays:
        """What torch computes."""
        with torch.inference_mode():
            outputs = self.module(inputs)
        return [part.numpy() for part in (outputs if isinstance(outputs, tuple) else (outputs,))]

    def difference(self, computed: Callable[[list[NDArray[np.float32]]], list[Arrays]]) -> float:
        """The largest difference from torch, over all batch sizes, of what another implementation computes, if tolerable."""
        batches = [self.examples[:count] for count in BATCHES]
        worst: list[float] = []
        for inputs, outputs in zip(batches, computed([batch.numpy() for batch in batches]), strict=True):
            pairs = zip(outputs, self.expected(inputs), strict=True)
            worst += [float((np.abs(found - wanted) / np.maximum(1, np.abs(wanted))).max()) for found, wanted in pairs]
        # Not `>`, which would let nan pass.
        if not all(value <= TOLERANCE for value in worst):
            raise ModelError(
                f"The exported {self.name} differs from the model by {max(worst):.1e}, and {TOLERANCE:g} is the most that is "
                "accepted. Nothing was written."
            )
        return max(worst)


def graphs(model: Model) -> list[Graph]:
    """The graphs of a model, with copies of its weights on the CPU: decoder or generator, encoder, prior or mixture if there."""
    networks = copy.deepcopy(model.networks).to("cpu", memory_format=torch.contiguous_format)
    count = max(BATCHES)
    if model.has_prior:
        latents = model.latents(count)
    else:  # only its encoder knows the scale of a plain autoencoder's latents
        noise = torch.randn(count, model.latent_dim, generator=torch.Generator().manual_seed(0))
        latents = model.encode(model.decode(noise)).cpu()
    images = model.decode(latents).cpu()
    name, facts = "generator" if model.config.stage == "gan" else "decoder", _facts(model)
    made = [Graph(name, DecoderGraph(networks.decoder).eval(), "latents", ("images",), facts, latents)]
    prior: list[Graph] = []
    fitted = networks.mixture if model.has_prior and model.samplers[0] == "mixture" else None
    if fitted is not None or (model.has_prior and model.config.prior != "normal"):
        drawn = fitted or networks.prior
        noise = torch.randn(count, drawn.noise_dim, generator=torch.Generator().manual_seed(0))
        prior = [Graph("mixture" if fitted else "prior", drawn.eval(), "noise", ("latents",), facts, noise)]
    if networks.encoder is None:
        return [*made, *prior]
    mu = {"mu": f"the latent to decode with the {name}"}
    if not model.has_prior:
        return [*made, Graph("encoder", CodeGraph(networks.encoder).eval(), "images", ("mu",), facts | mu, images)]
    words = {
        "mu": mu["mu"] + ": the mean of q(z|x)",
        "log_var": "log-variance of q(z|x), a number for each dimension",
        "sampling": "z = mu + exp(log_var / 2) * eps, eps ~ N(0, I)",
    }
    made.append(Graph("encoder", EncoderGraph(networks.encoder).eval(), "images", ("mu", "log_var"), facts | words, images))
    return [*made, *prior]


def _facts(model: Model) -> dict[str, str]:
    config = model.config
    variance = {} if config.variance is None else {"variance": repr(config.variance)}
    return {
        "software": f"vaegan {vaegan.__version__}",
        "stage": config.stage,
        "size": str(config.size),
        "channels": str(config.channels),
        "latent": str(model.latent_dim),
        "range": "[-1, 1]",
        "layout": "float32 [batch, channel, height, width]",
        "prior": model.networks.prior.words if model.has_prior else "none",
    } | variance


def shape_of(graph: Graph) -> str:
    """The input's shape in words, such as latents [batch, 64]."""
    return f"{graph.input} {json.dumps(['batch', *graph.examples.shape[1:]])}".replace('"', "")


def traced(graph: Graph) -> torch.export.ExportedProgram:
    """The graph as torch.export sees it for any batch, without the source lines and paths that torch notes in it."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(graph.module, (graph.examples[:2],), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        for note in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(note, None)
    program.example_inputs = None  # nothing needs them, and they would be stored
    return program
