"""uint8 pixels <-> tensors in [-1, 1], and random numbers that are keyed instead of stored."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaegan.errors import RequestError

# splitmix64 (Steele, Lea, Flood 2014): written out here, so that no release of a library changes a resumed run.
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, h, w, c] -> float32 [n, c, h, w] in [-1, 1], in channels-last memory."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Float [n, c, h, w] in [-1, 1] -> uint8 [n, h, w, c], rounded and clamped; undoes `to_tensor` exactly.

    Raises:
        RequestError: if there is a not-a-number among them, which no pixel can show.
    """
    if images.isnan().any():
        raise RequestError("These images are not numbers (NaN): the latents are too large, or the model is damaged; use others.")
    levels = images.detach().to("cpu", torch.float32).add(1).mul_(127.5).round_().clamp_(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def random_bits(counters: NDArray[np.uint64], *key: int) -> NDArray[np.uint64]:
    """64 random bits for every counter, the same for the same key on every machine and version."""
    start = 0
    for part in key:
        start = int(_mix(np.array([(start ^ part) & _MASK], dtype=np.uint64))[0])
    return _mix(counters ^ np.uint64(start))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def binarized(pixels: NDArray[np.uint8], keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Draws every grey value as 0 or 255, white with probability value / 255 (Salakhutdinov & Murray 2008).

    Args:
        pixels: uint8 [n, h, w, c].
        keys: uint64 [n], one for each image: the same key draws the same image.
    """
    each = pixels[0].size
    places = np.arange(-(-each // 4), dtype=np.uint64)  # 64 bits serve four pixels
    bits = _mix(_mix(keys)[:, None] ^ places[None])
    noise = bits.view(np.uint16)[:, :each].reshape(pixels.shape)
    # noise < value / 255 * 2^16 in whole numbers: never white at 0, always white at 255
    return np.where(noise < _THRESHOLDS[pixels], np.uint8(255), np.uint8(0))


_THRESHOLDS = -(-np.arange(256, dtype=np.int64) * 65536 // 255).astype(np.int32)
