"""What the sliders and the map's axes are: directions in latent space, how far one unit of each goes, and how to read it off."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.explorer.encoding import Encodings
from vaegan.model import Model

Group = Literal["principal", "attribute", "dimension"]

LEAST_OF_A_KIND = 20  # [images] on both sides before a label becomes a direction


@dataclass(frozen=True, eq=False)
class Direction:
    """One slider: `latent + amount * move` changes `read(latent) = latent @ read - zero` by the amount."""

    group: Group
    name: str
    note: str
    """What the person is told about it."""
    move: NDArray[np.float32]
    """[latent], what one unit adds."""
    read: NDArray[np.float32] | None = None
    """[latent]; None for attributes, whose sliders count from where one is."""
    zero: float = 0.0
    residual: NDArray[np.float32] | None = None
    """[latent], the strongest direction at right angles to an attribute: the map's other axis."""


def origin_of(encodings: Encodings | None, latent_dim: int) -> NDArray[np.float32]:
    """The middle of the map: the mean latent, or the prior's where nothing was encoded."""
    return np.zeros(latent_dim, np.float32) if encodings is None else encodings.latents.mean(0)


def principal_directions(model: Model, encodings: Encodings) -> list[Direction]:
    """The principal components of the encodings, strongest first; one unit is one standard deviation.

    They are taken in the encoder's own coordinates: after the handover's whitening every direction is equally long.
    """
    root, inverse_root, shift = _whitening(model)
    own = encodings.latents.astype(np.float64) @ root + shift
    mean = own.mean(0)
    values, vectors = np.linalg.eigh(np.cov(own.T).reshape(len(mean), len(mean)))
    total = values.sum()
    found: list[Direction] = []
    for index, place in enumerate(np.argsort(values)[::-1]):
        deviation, vector = max(float(values[place]), 1e-12) ** 0.5, vectors[:, place]
        vector = vector if vector[np.abs(vector).argmax()] > 0 else -vector  # a sign that does not depend on the solver
        read = root @ vector / deviation
        found.append(
            Direction(
                group="principal",
                name=f"Principal {index + 1}",
                note=f"{values[place] / total:.1%} of the variance of the encoded images",
                move=(deviation * vector @ inverse_root).astype(np.float32),
                read=read.astype(np.float32),
                zero=float((mean - shift) @ vector / deviation),
            )
        )
    return found


def raw_dimensions(model: Model, encodings: Encodings | None) -> list[Direction]:
    """The encoder's own coordinates, sorted by their KL divergence; in order of their number where there is no encoder."""
    root, inverse_root, shift = _whitening(model)
    kl = None if encodings is None else encodings.kl
    order = np.arange(model.latent_dim) if kl is None else np.argsort(-kl, kind="stable")
    return [
        Direction(
            group="dimension",
            name=f"z{index}",
            note="" if kl is None else f"KL {kl[index]:.2f} nats",
            move=inverse_root[index].astype(np.float32),
            read=root[:, index].astype(np.float32),
            zero=-float(shift[index]),
        )
        for index in order
    ]


def label_directions(
    encodings: Encodings, labels: dict[str, NDArray[np.float32]], words: dict[str, tuple[str, ...]]
) -> list[Direction]:
    """One attribute a label that has two sides: from the mean of the images without it to the mean of those with it.

    A category with more than two words is left out; of a number the lowest and the highest third are its two sides.
    """
    found: list[Direction] = []
    for name, values in labels.items():
        sides = _two_sides(values, words.get(name))
        if sides is None:
            continue
        low, high, note = sides
        if min(low.sum(), high.sum()) < LEAST_OF_A_KIND:
            continue
        move = encodings.latents[high].mean(0) - encodings.latents[low].mean(0)
        length = float(np.linalg.norm(move))
        if length > 1e-6:
            residual = residual_direction(encodings.latents, move / length)
            found.append(Direction("attribute", name, note, move.astype(np.float32), residual=residual))
    return found


def residual_direction(latents: NDArray[np.float32], unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first principal component of what is left of the latents at right angles to `unit`, one deviation long."""
    rest = latents - np.outer(latents @ unit, unit)
    values, vectors = np.linalg.eigh(np.cov(rest.T).reshape(len(unit), len(unit)))
    vector = vectors[:, -1]
    vector = vector - (vector @ unit) * unit
    return (vector * max(float(values[-1]), 1e-12) ** 0.5).astype(np.float32)


def _two_sides(
    values: NDArray[np.float32], words: tuple[str, ...] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], str] | None:
    known = np.isfinite(values)
    if words is not None:
        if len(words) != 2:
            return None
        return known & (values == 0), known & (values == 1), f"from {words[0]} to {words[1]}: difference of the means"
    if not known.any():
        return None
    low, high = np.quantile(values[known], (1 / 3, 2 / 3))
    if not low < high:
        low = high = float(np.median(values[known]))
        return known & (values <= low), known & (values > high), "from low to high: difference of the means"
    return known & (values <= low), known & (values >= high), "from the lowest to the highest third: difference of the means"


def _whitening(model: Model) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """`root`, its inverse and the shift of own = latent @ root + shift; the identity without an encoder."""
    whitening = model.networks.whitening
    if whitening is None:
        identity = np.eye(model.latent_dim)
        return identity, identity, np.zeros(model.latent_dim)
    parts: tuple[torch.Tensor, ...] = (whitening.root, whitening.inverse_root, whitening.mean)
    root, inverse_root, mean = (part.cpu().double().numpy() for part in parts)
    return root, inverse_root, mean
