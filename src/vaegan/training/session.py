"""A session: carries out a run's plan stage by stage, from wherever the run stands, and leaves models and pictures."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import torch
from PIL import Image

from vaegan.config import MOST_VAE_TIME
from vaegan.data import TRAIN, VALIDATION, ImageDataset, TrainingBatches, to_uint8
from vaegan.errors import InterruptedTraining, RequestError
from vaegan.model import Model
from vaegan.model_files import CARD_PICTURE, write_model
from vaegan.pictures import grid, save_animation, save_png
from vaegan.recipes.recipe import Recipe
from vaegan.training.best import Best
from vaegan.training.build import StageInputs, build, checks_of, drawing_model, to_model
from vaegan.training.card import model_card, read_card
from vaegan.training.checkpoint import Stateful, read_checkpoint, restore, save_checkpoint
from vaegan.training.engine import FabricEngine, probe_precision, together
from vaegan.training.finishing import finish_model
from vaegan.training.handover_facts import inverse_facts
from vaegan.training.health import Health
from vaegan.training.journal import Journal
from vaegan.training.loop import Hooks, Progress, Training
from vaegan.training.means import Means
from vaegan.training.run import RunFolder, RunRecord, disk_errors
from vaegan.training.timing import LATE, Limits, Timetable

SHOT_SAMPLES = 64
SHOT_PAIRS = 8


class Listener(NamedTuple):
    """Who is told, and who may stop the session."""

    progress: Callable[[Progress], None]
    say: Callable[[str], None]
    stop: Callable[[], bool]


@dataclass
class Session:
    """One process's part in carrying out a run; `run` does the work."""

    folder: RunFolder
    record: RunRecord
    """Plan and settings; kept up to date in run.json."""
    dataset: ImageDataset
    engine: FabricEngine
    listener: Listener
    start: Model | None
    """The model of `--init`."""
    checkpoint_seconds: float

    def __post_init__(self) -> None:
        self._spent_before, self._began = self.record.spent_seconds, time.perf_counter()

    def run(self) -> RunRecord:
        """Trains what the plan still asks for: InterruptedTraining when told to stop, TrainingError if the numbers break down."""
        with together(f"Go on with: vaegan train --resume {quote(str(self.folder.path))}"):
            return self._run()

    def _run(self) -> RunRecord:
        self._settle_precision()
        previous = self.start
        for plan in self.record.plan:
            if self._is_finished(plan.name):
                previous = Model.from_pretrained(self.folder.model(plan.name), self.engine.device)
                continue
            previous = self._train(plan.name, previous)
        self.engine.first_does(self._draw_summary)  # before the run counts as finished: after a kill here it is drawn by --resume
        self._update(status="finished")
        return self.record

    def _train(self, stage: str, previous: Model | None) -> Model:
        inputs = StageInputs(self.record.config, self.dataset, self.engine, previous)
        recipe, facts = build(stage, inputs)
        extended_at = int(self._facts(stage).get("images", 0))
        checks, excess = checks_of(stage, inputs, facts)
        health = Health(self.record.config.guards, checks, recipe, self.engine, excess, extended_at)
        patience = round(self.record.config.patience * len(self.dataset.indices(TRAIN)))
        best = Best(recipe, len(self.dataset.indices(VALIDATION)), patience, extended_at)
        means = Means(self.engine)
        companions: dict[str, Stateful] = {"health": health, "best": best, "means": means}
        seen = self._restore(stage, recipe, companions)
        facts = self._begin(stage, facts, seen, best, patience)

        batches = TrainingBatches(
            self.dataset,
            batch_size=self.record.config.batch_size(stage),
            seed=self.record.config.seed,
            rank=self.engine.rank,
            world_size=self.engine.world_size,
            codes=inputs.codes,
        )
        hooks = Hooks(
            progress=self.listener.progress,
            draw=lambda seen: self.engine.first_does(lambda: self._draw(stage, recipe, inputs, seen)),
            save=lambda seen: self.engine.first_does(lambda: self._save(stage, recipe, inputs, companions, seen)),
            plan=lambda images, seen, speed: self._plan(stage, images, seen, speed),
            stop=self.listener.stop,
            acted=lambda seen, action: self.listener.say(f"After {seen:,} images {action.words}."),
        )
        training = Training(
            recipe=recipe, batches=batches, heldout=inputs.heldout(), engine=self.engine, means=means, health=health, best=best,
            journal=Journal(self.folder.stage(stage) / "metrics.jsonl", self.engine, seen), hooks=hooks,
            timetable=Timetable(self._limits(stage, best.compares), batches.batch_size, seen), seen=seen,
        )  # fmt: skip
        return self._finish(stage, recipe, inputs, facts | self._carry_out(stage, training))

    def _begin(self, stage: str, facts: dict[str, Any], seen: int, best: Best, patience: int) -> dict[str, Any]:
        plan = self.record.plan_of(stage)
        if plan.images is not None and plan.schedule_end is not None and plan.images > plan.schedule_end:
            self.record = self.record.with_images(stage, plan.images, seen)  # it was extended
        facts = facts | self._facts(stage)
        self._note(stage, facts)
        if sentence := _opening(facts):
            self.listener.say(sentence)
        if patience and not best.compares:
            self.listener.say(f"--patience is not heeded: {best.too_few}.")
        return facts

    def _carry_out(self, stage: str, training: Training) -> dict[str, Any]:
        began, seen_before = time.perf_counter(), training.seen
        end = training.run()
        if end.reason is None:
            self._update(status="interrupted")
            raise InterruptedTraining(
                f"Stopped after {end.seen:,} images of stage {stage}; everything is saved. "
                f"Go on with: vaegan train --resume {quote(str(self.folder.path))}"
            )
        facts = self._facts(stage)
        if end.seen > seen_before:  # else all of it was trained by a session that was killed before it could say so
            facts = facts | {"mean_speed": round((end.seen - seen_before) / (time.perf_counter() - began), 1)}
        best = training.best
        facts = facts | {"images": end.seen, "ended": end.reason, "kept": best.settle(), "best": best.facts()}
        self.listener.say(f"{stage.upper()} stage over: {facts['ended']}. Kept {facts['kept']}.")
        return facts

    def _finish(self, stage: str, recipe: Recipe, inputs: StageInputs, facts: dict[str, Any]) -> Model:
        facts = {name: value for name, value in facts.items() if name != "inverse"}  # of the model before it was extended
        model = finish_model(to_model(recipe, inputs), inputs)
        heldout = inputs.heldout(512)
        facts["heldout"] = {name: float(value) for name, value in recipe.validate(heldout).items()}
        vae_error = facts.get("handover", {}).get("vae_low_pass_error")
        if stage == "gan" and model.has_encoder and vae_error is not None:
            facts["inverse"] = inverse_facts(model, vae_error, heldout)
        self.engine.first_does(lambda: self._save_model(stage, model, facts))
        self._note(stage, facts | {"finished": True})
        self.engine.wait()
        return model

    def _settle_precision(self) -> None:
        record, engine = self.record, self.engine
        if record.precision is None:
            asked, rates = record.config.device.precision, {}
            if asked == "auto":
                asked, rates = engine.share(probe_precision(engine.device))
            facts = record.facts | {"precision_probe_gflops": {name: round(rate) for name, rate in rates.items()}}
            self._update(precision=asked, facts=facts)
        engine.precision = "bfloat16" if self.record.precision == "bfloat16" else "float32"

    def _is_finished(self, stage: str) -> bool:
        return bool(self._facts(stage).get("finished")) and (self.folder.model(stage) / "config.json").is_file()

    def _facts(self, stage: str) -> dict[str, Any]:
        return self.record.facts.get(stage, {})

    def _note(self, stage: str, facts: dict[str, Any]) -> None:
        self._update(facts=self.record.facts | {stage: facts})

    def _update(self, **changes: Any) -> None:
        self.record = replace(self.record, spent_seconds=self._spent(), **changes)
        if self.engine.is_first:
            self.folder.write(self.record)

    def _spent(self) -> float:
        return self._spent_before + time.perf_counter() - self._began

    def _restore(self, stage: str, recipe: Recipe, companions: Mapping[str, Stateful]) -> int:
        path, seen = self.folder.checkpoint(stage), 0
        if path.is_file():
            seen = restore(recipe, read_checkpoint(path), path, companions)
        if self.engine.any(seen != self.engine.share(seen)):
            raise RequestError(f"The processes see different files in {self.folder.path}; it must lie on a shared disk.")
        return seen

    def _save(self, stage: str, recipe: Recipe, inputs: StageInputs, companions: Mapping[str, Stateful], seen: int) -> None:
        """A checkpoint to go on from, and a model to look at what has been learned so far."""
        save_checkpoint(self.folder.checkpoint(stage), recipe, seen, companions)
        was_finished = "images" in self._facts(stage)  # it is extended: what was kept then stays until there is better
        if not was_finished:
            self._save_model(stage, to_model(recipe, inputs), {"images": seen})
        self._update()

    def _plan(self, stage: str, images: int, seen: int, speed: float) -> tuple[int, int | None]:
        before, facts = self.record.plan_of(stage).images, self._facts(stage)
        if before is not None:
            facts["brought_forward"] = [*facts.get("brought_forward", []), {"after": seen, "from": before, "to": images}]
            late = f"{stage.upper()} ends after {images:,} images instead of {before:,}"
            self.listener.say(f"Training takes longer than was measured: to keep the time, {late}.")
        self.record = self.record.with_images(stage, images, seen)
        self._note(stage, facts | {"measured_speed": round(speed, 1)})
        plan = self.record.plan_of(stage)
        return plan.schedule_start, plan.schedule_end

    def _limits(self, stage: str, compares: bool) -> Limits:
        record, whole = self.record, self.record.seconds_target
        plan, spent, last = record.plan_of(stage), self._spent(), stage == record.plan[-1].name
        least = -math.inf
        if whole is not None and last and len(record.plan) == 2 and plan.images is None:
            # A VAE that took too long must not leave a GAN of a few images, whose samples are the VAE's.
            least = (1 - MOST_VAE_TIME) * (whole - self._spent_before)
            if least - (whole - spent) > LATE * whole:
                late = f"{(least + spent - whole) / 60:.1f} minutes later than asked for"
                self.listener.say(f"The VAE took longer than planned, for the machine became slower; so training ends {late}.")

        def seconds_left(speed: float) -> float:
            assert whole is not None
            return max(whole - spent, least) if last else record.config.budget.vae_seconds(whole, speed) - spent

        validate_every = len(self.dataset.indices(TRAIN)) if record.config.patience and compares else None  # once a pass
        schedule = plan.schedule_start, plan.schedule_end
        seconds = None if whole is None or plan.images is not None else seconds_left
        return Limits(plan.images, seconds, *schedule, self.checkpoint_seconds, validate_every)

    def _draw(self, stage: str, recipe: Recipe, inputs: StageInputs, seen: int) -> None:
        model = drawing_model(recipe, inputs)
        folder = self.folder.stage(stage) / "samples"
        notes = {"vaegan": f"stage {stage}, {seen} images seen, seed {self.record.config.seed}"}
        with disk_errors(folder):
            save_png(self._sheet(model), folder / f"{seen:09d}.png", notes)
            if model.has_encoder:
                heldout = inputs.heldout(SHOT_PAIRS)
                pairs = torch.cat([heldout.images.cpu(), model.reconstruct(*heldout).cpu()])
                strip = grid(to_uint8(pairs.nan_to_num()), columns=len(heldout.images))
                save_png(strip, folder / f"{seen:09d}-reconstructions.png", notes)

    def _save_model(self, stage: str, model: Model, facts: dict[str, Any]) -> None:
        """Saves a model with a card on `facts`, in which what the owner wrote into the old one is kept."""
        folder = self.folder.model(stage)
        card = model_card(model.config, self.record, facts, old=read_card(folder / "README.md"))
        with disk_errors(self.folder.path):
            write_model(folder, model.config, model.networks, card)
            if "heldout" in facts:  # the stage is over, and the card shows samples
                save_png(self._sheet(model), folder / CARD_PICTURE)

    def _sheet(self, model: Model) -> Image.Image:
        samples = model.sample(SHOT_SAMPLES, seed=self.record.config.seed)
        return grid(to_uint8(samples.nan_to_num()))  # the guards speak of NaN

    def _draw_summary(self) -> None:
        frames: list[Image.Image] = []
        with disk_errors(self.folder.path):
            for plan in self.record.plan:
                for path in sample_shots(self.folder.stage(plan.name)):
                    with Image.open(path) as picture:
                        frames.append(picture.convert("RGB"))
            for name in ("progress.webp", "progress.gif") if frames else ():
                save_animation(frames, self.folder.path / name)


def sample_shots(stage_folder: Path) -> list[Path]:
    """The sample grids of a stage in the order they were drawn."""
    return sorted(path for path in (stage_folder / "samples").glob("*.png") if path.stem.isdigit())


def _opening(facts: dict[str, Any]) -> str | None:
    sentences = [facts["objective"]] if "objective" in facts else []
    if log := facts.get("handover"):
        gap = f"; prior gap {log['prior_gap']:.4f}" if "prior_gap" in log else ""
        sentences.append(f"Handover: the generator is the VAE's decoder ({log['verified_tensors']} tensors verified equal){gap}.")
    if eyes := facts.get("perception"):
        sentences.append(
            f"A critic looks through {eyes['network']}, trained on {eyes['trained_on']} (--gan.perception none: without)."
        )
    return " ".join(sentences) or None
