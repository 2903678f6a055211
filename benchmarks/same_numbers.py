"""Whether a change of structure changed a number: records short runs of every recipe, and compares later ones with them.

    python benchmarks/same_numbers.py record FOLDER      before the change
    python benchmarks/same_numbers.py compare FOLDER     after it: names every run whose numbers differ

A run's numbers are the weights in its checkpoints and models, by content and not by name, and the lines of its journals. One
thread, float32, drawn faces: two minutes. Only runs of one machine and one torch can be compared: this is no test.
"""

import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

import vaegan
from vaegan.config import DeviceConfig, NetworkConfig, TrainConfig

IMAGES = 4_000
TIMES = ("seconds", "spent_seconds")


def configurations() -> dict[str, TrainConfig]:
    """Every recipe, small."""
    network, device = NetworkConfig(latent_dim=8, width=4), DeviceConfig(precision="float32")
    recipes = ("vae-gan", "vae", "ae", "gan", "joint")
    found = {recipe: TrainConfig(recipe=recipe, network=network, device=device) for recipe in recipes}
    return found | {"conditional": TrainConfig(condition="smiling", network=network, device=device)}


def tensors(state: Any) -> Iterator[Tensor]:
    """Every tensor of more than one number, however deep it lies."""
    if isinstance(state, Tensor):
        if state.numel() > 1:
            yield state
    elif isinstance(state, dict | list | tuple):
        for part in state.values() if isinstance(state, dict) else state:
            yield from tensors(part)


def digest(tensor: Tensor) -> str:
    """Of shape and bits."""
    return hashlib.sha256(repr(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


def numbers(run: Path) -> dict[str, Any]:
    """All that is compared of a run."""
    found: dict[str, Any] = {}
    for stage in sorted(path.parent for path in run.glob("*/checkpoint.pt")):
        state = torch.load(stage / "checkpoint.pt", weights_only=True)
        found[f"{stage.name} checkpoint"] = sorted(map(digest, tensors(state)))
        found[f"{stage.name} model"] = sorted(map(digest, load_file(stage / "model" / "model.safetensors").values()))
        lines = map(json.loads, (stage / "metrics.jsonl").read_text("utf-8").splitlines())
        found[f"{stage.name} journal"] = [{name: line[name] for name in sorted(line) if name not in TIMES} for line in lines]
    return found


def train_all(folder: Path) -> dict[str, Any]:
    """The numbers of every configuration's run."""
    found: dict[str, Any] = {}
    for name, config in configurations().items():
        vaegan.train("faces:600", config, images=IMAGES, out=folder / name)
        found[name] = numbers(folder / name)
    return found


def differences(before: Any, now: Any) -> str:
    """In words; empty where there are none. What has come on top is no difference."""
    if isinstance(before, list) and before and isinstance(before[0], dict):
        pairs = [(old, new) for old, new in zip(before, now, strict=False)]
        odd = [(old["seen"], name) for old, new in pairs for name in old if old[name] != new.get(name)]
        short = "" if len(before) == len(now) else f"{len(now)} lines for {len(before)}; "
        return f"{short}{len(odd)} values, first {odd[0]}" if odd else short
    lost = Counter(before) - Counter(now)
    return f"{sum(lost.values())} of {len(before)} tensors" if lost else ""


def main() -> None:
    torch.set_num_threads(1)
    action, folder = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        found = train_all(Path(scratch))
    if action == "record":
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "numbers.json").write_text(json.dumps(found))
        return
    before = json.loads((folder / "numbers.json").read_text())
    odd = [
        f"{name}, {part}: {words}"
        for name, parts in before.items()
        for part, known in parts.items()
        if (words := differences(known, found.get(name, {}).get(part, [])))
    ]
    print("\n".join(odd) or f"All numbers of {len(before)} runs are the same.")
    sys.exit(bool(odd))


if __name__ == "__main__":
    main()
