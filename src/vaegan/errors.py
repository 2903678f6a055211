"""Typed errors: every message is one line that says what is wrong, where, and what to do."""

import unicodedata
from collections.abc import Iterable, Sequence

_OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories of what a terminal obeys or cannot show


def one_line(text: str) -> str:
    r"""The text with line breaks and all that a terminal would obey or cannot show spelt out, as \n: names of files hold it."""
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in _OBEYED else letter for letter in text
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question to end a message with, after a space: which known word is spelt nearly like `word`; empty where none is.

    What stands behind the last dot must be alike, too: --gan.floor is no slip of --gan.prior.
    """
    from difflib import get_close_matches  # only wanted for mistakes

    word, spelt = word.casefold(), {one.casefold(): one for one in known}
    own = word.rpartition(".")[2]
    near = [one for one in get_close_matches(word, spelt) if get_close_matches(own, [one.rpartition(".")[2]])]
    return f" Did you mean {spelt[near[0]]}?" if near else ""


def meant(word: str, known: Iterable[str]) -> str | None:
    """The known name that is `word`, or the only one that differs from it in spaces, hyphens and underscores alone."""
    names = list(known)
    if word in names:
        return word
    alike = [name for name in names if _spaced(name) == _spaced(word)]
    return alike[0] if len(alike) == 1 else None


def _spaced(name: str) -> str:
    return name.replace("-", " ").replace("_", " ")


def first_of(names: Sequence[str], most: int = 3) -> str:
    """The first names of many, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class VaeganError(Exception):
    """Base of all errors a user can act on; `exit_code` is what the command line exits with."""

    exit_code = 1


class RequestError(VaeganError):
    """The request cannot be served as asked: a wrong path, an impossible setting, unusable data."""

    exit_code = 2


class DataError(RequestError):
    """The images cannot be used: none found, too few, unreadable."""


class ModelError(RequestError):
    """A saved model or run cannot be used: missing, damaged, of another version."""


class TrainingError(VaeganError):
    """Training failed after it began: numbers that are not finite, a full disk."""


class InterruptedTraining(VaeganError):
    """Training was stopped by the user or a signal; what was learned is saved."""

    exit_code = 130
