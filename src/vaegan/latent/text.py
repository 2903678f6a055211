"""Latents as text, to be copied from one place to another."""

import math
import re

import torch

from vaegan.errors import RequestError
from vaegan.types import Latents

MOST_CHARACTERS = 2**20


def format_latent(latent: Latents) -> str:
    """The numbers of one latent, separated by commas, with enough digits to give the same float32 back."""
    return ",".join(f"{value:.9g}" for value in latent.tolist())


def parse_latent(text: str, latent_dim: int) -> Latents:
    """One latent [latent] from numbers that commas, semicolons or spaces separate; brackets around them are allowed.

    Raises:
        RequestError: if it is no such text, has another length, or a number is not finite.
    """
    if len(text) > MOST_CHARACTERS:
        raise RequestError(f"A latent of {len(text):,} characters is too long to be one.")
    words = re.split(r"[\s,;]+", text.strip().strip("[]()").strip(" \t\r\n,;"))
    words = [word for word in words if word]
    if len(words) != latent_dim:
        raise RequestError(f"The latent has {len(words)} numbers, but this model's have {latent_dim}.")
    values: list[float] = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not abs(value) <= torch.finfo(torch.float32).max:
            raise RequestError(f"{word[:40]!r} in the latent is not a finite number.")
        values.append(value)
    return torch.tensor(values, dtype=torch.float32)
