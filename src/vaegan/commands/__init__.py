"""One file a command: its options as a dataclass, and a thin function. Everything heavy is imported inside the function."""

from collections.abc import Callable
from typing import Any

from vaegan.commands.parsing import parse

# A command's options and function are imported when it is called, so that one command's imports do not slow another's --help.


def run(name: str, rest: list[str]) -> None:
    """Parses the options of a command and carries it out."""
    options, function, default = LOADERS[name](rest)
    extra: dict[str, Any] = {} if default is None else {"default": default}
    function(parse(options, f"vaegan {name}", rest, **extra))


Loaded = tuple[Any, Callable[[Any], None], Any]
"""Options, function, and what the options are before the command line is read (None: their own defaults)."""


def _preview(rest: list[str]) -> Loaded:
    from vaegan.commands.preview import Preview, preview

    return Preview, preview, None


def _train(rest: list[str]) -> Loaded:
    from vaegan.commands.train import Train, defaults, train

    return Train, train, defaults(rest)


def _sample(rest: list[str]) -> Loaded:
    from vaegan.commands.sample import Sample, sample

    return Sample, sample, None


def _reconstruct(rest: list[str]) -> Loaded:
    from vaegan.commands.reconstruct import Reconstruct, reconstruct

    return Reconstruct, reconstruct, None


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
    "evaluate": _evaluate,
    "explore": _explore,
    "export": _export,
    "info": _info,
    "report": _report,
    "compare": _compare,
    "doctor": _doctor,
    "study": _study,
}
