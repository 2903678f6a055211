"""The front of the command line: reads the options that a dataclass declares, and says what is wrong in one sentence.

Names, types, choices, defaults and help texts come from the dataclass and the settings inside it. Argparse lays the help out.
It does not read the words: it takes positional arguments in one piece alone, and -0.3,1.2 for an option.
"""

import argparse
import ast
import inspect
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vaegan.config import Budget, DataConfig, DeviceConfig, TrainConfig
from vaegan.errors import RequestError, did_you_mean
from vaegan.settings import check_seed

Options = TypeVar("Options")

HELP, HELP_ALL = ("-h", "--help"), "--help-all"
WITHOUT_PREFIX = (TrainConfig, DataConfig, DeviceConfig, Budget)
"""Settings whose options are called by their names alone: --size, not --data.size."""
RUNS = ("run", "runs", "init", "resume")
"""Options that name runs."""
KINDS = {int: ("INT", "a whole number"), float: ("FLOAT", "a number"), str: ("STR", "a text"), Path: ("PATH", "a path")}
"""What stands for a value in a help text, and what it is called in a sentence."""


@dataclass(frozen=True)
class Spelling:
    """How a field is written on the command line, where its name and type do not say so."""

    metavar: str = ""
    positional: bool = False
    repeated: bool = False  # the option may be given several times, with one value each
    only: tuple[str, ...] = ()  # the groups of settings that the command reads; all when empty


@dataclass(frozen=True)
class _Option:
    """One option or positional argument: a field, and how it is written."""

    path: str  # names of fields from the outermost to its own, with points between them
    names: tuple[str, ...]
    kind: Any
    many: bool
    spelling: Spelling
    default: Any
    owner: type[Any]  # the dataclass that declares it
    prefix: str  # what its name begins with, as gan. does; mostly empty

    @property
    def metavar(self) -> str:
        """What stands for its value in a help text."""
        return self.spelling.metavar or KINDS.get(self.kind, ("{" + ",".join(map(str, get_args(self.kind))) + "}",))[0]

    def value(self, words: list[str]) -> Any:
        """What the words stand for."""
        values = tuple(self._one(word) for word in words)
        return values if self.many else values[0]

    def _one(self, word: str) -> Any:
        if get_origin(self.kind) is Literal:
            if word in get_args(self.kind):
                return word
            wanted = f"choose one of {', '.join(sorted(get_args(self.kind)))}"
        else:
            try:
                return _run_of_last(Path(word)) if self.path in RUNS else self.kind(word)
            except ValueError:
                wanted = f"it must be {KINDS[self.kind][1]}"
        raise RequestError(f"{self.names[0]} {word} is not possible; {wanted}.")


def parse(kind: type[Options], prog: str, words: list[str]) -> Options:
    """The options that a command line gives: the `words` after `prog`, which is vaegan and the command.

    The static method `defaults` of the dataclass `kind`, if there is one, makes defaults of fields from the options as they were
    written, as a preset does. RequestError says in one line what is wrong; help that was asked for ends the program.
    """
    if any(not word or (word.startswith("--") and word.endswith("=")) for word in words):
        # The empty path would be the current folder, with all that lies in it.
        raise RequestError(f"{prog} was given an empty word; is a variable of the command line not set?")
    helps = [word for word in words if word in (*HELP, HELP_ALL)]
    options = _declared(kind, _defaults(kind))
    values, written = _read(options, prog, deque(word for word in words if word not in helps))
    start: dict[str, Any] = getattr(kind, "defaults", lambda written: {})(written)
    if helps:
        _print_help(kind, prog, _declared(kind, _defaults(kind) | start), HELP_ALL in helps)
        sys.exit(0)
    if missing := [option.names[0] for option in options if option.default is MISSING and option.path not in values]:
        raise RequestError(f"{prog} needs {', '.join(missing)}. See {prog} --help.")
    for name, option in ((path.rpartition(".")[2], value) for path, value in values.items()):
        if name == "seed":
            check_seed(option)
    outer = {path: value for path, value in values.items() if "." not in path}
    return _changed(kind(**(start | outer)), {path: value for path, value in values.items() if "." in path})


def _changed(settings: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass with other values at the paths of fields."""
    own = {path: value for path, value in values.items() if "." not in path}
    for group in {path.partition(".")[0] for path in values if "." in path}:
        inner = {path.partition(".")[2]: value for path, value in values.items() if path.startswith(f"{group}.")}
        own[group] = _changed(getattr(settings, group), inner)
    return replace(settings, **own)


def _defaults(kind: Any) -> dict[str, Any]:
    """Fields and their defaults, MISSING where there is none."""
    return {one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in fields(kind)}


def _declared(kind: type[Any], defaults: Mapping[str, Any], path: str = "", prefix: str = "") -> list[_Option]:
    """The options of a dataclass, its own before inherited ones, and then those of the settings inside it."""
    options, settings = list[_Option](), list[_Option]()
    hints = get_type_hints(kind, include_extras=True)
    for field, default in defaults.items():
        hint, *notes = get_args(hints[field]) if get_origin(hints[field]) is Annotated else (hints[field],)
        spelling = next((note for note in notes if isinstance(note, Spelling)), Spelling())
        many = get_origin(hint) is tuple
        if many or get_origin(hint) in (Union, UnionType):
            kinds = [one for one in get_args(hint) if one is not NoneType]
            several = len(kinds) > 1 and not many  # such as a number or a text, which the settings tell apart
            hint, spelling = (str, Spelling(metavar=field.upper())) if several else (kinds[0], spelling)
        name = field.strip("_").replace("_", "-")
        if is_dataclass(hint):
            inner = {inside: value for inside, value in vars(default).items() if inside in (spelling.only or vars(default))}
            within = prefix if hint in WITHOUT_PREFIX else f"{prefix}{name}."
            settings += _declared(type(default), inner, f"{path}{field}.", within)
        elif spelling.positional:
            options.append(_Option(path + field, (spelling.metavar,), hint, many, spelling, default, kind, prefix))
        else:
            short = [f"-{name}"] if len(name) == 1 else []
            off = [f"--{prefix}no-{name}"] if hint is bool else []
            names = (*short, f"--{prefix}{name}", *off)
            options.append(_Option(path + field, names, hint, many, spelling, default, kind, prefix))
    own = inspect.get_annotations(kind)
    options.sort(key=lambda option: not option.spelling.positional and option.path.rpartition(".")[2] not in own)
    return options + settings


def _run_of_last(run: Path) -> Path:
    """The run that runs/last leads to now: what is printed of it must not mean another run after the next training."""
    return run.parent / run.readlink() if run.name == "last" and run.is_symlink() else run


def _read(options: list[_Option], prog: str, words: deque[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values by the paths of their fields, and by the options as they were written."""
    named = {name: option for option in options if not option.spelling.positional for name in option.names}
    values, written = dict[str, Any](), dict[str, Any]()
    loose, unknown = list[str](), list[str]()
    while words:
        word = words.popleft()
        name, equals, value = word.partition("=")
        if word[:2] in named and len(word) > 2:  # -n64
            name, equals, value = word[:2], "=", word[2:].removeprefix("=")
        name = name.replace("_", "-") if name.startswith("--") else name
        option = named.get(name)
        if word == "--":
            loose += words
            words.clear()
        elif option is None or (option.kind is bool and equals):
            (unknown if _is_name(word) else loose).append(word)
        elif option.kind is bool:
            values[option.path] = written[name] = name != option.names[-1]
        else:
            given = [value] if equals else _values_ahead(words, option.many and not option.spelling.repeated)
            if not given:
                raise RequestError(f"{name} needs a value. See {prog} --help.")
            found = option.value(given)
            values[option.path] = values.get(option.path, ()) + found if option.spelling.repeated else found
            written[name] = found
    for option in options:
        if option.spelling.positional and loose:
            given, loose = (loose, []) if option.many else (loose[:1], loose[1:])
            values[option.path] = option.value(given)
    if wrong := unknown or loose:
        near = did_you_mean(unknown[0].partition("=")[0], named) if unknown else ""
        raise RequestError(f"{prog} does not know {', '.join(wrong)}.{near} See {prog} --help.")
    return values, written


def _is_name(word: str) -> bool:
    """Whether a word is spelt like an option: -1e-3 and -inf are numbers."""
    return word == "--" or (word.startswith("-") and word.lstrip("-")[:1].isalpha() and word not in ("-inf", "-nan"))


def _values_ahead(words: deque[str], many: bool) -> list[str]:
    """Takes the value that follows an option, or all values up to the next option."""
    taken = list[str]()
    while words and not _is_name(words[0]) and (many or not taken):
        taken.append(words.popleft())
    return taken


def _print_help(kind: type[Any], prog: str, options: list[_Option], everything: bool) -> None:
    """Prints the page of a command, on which settings with a prefix are named by it alone, or everything."""
    left_out = dict.fromkeys(f"--{option.prefix}*" for option in options if option.prefix and not everything)
    note = f"{prog} {HELP_ALL} lists {', '.join(left_out)}, too." if left_out else None
    usage = " ".join([prog, "[OPTIONS]", *(option.metavar for option in options if option.spelling.positional)])
    page = argparse.ArgumentParser(usage=usage, description=inspect.getdoc(kind), epilog=note, add_help=False)
    groups: dict[str, Any] = {"": page}
    for option in options:
        text = _sentences(option.owner).get(option.path.rpartition(".")[2], "")
        if option.default not in (MISSING, None, (), ""):
            text += f" (default: {option.default})"
        shown: dict[str, Any] = {"help": text.replace("%", "%%")}
        if option.spelling.positional:
            page.add_argument(option.path, metavar=option.metavar, **shown)
        elif everything or not option.prefix:
            if option.prefix not in groups:
                title = f"{option.prefix.rstrip('.')} options"
                groups[option.prefix] = page.add_argument_group(title, inspect.getdoc(option.owner))
            takes = {"action": "store_true"} if option.kind is bool else {"metavar": option.metavar}
            groups[option.prefix].add_argument(*option.names, **takes, **shown)
    page.add_argument(*HELP, action="help", help="Show this page.")
    page.print_help()


def _sentences(kind: type[Any]) -> dict[str, str]:
    """The texts below the fields of a dataclass, each as one paragraph, wherever the source breaks its lines."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        for field, text in pairwise(_classes(one.__module__)[one.__name__]):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {one.name: one.body for one in tree.body if isinstance(one, ast.ClassDef)}
