"""The images of a data set as latents, encoded once for a model and then stored beside the prepared images."""

import contextlib
import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.caching import make_room, use
from vaegan.data import ImageDataset, default_cache_dir
from vaegan.files import write_atomically
from vaegan.model import Model
from vaegan.objectives.gaussian import kl_to_standard_normal
from vaegan.types import ProgressCallback

AT_A_TIME = 256
EARLY = 4 * AT_A_TIME
"""Images that are encoded and shown before the others [images]: a random part, from which the map's axes are made for good."""


@dataclass(frozen=True, eq=False)
class Encodings:
    """Where a model places the images of a data set."""

    latents: NDArray[np.float32]  # [images, latent]
    kl: NDArray[np.float32]  # mean KL divergence of each dimension from its prior [nats]


def encode_dataset(
    model: Model,
    dataset: ImageDataset,
    indices: NDArray[np.int64],
    *,
    cache_dir: Path | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    early: Callable[[Encodings], None] | None = None,
) -> Encodings | None:
    """The latents of the images at these positions of the data set; None when `cancelled`, asked between blocks, says so.

    `early` is called once with what is known after the first `EARLY` of `early_first`, if there are more than these.
    """
    path = (cache_dir or default_cache_dir()) / "latents" / f"{_key(model, dataset, indices)}.npz"
    stored = _read(path, len(indices), model.latent_dim)
    if stored is not None:
        return stored
    latents = np.empty((len(indices), model.latent_dim), np.float32)
    kl = torch.zeros(model.latent_dim)
    order = early_first(len(indices))
    for start in range(0, len(indices), AT_A_TIME):
        if cancelled():
            return None
        chosen = order[start : start + AT_A_TIME]
        done = start + len(chosen)
        posterior = model.posterior(dataset.load(indices[chosen]))
        with torch.inference_mode():
            latents[chosen] = posterior.mean.cpu().numpy()
            kl += kl_to_standard_normal(posterior.mean, posterior.log_var).sum(0).cpu()
        if early is not None and done == EARLY < len(indices):
            early(Encodings(latents[order[:done]], (kl / done).numpy()))
        if progress:
            progress("Encoding", done, len(indices))
    found = Encodings(latents, (kl / len(indices)).numpy())
    with contextlib.suppress(OSError):  # a full or read-only disk: they are encoded again the next time
        make_room(path.parent.parent, latents.nbytes)
        write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **vars(found)))
    return found


def early_first(count: int) -> NDArray[np.int64]:
    """All positions of so many images: first `EARLY` random ones, then the others, both ascending."""
    if count <= EARLY:
        return np.arange(count, dtype=np.int64)
    first = np.sort(np.random.default_rng(0).choice(count, EARLY, replace=False))
    return np.concatenate([first, np.setdiff1d(np.arange(count), first)]).astype(np.int64)


def _key(model: Model, dataset: ImageDataset, indices: NDArray[np.int64]) -> str:
    hashed = hashlib.blake2b(dataset.fingerprint.encode(), digest_size=16)
    # The fingerprint does not change with the images' order, the latents do.
    hashed.update(dataset.contents[indices].tobytes())
    if dataset.config.binarize != "none":  # nor does it change with how pixels are drawn
        hashed.update(dataset.config.binarize.encode())
    assert model.networks.encoder is not None
    for name, tensor in sorted(model.networks.encoder.state_dict().items()):
        hashed.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


def _read(path: Path, count: int, latent_dim: int) -> Encodings | None:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            found = Encodings(arrays["latents"], arrays["kl"])
        use(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    complete = found.latents.shape == (count, latent_dim) and found.kl.shape == (latent_dim,)
    return found if complete and found.latents.dtype == np.float32 else None
