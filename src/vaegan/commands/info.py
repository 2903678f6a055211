"""vaegan info: what a run is and how it went."""

import json
from dataclasses import dataclass
from typing import Any

from vaegan.commands.shared import RunOptions
from vaegan.errors import one_line
from vaegan.glossary import fact_meaning, fact_title, finisher_words, sooner_words


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """What a run is: data, networks, what was trained and how it went."""


def run(options: Options) -> None:
    """Describes a run."""
    from vaegan.describe import describe

    facts = describe(options.run)
    if options.json:
        print(json.dumps(facts, indent=2))
        return
    console = options.console
    for title, part in facts.items():
        if isinstance(part, dict):
            console.table(_in_words(part), title)
        else:
            console.say(f"{title}: {part}")


def _in_words(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that there are, called what a person calls them; those in groups on a line each, with what they mean."""
    from vaegan.console import value_words

    rows: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            lines = [
                (one_line(f"{fact_title(inner)}: {value_words(fact)}"), fact_meaning(inner)) for inner, fact in value.items()
            ]
            value = "\n".join(f"{line} ({meaning.rstrip('.')})" if meaning else line for line, meaning in lines)
        elif name == "brought_forward":
            value = sooner_words(value)
        elif name == "finished_by":
            value = finisher_words(value)
        elif isinstance(value, str):
            value = one_line(value)
        if value not in ("", [], None):
            rows[fact_title(name)] = value
    return rows
