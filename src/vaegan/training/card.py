"""The model card: what a model was trained on, how, how good it is, and what it is for. Holds no image of the training data."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaegan.files import write_atomically
from vaegan.metrics.table import metric_title
from vaegan.model_files import ModelConfig, read_config
from vaegan.training.card_text import Scores, card_sections, conditions, data_words, scores_of
from vaegan.training.run import RunFolder, RunRecord, disk_errors

OWN_KEYS = ("library_name", "pipeline_tag", "model-index")  # of the metadata; all others are the owner's once they stand there
BEGIN = "<!-- vaegan writes from here to the end mark; what stands outside is yours and is kept -->"
END = "<!-- end -->"
MAXIMUM_CARD_BYTES = 1_000_000


def model_card(
    config: ModelConfig,
    record: RunRecord,
    facts: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None = None,
    old: str = "",
) -> str:
    """README.md of a saved model, in the Hub's form: from facts about its stage, and from evaluation.json if there is one.

    Of the `old` card metadata that are not the program's (such as the licence) and text outside its marks stay; without the marks
    it is the owner's altogether, and stays as it is.
    """
    if old and BEGIN not in old:
        return old
    scores = scores_of(config, evaluation)
    metadata, before, after = _kept(old)
    owner = metadata or [
        "license: unknown # the owner of the model decides",
        f'tags: ["vaegan", "{config.stage}", "image-generation"]',
    ]
    own = [
        "library_name: vaegan",
        "pipeline_tag: unconditional-image-generation",
        *_model_index(config, record, evaluation, scores),
    ]
    body = "\n\n".join(part for part in card_sections(config, record, facts, evaluation, scores) if part)
    return "\n".join(["---", *owner, *own, "---", f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"])


def refresh_cards(folder: RunFolder, evaluation: Mapping[str, Any]) -> None:
    """Brings the content of a new evaluation.json into the cards of a run's models; what their owners wrote stays."""
    record = folder.read()
    for stage in evaluation["stages"]:
        if (folder.model(stage) / "config.json").is_file():
            path = folder.model(stage) / "README.md"
            text = model_card(read_config(folder.model(stage)), record, record.facts.get(stage, {}), evaluation, read_card(path))
            with disk_errors(folder.path):
                write_atomically(path, lambda file, text=text: file.write(text.encode()))


def read_card(path: Path) -> str:
    """The card that is there; nothing if there is none that can be read."""
    try:
        return path.read_text("utf-8") if path.stat().st_size <= MAXIMUM_CARD_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _kept(old: str) -> tuple[list[str], str, str]:
    """The owner's lines of the metadata, and the text before and after the program's."""
    if not old:
        return [], "", "\n"
    head, _, rest = old.partition(BEGIN)
    after = rest.partition(END)[2]
    found = re.match(r"---\n(.*?)\n---\n(.*)", head, re.DOTALL)
    if found is None:
        return [], head, after
    lines, mine = list[str](), False
    for line in found[1].splitlines():
        key = re.match(r"([\w-]+):", line)
        mine = key[1] in OWN_KEYS if key else mine and line[:1] in (" ", "-", "")
        if not mine:
            lines.append(line)
    return lines, found[2], after


def _model_index(config: ModelConfig, record: RunRecord, evaluation: Mapping[str, Any] | None, scores: Scores) -> list[str]:
    """The scores as the Hub's metadata, written as JSON, which is YAML too and needs no escaping by hand."""
    if evaluation is None or not scores:
        return []
    metrics = [
        {
            "type": name,
            "value": score["value"],
            "name": f"{metric_title(name)} ({conditions(score)})",
            "args": {key: score[key] for key in ("n", "features", "interval") if score.get(key) is not None},
        }
        for name, score in scores.items()
    ]
    dataset = {"name": data_words(record), "type": "images"}
    dataset |= {"split": str(evaluation["reference"]["side"]), "revision": str(evaluation["fingerprint"])}
    result = {"task": {"type": "unconditional-image-generation"}, "dataset": dataset, "metrics": metrics}
    index = {"name": f"vaegan-{config.stage}-{config.size}px", "results": [result]}
    return ["model-index:", f"- {json.dumps(index)}"]
