"""What several commands share."""

import json
from typing import Any

from vaegan.config import Stage

__all__ = ["Stage", "report"]


def report(facts: dict[str, Any], words: str, as_json: bool) -> None:
    """Says what a command did: to a person, or to a program."""
    print(json.dumps(facts) if as_json else words)
