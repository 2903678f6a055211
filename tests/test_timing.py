"""Minutes become images: against counting out every end. (Machines that become slower: test_best.py.)"""

import pytest

from vaegan.training.timing import SHOT_SHARES, Limits, Timetable

BATCH, SEEN, GONE = 8, 600, 7.0


def takes(end: int) -> float:
    """Seconds for the images, pictures and validations after SEEN, at 100 images, 5 pictures and 1 validation a second."""
    pictures = [share for share in SHOT_SHARES if int(share * end) > SEEN]
    validations = [tenth for tenth in range(1, 11) if end * tenth > SEEN * 10]
    return (end - SEEN) / 100 + len(pictures) / 5 + len(validations)


@pytest.mark.parametrize("allowed", [9.5, 15, 20, 25, 60, 3600])
def test_a_stage_ends_in_time_with_its_pictures_and_validations(allowed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("vaegan.training.timing.time.perf_counter", lambda: now[0])
    timetable = Timetable(Limits(None, lambda speed: allowed), BATCH, 0)
    timetable.shot_seconds, timetable.validation_seconds = 0.2, 1.0
    timetable.watch.images, timetable.watch.seconds, now[0] = 500, 5.0, GONE
    in_time = [end for end in range(SEEN + BATCH, 400_000, BATCH) if takes(end) <= allowed - GONE]
    assert timetable.due(SEEN) == in_time[-1]


@pytest.mark.parametrize("allowed", [1.0, 7.0, 7.5])
def test_without_time_there_is_one_step_more(allowed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("vaegan.training.timing.time.perf_counter", lambda: now[0])
    timetable = Timetable(Limits(None, lambda speed: allowed), BATCH, 0)
    timetable.validation_seconds, now[0] = 1.0, GONE
    assert timetable.due(SEEN) == SEEN + BATCH


def test_what_is_left_counts_pictures_and_validations() -> None:
    timetable = Timetable(Limits(2000, None), BATCH, 0)
    assert timetable.seconds_left(SEEN) is None  # nothing was timed yet
    timetable.shot_seconds, timetable.validation_seconds = 0.2, 1.0
    timetable.watch.images, timetable.watch.seconds = 500, 5.0
    assert timetable.seconds_left(SEEN) == pytest.approx(takes(2000))
    assert timetable.seconds_left(2000) == 0
