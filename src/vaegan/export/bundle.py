"""The explorer's page as one file: its modules joined, its style, icon and data inside, nothing fetched from anywhere."""

import base64
import re
import zlib
from pathlib import Path

import numpy as np

from vaegan.explorer.server import PAGE

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|class|const) (\w+)", re.MULTILINE)

_BITS = 13
_BASE = 91  # 91 * 91 = 8,281 pairs of characters for the 8,192 numbers of 13 bits; base64 needs 8 % more characters
_ALPHABET = np.frombuffer(bytes(code for code in range(ord("#"), ord("~") + 1) if code != ord("<")), np.uint8)
_AT_ONCE = _BITS << 16  # [bytes], whole numbers of 13 bits: a large network is not taken apart into bits all at once


def bundled(entry: str, folder: Path = PAGE) -> str:
    """One script of the module `entry`.js and all that it imports, each in a function of its own so that names stay apart.

    Only the forms of import and export that the page uses are understood: `import { a, b } from "./c.js";` and `export` before a
    function, class or const.
    """
    done: dict[str, str] = {}
    _add(entry, folder, done)
    return "\n".join(done.values())


def _add(name: str, folder: Path, done: dict[str, str]) -> None:
    text = (folder / f"{name}.js").read_text("utf-8")
    for imported in _IMPORT.findall(text):
        if imported[1] not in done:
            _add(imported[1], folder, done)
    text = _IMPORT.sub(lambda found: f"const {{{found[1]}}} = module_{found[2]};\n", text)
    names = [found[1] for found in _EXPORT.findall(text)]
    text = _EXPORT.sub(r"\1 \2", text)
    left = re.search(r"^(import|export)\b.*", text, re.MULTILINE)
    assert left is None, f"{name}.js: {left}"
    done[name] = f"const module_{name} = (() => {{\n{text}return {{ {', '.join(names)} }};\n}})();\n"


def page(script: str, first: str, rest: str, policy: str, title: str) -> str:
    """The page as one HTML text.

    Args:
        script: from `bundled`.
        first: HTML of the data and of the runtime that it needs at once.
        rest: HTML of what it needs only later: it runs as soon as the browser has read so far.
        policy: the page's content security policy.
        title: shown until the page has started.
    """
    icon = f"data:image/svg+xml;base64,{base64.b64encode((PAGE / 'icon.svg').read_bytes()).decode()}"
    style = (PAGE / "style.css").read_text("utf-8").replace('url("icon.svg")', f'url("{icon}")')
    text = (PAGE / "index.html").read_text("utf-8")
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}" />\n<title>{title}</title>'
    replaced = {
        "<title>vaegan explorer</title>": head,
        '<link rel="icon" href="icon.svg" type="image/svg+xml" />': f'<link rel="icon" href="{icon}" />',
        '<link rel="stylesheet" href="style.css" />': f"<style>\n{style}</style>",
        '<script type="module" src="main.js"></script>': "",
        "  </body>": f'{first}\n<script>\n"use strict";\n(() => {{\n{script}}})();\n</script>\n{rest}\n  </body>',
    }
    for before, after in replaced.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


def packed(name: str, content: bytes, *, float16: bool = False) -> str:
    """A script element with the id `name` that holds `content` deflated, and that a browser does not run.

    If most of it is float16 numbers, the bytes at even places come before those at odd ones: signs and exponents, which repeat,
    are not mixed with mantissas, which do not, and deflate 7 % smaller. `page/packing.js` reads it.
    """
    planes = ' data-planes="2"' if float16 else ""
    deflated = zlib.compress(content[::2] + content[1::2] if float16 else content, 9)
    return f'<script type="text/plain" id="{name}" data-bytes="{len(deflated)}"{planes}>{as_text(deflated)}</script>'


def as_text(content: bytes) -> str:
    """Two ASCII characters for every 13 bits, the first bits first, without `<`; the last pair is filled up with zeros."""
    pieces: list[bytes] = []
    for start in range(0, len(content), _AT_ONCE):
        bits = np.unpackbits(np.frombuffer(content[start : start + _AT_ONCE], np.uint8))
        bits = np.pad(bits, (0, -len(bits) % _BITS)).reshape(-1, _BITS)
        numbers = bits @ (1 << np.arange(_BITS - 1, -1, -1))
        pieces.append(_ALPHABET[np.stack(np.divmod(numbers, _BASE), 1)].tobytes())
    return b"".join(pieces).decode("ascii")
