"""One file a command: its options as a dataclass, and a thin function. Everything heavy is imported inside the function."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vaegan.commands.parsing import parse

RUNS = ("run", "runs", "init", "resume")
"""Options that name runs."""

# A command's options and function are imported when it is called, so that one command's imports do not slow another's --help.


def run(name: str, rest: list[str]) -> None:
    """Parses the options of a command and carries it out."""
    options, function, default = LOADERS[name](rest)
    extra: dict[str, Any] = {} if default is None else {"default": default}
    request = parse(options, f"vaegan {name}", rest, **extra)
    runs = {option: _of_last(getattr(request, option)) for option in RUNS if hasattr(request, option)}
    function(replace(request, **runs))


def _of_last(run: Any) -> Any:
    """The run that runs/last leads to now: what is printed and kept of it must not mean another run after the next training."""
    if isinstance(run, tuple):
        return tuple(map(_of_last, run))
    is_link = isinstance(run, Path) and run.name == "last" and run.is_symlink()
    return run.parent / run.readlink() if is_link else run


Loaded = tuple[Any, Callable[[Any], None], Any]
"""Options, function, and what the options are before the command line is read (None: their own defaults)."""


def _preview(rest: list[str]) -> Loaded:
    from vaegan.commands.preview import Preview, preview

    return Preview, preview, None


def _train(rest: list[str]) -> Loaded:
    from vaegan.commands.train import Train, defaults, train

    return Train, partial(train, words=rest), defaults(rest)


def _sample(rest: list[str]) -> Loaded:
    from vaegan.commands.sample import Sample, sample

    return Sample, sample, None


def _reconstruct(rest: list[str]) -> Loaded:
    from vaegan.commands.reconstruct import Reconstruct, reconstruct

    return Reconstruct, reconstruct, None


def _vary(rest: list[str]) -> Loaded:
    from vaegan.commands.vary import Vary, vary

    return Vary, vary, None


def _interpolate(rest: list[str]) -> Loaded:
    from vaegan.commands.interpolate import Interpolate, interpolate

    return Interpolate, interpolate, None


def _morph(rest: list[str]) -> Loaded:
    from vaegan.commands.morph import Morph, morph

    return Morph, morph, None


def _similar(rest: list[str]) -> Loaded:
    from vaegan.commands.similar import Similar, similar

    return Similar, similar, None


def _direction(rest: list[str]) -> Loaded:
    from vaegan.commands.direction import Direction, direction

    return Direction, direction, None


def _edit(rest: list[str]) -> Loaded:
    from vaegan.commands.edit import Edit, edit

    return Edit, edit, None


def _outliers(rest: list[str]) -> Loaded:
    from vaegan.commands.outliers import Outliers, outliers

    return Outliers, outliers, None


def _duplicates(rest: list[str]) -> Loaded:
    from vaegan.commands.duplicates import Duplicates, duplicates

    return Duplicates, duplicates, None


def _encode(rest: list[str]) -> Loaded:
    from vaegan.commands.encode import Encode, encode

    return Encode, encode, None


def _decode(rest: list[str]) -> Loaded:
    from vaegan.commands.decode import Decode, decode

    return Decode, decode, None


def _evaluate(rest: list[str]) -> Loaded:
    from vaegan.commands.evaluate import Evaluate, evaluate

    return Evaluate, evaluate, None


def _export(rest: list[str]) -> Loaded:
    from vaegan.commands.export import Export, export

    return Export, export, None


def _info(rest: list[str]) -> Loaded:
    from vaegan.commands.info import Info, info

    return Info, info, None


def _compare(rest: list[str]) -> Loaded:
    from vaegan.commands.compare import Compare, compare

    return Compare, compare, None


def _report(rest: list[str]) -> Loaded:
    from vaegan.commands.report import Report, report

    return Report, report, None


def _doctor(rest: list[str]) -> Loaded:
    from vaegan.commands.doctor import Doctor, doctor

    return Doctor, doctor, None


def _study(rest: list[str]) -> Loaded:
    from vaegan.commands.study import StudyOptions, defaults, study

    return StudyOptions, study, defaults(rest)


def _explore(rest: list[str]) -> Loaded:
    from vaegan.commands.explore import Explore, explore

    return Explore, explore, None


LOADERS: dict[str, Callable[[list[str]], Loaded]] = {
    "preview": _preview,
    "train": _train,
    "sample": _sample,
    "reconstruct": _reconstruct,
    "vary": _vary,
    "interpolate": _interpolate,
    "morph": _morph,
    "similar": _similar,
    "direction": _direction,
    "edit": _edit,
    "outliers": _outliers,
    "duplicates": _duplicates,
    "encode": _encode,
    "decode": _decode,
    "evaluate": _evaluate,
    "explore": _explore,
    "export": _export,
    "info": _info,
    "report": _report,
    "compare": _compare,
    "doctor": _doctor,
    "study": _study,
}
