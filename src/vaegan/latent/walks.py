"""Other latents from given ones: on the way to the next, along directions, and around one."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.randomness import keyed_seed
from vaegan.types import Images, Latents

Path = Literal["linear", "spherical"]  # shape of a way between two latents

NEARLY_ALONG = 1e-4  # angles to 0 or pi under this are treated as 0 or pi [radians]; float32 knows them no better


def lerp(first: Tensor, second: Tensor, position: Tensor | float) -> Tensor:
    """The straight line from `first` at position 0 to `second` at 1, [..., latent]; positions broadcast with [..., 1]."""
    return first + (second - first) * position


def slerp(first: Tensor, second: Tensor, position: Tensor | float) -> Tensor:
    """The great circle from `first` at position 0 to `second` at 1 (Shoemake 1985), with the norm changing linearly; see `lerp`.

    Latents of N(0, I) lie near a sphere of radius sqrt(latent); a straight line passes inside of it, where a GAN's generator was
    never trained (White 2016). Between opposite latents one of all great circles is taken; from or to zero the line is straight.
    """
    lengths = first.norm(dim=-1, keepdim=True), second.norm(dim=-1, keepdim=True)
    smallest = torch.finfo(first.dtype).tiny
    start, end = first / lengths[0].clamp_min(smallest), second / lengths[1].clamp_min(smallest)
    # From chords, because the cosine is flat where the angle is near 0 or pi.
    angle = 2 * torch.atan2((end - start).norm(dim=-1, keepdim=True), (end + start).norm(dim=-1, keepdim=True))
    across = torch.where(
        angle > torch.pi - NEARLY_ALONG, _perpendicular(start), end - (end * start).sum(-1, keepdim=True) * start
    )
    across = across / across.norm(dim=-1, keepdim=True).clamp_min(smallest)
    turned = torch.cos(angle * position) * start + torch.sin(angle * position) * across
    round_ = turned * lerp(*lengths, position)
    straight = (angle < NEARLY_ALONG) | (lengths[0] == 0) | (lengths[1] == 0)
    return torch.where(straight, lerp(first, second, position), round_)


def _perpendicular(unit: Tensor) -> Tensor:
    """A direction at a right angle to each unit vector: the axis it has least of, made perpendicular."""
    axis = torch.zeros_like(unit).scatter_(-1, unit.abs().argmin(-1, keepdim=True), 1.0)
    return axis - (axis * unit).sum(-1, keepdim=True) * unit


def default_path(model: Model) -> Path:
    """Spherical for a GAN, whose latents lie near a sphere (in a cube if its prior is uniform); linear elsewhere."""
    return "spherical" if model.config.stage in ("gan", "joint") and model.config.prior != "uniform" else "linear"


def walk(first: Latents, second: Latents, steps: int, path: Path) -> Latents:
    """`steps` latents from `first` to `second` [latent], both included, [steps, latent]."""
    if steps < 2:
        raise RequestError(f"A way of {steps} steps does not exist; it has at least 2, its ends.")
    positions = torch.linspace(0, 1, steps)[:, None]
    way = (slerp if path == "spherical" else lerp)(first.cpu()[None], second.cpu()[None], positions)
    way[0], way[-1] = first.cpu(), second.cpu()  # the ends exactly, whatever the rounding between
    return way


def loop(stops: Latents, steps: int, path: Path) -> Latents:
    """The way through all stops and back to the first, which is not repeated: [stops * steps, latent]."""
    if len(stops) < 2 or steps < 1:
        raise RequestError("A loop needs at least 2 images and 1 step between them.")
    closed: Sequence[Tensor] = [*stops, stops[0]]
    return torch.cat([walk(first, second, steps + 1, path)[:-1] for first, second in pairwise(closed)])


def interpolate(model: Model, first: Latents, second: Latents, steps: int, path: Path | None = None) -> Images:
    """`steps` images on the way between two latents, the ends included; on the path that suits the model when None."""
    return model.decode(walk(first, second, steps, path or default_path(model)))


def seed_latents(model: Model, seeds: Sequence[int]) -> Latents:
    """The latent of the first sample of each seed, [seeds, latent]: `sample -n 1 --seed S` shows the same image."""
    return torch.cat([model.latents(1, seed) for seed in seeds])


def moved(latents: Latents, steps: Sequence[tuple[Tensor, float]]) -> Latents:
    """Latents + sum of strength * direction, [n, latent], for pairs (direction [latent], strength)."""
    for direction, strength in steps:
        latents = latents + strength * direction.to(latents)
    return latents


def vary_latents(latent: Latents, count: int, strength: float, seed: int = 0) -> Latents:
    """`count` latents around one: mu + strength * epsilon, epsilon ~ N(0, I), [count, latent].

    The noise is not scaled by the posterior's width: within it nothing changes that can be seen. With the same seed a larger
    strength moves each variation along the same ray.
    """
    if not 0 <= strength < float("inf"):
        raise RequestError(f"The strength {strength:g} is not possible; give 0 or more.")
    generators = (torch.Generator().manual_seed(keyed_seed(seed, "vary", index)) for index in range(count))
    noise = [torch.randn(latent.shape[-1], generator=generator) for generator in generators]
    return latent.cpu() + strength * torch.stack(noise) if noise else latent.cpu()[None][:0]
