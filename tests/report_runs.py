"""Runs and evaluations for tests of pages, made without training."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vaegan.config import DataConfig, NetworkConfig, TrainConfig
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.training.run import RunFolder, RunRecord, StagePlan

NETWORK = NetworkConfig(latent_dim=4, width=4, width_limit=8)


def score(value: float, width: float = 0.1, **changes: Any) -> dict[str, Any]:
    """A number of an evaluation with its interval around it."""
    return {"value": value, "interval": [value - width / 2, value + width / 2], "n": 1700, "features": "random"} | changes


def evaluation(**scores: dict[str, Any]) -> dict[str, Any]:
    """The content of evaluation.json, with these scores for the GAN."""
    vae = {name: one | {"value": one["value"] + 1} for name, one in scores.items()}
    return {
        "format_version": 2,
        "run": "run",
        "data": "faces:96",
        "fingerprint": "f" * 32,
        "seed": 0,
        "n": 1700,
        "reference": {"side": "test", "count": 400},
        "features": "random",
        "stages": {"vae": vae, "gan": scores},
        "prior_samples": {"vae": {name: one | {"value": one["value"] + 2} for name, one in scores.items()}},
        "floor": {name: score(0.01, 0.001) for name in scores},
        "left_out": {"fid": "It needs <Inception>."},
        "spectra": {
            name: [3 - math.log10(1 + radius) * k for radius in range(8)] for k, name in enumerate(("real", "vae", "gan"), 1)
        },
        "per_dimension_kl": [2.0, 0.5, 0.0, 3.0],
        "neighbours": {"samples": [3, 5], "training_index": [1, 2], "pixel_distance": [0.1, 0.2]},
        "verdict": ["Sharper than the VAE.", "Less varied <than> the data.", "No sign of copying."],
        "seconds": 1.0,
    }


def make_run(path: Path, *, penalty: float = 0.05, scores: dict[str, Any] | None = None, seed: int = 0, **changes: Any) -> Path:
    """A finished run of a VAE and a GAN whose networks were never trained."""
    folder = RunFolder(path)
    config = TrainConfig(seed=seed, data=DataConfig(size=16), network=NETWORK)
    config = replace(config, gan=replace(config.gan, penalty=penalty))
    facts = {"data": {"images": 96, "channels": 3, "skipped": 0}, "vae": {"images": 80}, "gan": {"images": 80}}
    plan = (StagePlan("vae", 80, 0, 80), StagePlan("gan", 80, 0, 80))
    record = RunRecord("faces:96", config, None, plan, None, "f" * 32, "float32", facts, "finished", 12.0)
    torch.manual_seed(seed)
    for stage in ("vae", "gan"):
        model = ModelConfig(16, 3, stage, NETWORK, variance=0.1 if stage == "vae" else None)
        Model(model, Networks(model)).save_pretrained(folder.model(stage))
        lines = [{"stage": stage, "seen": 8 * k, "seconds": k, "loss": 1 / k, "heldout_loss": 1.1 / k} for k in range(1, 11)]
        (folder.stage(stage) / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder.write(replace(record, **changes))
    if scores is not None:
        (path / "evaluation.json").write_text(json.dumps(evaluation(**scores)))
    return path
