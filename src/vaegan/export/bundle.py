"""The explorer's page as one file: its modules joined, its style and icon inside, nothing fetched from anywhere."""

import base64
import re
from pathlib import Path

from vaegan.explorer.server import PAGE

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|class|const) (\w+)", re.MULTILINE)


def bundled(entry: str, folder: Path = PAGE) -> str:
    """One script of a module and all that it imports, each in a function of its own so that their names stay apart.

    Only the forms of import and export that the page uses are understood: `import { a, b } from "./c.js";` and `export` before a
    function, class or const.

    Args:
        entry: name of the module, without .js.
        folder: where the modules lie.
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
    icon = base64.b64encode((PAGE / "icon.svg").read_bytes()).decode()
    style = (PAGE / "style.css").read_text("utf-8").replace('url("icon.svg")', f'url("data:image/svg+xml;base64,{icon}")')
    text = (PAGE / "index.html").read_text("utf-8")
    for before, after in (
        (
            "<title>vaegan explorer</title>",
            f'<meta http-equiv="Content-Security-Policy" content="{policy}" />\n<title>{title}</title>',
        ),
        (
            '<link rel="icon" href="icon.svg" type="image/svg+xml" />',
            f'<link rel="icon" href="data:image/svg+xml;base64,{icon}" />',
        ),
        ('<link rel="stylesheet" href="style.css" />', f"<style>\n{style}</style>"),
        ('<script type="module" src="main.js"></script>', ""),
        ("  </body>", f'{first}\n<script>\n"use strict";\n(() => {{\n{script}}})();\n</script>\n{rest}\n  </body>'),
    ):
        assert before in text, before
        text = text.replace(before, after)
    return text
