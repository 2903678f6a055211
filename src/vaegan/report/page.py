"""A page in one file that asks the network for nothing, and the pieces that its sections are made of."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from shlex import quote

from vaegan.errors import RequestError, TrainingError
from vaegan.files import check_file_place, write_atomically
from vaegan.markup import Content, Markup, tag, trusted
from vaegan.report.pictures import Sheet

STAGE_TITLES = {"ae": "AE", "vae": "VAE", "gan": "GAN", "joint": "VAE/GAN"}


def section(identity: str, title: str, *content: Content) -> Markup:
    """A part of the page with a heading that the table of contents leads to."""
    return tag("section", tag("h2", title, id=f"{identity}-title"), *content, id=identity, aria_labelledby=f"{identity}-title")


def gap(sentence: str, command: str | None = None) -> Markup:
    """Says that something is not there, why, and how to get it."""
    return tag("p", sentence, " ", tag("code", command) if command else None, class_="gap")


def facts(pairs: Sequence[tuple[str, Content]]) -> Markup:
    """A list of short facts."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs if value), class_="facts")


def picture(sheet: Sheet, words: str, caption: Content = None, kind: str | None = None, again: Markup | None = None) -> Markup:
    """A picture with its caption above and how to make it `again` below; `words` are for those who do not see it."""
    drawn = tag("img", src=sheet.data, alt=words, width=sheet.width, height=sheet.height, decoding="async")
    return tag(
        "figure",
        tag("figcaption", caption) if caption else None,
        tag("div", drawn, class_="sheet"),
        again,
        class_=" ".join(filter(None, ("picture", kind))),
    )


def again(*lines: str, words: str = "Make it again") -> Markup:
    """The commands, or lines of Python, that make a figure again."""
    return tag("details", tag("summary", words), tag("pre", tag("code", "\n".join(lines)), tabindex="0"), class_="again")


def table(heads: Sequence[Content], rows: Sequence[Sequence[Content]], kind: str = "", caption: Content = None) -> Markup:
    """A table whose first column names the row; on a narrow screen each row becomes a card. `kind` is a class of page.css."""
    top = tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads)))
    lines: list[Markup] = []
    for first, *rest in rows:
        names = ("" if isinstance(head, Markup) or not isinstance(head, str) else head for head in heads[1:])
        cells = [tag("td", cell, data_head=name) for name, cell in zip(names, rest, strict=True)]
        lines.append(tag("tr", tag("th", first, scope="row"), *cells))
    return tag("table", tag("caption", caption) if caption else None, top, tag("tbody", *lines), class_=kind or None)


def command(*words: str) -> str:
    """A command that can be pasted."""
    return " ".join(["vaegan", *(quote(word) for word in words)])


def page(title: str, header: Markup, sections: Sequence[Markup | None]) -> str:
    """HTML of a self-contained page, with a table of contents of its sections.

    A content security policy allows pictures inside the page and the page's own style and script, by their hashes, and nothing
    else: should a hostile name ever get past the escaping, no browser would run it, and no address outside can be asked.
    """
    style, script = _own("page.css"), _own("page.js")
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content="vaegan"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", trusted(style)),
    )
    names = [one.partition(' id="')[2].partition('"')[0] for one in sections if one]
    entries = [tag("li", tag("a", SHORT_TITLES.get(name, name.capitalize()), href=f"#{name}")) for name in names]
    theme = tag("button", "Theme", type="button", id="theme", aria_label="Light or dark")
    bar = tag("nav", tag("ul", *entries), theme, aria_label="Contents")
    skip = tag("a", "Skip to the content", href="#content", class_="skip")
    body = tag("body", skip, bar, tag("main", header, *sections, id="content"), tag("script", trusted(script)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def check_out(target: Path) -> None:
    """Refuses, before any work, a page that could not be written."""
    if target.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"--out {target} must be a name that ends in .html.")
    check_file_place(target)


def write_page(target: Path, text: str) -> None:
    """Writes a page atomically; raises TrainingError if the disk does not take it."""
    try:
        write_atomically(target, lambda file: file.write(text.encode()))
    except OSError as error:
        raise TrainingError(f"Cannot write {target}: {error.strerror or error}. Give another --out.") from error


SHORT_TITLES = {
    "verdict": "In short",
    "scores-ae": "AE scores",
    "scores-vae": "VAE scores",
    "scores-gan": "GAN scores",
    "scores-joint": "VAE/GAN scores",
    "real": "Data",
    "spectra": "Texture",
    "about": "This page",
}
"""Entries of the table of contents that are not their section's name."""


def _own(name: str) -> str:
    return resources.files("vaegan.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
