"""Pieces that sections are made of: headings, facts, pictures with a caption, and how to make them again."""

from collections.abc import Sequence
from shlex import quote

from vaegan.markup import Content, Markup, tag
from vaegan.report.images import Sheet

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
    """A picture with its caption.

    Args:
        sheet: the picture.
        words: what is to be seen, for those who do not see it.
        caption: above the picture.
        kind: a class of page.css.
        again: how to make it again.
    """
    drawn = tag("img", src=sheet.data, alt=words, width=sheet.width, height=sheet.height, decoding="async")
    tiles = {"data_columns": sheet.columns, "data_rows": sheet.rows} if sheet.columns > 1 else {}
    return tag(
        "figure",
        tag("figcaption", caption) if caption else None,
        tag("div", drawn, class_="sheet", **tiles),
        again,
        class_=" ".join(filter(None, ("picture", kind))),
    )


def again(*lines: str, words: str = "Make it again") -> Markup:
    """The commands, or lines of Python, that make a figure again."""
    return tag("details", tag("summary", words), tag("pre", tag("code", "\n".join(lines)), tabindex="0"), class_="again")


def table(heads: Sequence[Content], rows: Sequence[Sequence[Content]], kind: str = "", caption: Content = None) -> Markup:
    """A table whose first column names the row; on a narrow screen each row becomes a card.

    Args:
        heads: of the columns.
        rows: cells.
        kind: a class of page.css.
        caption: what the table shows.
    """
    top = tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads)))
    lines: list[Markup] = []
    for first, *rest in rows:
        cells = [tag("td", cell, data_head=_plain(head)) for head, cell in zip(heads[1:], rest, strict=True)]
        lines.append(tag("tr", tag("th", first, scope="row"), *cells))
    return tag("table", tag("caption", caption) if caption else None, top, tag("tbody", *lines), class_=kind or None)


def _plain(head: Content) -> str:
    return "" if head is None or isinstance(head, Markup) or not isinstance(head, str | int) else str(head)


def command(*words: str) -> str:
    """A command that can be pasted."""
    return " ".join(["vaegan", *(quote(word) for word in words)])
