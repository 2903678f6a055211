"""Comparing runs: what counts as more than noise, checked against scipy and by hand, and the page that says so."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from scipy import stats

from report_runs import make_run, score
from vaegan.cli import main
from vaegan.errors import RequestError
from vaegan.metrics.table import METRICS
from vaegan.report import write_comparison, write_report
from vaegan.report.comparing import spread_margin, student, verdict
from vaegan.training.run import RunFolder


@pytest.mark.parametrize(
    ("first", "other"), [([1.0, 1.2, 0.9], [1.5, 1.9, 1.4, 1.6]), ([3.0, 3.5], [2.0, 9.0]), ([1.0] * 3, [2.0] * 3)]
)
def test_several_seeds_on_both_sides_is_welchs_interval(first: list[float], other: list[float]) -> None:
    margin = spread_margin(first, other)
    if margin == 0:
        assert first == [1.0] * 3
        return
    interval = stats.ttest_ind(other, first, equal_var=False).confidence_interval(0.95)
    exact = (interval.high - interval.low) / 2
    assert 0.999 * exact <= margin <= 1.15 * exact


def test_seeds_on_one_side_lend_their_spread_to_the_other() -> None:
    values = [1.0, 1.3, 0.8, 1.1]
    deviation = stats.tstd(values)
    assert math.isclose(spread_margin(values, [2.0]), stats.t.ppf(0.975, 3) * deviation * math.sqrt(1 / 4 + 1), rel_tol=1e-3)
    assert spread_margin([2.0], values) == spread_margin(values, [2.0])


def test_the_table_of_student() -> None:
    for freedom in (1, 2, 7, 30, 55, 1000):
        assert math.isclose(student(freedom), stats.t.ppf(0.975, freedom), rel_tol=1e-3)
    for freedom in (1.3, 1.7, 2.5, 4.4, 29.5):
        assert 0.999 <= student(freedom) / stats.t.ppf(0.975, freedom) <= 1.2
    assert student(0.5) == student(1)


def test_a_model_with_numbers_that_are_not_finite_is_told_on_the_page(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, seed=seed) for seed, name in enumerate(("a", "b"))]
    path = RunFolder(runs[1]).model("gan") / "model.safetensors"
    tensors = load_file(path)
    tensors["decoder.start.bias"][0] = math.nan
    save_file(tensors, path)
    assert "holds numbers that are not finite" in write_report(runs[1]).read_text()
    write_comparison(list(runs), tmp_path / "c.html")
    assert (tmp_path / "c.html").is_file()


@pytest.mark.parametrize(
    ("good", "first", "other", "margin", "said"),
    [
        ("lower", 1.0, 0.5, 0.2, "better"),
        ("lower", 1.0, 1.5, 0.2, "worse"),
        ("higher", 1.0, 1.5, 0.2, "better"),
        ("higher", 1.0, 1.1, 0.2, "within the noise"),
        ("one", 0.5, 0.9, 0.2, "better"),
        ("one", 0.8, 1.3, 0.2, "different"),
        ("half", 0.5, 0.9, 0.2, "worse"),
        ("", 0.0, 1.0, 0.2, "different"),
    ],
)
def test_what_a_difference_means(good: str, first: float, other: float, margin: float, said: str) -> None:
    assert verdict(good, first, other, margin) == said


def test_more_of_what_is_neither_good_nor_bad_is_different_and_no_better() -> None:
    for name in ("kl", "active_units"):
        assert verdict(METRICS[name].good, 1.0, 2.0, 0.1) == "different"


def test_intervals_decide_when_every_setting_has_one_seed(tmp_path: Path) -> None:
    first = {"recall": score(0.5, 0.06), "kernel_distance": score(1.0, 0.6), "sharpness": score(0.5, 0.1)}
    second = {"recall": score(0.6, 0.08), "kernel_distance": score(1.4, 0.8), "sharpness": score(0.9, 0.1, n=999)}
    runs = [make_run(tmp_path / "a", scores=first), make_run(tmp_path / "b", penalty=0.2, scores=second)]
    facts = write_comparison(runs, tmp_path / "page.html")
    assert facts["settings_that_differ"] == {"settings.gan.penalty": [0.05, 0.2]}
    found = {name: one["against_first"]["B"] for name, one in facts["metrics"]["gan"].items()}
    # Half widths 0.03 and 0.04 add up to 0.05; the difference is twice that. Those of 0.3 and 0.4 add up to more than 0.4.
    assert (found["recall"]["verdict"], found["recall"]["basis"]) == ("better", "intervals")
    assert math.isclose(found["recall"]["margin"], 0.05)
    assert found["kernel_distance"]["verdict"] == "within the noise"
    assert found["sharpness"]["verdict"] == "not compared"  # another number of samples
    text = (tmp_path / "page.html").read_text()
    assert "better in 1, within the noise in 1 of 2" in text
    assert "gan.penalty" in text


def test_seeds_of_the_same_settings_are_one_group(tmp_path: Path) -> None:
    values = {"a0": (0.05, 0.50), "a1": (0.05, 0.56), "b0": (0.2, 0.90), "b1": (0.2, 0.94)}
    runs = [
        make_run(tmp_path / name, penalty=penalty, seed=int(name[1]), scores={"recall": score(value, 1e-6)})
        for name, (penalty, value) in values.items()
    ]
    facts = write_comparison(runs, tmp_path / "page.html")
    assert "a difference counts when" in (tmp_path / "page.html").read_text()
    write_comparison(runs[:2], tmp_path / "one.html")
    assert "a difference counts when" not in (tmp_path / "one.html").read_text()  # there is none
    assert [group["seeds"] for group in facts["groups"]] == [[0, 1], [0, 1]]
    found = facts["metrics"]["gan"]["recall"]["against_first"]["B"]
    assert found["basis"] == "seeds"
    assert math.isclose(found["margin"], spread_margin([0.50, 0.56], [0.90, 0.94]))
    assert found["verdict"] == "better"


def test_runs_judged_against_other_images_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(tmp_path / name, scores={"recall": score(0.5)}, fingerprint=name * 32) for name in ("a", "b")]
    other = json.loads((runs[1] / "evaluation.json").read_text()) | {"fingerprint": "b" * 32}
    (runs[1] / "evaluation.json").write_text(json.dumps(other))
    facts = write_comparison(runs, tmp_path / "page.html")
    assert facts["metrics"]["gan"]["recall"]["against_first"]["B"]["verdict"] == "not compared"
    assert "judged against different images" in (tmp_path / "page.html").read_text()
    capsys.readouterr()
    main(["compare", *map(str, runs), "--out", str(tmp_path / "page.html")])
    said = capsys.readouterr().out.splitlines()
    assert said[-4:-1] == [  # after the warning that they hold the same models
        f"A: {runs[0]}",
        f"B: {runs[1]}",
        "B cannot be compared with A in numbers: they were judged against different images.",
    ]
    for run in runs:
        (run / "evaluation.json").unlink()
    assert write_comparison(list(runs), tmp_path / "page.html")["findings"] == [
        "B cannot be compared with A in numbers: numbers are missing."
    ]


def test_runs_without_an_evaluation_are_shown_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(tmp_path / name, penalty=penalty) for name, penalty in (("a", 0.1), ("<b>", 0.2))]
    page = tmp_path / "page.html"
    main(["compare", *map(str, runs), "--out", str(page), "--json"])
    assert json.loads(capsys.readouterr().out)["metrics"] == {"vae": {}, "gan": {}}
    text = page.read_text()
    assert "No scores of: a, &lt;b&gt;." in text
    assert "<b>, " not in text
    main(["compare", *map(str, runs), "--out", str(page)])
    assert "2 different settings" in capsys.readouterr().out


def test_copies_of_a_run_are_no_independent_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = make_run(tmp_path / "a", scores={"recall": score(0.5)})
    copy = Path(shutil.copytree(first, tmp_path / "copy"))
    other = make_run(tmp_path / "b", penalty=0.2, seed=1, scores={"recall": score(0.9)})
    page = tmp_path / "page.html"
    main(["compare", str(first), str(copy), str(other), "--out", str(page)])
    said = f"{copy} holds the same models as {first}: they count as one run, not as two independent ones."
    assert said in capsys.readouterr().out
    assert said in page.read_text()
    facts = write_comparison([first, copy, other], page)
    assert facts["warnings"] == [said]
    assert facts["metrics"]["gan"]["recall"]["values"] == {"A": [0.5], "B": [0.9]}
    assert facts["metrics"]["gan"]["recall"]["against_first"]["B"]["basis"] == "intervals"
    assert "Every setting was run with one seed" in page.read_text()
    write_comparison([first, copy], page)
    assert "2 seeds" not in page.read_text()
    assert "one run, given several times" in page.read_text()
    # The same settings with other weights are repeats.
    again = make_run(tmp_path / "a1", seed=1, scores={"recall": score(0.6)})
    facts = write_comparison([first, again], page)
    assert facts["warnings"] == []
    assert "2 seeds of one thing" in page.read_text()


def test_scores_of_another_version_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(tmp_path / f"r{seed}", seed=seed, scores={"recall": score(0.5)}) for seed in range(2)]
    page = tmp_path / "page.html"

    def said(**changes: object) -> str:
        values = json.loads((runs[1] / "evaluation.json").read_text())
        (runs[1] / "evaluation.json").write_text(json.dumps(values | changes))
        main(["compare", *map(str, runs), "--out", str(page)])
        return capsys.readouterr().out

    for words in (said(format_version=99), page.read_text()):
        assert "another version of vaegan" in words
        assert f"vaegan evaluate {runs[1]}" in words


def test_what_differs_is_said_in_words(tmp_path: Path) -> None:
    config = make_run(tmp_path / "a")
    record = RunFolder(config).read()
    RunFolder(config).write(replace(record, config=replace(record.config, condition="hat", conditional=True), init="other/run"))
    write_comparison([make_run(tmp_path / "b", seed=1), config], tmp_path / "page.html")
    text = re.sub(r"<script.*?</script>", "", (tmp_path / "page.html").read_text(), flags=re.DOTALL)
    assert not {"None", "True", "False"} & set(re.sub(r"[<>]", " ", text).split())
    for words in (">not set<", ">yes<", "started from"):
        assert words in text


def test_wrong_requests(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    with pytest.raises(RequestError, match="2 to 12 runs"):
        write_comparison([run])
    with pytest.raises(RequestError, match="twice"):
        write_comparison([run, tmp_path / "b/../a"])
    with pytest.raises(RequestError, match="not a run"):
        write_comparison([run, tmp_path / "b"])
    with pytest.raises(RequestError, match=r"\.html"):
        write_comparison([run, tmp_path], tmp_path / "page.pdf")
