"""Twenty bad configurations with guards that warn and guards that act: how many end usable.

    python benchmarks/guards.py --mnist FOLDER --score "python score.py {real} {fake} --size {size}" --out FOLDER
        [--guards warn act] [--only NAME ...] [--vae-images 24000] [--gan-images 10000]

The yardstick is any command that prints one JSON line with fd, recall and sharpness for two .npy files. Results are appended to
OUT/results.jsonl; what is there already is not run again, so that a stopped benchmark goes on. Ends with the table for README.md.
"""

import argparse
import json
import shlex
import time
import tomllib
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from runs import left_to_train, printed

import vaegan
from vaegan.config import Budget, DataConfig, DeviceConfig, NetworkConfig, TrainConfig
from vaegan.data import TEST, VALIDATION, open_dataset, to_uint8
from vaegan.parts.schedule import Clock
from vaegan.recipes import gan
from vaegan.recipes.gan import GAN
from vaegan.settings import from_dictionary, to_dictionary
from vaegan.types import Batch, Scalars

COUNT = 800  # images judged
SIZES = {"faces": 32, "mnist": 28}
COMMON = TrainConfig(network=NetworkConfig(latent_dim=32, width=16), device=DeviceConfig(precision="float32"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", required=True)
    parser.add_argument("--score", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--guards", nargs="+", default=["warn", "act"])
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--vae-images", type=int, default=24_000)
    parser.add_argument("--gan-images", type=int, default=10_000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    listed = tomllib.loads((Path(__file__).parent / "bad_configurations.toml").read_text("utf-8"))["configuration"]
    chosen = [entry for entry in listed if not arguments.only or entry["name"] in arguments.only]
    bench = Bench(arguments.out, arguments.score, arguments.mnist, arguments.vae_images, arguments.gan_images)
    for kind in dict.fromkeys(family(entry["data"]) for entry in chosen):
        for guards in arguments.guards:
            bench.healthy(kind, guards)  # whose VAE says how soft is too soft
    for guards in arguments.guards:
        for entry in chosen:
            bench.run(entry, guards)
    bench.table()


def family(data: str) -> str:
    """Which of the two data sets: faces or mnist."""
    return data.partition(":")[0]


class Bench:
    """Runs, judges and remembers."""

    def __init__(self, out: Path, score: str, mnist: str, vae_images: int, gan_images: int) -> None:
        self.out, self.score, self.mnist, self.vae_images, self.gan_images = (
            out,
            score,
            mnist,
            vae_images,
            gan_images,
        )
        self.path = out / "results.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.results = {(line["name"], line["guards"]): line for line in map(json.loads, lines)}

    def config(self, data: str, guards: str, settings: dict[str, Any], recipe: str) -> TrainConfig:
        """The common settings, and over them what is bad."""
        base = replace(COMMON, data=DataConfig(size=SIZES[family(data)]), guards=guards, recipe=recipe)
        base = replace(base, budget=Budget(vae_share=self.vae_images / (self.vae_images + self.gan_images)))
        values = to_dictionary(base)
        for part, changes in settings.items():
            values[part] |= changes
        return from_dictionary(TrainConfig, values, "bad_configurations.toml")

    def healthy(self, kind: str, guards: str) -> None:
        """The defaults, which every bad run is compared with; their VAE is every bad GAN's start."""
        name = f"healthy-{kind}"
        self.once(name, guards, lambda: self.train(name, kind, guards, {}, "vae-gan", None, nothing()), kind)

    def run(self, entry: dict[str, Any], guards: str) -> None:
        """One bad configuration."""
        data, settings = entry["data"], entry.get("settings", {})
        fault = (
            nan_gradient()
            if "fault" in entry
            else generator_rate(entry["generator_rate"])
            if "generator_rate" in entry
            else nothing()
        )
        recipe, start = "vae-gan", None
        if family(data) == data and "vae" not in settings:
            # Only the GAN is bad: it grows out of the healthy run's VAE, which is what its own would be.
            recipe, start = "gan", self.out / f"healthy-{data}-{guards}"
        name = entry["name"]
        self.once(name, guards, lambda: self.train(name, data, guards, settings, recipe, start, fault), family(data))

    def once(self, name: str, guards: str, train: Any, kind: str) -> None:
        """Trains, judges and writes down, unless that has been done."""
        if (name, guards) in self.results:
            return
        began, error = time.perf_counter(), None
        try:
            train()
        except vaegan.TrainingError as failure:
            error = str(failure)
        run = self.out / f"{name}-{guards}"
        result: dict[str, Any] = {"name": name, "guards": guards, "seconds": round(time.perf_counter() - began), "error": error}
        if error is None:
            result |= self.judge(run, "gan", kind)
        if name == f"healthy-{kind}":
            result["vae"] = self.judge(run, "vae", kind)
        result["actions"] = actions(run)
        self.results[name, guards] = result
        result["usable"] = self.usable(result, kind, guards)
        with self.path.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)

    def train(
        self,
        name: str,
        data: str,
        guards: str,
        settings: dict[str, Any],
        recipe: str,
        start: Path | None,
        fault: AbstractContextManager[None],
    ) -> None:
        """Trains into OUT/NAME-GUARDS; `start` is the run whose VAE a GAN grows out of."""
        source = self.mnist if data == "mnist" else data
        images = self.gan_images + (self.vae_images if recipe == "vae-gan" else 0)
        config = self.config(data, guards, settings, recipe)
        out = self.out / f"{name}-{guards}"

        def say(text: str) -> None:
            print("  ", text, flush=True)

        with fault:
            if not (out / "run.json").is_file():
                vaegan.train(source, config, images=images, out=out, init=start, say=say)
            elif left_to_train(out):
                vaegan.resume(out, say=say)

    def judge(self, run: Path, stage: str, kind: str) -> dict[str, Any]:
        """Samples of a stage against images nobody trained on."""
        real, fake = self.out / f"real-{kind}.npy", run / f"{stage}.npy"
        if not real.exists():
            dataset = open_dataset(self.mnist if kind == "mnist" else kind, DataConfig(size=SIZES[kind]))
            indices = np.concatenate([dataset.indices(TEST), dataset.indices(VALIDATION)])[:COUNT]
            np.save(real, dataset.images[np.sort(indices)])
        sampled = vaegan.load(run, stage).sample(COUNT, seed=0)
        if not sampled.isfinite().all():
            return {"error": "the samples are not finite"}
        np.save(fake, to_uint8(sampled))
        found = printed(self.score.format(real=shlex.quote(str(real)), fake=shlex.quote(str(fake)), size=SIZES[kind]))
        return {key: found[key] for key in ("fd", "recall", "sharpness")}

    def usable(self, result: dict[str, Any], kind: str, guards: str) -> bool:
        """Finite, sharper than the VAE, recall at least half and distance at most twice those of the healthy run."""
        if result["error"] is not None:
            return False
        healthy = self.results[f"healthy-{kind}", guards]
        sharper = result["sharpness"] > healthy["vae"]["sharpness"]
        return sharper and result["recall"] >= 0.5 * healthy["recall"] and result["fd"] <= 2 * healthy["fd"]

    def table(self) -> None:
        """Markdown."""
        modes = [mode for mode in ("warn", "act") if any(guards == mode for _, guards in self.results)]
        print("| | " + " | ".join(f"{mode}: fd | recall | sharpness | usable" for mode in modes) + " |")
        print("|---" * (1 + 4 * len(modes)) + "|")
        for name in dict.fromkeys(name for name, _ in self.results):
            cells = [name]
            for mode in modes:
                found = self.results.get((name, mode), {})
                numbers = [f"{found[key]:.2f}" if key in found else "-" for key in ("fd", "recall", "sharpness")]
                cells += [*numbers, {True: "yes", False: "**no**", None: "?"}[found.get("usable")]]
            print("| " + " | ".join(cells) + " |")
        bad = {key: found for key, found in self.results.items() if not key[0].startswith("healthy")}
        for mode in modes:
            ends = [found["usable"] for (_, guards), found in bad.items() if guards == mode]
            print(f"\nguards {mode}: {sum(ends)} of {len(ends)} usable")


def actions(run: Path) -> list[str]:
    """What guards did, from the journals."""
    lines = [json.loads(line) for path in sorted(run.glob("*/metrics.jsonl")) for line in path.read_text().splitlines()]
    return [f"{line['stage']}@{line['seen']}: {line['guard']}: {line['action']}" for line in lines if "guard" in line]


@contextmanager
def nothing() -> Generator[None]:
    yield


@contextmanager
def generator_rate(factor: float) -> Generator[None]:
    """The generator's learning rate over the critic's, which is no setting."""
    usual, gan.GENERATOR_RATE = gan.GENERATOR_RATE, factor
    try:
        yield
    finally:
        gan.GENERATOR_RATE = usual


@contextmanager
def nan_gradient() -> Generator[None]:
    """One gradient of the generator is not a number, once, after two fifths of the stage."""
    step, left = GAN.step, [1]

    def broken(recipe: GAN, batch: Batch, clock: Clock) -> Scalars:
        if clock.progress < 0.4 or not left:
            return step(recipe, batch, clock)
        left.clear()
        parameter = next(recipe.generator.network.parameters())
        handle = parameter.register_hook(lambda gradient: gradient * float("nan"))
        try:
            return step(recipe, batch, clock)
        finally:
            handle.remove()

    GAN.step = broken
    try:
        yield
    finally:
        GAN.step = step


if __name__ == "__main__":
    main()
