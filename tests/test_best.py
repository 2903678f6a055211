"""The best model is kept, patience ends a stage, and both survive interruptions and roll-backs: with scripted scores."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import vaegan
from scripted import Counter, health_of, training_of, valley
from vaegan.config import DataConfig, DeviceConfig, NetworkConfig, TrainConfig, VAEConfig
from vaegan.metrics.watch import FEWEST_HELD_OUT, RealStatistics, SampleScores
from vaegan.recipes.ae import AE
from vaegan.recipes.gan import GAN
from vaegan.recipes.joint import Joint
from vaegan.recipes.recipe import Deciding
from vaegan.training.best import Best
from vaegan.training.health import copying, not_finite
from vaegan.training.journal import read_journal
from vaegan.training.loop import End
from vaegan.types import Batch


def run(recipe: Counter, folder: Path, total: int = 400, **options: Any) -> tuple[Best, End]:
    """One stage in the loop."""
    training = training_of(recipe, folder, total, **options)
    end = training.run()
    return training.best, end


class TestLoop:
    @pytest.mark.parametrize(("lowest", "kept"), [(160, 160), (0, 40), (400, 400), (10_000, 400)])
    def test_the_weights_of_the_best_validation_are_kept(self, tmp_path: Path, lowest: int, kept: int) -> None:
        recipe = Counter(valley(lowest))
        best, end = run(recipe, tmp_path)
        assert end == End(400, "the 400 images planned are seen")
        assert int(recipe.weight) == 400
        words = best.settle()
        assert int(recipe.weight) == kept
        assert best.facts() == {"images": kept, "heldout_error": valley(lowest)(kept), "of_last_model": valley(lowest)(400)}
        assert words.startswith("the last model, the best one" if kept == 400 else f"the model of {kept} images")

    def test_what_comes_before_its_time_never_wins(self, tmp_path: Path) -> None:
        recipe = Counter(lambda seen: seen, since=0.5)  # the start would be the best by far
        best, _ = run(recipe, tmp_path)
        assert best.facts()["images"] == 200  # the validation at half of the schedule

    def test_a_stage_s_end_is_in_time_for_what_may_be_compared_at_its_end_alone(self, tmp_path: Path) -> None:
        best, _ = run(Counter(lambda seen: seen, since=1.0), tmp_path)
        assert best.facts()["images"] == 400

    @pytest.mark.parametrize(("error", "kept"), [(70.0, 280), (130.0, 400), (math.nan, 160)])
    def test_a_later_model_is_kept_unless_an_earlier_was_better_by_two_errors(
        self, tmp_path: Path, error: float, kept: int
    ) -> None:
        recipe = Counter(valley(160))
        recipe.deciding, recipe.extra = Deciding("heldout_error", 10, error="spread"), {"spread": error}
        best, _ = run(recipe, tmp_path, patience=160)
        assert best.lowest == (160, 1.0)
        state = best.state()
        again = Best(recipe, 50)
        again.set_state(state)
        assert again.state() == state
        words = best.settle()
        assert int(recipe.weight) == best.facts()["images"] == min(kept, 320)
        assert best.last == (320, 161.0)  # patience counts from the lowest
        if kept == 400:
            assert "161; 1 after 160 images" in words

    def test_of_equals_the_first_is_kept_and_numbers_that_are_none_are_not(self, tmp_path: Path) -> None:
        best, _ = run(Counter(lambda seen: 2.0 if seen > 100 else math.nan), tmp_path)
        assert best.facts()["images"] == 120

    @pytest.mark.parametrize(
        ("images", "words"),
        [(9, "9 held-out images are"), (1, "1 held-out image is"), (0, "without held-out images")],
    )
    def test_too_few_images_decide_nothing(self, tmp_path: Path, images: int, words: str) -> None:
        recipe = Counter(valley(160))
        best, end = run(recipe, tmp_path, patience=40, images=images)
        assert end.seen == 400
        assert best.settle().startswith(f"the last model: {words}")
        assert int(recipe.weight) == 400

    def test_patience_ends_the_stage_so_many_images_after_the_best(self, tmp_path: Path) -> None:
        best, end = run(Counter(valley(160)), tmp_path, total=4000, patience=120)
        assert end == End(280, "patience ran out after 280 images")
        assert best.facts() == {"images": 160, "heldout_error": 1, "of_last_model": 121}

    def test_patience_waits_for_what_may_be_compared(self, tmp_path: Path) -> None:
        best, end = run(Counter(lambda seen: seen, since=0.5), tmp_path, total=800, patience=80)
        assert best.facts()["images"] == 400
        assert end.seen == 480

    def test_a_roll_back_begins_the_comparison_anew(self, tmp_path: Path) -> None:
        recipe = Counter(valley(160), broken_at=316)
        health = health_of(recipe, {"not finite": not_finite})
        best, _ = run(recipe, tmp_path, total=800, health=health)  # windows end at 200, 400, 600, 800; validations each 80
        assert health.roll_backs == 1
        # At 400 the weights gone back to are validated, which nobody has judged yet; of those after it 480 is the lowest.
        assert best.facts()["images"] == 480
        assert best.settle().startswith("the model of 480 images")
        assert int(recipe.weight) == 480

    @pytest.mark.parametrize("mode", ["warn", "act"])
    def test_a_model_that_the_guards_object_to_is_not_kept(self, tmp_path: Path, mode: Any) -> None:
        class Copyist(Counter):
            def validate(self, batch: Batch) -> dict[str, Tensor]:
                self.extra = {"nearness": 0.1 if 100 < int(self.weight) <= 200 else 1.0}
                return super().validate(batch)

        recipe = Copyist(valley(160))
        best, _ = run(recipe, tmp_path, health=health_of(recipe, {"copying": copying}, mode))
        assert best.facts()["images"] == 80


class TestWords:
    def test_why_a_better_number_was_not_kept_is_said(self) -> None:
        recipe, other = Counter(valley(8)), Counter(valley(8))
        best, resumed = Best(recipe, 50), Best(other, 50)
        best.validated(4, 0.5, {"heldout_error": 5.0}, True)
        best.validated(8, 0.5, {"heldout_error": 1.0}, False)
        resumed.set_state(best.state())
        for one in (best, resumed):
            words = one.settle()
            assert words.startswith("the model of 4 images")
            assert "error 5; the last one had 1, but a guard found" in words


class TestState:
    def test_state_brings_everything_back(self) -> None:
        recipe, other = Counter(valley(8)), Counter(valley(8))
        best, again = Best(recipe, 50, patience=8), Best(other, 50, patience=8)
        for seen in (4, 8, 12):
            recipe.weight.fill_(seen)
            best.validated(seen, 0.5, {"heldout_error": valley(8)(seen)}, True)
        again.set_state(best.state())
        assert not again.is_stale
        for one in (best, again):
            one.validated(16, 0.5, {"heldout_error": 9.0}, True)
            assert one.is_stale
            assert one.settle().startswith("the model of 8 images")
        assert int(other.weight) == int(recipe.weight) == 8

    def test_a_model_of_another_shape_is_refused(self) -> None:
        best = Best(Counter(valley(8)), 50)
        best.validated(4, 0.5, {"heldout_error": 1.0}, True)
        state = best.state()
        state["kept"][""]["weight"] = torch.zeros(2, 2)
        with pytest.raises(ValueError, match="another shape"):
            best.set_state(state)


SMALL = TrainConfig(
    recipe="ae",
    data=DataConfig(size=16),
    network=NetworkConfig(latent_dim=4, width=4, width_limit=8),
    vae=VAEConfig(batch_size=8),
    device=DeviceConfig(precision="float32"),
)
IMAGES = 480


@contextmanager
def scripted(script: Callable[[int], float]) -> Generator[dict[int, dict[str, Tensor]]]:
    """Autoencoders score as `script` says of the images they have seen; yields the averaged decoders at each validation."""
    step, validate, decoders = AE.step, AE.validate, {}

    def counted(recipe: Any, batch: Batch, clock: Any) -> Any:
        recipe.at = clock.seen + len(batch.images)
        return step(recipe, batch, clock)

    def told(recipe: Any, batch: Batch) -> Any:
        at = getattr(recipe, "at", None)
        decoders.setdefault(at, {name: one.clone() for name, one in recipe.decoder.averaged.state_dict().items()})
        return validate(recipe, batch) | ({} if at is None else {"heldout_error": torch.tensor(script(at))})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AE, "step", counted)
        patch.setattr(AE, "validate", told)
        yield decoders


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def decoder_of(run: Path) -> dict[str, Tensor]:
    tensors = load_file(run / "ae/model/model.safetensors")
    return {name.removeprefix("decoder."): tensor for name, tensor in tensors.items() if name.startswith("decoder.")}


def facts_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())["facts"]["ae"]


@pytest.fixture(scope="module")
def whole(heavy: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("best") / "run"
    with pytest.MonkeyPatch.context() as patch, scripted(valley(192)) as decoders:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        said: list[str] = []
        vaegan.train("faces:400", SMALL, images=IMAGES, out=path, say=said.append)
    kept = decoder_of(path)
    assert kept.keys() == decoders[192].keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in decoders[192].items())
    assert not all(torch.equal(kept[name], tensor) for name, tensor in decoders[480].items())
    facts = facts_of(path)
    assert "480 images planned" in facts["ended"]
    assert facts["kept"].startswith("the model of 192 images")
    assert facts["kept"].endswith("289")
    assert said[-1] == f"AE stage over: {facts['ended']}. Kept {facts['kept']}."
    assert facts["best"] == {"images": 192, "heldout_error": 1.0, "of_last_model": 289.0}
    return path


@pytest.mark.heavy
class TestRuns:
    @pytest.mark.parametrize("crash", [False, True], ids=["saved", "killed"])
    @pytest.mark.parametrize("at", [120, 200, 440, 480])
    def test_an_interrupted_run_keeps_the_same_model(self, whole: Path, tmp_path: Path, at: int, crash: bool) -> None:
        """Before the best validation, between it and the next checkpoint, after both, and at the end."""

        class Crash(Exception):
            pass

        def told(progress: Any) -> None:
            if crash and progress.seen >= at:
                raise Crash

        reached, out = 0, tmp_path / "run"

        def stop() -> bool:
            nonlocal reached
            reached += 8
            return not crash and reached > at

        with scripted(valley(192)), pytest.raises((vaegan.InterruptedTraining, Crash)) if crash or at < 480 else nullcontext():
            vaegan.train("faces:400", SMALL, images=IMAGES, out=out, progress=told, cancel=stop)
        if crash or at < 480:
            with scripted(valley(192)):
                vaegan.resume(out)
        for name in ("model.safetensors", "config.json"):
            assert (out / "ae/model" / name).read_bytes() == (whole / "ae/model" / name).read_bytes()
        assert facts_of(out)["kept"] == facts_of(whole)["kept"]

    def test_patience_ends_a_stage_and_an_extension_goes_on_with_the_same_best(self, tmp_path: Path) -> None:
        with scripted(valley(480)) as decoders:
            run = vaegan.train("faces:400", replace(SMALL, patience=1.0), images=8000, out=tmp_path / "run").path
        train = len(vaegan.open_dataset("faces:400", SMALL.data).indices(0))
        facts, interval = facts_of(run), 8000 / math.ceil(8000 / train)
        assert interval <= train  # a validation in every pass
        assert facts["ended"] == f"patience ran out after {facts['images']:,} images"
        assert abs(facts["best"]["images"] - 480) <= interval / 2 + 8
        assert train <= facts["images"] - facts["best"]["images"] < 2 * train
        with scripted(lambda seen: 10_000.0):
            vaegan.resume(run, minutes=0.002)
        later = facts_of(run)
        assert later["images"] > facts["images"]
        assert later["best"]["images"] == facts["best"]["images"]
        kept = decoder_of(run)
        assert all(torch.equal(kept[name], tensor) for name, tensor in decoders[facts["best"]["images"]].items())

    def test_patience_that_cannot_be_heeded_is_said(self, tmp_path: Path) -> None:
        said: list[str] = []
        small = replace(SMALL, recipe="gan", patience=1.0)
        vaegan.train("faces:400", small, images=80, out=tmp_path / "run", say=said.append)
        (words,) = [line for line in said if "patience" in line]
        assert "not heeded: 22 held-out images" in words
        assert "takes 100" in words
        run = vaegan.train("faces:96", replace(small, recipe="vae"), images=1600, out=tmp_path / "long").path  # of 84: 19 passes
        assert sum("heldout_error" in line for line in read_journal(run / "vae/metrics.jsonl")) == 10  # as many as without it

    @pytest.mark.parametrize("patience", [-1.0, math.nan, math.inf])
    def test_patience_must_be_a_number_of_passes(self, tmp_path: Path, patience: float) -> None:
        with pytest.raises(vaegan.RequestError, match="--patience"):
            vaegan.train("faces:96", replace(SMALL, patience=patience), images=80, out=tmp_path / "run")

    @pytest.mark.slow
    def test_two_processes_keep_the_model_that_one_keeps(self, tmp_path: Path) -> None:
        options = [
            *(
                "--recipe",
                "ae",
                "--size",
                "16",
                "--network.width",
                "4",
                "--network.width-limit",
                "8",
                "--network.latent-dim",
                "4",
            ),
            *("--vae.batch-size", "8", "--vae.learning-rate", "0.02", "--precision", "float32", "--accelerator", "cpu"),
            *("--vae.optimizer", "adam"),  # Muon's steps multiply differences of rounding
            *("--images", "320", "--json"),
        ]
        for name, extra in (("one", []), ("two", ["--devices", "2"])):
            command = [sys.executable, "-m", "vaegan", "train", "faces:400", *options, *extra, "--out", name]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, done.stderr
        one, two = (facts_of(tmp_path / name)["best"] for name in ("one", "two"))
        assert two == pytest.approx(one, rel=1e-4)


class TestScore:
    def pictures(self, count: int, seed: int) -> Tensor:
        rough = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        return torch.nn.functional.interpolate(rough, size=(16, 16), mode="bilinear").clamp(-1, 1)

    def test_is_that_of_the_metric_whatever_the_networks_run_in(self) -> None:
        real, samples, score = self.pictures(FEWEST_HELD_OUT, 0), self.pictures(FEWEST_HELD_OUT, 1), SampleScores()
        wanted = RealStatistics(real).score(samples)
        for low in (False, True, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                found = score(samples, real)
                del found["heldout_recall"]
            assert {name.removeprefix("heldout_"): float(value) for name, value in found.items()} == pytest.approx(wanted)

    def test_follows_other_images_and_keeps_silent_with_too_few(self) -> None:
        samples, score = self.pictures(FEWEST_HELD_OUT, 1), SampleScores()
        values = [float(score(samples, self.pictures(FEWEST_HELD_OUT, seed))["heldout_kernel_distance"]) for seed in (0, 2)]
        assert values[0] != values[1]
        assert score(samples, self.pictures(FEWEST_HELD_OUT - 1, 0)).keys() == {"heldout_recall"}
        assert score(samples, torch.zeros(FEWEST_HELD_OUT, 3, 16, 16))["heldout_sharpness"].isfinite()


@pytest.mark.parametrize(("recipe", "since"), [(GAN, 0.6), (Joint, 0.5)])
def test_a_gan_is_compared_by_its_samples_towards_the_end(recipe: type[GAN] | type[Joint], since: float) -> None:
    assert recipe.deciding == Deciding("heldout_kernel_distance", FEWEST_HELD_OUT, since, "heldout_kernel_error")
