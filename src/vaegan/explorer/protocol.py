"""What the page and the server say to each other over the socket: small binary frames, one answer to each request.

A request: uint32 number, uint8 kind, uint8 option, uint16 count, then the payload. An answer: uint32 number, uint8 status,
uint8 kind, uint16 count, then the payload. Everything is little-endian; latents are float32, indices uint32, pixels uint8
[count, height, width, channels].
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vaegan.errors import RequestError

HEADER = struct.Struct("<IBBH")
MOST_IMAGES = 64  # most latents or indices of one request: a request must never hold the model for long

OK, REFUSED = 0, 1


class Kind(IntEnum):
    """What a request asks for."""

    DECODE = 1  # latents -> pixels; option: the stage
    LATENTS = 2  # indices -> the latents of these images
    IMAGES = 3  # indices -> the pixels of these images
    NEAREST = 4  # one latent -> the indices of the nearest images in latent space; option: how many
    PROJECT = 5  # an origin and two axes, three latents -> the place of every image on that plane, float32 [images, 2]


@dataclass(frozen=True)
class Message:
    """One frame of the page."""

    number: int
    kind: Kind
    option: int
    count: int
    payload: bytes

    def latents(self, latent_dim: int) -> NDArray[np.float32]:
        """The payload as finite latents [count, latent_dim]; RequestError if it is anything else."""
        wanted = 4 * self.count * latent_dim
        if len(self.payload) != wanted:
            numbers = len(self.payload) // 4 // max(1, self.count)
            raise RequestError(f"Latents of {numbers} numbers do not fit; this model's have {latent_dim}.")
        latents = np.frombuffer(self.payload, "<f4").reshape(self.count, latent_dim)
        if not np.isfinite(latents).all():
            raise RequestError("A latent holds numbers that are not finite.")
        return latents

    def indices(self, total: int) -> NDArray[np.int64]:
        """The payload as positions under `total`; RequestError if it is anything else."""
        if len(self.payload) != 4 * self.count:
            raise RequestError("The request's indices are incomplete.")
        indices = np.frombuffer(self.payload, "<u4").astype(np.int64)
        if len(indices) and indices.max() >= total:
            raise RequestError(f"There is no image {indices.max()}; there are {total}.")
        return indices


def parse(frame: bytes) -> Message:
    """The request in a frame; RequestError if there is none."""
    if len(frame) < HEADER.size:
        raise RequestError("The request is incomplete.")
    number, kind, option, count = HEADER.unpack_from(frame)
    if kind not in list(Kind):
        raise RequestError(f"There is no request of kind {kind}.")
    if not 1 <= count <= MOST_IMAGES:
        raise RequestError(f"A request is for 1 to {MOST_IMAGES} images, not {count}.")
    return Message(number, Kind(kind), option, count, frame[HEADER.size :])


def answer(message: Message, payload: bytes) -> bytes:
    """The frame that carries what was asked for."""
    return HEADER.pack(message.number, OK, message.kind, message.count) + payload


def refusal(frame: bytes, reason: str) -> bytes:
    """The frame that says why a request is not served."""
    number = int.from_bytes(frame[:4], "little") if len(frame) >= 4 else 0
    return HEADER.pack(number, REFUSED, 0, 0) + reason.encode()
