"""Facts about a run and about networks: parameters, multiply-adds, how training went."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaegan.config import GAN_COST, NetworkConfig
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.networks.subpixel import SubPixel
from vaegan.parts.muon import Muon
from vaegan.training.engine import Precision, synchronise
from vaegan.training.journal import read_journal
from vaegan.training.run import find_run


def describe(path: Path) -> dict[str, Any]:
    """Everything `vaegan info` says about a run.

    Raises:
        ModelError: if there is no run.
    """
    folder = find_run(path)
    record = folder.read()
    config, facts = record.config, record.facts
    described: dict[str, Any] = {
        "run": {
            "path": str(folder.path),
            "status": record.status,
            "recipe": config.recipe,
            "minutes_spent": round(record.spent_seconds / 60, 2),
            "precision": record.precision,
            "seed": config.seed,
            "started_from": record.init,
        },
        "data": {"source": record.source, "size": config.data.size, "fit": config.data.fit} | facts.get("data", {}),
        "networks": network_costs(config.network, config.data.size, int(facts.get("data", {}).get("channels", 3))),
    }
    for plan in record.plan:
        described[plan.name] = {"planned_images": plan.images} | facts.get(plan.name, {"status": "not begun"})
        if actions := guard_actions(folder.stage(plan.name) / "metrics.jsonl"):
            described[plan.name]["guards"] = actions
    return described


def guard_actions(journal: Path) -> list[str]:
    """What guards found and did in a stage, in sentences."""
    lines = read_journal(journal) if journal.is_file() else []
    return [f"after {line['seen']:,} images {line['words']}" for line in lines if "guard" in line and "words" in line]


def network_costs(config: NetworkConfig, size: int, channels: int) -> dict[str, dict[str, int]]:
    """Parameters and multiply-adds an image of each network."""
    with torch.random.fork_rng(devices=[]):
        config = replace(config, classes=0)  # a label's biases are next to nothing
        decoder, encoder, critic = (kind(config, size, channels) for kind in (Decoder, Encoder, Critic))
    latents, images = torch.zeros(1, config.latent_dim), torch.zeros(1, channels, size, size)
    pairs: dict[str, tuple[nn.Module, Tensor]] = {
        "decoder": (decoder, latents),
        "encoder": (encoder, images),
        "critic": (critic, images),
    }
    return {
        name: {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "multiply_adds": count_multiply_adds(network, example),
        }
        for name, (network, example) in pairs.items()
    }


@torch.no_grad()
def count_multiply_adds(network: nn.Module, example: Tensor) -> int:
    """Multiplications of the linear and convolutional layers for `example` (batch of 1), by counting in hooks."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            total += inputs[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            total += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, SubPixel):
            total += output.numel() * layer.kernel[0].numel()

    handles = [layer.register_forward_hook(count) for layer in network.modules()]
    network(example)
    for handle in handles:
        handle.remove()
    return total


def measure_speed(
    config: NetworkConfig,
    size: int,
    channels: int,
    batch_size: int = 32,
    device: torch.device | None = None,
    precision: Precision = "float32",
) -> dict[str, float]:
    """Images a second that training will do: the VAE's measured in about two seconds, the GAN's derived from it.

    Args:
        config: of the networks.
        size: side of the images [pixels].
        channels: of the images.
        batch_size: of training [images].
        device: where training will be; the processor when None.
        precision: of training.

    Returns:
        "vae" and "gan" [images/s].
    """
    device = device or torch.device("cpu")
    encoder, decoder = (
        network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        for network in (Encoder(config, size, channels), Decoder(config, size, channels))
    )
    optimizer = Muon([encoder, decoder], 0.0, (0.9, 0.99))  # of many latents its steps cost more than the networks
    images = torch.zeros(batch_size, channels, size, size, device=device).contiguous(memory_format=torch.channels_last)

    def once() -> float:
        began = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False):
            decoded = decoder(encoder(images).mean)
        decoded.float().square().mean().backward()
        optimizer.step()
        synchronise(device)
        return time.perf_counter() - began

    once()
    seconds = sorted(once() for _ in range(5))[2]
    vae = batch_size / (1.1 * seconds)  # a tenth for the averages and the data
    return {"vae": vae, "gan": vae / GAN_COST}
