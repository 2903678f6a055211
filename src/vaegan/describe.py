"""Facts about a run and about networks: parameters, multiply-adds, speed, how training went."""

import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vaegan.config import GAN_COST, NetworkConfig
from vaegan.networks import Critic, Decoder, Encoder
from vaegan.parts.muon import Muon
from vaegan.shapes import Shape
from vaegan.training.engine import Precision, synchronise
from vaegan.training.journal import read_journal
from vaegan.training.run import find_run


def describe(path: Path) -> dict[str, Any]:
    """Everything `vaegan info` says about a run; raises ModelError if there is none."""
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
        "networks": network_costs(config.network, config.data.shape, int(facts.get("data", {}).get("channels", 3))),
    }
    for plan in record.plan:
        described[plan.name] = {"planned_images": plan.images} | facts.get(plan.name, {"status": "not begun"})
        journal = folder.stage(plan.name) / "metrics.jsonl"
        lines = read_journal(journal) if journal.is_file() else []
        if actions := [line for line in lines if "guard" in line and "words" in line]:
            described[plan.name]["guards"] = [f"after {line['seen']:,} images {line['words']}" for line in actions]
    return described


def network_costs(config: NetworkConfig, shape: Shape, channels: int) -> dict[str, dict[str, int]]:
    """Parameters and multiply-adds an image of each network."""
    latents, images = torch.zeros(1, config.latent_dim), torch.zeros(1, channels, *shape)
    costs: dict[str, dict[str, int]] = {}
    for name, kind, example in (("decoder", Decoder, latents), ("encoder", Encoder, images), ("critic", Critic, images)):
        with torch.random.fork_rng(devices=[]):
            network = kind(config, shape, channels)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(example)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        costs[name] = {"parameters": parameters, "multiply_adds": counter.get_total_flops() // 2}
    return costs


def measure_speed(
    config: NetworkConfig,
    shape: Shape,
    channels: int,
    batch_size: int = 32,
    device: torch.device | None = None,
    precision: Precision = "float32",
) -> dict[str, float]:
    """Images a second that training will do, of "vae" (measured in about two seconds) and "gan" (derived from it)."""
    device = device or torch.device("cpu")
    encoder, decoder = (
        network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        for network in (Encoder(config, shape, channels), Decoder(config, shape, channels))
    )
    optimizer = Muon([encoder, decoder], 0.0, (0.9, 0.99))  # of many latents its steps cost more than the networks
    images = torch.zeros(batch_size, channels, *shape, device=device).contiguous(memory_format=torch.channels_last)

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
