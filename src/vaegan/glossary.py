"""What the scalars of a journal and the facts of a run are called, and what they mean, in words for a reader."""

from typing import Any

DRAWN_FROM = {
    "normal": "N(0, I)",
    "uniform": "the uniform distribution on [-1, 1]",
    "mixture": "the mixture fitted to the encoded training images",
}
"""Priors as what samples are drawn from."""

SCALARS: dict[str, tuple[str, str]] = {
    "loss": ("Loss", "What the VAE minimises: reconstruction and KL divergence together, in nats an image. Lower is better."),
    "error": ("Reconstruction error", "Mean squared error a value on [-1, 1] of an image's reconstruction. Lower is better."),
    "kl": ("KL divergence", "How many nats of an image the latent carries. Near 0 the latent is ignored."),
    "beta": ("Effective beta", "How much a nat of KL weighs against the squared error. It follows the error down."),
    "elbo": ("Evidence lower bound", "A lower bound on log p(image), in nats. Higher is better."),
    "active_units": ("Active latent numbers", "How many of the latent's numbers change from image to image at all."),
    "critic_loss": ("Critic's loss", "Lower when the critic tells real from generated. 0.69 means it cannot."),
    "pair_accuracy": ("Pair accuracy", "How often the critic finds the real one in a pair. 0.5 is guessing; 1 wins always."),
    "slope": ("Critic's slope", "Squared gradient of the critic at real and generated images, which the penalty keeps small."),
    "slope_error": ("Critic's slope, error", "Squared distance of the slope from 1, between real and generated images."),
    "critic_gradient": ("Critic's gradient", "Length of the gradient given to its optimiser; sudden peaks are trouble."),
    "generator_gradient": ("Generator's gradient", "Length of the gradient given to its optimiser; at 0 it learns nothing."),
    "variety": ("Variety of samples", "How different samples are from one another at 16 pixels. At 0 they are all alike."),
    "generator_loss": ("Generator's loss", "Lower when generated images pass for real. Even is 0.69, or 2.08 with two critics."),
    "anchor": ("Anchor", "Distance of low-passed reconstructions from their originals, which keeps the generator near the VAE."),
    "recovery": ("Latent recovery, error", "How far the encoder is from finding the latent of a sample. Lower is better."),
    "latent_recovery": ("Latent recovery, R²", "Share of a sample's latent that the encoder finds. 1 is all of it."),
    "gradient": ("Gradient", "Length of the gradient of a step. A sudden rise is the first sign of a training that breaks down."),
    "image_gradient": ("Gradient at a sample", "What the generator can still learn from the critic. Near 0 it is nothing more."),
    "recall": ("Recall while training", "Share of held-out images among samples at 16 pixels. It falls as kinds are lost."),
    "overfitting": ("Overfitting of the critic", "0 while unseen images are to it like known ones, 1 when like generated ones."),
    "copying": ("Copying while training", "How often samples are nearer to training images than to unseen ones. 0.5 is right."),
    "nearness": ("Nearness while training", "Distance of samples to training images over unseen ones'. Far under 1: copies."),
    "kernel_distance": (
        "Kernel distance of samples",
        "How far samples are from unseen images in random features. Models are compared by it while training; the finished one "
        "is measured again with more of them. Lower is better; near 0 chance may make it negative.",
    ),
    "kernel_error": ("Kernel distance, error", "How far chance moves the kernel distance: its standard error."),
    "sharpness": ("Sharpness of samples", "Energy of the finest detail, samples over unseen images. 1 is right, less blurred."),
    "texture_2": ("Texture at 2 pixels", "Power at a period of 2 pixels, samples over unseen images. Far above 1 it is a grid."),
    "texture_4": ("Texture at 4 pixels", "Power at a period of 4 pixels, samples over unseen images. Far above 1 it is a grid."),
    "low_pass_error": ("Error of blurred reconstructions", "Squared error after both images are made four times smaller."),
}
"""What a scalar is called, and a sentence on it."""


def scalar_title(name: str) -> str:
    """What a scalar is called; its own name in words when it is not known here."""
    return SCALARS[name][0] if name in SCALARS else name.replace("_", " ").capitalize()


def scalar_meaning(name: str) -> str | None:
    """A sentence on a scalar; None when it is not known here."""
    return SCALARS[name][1] if name in SCALARS else None


FACTS: dict[str, str] = {
    "multiply_adds": "multiplications an image",
    "planned_images": "images planned",
    "mean_speed": "images a second",
    "ended": "ended because",
    "kept": "model saved",
    "brought_forward": "end brought forward",
    "best": "best model while training",
    "of_last_model": "score of the last model",
    "heldout": "finished model, on held-out images",
    "handover": "from the VAE to the GAN",
    "verified_tensors": "arrays of weights taken over from the VAE's decoder and checked",
    "prior_gap": "how much further first samples were from real images than reconstructions (0 is good)",
    "vae_low_pass_error": "the VAE's error of blurred reconstructions",
    "inverse": "reconstructing real images",
    "low_pass_ratio": "error of blurred reconstructions, over the VAE's",
    "own_source_nearest": "share of images recognised in their reconstruction",
    "guards": "what went wrong, and what was done",
}
"""What facts of a run are called, where the name itself does not say it."""


def fact_title(name: str) -> str:
    """What a fact of a run is called, in lower case; a held-out scalar like the scalar."""
    scalar = name.removeprefix("heldout_")
    if name in FACTS or scalar not in SCALARS:
        return FACTS.get(name) or name.replace("_", " ")
    title = SCALARS[scalar][0]
    return title if title[1].isupper() else title[0].lower() + title[1:]


def fact_meaning(name: str) -> str | None:
    """A sentence on a fact that is a scalar; None for others."""
    return None if name in FACTS else scalar_meaning(name.removeprefix("heldout_"))


def sooner_words(moves: list[dict[str, int]]) -> str:
    """Where a stage ends that was brought forward, in words; several moves in a row are one."""
    ends: list[tuple[int, int]] = []
    for move in moves:
        planned = ends.pop()[0] if ends and ends[-1][1] == move["from"] else move["from"]
        ends.append((planned, move["to"]))
    return "; ".join(f"to {to:,} instead of {planned:,} images, because the machine became slower" for planned, to in ends)


def setting_words(value: Any) -> str:
    """A setting's value as a person would write it."""
    if value is None or isinstance(value, bool):
        return {None: "not set", True: "yes", False: "no"}[value]
    if isinstance(value, list | tuple):
        return ", ".join(map(setting_words, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
