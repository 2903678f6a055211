"""A whole page: head, sections, style and script in one file that asks the network for nothing."""

import base64
import hashlib
from importlib import resources
from typing import NamedTuple

from vaegan.markup import Content, Markup, tag, trusted


class Chapter(NamedTuple):
    """An entry of the table of contents."""

    identity: str
    title: str


def page(title: str, chapters: list[Chapter], *content: Content) -> str:
    """HTML of a self-contained page.

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
    contents = tag("ul", *(tag("li", tag("a", chapter.title, href=f"#{chapter.identity}")) for chapter in chapters))
    theme = tag("button", "Theme", type="button", id="theme", aria_label="Light or dark")
    bar = tag("nav", contents, theme, aria_label="Contents")
    skip = tag("a", "Skip to the content", href="#content", class_="skip")
    body = tag("body", skip, bar, tag("main", *content, id="content"), tag("script", trusted(script)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def chapters_in(sections: list[Markup]) -> list[Chapter]:
    """The chapters of sections made by `parts.section`."""
    found: list[Chapter] = []
    for one in sections:
        identity = one.partition(' id="')[2].partition('"')[0]
        found.append(Chapter(identity, SHORT_TITLES.get(identity, identity)))
    return found


SHORT_TITLES = {
    "verdict": "In short",
    "runs": "Runs",
    "scores-ae": "AE scores",
    "scores-vae": "VAE scores",
    "scores-gan": "GAN scores",
    "missing": "Missing",
    "progress": "Progress",
    "samples": "Samples",
    "real": "Data",
    "reconstructions": "Reconstructions",
    "interpolations": "Interpolations",
    "scores": "Scores",
    "copies": "Copies",
    "spectra": "Texture",
    "curves": "Curves",
    "guards": "Guards",
    "checks": "Checks",
    "settings": "Settings",
    "about": "This page",
}


def _own(name: str) -> str:
    return resources.files("vaegan.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
