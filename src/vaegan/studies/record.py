"""study.json: the plan of a study, how far it came, and what it found; written and read, as are the notes of a stopped arm."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vaegan.errors import ModelError, RequestError
from vaegan.files import check_file_place, check_new_folder, write_json
from vaegan.settings import from_dictionary, to_dictionary
from vaegan.studies.plan import MOST_SEEDS, Plan
from vaegan.studies.study import Numbers, Result, Story
from vaegan.training.run import MAXIMUM_RECORD_BYTES, disk_errors

FORMAT_VERSION = 1


def write_record(folder: Path, status: str, plan: Plan, results: Sequence[Result], story: Story | None = None) -> None:
    """Writes study.json into the folder of a study; `status` is running, interrupted or finished."""
    content = {"format_version": FORMAT_VERSION, "status": status} | to_dictionary(plan)
    if story is not None:
        pictures = [picture.name for picture in story.pictures]
        content |= {"answer": story.answer, "findings": story.sentences, "pictures": pictures}
    content["results"] = [asdict(result) for result in results]
    with disk_errors(folder):
        write_json(folder / "study.json", _finite(content))


def _finite(value: Any) -> Any:
    """JSON knows no infinities: they become null."""
    if isinstance(value, dict):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def read_record(folder: Path) -> tuple[Plan, list[Result]] | None:
    """The plan and results of the study that lies in `folder`; None when nothing does.

    Raises:
        RequestError: if something else lies there, or nothing can be written there.
        ModelError: if study.json is damaged.
    """
    path = folder / "study.json"
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RequestError(f"{folder} already exists and is no study; give another --out.")
        check_new_folder(folder)
        return None
    check_file_place(path)
    try:
        values = _read(path)
        if not isinstance(values, dict) or "format_version" not in values:
            raise ValueError("it is no record of a study")
        if values.pop("format_version") != FORMAT_VERSION:
            raise ValueError("it was written by another version of vaegan")
        if lacking := {*Plan.__dataclass_fields__, "results"} - {*values}:
            raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
        results = [from_dictionary(Result, one, path.name, "results.") for one in values["results"]]
        if not all(result.failed or _are_measured(result.measurements) for result in results):
            raise ValueError("a result without measurements")
        plan = from_dictionary(Plan, {name: values[name] for name in Plan.__dataclass_fields__}, path.name)
        if not (1 <= plan.seeds <= MOST_SEEDS and 0 < plan.images < float("inf")):
            raise ValueError("a plan without seeds or images")
    except (RequestError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} cannot be used: {str(error).rstrip('.')}. Give another --out.") from error
    return plan, results


def read_measured(notes: Path, run: Path) -> list[Numbers]:
    """What the file `notes` says was measured at the points of an arm that was stopped; nothing where there is no such file.

    Raises:
        ModelError: if the notes are damaged.
    """
    if not notes.is_file():
        return []
    try:
        measured = _read(notes)
        if not _are_measured(measured):
            raise ValueError("no list of measurements")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{notes} is damaged ({error}); remove it and {run} to have this arm trained again.") from error
    return measured


def _read(path: Path) -> Any:
    if path.stat().st_size > MAXIMUM_RECORD_BYTES:
        raise ValueError("it is too large to be a study's")
    return json.loads(path.read_text("utf-8"))


def _are_measured(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values) and all(isinstance(one, dict) for one in values)
