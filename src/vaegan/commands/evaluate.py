"""vaegan evaluate: how good a run is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from vaegan.commands.shared import check_count
from vaegan.config import DeviceConfig, Stage
from vaegan.metrics.table import FEWEST_SAMPLES, MOST_SAMPLES
from vaegan.processes import is_first_process


@dataclass(frozen=True)
class Evaluate:
    """How good a run is: every stage's samples and, as the floor, real images against images nobody trained on."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run; evaluation.json and report.html are written into it."""
    data: Annotated[Positional[str | None], arg(metavar="[DATA]")] = None
    """Images to compare with, all of them unseen; the held-out test side of the run's own data by default."""
    stage: Stage | None = None
    """vae or gan alone; all finished ones by default."""
    n: Annotated[int | None, arg(aliases=["-n"])] = None
    """Samples of each stage, up to 1,000,000; 1,700 by default, 10,000 with --full."""
    full: bool = False
    """More samples and more draws, for numbers to publish; takes many times as long."""
    features: Path | None = None
    """A feature network of your own, .onnx or .pt2, with a .toml beside it; docs/evaluation.md says how to get the usual ones."""
    seed: int = 0
    """The same seed gives the same numbers."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the models run; auto takes a GPU when there is one. Numbers differ by less than their intervals."""
    devices: int = 1
    """Processes that share the images; on GPUs one a card."""
    json: bool = False
    """Print evaluation.json instead of a table."""


def evaluate(request: Evaluate) -> None:
    """Measures a run."""
    if request.n is not None:
        check_count("-n", request.n, MOST_SAMPLES, FEWEST_SAMPLES)

    from vaegan.console import Console
    from vaegan.evaluation import EVALUATION_FILE
    from vaegan.evaluation import evaluate as measure
    from vaegan.report import write_report

    console = Console(quiet=request.json)
    try:
        facts = measure(
            request.run,
            request.data,
            stage=request.stage,
            n=request.n,
            full=request.full,
            features=request.features,
            seed=request.seed,
            device=DeviceConfig(request.accelerator, request.devices),
            progress=console.preparing,
        )
        if not is_first_process():
            return
        page = write_report(request.run, progress=console.preparing)
    finally:
        console.close()
    if request.json:
        print(json.dumps(facts, indent=2))
    else:
        console.evaluation(facts, request.run / EVALUATION_FILE)
        console.say(f"The whole report, to be opened in a browser: {page}")
