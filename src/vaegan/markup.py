"""HTML from small functions: everything that is not already `Markup` is escaped, so that no file name can become a tag."""

import html
from collections.abc import Iterable
from typing import Any


class Markup(str):
    """Text that is HTML already; only the functions of this file make it."""

    __slots__ = ()


Content = str | int | Markup | None | Iterable["Content"]

_ALONE = ("img", "meta", "link", "input", "br", "col")  # elements without an end
_SVG_ALONE = ("path", "rect", "line", "circle")


def escaped(content: Content) -> Markup:
    """Content as HTML: text escaped, lists joined, None left out."""
    if content is None:
        return Markup()
    if isinstance(content, Markup):
        return content
    if isinstance(content, str | int):
        return Markup(html.escape(_printable(str(content))))
    return Markup("".join(escaped(part) for part in content))


def tag(name: str, /, *content: Content, **attributes: Any) -> Markup:
    """One element; `class_` and `for_` lose their underscore, others become dashes; None and False leave an attribute out."""
    start = f"<{name}{_attributes(attributes)}>"
    if name in _ALONE:
        return Markup(start)
    if name in _SVG_ALONE and not content:
        return Markup(start[:-1] + "/>")
    return Markup(f"{start}{escaped(content)}</{name}>")


def trusted(text: str) -> Markup:
    """Text of the package's own files, which is HTML (or CSS, or a script) already."""
    return Markup(text)


def _attributes(attributes: dict[str, Any]) -> str:
    return "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(_printable(str(value)))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )


def _printable(text: str) -> str:
    # A file name may hold bytes that are no UTF-8 (as lone surrogates) and control characters; neither may stand in a page.
    clean = "".join(character if character >= " " or character in "\n\t" else "\N{REPLACEMENT CHARACTER}" for character in text)
    return clean.encode("utf-8", "replace").decode()
