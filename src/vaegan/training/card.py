"""The model card: what a model was trained on, how, and what it is good for. Holds no image of the training data."""

from typing import Any

from vaegan.data import ImageDataset
from vaegan.model import Model
from vaegan.training.run import RunRecord


def model_card(model: Model, record: RunRecord, dataset: ImageDataset, facts: dict[str, Any]) -> str:
    """README.md of a saved model, in the Hub's form."""
    config = model.config
    gan = "GAN grown out of a VAE" if model.has_encoder else "GAN"
    kind = {"ae": "plain autoencoder", "vae": "variational autoencoder", "gan": gan, "joint": "joint VAE/GAN"}[config.stage]
    numbers = facts.get("heldout", {}) | facts.get("inverse", {})
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in numbers.items())
    return f"""---
library_name: vaegan
tags: [vaegan, {config.stage}, image-generation]
---
# A {kind} of {config.size}x{config.size} images

Trained by `vaegan` on {len(dataset):,} images with {config.channels} channel(s), fingerprint `{record.fingerprint[:16]}`;
{facts.get("images", 0):,} images seen by this stage, latent size {config.network.latent_dim}, seed {record.config.seed}.

    import vaegan
    model = vaegan.Model.from_pretrained("path/to/this/folder")
    images = model.sample(16, seed=0)          # [16, {config.channels}, {config.size}, {config.size}] in [-1, 1]

| measured on held-out images | |
|---|---|
{rows}

Limits: it knows nothing but images like those it was trained on, and repeats their biases. Nothing of the training images is in
this folder. Check the licence of the images before sharing it.
"""
