"""Options out of a command line; what is wrong with them said in one line instead of tyro's boxes."""

import contextlib
import inspect
import io
import os
import re
import shutil
import sys
from collections.abc import Generator
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import docstring_parser
import tyro

from vaegan.errors import RequestError
from vaegan.settings import check_seed

ALL = "--help-all"
NARROWEST = 40  # columns of a help: in five tyro never ends
VERY_WIDE = 10_000  # so that every sentence of an error is on one line
NO_NOTE = tyro.conf.arg()
METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}
KINDS = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path"}


def parse(options: Any, prog: str, arguments: list[str], **extra: Any) -> Any:
    """The options that a command line gives.

    Args:
        options: a dataclass.
        prog: vaegan and the command.
        arguments: what follows them.
        extra: to be passed on to tyro.

    Raises:
        RequestError: saying in one line what is wrong.
    """
    if any(not word or (word.startswith("--") and word.endswith("=")) for word in arguments):
        # The empty path would be the current folder, with all that lies in it.
        raise RequestError(f"{prog} was given an empty word; is a variable of the command line not set?")
    told, asks_for_help = io.StringIO(), bool({"-h", "--help", ALL} & set(arguments))
    left_out = _describe(options, shown=asks_for_help, brief=asks_for_help and ALL not in arguments)
    if left_out:
        named = ", ".join(f"--{prefix}.*" for prefix in left_out)
        extra["description"] = f"{inspect.getdoc(options)}\n\nNot listed here: {named}. {prog} {ALL} lists them, too."
    arguments = ["--help" if word == ALL else word for word in arguments]
    try:
        with contextlib.redirect_stderr(told), _columns(_of_terminal() if asks_for_help else VERY_WIDE):
            parsed = tyro.cli(options, prog=prog, args=arguments, **extra)
    except SystemExit as end:
        if not end.code:
            raise
        raise RequestError(explain(told.getvalue(), prog)) from None
    sys.stderr.write(told.getvalue())
    for seed in (getattr(parsed, "seed", 0), *_seeds(parsed)):
        check_seed(seed)
    return parsed


def _seeds(parsed: Any) -> tuple[int, ...]:
    """Those of a command that takes several; of a study --seeds is their number."""
    seeds = getattr(parsed, "seeds", ())
    return seeds if isinstance(seeds, tuple) else ()


def _describe(options: Any, *, shown: bool, brief: bool) -> list[str]:
    """Tells tyro how a dataclass and those inside it are to be read and shown.

    - `X | None` becomes Union[X, None]: tyro checks defaults of the first form with typeguard, whose import takes longer than all
      the rest. It is shown as X, and a default of None, which the sentence beside it explains, not at all.
    - What is shown has its sentences in one paragraph, wherever the source breaks its lines; finding them takes 0.2 s.
    - A brief help leaves out settings with a prefix of their own.

    Returns:
        Those prefixes, in order.
    """
    left_out: list[str] = []
    told = {entry.arg_name: entry.description for entry in docstring_parser.parse_from_object(options).params} if shown else {}
    for name, hint in list(options.__annotations__.items()):
        base, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        note_of: Any = next((note for note in notes if isinstance(note, type(NO_NOTE))), NO_NOTE)
        notes = [note for note in notes if note is not note_of and note is not tyro.conf.Suppress]
        if is_dataclass(base):
            _describe(base, shown=shown, brief=brief)
            if brief and note_of.name != "":
                notes.append(tyro.conf.Suppress)
                left_out.append(name)
        else:
            help_text = " ".join((told.get(name) or "").split())
            note_of = replace(note_of, help=help_text or note_of.help, help_behavior_hint=_default)
            kinds = get_args(base)
            if isinstance(base, UnionType) or get_origin(base) is Union:
                base = Union[kinds]  # noqa: UP007
                kind = METAVARS.get(kinds[0]) or "{" + ",".join(map(str, get_args(kinds[0]))) + "}"
                note_of = replace(note_of, metavar=note_of.metavar or kind)
        options.__annotations__[name] = Annotated[(base, *notes, note_of)]
    return left_out


def _default(shown: str) -> str:
    return "" if shown == "None" else f"(default: {shown})"


def explain(box: str, prog: str) -> str:
    """One line out of the box that tyro prints; its own first words where the box is of no known kind."""
    stripped = [line.strip("│╭╮╰╯ ") for line in box.splitlines()]
    lines = [line for line in stripped if line.strip("─-")][1:]  # without the title
    text = " ".join(lines)
    see = f"See {prog} --help."
    if match := re.match(r"Unrecognized options: (.*)", lines[0] if lines else ""):
        tokens = match[1].split(", ")
        unknown = [token for token in tokens if token.startswith("-")] or tokens
        near = next((line.split()[0].rstrip(",") for line in lines[1:] if line.startswith("--")), None)
        return f"{prog} does not know {', '.join(unknown)}{f'; did you mean {near}?' if near else '.'} {see}"
    if match := re.match(r"invalid choice '(.*?)' for argument '(.*?)'. Expected one of \((.*?)\)", text):
        choices = sorted(choice for choice in re.findall(r"'(.*?)'", match[3]) if choice != "None")
        return f"{_name(match[2])} {match[1]} is not possible; choose one of {', '.join(choices)}."
    if match := re.match(r"Missing value for argument '(.*?)'", text):
        return f"{_name(match[1])} needs a value. {see}"
    if match := re.match(r"Error parsing (\S+):.*?'(.*?)'", text):
        kind = re.search(r"Argument helptext: (?:-\S+ )*([^\s,]+)", text)
        wanted = KINDS.get(kind[1], kind[1]) if kind else "something else"
        return f"{_name(match[1])} {_value(match[1], text) or match[2]} is not possible; it must be {wanted}."
    if text.startswith("Missing from "):
        missing = [line.split()[0] for line in lines[1:] if re.match(r"([A-Z]+(\.\.\.)?$|--)", line)]
        return f"{prog} needs {', '.join(missing)}. {see}"
    return f"{lines[0] if lines else 'The options cannot be understood.'} {see}"


def _name(names: str) -> str:
    """The shortest of -n/--n."""
    return names.split("/")[0]


def _value(option: str, text: str) -> str | None:
    """The value in tyro's two ways of quoting it."""
    found = re.search(r"instantiated from \['(.*?)'\]|invalid literal .*?: '(.*?)'|to float: '(.*?)'", text)
    return next(filter(None, found.groups()), None) if found else None


def _of_terminal() -> int:
    return max(NARROWEST, shutil.get_terminal_size().columns)


@contextlib.contextmanager
def _columns(count: int) -> Generator[None]:
    """Lets tyro write so wide."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
