"""The loop on a recipe that only counts: what happens when, in which order, and after an interruption or among processes."""

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import vaegan
from engines import OneProcess
from scripted import BATCH, Counter, health_of, training_of, valley
from vaegan.training.checkpoint import read_checkpoint, restore, save_checkpoint
from vaegan.training.health import ROLL_BACK, Action, Look, not_finite
from vaegan.training.journal import read_journal
from vaegan.training.loop import AGREE, WINDOW, End, Progress
from vaegan.training.timing import Limits
from vaegan.types import Batch

WINDOW_IMAGES = WINDOW * BATCH


def stops_after(steps: int) -> Any:
    """Asked before every step; says yes once `steps` have been taken."""
    asked: list[None] = []
    return lambda: asked.append(None) or len(asked) > steps


class TestOrder:
    def test_a_step_is_written_down_looked_at_told_and_drawn_in_this_order(self, tmp_path: Path) -> None:
        events: list[Any] = []

        class Noted(Counter):
            def step(self, batch: Batch, clock: Any) -> dict[str, Tensor]:
                events.append("step")
                return super().step(batch, clock)

            def validate(self, batch: Batch) -> dict[str, Tensor]:
                events.append("validate")
                return super().validate(batch)

        def speaks(look: Look, memory: Any) -> str | None:
            events.append("window is looked at" if look.window else "validation is looked at")
            return "something odd" if look.validation and look.seen in (200, 400) else None

        recipe = Noted(valley(160))
        training_of(
            recipe,
            tmp_path,
            health=health_of(recipe, {"odd": speaks}, "warn"),
            draw=lambda seen: events.append(("draw", seen)),
            save=lambda seen: events.append(("save", seen)),
            acted=lambda seen, action: events.append(("acted", seen, action.guard)),
            progress=lambda progress: events.append("told") if progress.seen == 400 else None,
        ).run()
        assert events[0] == ("draw", 0)
        looks = ["step", "window is looked at", "validate", "validation is looked at"]
        at_half, at_end = ([*looks, ("acted", seen, "odd"), ("draw", seen)] for seen in (200, 400))
        half = events.index("window is looked at") - 1
        assert events[half : half + 6] == at_half
        assert events[-8:] == [*at_end, "told", ("save", 400)]
        kinds = [("guard" in line, "loss" in line) for line in read_journal(tmp_path / "metrics.jsonl") if line["seen"] == 200]
        assert kinds == [(False, True), (False, False), (True, False)]  # window, validation, what was found

    def test_windows_are_means_of_fifty_steps_and_of_what_is_left_at_the_end(self, tmp_path: Path) -> None:
        training_of(Counter(), tmp_path, total=WINDOW_IMAGES + 40).run()
        lines = [line for line in read_journal(tmp_path / "metrics.jsonl") if "loss" in line]
        assert [line["seen"] for line in lines] == [WINDOW_IMAGES, WINDOW_IMAGES + 40]
        means = [1 + (start + end - BATCH) / 2000 for start, end in ((0, WINDOW_IMAGES), (WINDOW_IMAGES, WINDOW_IMAGES + 40))]
        assert [line["loss"] for line in lines] == pytest.approx(means, rel=1e-5)

    def test_progress_is_told_with_the_last_numbers(self, tmp_path: Path) -> None:
        told: list[Progress] = []
        training_of(Counter(valley(400)), tmp_path, progress=told.append).run()
        last = told[-1]
        assert (last.stage, last.seen, last.total) == ("ae", 400, 400)
        assert last.scalars.keys() == {"loss", "heldout_error"}
        assert last.scalars["heldout_error"] == 1

    def test_the_clock_slows_down_with_what_health_says(self, tmp_path: Path) -> None:
        slowdowns: list[float] = []

        class Noted(Counter):
            def step(self, batch: Batch, clock: Any) -> dict[str, Tensor]:
                slowdowns.append(clock.slowdown)
                return super().step(batch, clock)

        recipe = Noted(broken_at=96)
        training_of(recipe, tmp_path, health=health_of(recipe, {"not finite": not_finite})).run()
        assert slowdowns == [1] * WINDOW + [ROLL_BACK["not finite"]] * (100 - WINDOW)

    def test_a_roll_back_drops_the_numbers_of_the_steps_that_are_undone(self, tmp_path: Path) -> None:
        def collapses(look: Look, memory: Any) -> str | None:
            return "samples are alike" if look.validation and look.seen == 280 else None

        recipe = Counter()
        training_of(recipe, tmp_path, health=health_of(recipe, {"mode collapse": collapses})).run()
        (mean,) = [line["loss"] for line in read_journal(tmp_path / "metrics.jsonl") if line["seen"] == 400 and "loss" in line]
        assert mean == pytest.approx(1 + (280 + 396) / 2000, rel=1e-5)  # without the steps of 200 to 280


class TestSaving:
    def test_it_saves_in_time_but_not_what_is_broken(self, tmp_path: Path) -> None:
        saved: list[int] = []
        recipe = Counter(broken_at=20)
        health, limits = health_of(recipe, {"not finite": not_finite}), Limits(400, None, 0, 400, checkpoint_seconds=0)
        training_of(recipe, tmp_path, health=health, limits=limits, save=saved.append).run()
        unsound = range(24, WINDOW_IMAGES, BATCH)
        assert saved == [seen for seen in range(BATCH, 400, BATCH) if seen not in unsound] + [400]

    def test_what_is_broken_is_not_drawn(self, tmp_path: Path) -> None:
        drawn: dict[int, list[int]] = {}
        for broken_at in (-1, 20):
            recipe, drawn[broken_at] = Counter(broken_at=broken_at), []
            training_of(
                recipe, tmp_path, health=health_of(recipe, {"not finite": not_finite}), draw=drawn[broken_at].append
            ).run()
        assert drawn[20] == [seen for seen in drawn[-1] if not 20 < seen < WINDOW_IMAGES]
        assert len(drawn[20]) < len(drawn[-1])

    @pytest.mark.parametrize("mode", ["off", "warn"])
    @pytest.mark.parametrize("steps", [None, 17])
    def test_where_nobody_mends_a_broken_number_it_ends_the_run_and_nothing_is_saved_over_the_last_good_state(
        self, tmp_path: Path, mode: Any, steps: int | None
    ) -> None:
        saved: list[int] = []
        recipe = Counter(broken_at=60)  # no picture is due before 72
        training = training_of(
            recipe,
            tmp_path,
            health=health_of(recipe, {"not finite": not_finite}, mode),
            save=saved.append,
            **({} if steps is None else {"stop": stops_after(steps)}),
        )
        with pytest.raises(vaegan.TrainingError, match="not a number"):
            training.run()
        assert saved == []

    @pytest.mark.parametrize("steps", [3, 49, 50, 75, 99])
    @pytest.mark.parametrize("broken_at", [-1, 120])
    def test_an_interrupted_stage_ends_as_one_that_was_not(self, tmp_path: Path, steps: int, broken_at: int) -> None:
        def parts(folder: Path, **options: Any) -> Any:
            recipe = Counter(valley(160), broken_at=broken_at)
            health = health_of(recipe, {"not finite": not_finite})
            training = training_of(recipe, folder, health=health, **options)
            companions = {"health": health, "best": training.best, "means": training.means}
            training.hooks.save = lambda seen: save_checkpoint(folder / "checkpoint.pt", recipe, seen, companions)
            return training, companions

        for name in ("whole", "cut"):
            (tmp_path / name).mkdir()
        parts(tmp_path / "whole")[0].run()
        cut, _ = parts(tmp_path / "cut", stop=stops_after(steps))
        assert cut.run() == End(steps * BATCH, None)
        resumed, companions = parts(tmp_path / "cut", seen=steps * BATCH)
        path = tmp_path / "cut" / "checkpoint.pt"
        assert restore(resumed.recipe, read_checkpoint(path), path, companions) == steps * BATCH
        assert resumed.run() == End(400, "the 400 images planned are seen")
        states = [read_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "cut")]
        assert repr(states[0]) == repr(states[1])
        lines = [read_journal(tmp_path / name / "metrics.jsonl") for name in ("whole", "cut")]
        first, second = ([line | {"seconds": 0} for line in part] for part in lines)
        assert first == second
        assert len(first) == 12 + (broken_at > 0)


class Two(OneProcess):
    """The first of two processes; what the other one says is scripted."""

    def __init__(self, other: Any = lambda asked: False) -> None:
        super().__init__(world_size=2)
        self.other, self.asked, self.shared = other, 0, list[Any]()

    def any(self, flag: bool) -> bool:
        self.asked += 1
        return flag or self.other(self.asked)

    def share(self, value: Any) -> Any:
        self.shared.append(value)
        return value


class TestProcesses:
    def test_they_agree_on_stopping_every_few_steps_only(self, tmp_path: Path) -> None:
        saved: list[int] = []
        training = training_of(Counter(), tmp_path, engine=Two(), stop=stops_after(2), save=saved.append)
        assert training.run() == End(2 * AGREE * BATCH, None)  # asked before the steps 0, 10 and 20
        assert saved == [2 * AGREE * BATCH]

    def test_one_is_stopped_by_what_another_was_told(self, tmp_path: Path) -> None:
        end = training_of(Counter(), tmp_path, engine=Two(lambda asked: asked > 4)).run()
        assert end.reason is None
        assert 0 < end.seen < 400
        assert end.seen % (AGREE * BATCH) == 0

    def test_the_first_one_s_validation_is_everybody_s(self, tmp_path: Path) -> None:
        class Second(Two):
            def share(self, value: Any) -> Any:
                is_validation = isinstance(value, dict) and "heldout_error" in value
                return {"heldout_error": 7.0} if is_validation else value

        training = training_of(Counter(valley(160)), tmp_path, engine=Second())
        training.run()
        assert training.best.last == (400, 7.0)

    def test_what_the_first_one_finds_is_done_by_all(self, tmp_path: Path) -> None:
        class Second(Two):
            def share(self, value: Any) -> Any:
                return value if value is not None else ("mode collapse", "samples are alike")  # this one found nothing

        acted: list[Action] = []
        recipe, engine = Counter(), Second()
        health = health_of(recipe, {"mode collapse": lambda look, memory: None}, engine=engine)
        training_of(recipe, tmp_path, health=health, engine=engine, acted=lambda seen, action: acted.append(action)).run()
        assert [action.action for action in acted] == ["roll back"] * 3 + ["stop"]

    def test_the_first_one_alone_writes_the_journal(self, tmp_path: Path) -> None:
        class Other(Two):
            is_first = False

        training_of(Counter(), tmp_path, engine=Other()).run()
        assert list(tmp_path.iterdir()) == []


class TestTime:
    def test_seconds_become_as_many_images_as_the_measured_speed_says(self, tmp_path: Path) -> None:
        planned: list[int] = []

        def plan(images: int, seen: int, speed: float) -> tuple[int, int]:
            planned.append(images)
            return seen, images

        a_million_images = Limits(None, lambda speed: 1e6 / speed)
        training_of(Counter(valley(0)), tmp_path, limits=a_million_images, plan=plan, stop=lambda: bool(planned)).run()
        assert planned == [pytest.approx(1e6, rel=0.01)]

    @pytest.mark.parametrize(
        ("later", "takes", "before"),
        [
            (100, (29, 31), 0),
            (92, (29, 33), 0),
            (50, (28, 36), 0),
            (20, (28, 39), 0),
            (200, (15, 20), 0),
            (50, (28, 36), 200_000),
        ],
        ids=["steady", "a bit slower", "half as fast", "a fifth", "faster", "extended"],
    )
    def test_a_machine_that_becomes_slower_keeps_the_time(
        self, later: float, takes: tuple[float, float], before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now, clocks, planned, saved = [0.0], list[Any](), list[tuple[int, int]](), list[tuple[int, int]]()

        class Slower(Counter):
            def step(self, batch: Batch, clock: Any) -> dict[str, Tensor]:
                now[0] += BATCH / (100 if clock.seen < before + 700 else later)
                clocks.append(clock)
                return super().step(batch, clock)

        def plan(images: int, seen: int, speed: float) -> tuple[int, int]:
            planned.append((seen, images))
            return planned[0][0], images

        monkeypatch.setattr("vaegan.training.timing.time.perf_counter", lambda: now[0])
        limits = Limits(None, lambda speed: 30.0, checkpoint_seconds=1e9)
        end = training_of(
            Slower(), tmp_path, limits=limits, seen=before, plan=plan, save=lambda seen: saved.append((seen, len(planned)))
        ).run()

        ends = [images for _, images in planned]
        assert ends[0] == pytest.approx(before + 3000, abs=3 * BATCH)
        assert (len(ends) > 1) == (later < 90)
        assert ends == sorted(ends, reverse=True)
        assert end.seen == ends[-1]
        assert takes[0] < now[0] < takes[1]
        progress = [clock.progress for clock in clocks]
        assert progress == sorted(progress)
        assert progress[-1] > 0.98  # the schedules came to their end
        for cuts, (seen, _) in enumerate(planned[1:], 2):
            assert (seen, cuts) in saved  # a run stopped now goes on from here


class TestEnd:
    def test_a_guards_stop_outlives_a_kill_and_ends_with_an_extension(self, tmp_path: Path) -> None:
        def alike(look: Look, memory: Any) -> str | None:
            return "samples are alike" if look.window else None

        first = Counter()
        health = health_of(first, {"mode collapse": alike})
        end = training_of(first, tmp_path, 4000, health=health).run()
        assert end == End(4 * WINDOW_IMAGES, f"a guard stopped it after {4 * WINDOW_IMAGES:,} images")
        for extended_at, goes_on in ((0, False), (end.seen, True)):
            recipe = Counter()
            later = health_of(recipe, {"mode collapse": lambda look, memory: None}, extended_at=extended_at)
            later.set_state(health.state())
            again = training_of(recipe, tmp_path, 4000, health=later, seen=end.seen).run()
            assert again.seen == (4000 if goes_on else end.seen)
            assert (again == end) == (not goes_on)

    def test_a_stage_that_has_seen_all_trains_no_more(self, tmp_path: Path) -> None:
        recipe, saved = Counter(), list[int]()
        assert training_of(recipe, tmp_path, 400, seen=400, save=saved.append).run() == End(
            400, "the 400 images planned are seen"
        )
        assert (int(recipe.weight), saved) == (0, [400])
