"""What a metric is called and means, for a reader of a page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricWords:
    """A metric in words."""

    title: str
    explanation: str
    good: str
    """lower or higher; one: near 1; half: near 0.5; empty: not known."""
    unit: str
    headline: bool


def metric_words(name: str) -> MetricWords:
    """A metric in words; one that is not known here keeps its own name."""
    return MetricWords(name.replace("_", " ").capitalize(), "This version of vaegan has no explanation of it.", "", "", True)
