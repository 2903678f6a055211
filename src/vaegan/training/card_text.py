"""What a model card says, in words: use, numbers, data, configuration, limits."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from vaegan import transparency
from vaegan.errors import one_line
from vaegan.glossary import fact_meaning, fact_title, setting_words
from vaegan.metrics.table import metric_title
from vaegan.model_files import ModelConfig
from vaegan.training.run import RunRecord, is_drawn

KINDS = {"ae": "A plain autoencoder", "vae": "A variational autoencoder", "gan": "A GAN", "joint": "A joint VAE/GAN"}

Scores = Mapping[str, Mapping[str, Any]]
"""{metric: {"value", "interval", "n", "features"}} as in evaluation.json."""


def scores_of(config: ModelConfig, evaluation: Mapping[str, Any] | None) -> Scores:
    """The finite numbers of an evaluation about the stage of a model."""
    found = cast(Scores, (evaluation or {}).get("stages", {}).get(config.stage, {}))
    return {name: score for name, score in found.items() if is_number(score.get("value"))}


def is_number(value: Any) -> bool:
    """Whether a value from a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def data_words(record: RunRecord) -> str:
    """The data without their name or place, which are the owner's to tell."""
    images = int(record.facts.get("data", {}).get("images", 0))
    if is_drawn(record.source):
        return f"{images:,} faces drawn by vaegan"
    return f"{images:,} images, fingerprint {record.fingerprint[:16]}"


def conditions(score: Mapping[str, Any]) -> str:
    """Under which conditions a score was measured."""
    count, features = score.get("n"), score.get("features")
    return ", ".join([f"n = {count:,}" if count else "n unknown", *([f"features {features}"] if features else [])])


def card_sections(
    config: ModelConfig, record: RunRecord, facts: Mapping[str, Any], evaluation: Mapping[str, Any] | None, scores: Scores
) -> list[str]:
    """The parts of a card's text; see `model_card` for the arguments."""
    colours = transparency.COLOURS[config.channels]
    kind = "A GAN that grew out of a VAE" if config.stage == "gan" and config.has_encoder else KINDS[config.stage]
    return [
        f"# {kind} of {config.shape} {colours} images",
        "Made with `vaegan`.",
        SAMPLES + (FROM_MIXTURE if config.stage in ("vae", "joint") else "")
        if "heldout" in facts
        else "This model was saved while its training still went on.",
        _use(config),
        _quality(record, config, evaluation, scores),
        _measured(facts),
        _data(record, config),
        _configuration(record, config, facts),
        LIMITS,
    ]


SAMPLES = "![A sheet of samples](samples.png)\n\nThe first samples of the run's seed; nobody picked them."

FROM_MIXTURE = """ They are drawn from the mixture of Gaussians fitted to the encoded training images, as `model.sample` does;
`model.sample(..., sampler="prior")` draws from N(0, I)."""

LIMITS = """## Limits and intended use

Meant for experiments, teaching and art with images like those it was trained on; it knows nothing else. It repeats the biases of
its training images and can show people or things that are not real as if they were. A model this small is no source of facts, and
whether it repeats training images is what the numbers on copying above tell, if they are there: without them nobody has looked.

Nothing of the training images is in this folder except what the weights hold. Samples are drawn by the model.

## Licence

`license: unknown` above means that nobody has chosen one yet. It depends on the licence of the training images too: check it
before sharing, and write your choice into the metadata of this file; it is kept when the file is written again."""


def _use(config: ModelConfig) -> str:
    lines = [
        "import vaegan",
        "",
        'model = vaegan.Model.from_pretrained("path/to/this/folder")',
        f"images = model.sample(16, seed=0)  # [16, {config.channels}, {config.shape.height}, {config.shape.width}] in [-1, 1]",
    ]
    if config.has_encoder:
        lines.append(f"latents = model.encode(images)  # [16, {config.network.latent_dim}]")
    code = "\n".join(lines)
    return f"## Use\n\n```python\n{code}\n```"


def _quality(record: RunRecord, config: ModelConfig, evaluation: Mapping[str, Any] | None, scores: Scores) -> str:
    if evaluation is None or not scores:
        return "## How good it is\n\nNot evaluated: `vaegan evaluate` fills this section."
    floor = cast(Scores, evaluation.get("floor") or {})
    rows = [
        f"| {metric_title(name)} | {_value(score)} | {_interval(score)} | {_value(floor.get(name, {}))} "
        f"| {_counts(score)} | {_plain(score.get('features') or '')} |"
        for name, score in scores.items()
    ]
    reference = evaluation["reference"]
    last = record.plan[-1].name == config.stage  # the verdict is about the run's last stage
    verdict = " ".join(str(sentence) for sentence in evaluation.get("verdict") or []) if last else ""
    origin = "other data" if reference["side"] == "other" else f"the {reference['side']} side"
    note = (
        f"Against {int(reference['count']):,} real images of {origin}. The last columns: the same number for "
        "real images in place of samples, which nothing is expected to beat; n; the features it was measured in."
    )
    head = "| | value | 95% interval | real against real | n | features |\n|---|---|---|---|---|---|"
    table = "\n".join([head, *rows])
    return "\n\n".join(part for part in ("## How good it is", verdict, note, table) if part)


def _plain(text: Any) -> str:
    """A foreign name as a cell of a Markdown table, in which neither Markdown nor HTML of it works."""
    return re.sub(r"[^\w .+-]|_", lambda found: f"&#{ord(found[0])};", one_line(str(text)))


def _value(score: Mapping[str, Any]) -> str:
    return f"{score['value']:.4g}" if is_number(score.get("value")) else ""


def _counts(score: Mapping[str, Any]) -> str:
    against = score.get("against")
    return f"{score.get('n') or ''}" + (f" against {against}" if against else "")


def _interval(score: Mapping[str, Any]) -> str:
    interval = score.get("interval")
    return f"{interval[0]:.4g} to {interval[1]:.4g}" if interval and all(map(is_number, interval)) else ""


def _measured(facts: Mapping[str, Any]) -> str:
    numbers = {
        name: value for group in ("heldout", "inverse") for name, value in facts.get(group, {}).items() if is_number(value)
    }
    if not numbers:
        return ""
    rows = "\n".join(f"| {fact_title(name)} | {value:.4g} | {fact_meaning(name) or ''} |" for name, value in numbers.items())
    return f"Measured on held-out images when training ended:\n\n| | value | what it says |\n|---|---|---|\n{rows}"


def _data(record: RunRecord, config: ModelConfig) -> str:
    ways = {"crop": "cropped to their centre", "pad": "padded", "stretch": "stretched"}
    colours = transparency.COLOURS[config.channels]
    shape, way = config.shape, ways[record.config.data.fit]
    return (
        f"## Training data\n\n{data_words(record)}: {colours}, {way} and scaled to {shape}. Fingerprint of the prepared "
        f"images: `{record.fingerprint}`. Some were held out, chosen by a hash of their bytes."
    )


def _configuration(record: RunRecord, config: ModelConfig, facts: Mapping[str, Any]) -> str:
    seen = int(facts.get("images", 0))
    own = record.config.group(config.stage)
    groups = {"network": asdict(config.network), own: asdict(record.config)[own]}
    titles = {"network": "network", own: config.stage.upper()}
    rows = [
        f"| {titles[group]}: {name.replace('_', ' ')} | {setting_words(value)} | `--{group}.{name.replace('_', '-')}` |"
        for group, values in groups.items()
        for name, value in values.items()
    ]
    table = "\n".join(["| setting | value | option of `vaegan train` |", "|---|---|---|", *rows])
    how = f"{seen:,} images seen by this stage; recipe {record.config.recipe}, seed {record.config.seed}."
    if isinstance(facts.get("kept"), str):
        how += f" Kept {facts['kept']}."
    if isinstance(eyes := facts.get("perception"), Mapping):
        how += f" A critic looked through {eyes.get('network')}, a network trained on {eyes.get('trained_on')} and frozen"
        how += f" (package {eyes.get('package')}, {eyes.get('licence')}); nothing of it is in this model."
    return f"## Configuration\n\n{how}\n\n{table}"
