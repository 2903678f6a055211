"""What a metric is called and means, for a reader of a page."""

from dataclasses import replace

from vaegan.metrics.table import METRICS, Metric

TARGETS = {"one": 1.0, "half": 0.5}
"""Where a metric is best that is neither best low nor best high."""

GOOD = {
    "lower": "lower is better",
    "higher": "higher is better",
    "one": "1 is best",
    "half": "0.5 is best",
    "neither": "neither high nor low is better",
}


def metric_words(name: str) -> Metric | None:
    """A metric's entry in the table, its title beginning with a capital; None for one of another version."""
    found = METRICS.get(name)
    return None if found is None else replace(found, title=found.title[:1].upper() + found.title[1:])


def metric_title(name: str) -> str:
    """What a metric is called; its own name in words when the table does not know it."""
    found = metric_words(name)
    return name.replace("_", " ").capitalize() if found is None else found.title
