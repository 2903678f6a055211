"""Bytes as a part of an HTML file, in as few characters as plain ASCII allows; `page/packing.js` is the other way round."""

import zlib

import numpy as np

_BITS = 13
_BASE = 91  # 91 * 91 = 8,281 pairs of characters for the 8,192 numbers of 13 bits; base64 needs 8 % more characters
_ALPHABET = np.frombuffer(bytes(code for code in range(ord("#"), ord("~") + 1) if code != ord("<")), np.uint8)
_AT_ONCE = _BITS << 16  # [bytes], whole numbers of 13 bits: a large network is not taken apart into bits all at once


def packed(name: str, content: bytes, *, float16: bool = False) -> str:
    """A script element that holds `content` deflated, and that a browser does not run.

    Args:
        name: the element's id.
        content: any bytes.
        float16: whether most of it is float16 numbers. The bytes at even places then come before those at odd ones: signs and
            exponents, which repeat, are not mixed with mantissas, which do not, and deflate 7 % smaller.
    """
    planes = ' data-planes="2"' if float16 else ""
    deflated = zlib.compress(content[::2] + content[1::2] if float16 else content, 9)
    return f'<script type="text/plain" id="{name}" data-bytes="{len(deflated)}"{planes}>{as_text(deflated)}</script>'


def as_text(content: bytes) -> str:
    """Two characters for every 13 bits, the first bits first, without `<`; the last pair is filled up with zeros."""
    pieces: list[bytes] = []
    for start in range(0, len(content), _AT_ONCE):
        bits = np.unpackbits(np.frombuffer(content[start : start + _AT_ONCE], np.uint8))
        bits = np.pad(bits, (0, -len(bits) % _BITS)).reshape(-1, _BITS)
        numbers = bits @ (1 << np.arange(_BITS - 1, -1, -1))
        pieces.append(_ALPHABET[np.stack(np.divmod(numbers, _BASE), 1)].tobytes())
    return b"".join(pieces).decode("ascii")
