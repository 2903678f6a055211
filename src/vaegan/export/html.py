"""The explorer as one HTML file that opens by a double click: the networks inside, decoded by onnxruntime-web in the page."""

import base64
import html
import io
import json
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaegan.errors import RequestError
from vaegan.explorer.coordinates import as_base64
from vaegan.explorer.server import PAGE
from vaegan.explorer.state import Explorer
from vaegan.export.folder import check_packages, half_onnx_bytes, onnx_bytes
from vaegan.export.graphs import Graph, graphs
from vaegan.export.runtime import BINARY, CDN, GLUE, SCRIPT, Runtime, find_runtime, integrity
from vaegan.files import write_atomically
from vaegan.model import Model
from vaegan.pictures import to_picture
from vaegan.report.page import check_out
from vaegan.transparency import TRANSPARENT
from vaegan.types import ProgressCallback

MOST_IMAGES = 5000
SHEET_QUALITY = 85
SHEET = "sheet"

ONLY_NETWORKS = (
    "This file holds the networks and nothing else of the images that the model learned from: no picture, no latent, no label, "
    "and no direction learned from them. With --with-images it would."
)
WITH_MIXTURE = (
    "Beside the networks this file holds of the images that the model learned from only the means and the spreads of up to ten "
    "groups of their latents, from which it draws new ones: no picture, no label, and no direction learned from them. With "
    "--with-images it would."
)
WITH_MEAN_AND_SPREAD = (
    "Beside the networks this file holds of the images that the model learned from only the mean and the spread of their latents"
    ", without which an autoencoder has no scale: no picture, no label. With --with-images it would."
)

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|class|const) (\w+)", re.MULTILINE)

_BITS = 13
_BASE = 91  # 91 * 91 = 8,281 pairs of characters for the 8,192 numbers of 13 bits; base64 needs 8 % more characters
_ALPHABET = np.frombuffer(bytes(code for code in range(ord("#"), ord("~") + 1) if code != ord("<")), np.uint8)
_AT_ONCE = _BITS << 16  # [bytes], whole numbers of 13 bits: a large network is not taken apart into bits all at once


@dataclass(frozen=True)
class Page:
    """What was written."""

    path: Path
    bytes: int
    stages: tuple[str, ...]
    images: int
    """Training images whose thumbnails and latents are inside."""
    runtime: str
    """inside, or fetched when the page is opened."""
    said: str
    """What the page says about the training images in it."""


def export_html(
    run: Path,
    path: Path,
    *,
    stage: str | None = None,
    label: str | None = None,
    half: bool = True,
    cdn: bool = False,
    runtime: Path | None = None,
    with_images: bool = False,
    progress: ProgressCallback | None = None,
) -> Page:
    """Writes the explorer of a run or a saved model as one file; ModelError if a network would not compute what the model does.

    The options are those of `vaegan export --to html`. What float16 weights (`half`) change must stay 60 dB under the pictures;
    with `cdn` the page fetches the runtime by exact version and compares checksums; a `label` becomes part of the title. But for
    `with_images` the images are not even opened.
    """
    check_out(path)
    check_packages()
    files = None if cdn else find_runtime(runtime)
    explorer = Explorer(run, stage=stage, label=label)
    explorer.on_progress = progress
    if with_images:
        explorer.open_data(required=True)
        if explorer.dataset is None:
            raise RequestError(f"--with-images: {explorer.why_no_data}")
    else:
        mixed = WITH_MIXTURE if explorer.draws_from_mixture else ONLY_NETWORKS
        explorer.leave_images_out(WITH_MEAN_AND_SPREAD if explorer.knows_only_the_mixture else mixed)
    models = explorer.models
    if cdn:
        models = {explorer.model.config.stage: explorer.model}
    facts, parts = _facts(explorer, models, with_images), _networks(models, half)
    said = explorer.why_no_data
    if with_images:
        facts["images"], parts[SHEET], count = _images(explorer)
        facts["description"]["data"]["count"] = count
        facts["said"] = said = f"This file holds {count:,} of the images that the model learned from, with their labels."
    if files is None:
        names = {"glue": GLUE, "binary": BINARY}
        facts["cdn"] = {key: {"url": CDN + name, "integrity": integrity(name)} for key, name in names.items()}
    network, *others = (packed(name, content, float16=half and name != SHEET) for name, content in parts.items())
    first = _needed_at_once(facts, files, network)
    text = _page(bundled("offline"), first, "\n".join(others), cdn, html.escape(facts["description"]["name"]))
    write_atomically(path, lambda file: file.write(text.encode()))
    carried = facts["description"]["data"]["count"]
    return Page(path, len(text.encode()), tuple(models), carried, "fetched when the page is opened" if cdn else "inside", said)


def _facts(explorer: Explorer, models: dict[str, Model], with_images: bool) -> dict[str, Any]:
    described = explorer.describe()
    described |= {"stages": list(models), "tsne": {"state": "missing"}}
    facts: dict[str, Any] = {"description": described, "encoder": explorer.model.has_encoder}
    facts |= {"cdn": None, "images": None}
    if not with_images:
        # Names and vectors of saved directions come from images too.
        described["directions"] = [one for one in described["directions"] if one["group"] != "attribute"]
        described["data"] |= {"quiet": True, "source": ""}
    return facts


def _networks(models: dict[str, Model], half: bool) -> dict[str, bytes]:
    chosen: dict[str, Graph] = {}
    for index, (stage, model) in enumerate(models.items()):
        for graph in graphs(model):
            if graph.name in ("decoder", "generator"):
                chosen[f"network-{stage}"] = graph
            elif graph.name == "encoder" and index == 0:
                chosen["encoder"] = graph
    return {name: half_onnx_bytes(graph) if half else onnx_bytes(graph)[0] for name, graph in chosen.items()}


def _images(explorer: Explorer) -> tuple[dict[str, Any], bytes, int]:
    assert explorer.dataset is not None
    assert explorer.encodings is not None
    count, config = len(explorer.order), explorer.model.config
    chosen = np.arange(count)
    if count > MOST_IMAGES:
        chosen = np.sort(np.random.default_rng(0).choice(count, MOST_IMAGES, replace=False))
    columns = math.ceil(math.sqrt(len(chosen)))
    height, width = config.shape
    sheet = np.zeros((-(-len(chosen) // columns) * height, columns * width, config.channels), np.uint8)
    for place, index in enumerate(chosen):
        top, left = place // columns * height, place % columns * width
        sheet[top : top + height, left : left + width] = explorer.dataset.images[explorer.order[index]]
    content = io.BytesIO()
    kind = "PNG" if config.channels == TRANSPARENT else "JPEG"
    to_picture(sheet).save(content, kind, quality=SHEET_QUALITY, subsampling=0)
    labels = {name: as_base64(values[explorer.order[chosen]]) for name, values in explorer.dataset.labels.items()}
    facts = {
        "latents": as_base64(explorer.encodings.latents[chosen]),
        "labels": labels,
        "columns": columns,
        "type": f"image/{kind.lower()}",
    }
    return facts, content.getvalue(), len(chosen)


def _needed_at_once(facts: dict[str, Any], files: Runtime | None, network: str) -> str:
    pieces = [packed("facts", json.dumps(facts).encode())]
    if files is not None:
        script = files.script.decode("utf-8")
        assert "</script" not in script.lower()
        pieces += [f"<script>{script}</script>", packed("runtime-glue", files.glue), packed("runtime-binary", files.binary)]
    else:
        pieces.append(f'<script src="{CDN}{SCRIPT}" integrity="{integrity(SCRIPT)}" crossorigin="anonymous"></script>')
    return "\n".join([*pieces, network])


def bundled(entry: str, folder: Path = PAGE) -> str:
    """One script of the module `entry`.js and all that it imports, each in a function of its own so that names stay apart.

    Only the forms of import and export that the page uses are understood: `import { a, b } from "./c.js";` and `export` before a
    function, class or const.
    """
    done: dict[str, str] = {}

    def add(name: str) -> None:
        text = (folder / f"{name}.js").read_text("utf-8")
        for _, imported in _IMPORT.findall(text):
            if imported not in done:
                add(imported)
        text = _IMPORT.sub(lambda found: f"const {{{found[1]}}} = module_{found[2]};\n", text)
        names = [found[1] for found in _EXPORT.findall(text)]
        text = _EXPORT.sub(r"\1 \2", text)
        left = re.search(r"^(import|export)\b.*", text, re.MULTILINE)
        assert left is None, f"{name}.js: {left}"
        done[name] = f"const module_{name} = (() => {{\n{text}return {{ {', '.join(names)} }};\n}})();\n"

    add(entry)
    return "\n".join(done.values())


def _page(script: str, first: str, rest: str, cdn: bool, title: str) -> str:
    """The page as one HTML text: the script runs as soon as the browser has read `first`, and needs `rest` only later."""
    host = f" {CDN}" if cdn else ""  # nothing is fetched, but what --cdn names
    policy = (
        f"default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:{host}; style-src 'unsafe-inline'; "
        f"img-src data: blob:; connect-src blob:{host}; base-uri 'none'; form-action 'none'"
    )
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
