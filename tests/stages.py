"""Small stages, built as a session builds them, on images that are made up."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines import OneProcess
from vaegan.config import ClassicGANConfig, DataConfig, GANConfig, JointConfig, NetworkConfig, TrainConfig, VAEConfig
from vaegan.data import TRAIN, VALIDATION, ImageDataset
from vaegan.model import Model
from vaegan.parts.schedule import Clock
from vaegan.recipes.recipe import Recipe
from vaegan.training.build import StageInputs, build, to_model
from vaegan.training.finishing import finish_model
from vaegan.types import Batch

BATCH = 8
SETTINGS = TrainConfig(
    network=NetworkConfig(latent_dim=4, width=4, width_limit=8),
    vae=VAEConfig(batch_size=BATCH),
    gan=GANConfig(batch_size=BATCH, refit_every=2),
    joint=JointConfig(batch_size=BATCH),
    classic=ClassicGANConfig(batch_size=BATCH),
)
"""Networks and batches as small as can be."""


class ChannelsLast(OneProcess):
    """As the real engine prepares networks."""

    def prepare(self, network: Any) -> Any:
        return network.to(memory_format=torch.channels_last)


def made_up_dataset(size: int, channels: int, count: int = 48) -> ImageDataset:
    """Smooth random images of three kinds; nothing is read from disk."""
    random = np.random.default_rng(size + channels)
    coarse = random.integers(0, 256, (count, 4, 4, channels)).astype(np.uint8)
    pixels = coarse.repeat(-(-size // 4), 1).repeat(-(-size // 4), 2)[:, :size, :size]
    kind = (np.arange(count) % 3).astype(np.float32)
    return ImageDataset(
        images=np.ascontiguousarray(pixels), sides=np.where(np.arange(count) < 40, TRAIN, VALIDATION).astype(np.uint8),
        contents=random.permutation(count).astype(np.uint64), labels={"kind": kind}, label_words={"kind": ("ant", "bee", "cow")},
        names=[str(k) for k in range(count)], skipped=(), notes=(), warnings=(), fingerprint="made up", source="made up",
        config=DataConfig(size=size), flips=True,
    )  # fmt: skip


def inputs_of(config: TrainConfig, dataset: ImageDataset, previous: Model | None = None) -> StageInputs:
    """What a stage is built from, on the plain engine."""
    config = replace(config, data=replace(config.data, size=dataset.images.shape[1]))
    return StageInputs(config, dataset, ChannelsLast(), previous)  # pyright: ignore[reportArgumentType]


def vae_of(config: TrainConfig, dataset: ImageDataset) -> Model:
    """An untrained VAE, finished, for a GAN or a joint model to grow out of."""
    inputs = inputs_of(replace(config, recipe="vae"), dataset)
    return finish_model(to_model(build("vae", inputs).recipe, inputs), inputs)


def take_steps(recipe: Recipe, inputs: StageInputs, steps: range) -> list[dict[str, Tensor]]:
    """Some of 20 steps, each on a quarter of the training images in turn."""
    images, labels = inputs.training(BATCH * 4)

    def batch(step: int) -> Batch:
        return Batch(images[step % 4 :: 4], None if labels is None else labels[step % 4 :: 4])

    return [recipe.step(batch(step), Clock(step * BATCH, 20 * BATCH, BATCH)) for step in steps]
