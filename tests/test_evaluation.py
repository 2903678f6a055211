"""`vaegan evaluate`: what it measures of a run, writes and prints, and what it refuses."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from report_runs import make_run
from vaegan.cli import main
from vaegan.config import DataConfig, DeviceConfig
from vaegan.data import TRAIN, open_dataset
from vaegan.errors import ModelError
from vaegan.evaluation import evaluate
from vaegan.evaluation.evaluate import load_stages
from vaegan.evaluation.reference import of_side
from vaegan.metrics.table import METRICS
from vaegan.model import Model
from vaegan.networks import Decoder
from vaegan.training.run import RunFolder

OPTIONS = [
    *("--size", "16", "--network.width", "4", "--network.width-limit", "8", "--network.latent-dim", "4"),
    *("--vae.batch-size", "8", "--gan.batch-size", "8", "--precision", "float32"),
]

ONLY_A_MODEL = ("decodes", "has a likelihood", "has a latent")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def trained(heavy: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        main(["train", "faces:600", *OPTIONS, "--images", "64", "--out", str(path)])
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", *arguments])
    captured = capsys.readouterr()
    assert exit.value.code == 2, captured.err
    assert captured.err.count("\n") == 1
    return captured.err


def test_evaluation_has_the_promised_form_and_repeats_itself(trained: Path) -> None:
    first = evaluate(trained, "faces:900", n=210)
    written = json.loads((trained / "evaluation.json").read_text())
    assert written == json.loads(json.dumps(first))
    again = evaluate(trained, "faces:900", n=210)
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert first["format_version"] == 2
    assert set(first["stages"]) == {"vae", "gan"}
    assert set(first["prior_samples"]) == {"vae"}
    for numbers in (*first["stages"].values(), first["prior_samples"]["vae"], first["floor"]):
        assert set(numbers) <= set(METRICS)
        for name, number in numbers.items():
            assert set(number) - {"no_floor", "against"} == {"value", "interval", "n", "features"}
            # What is missing has a reason, and nothing else has one.
            assert (name in first["floor"]) != bool(number.get("no_floor")), name
            assert number["interval"][0] <= number["value"] <= number["interval"][1], name
    gan = first["stages"]["gan"]
    assert (gan["frechet_distance"]["n"], gan["frechet_distance"]["against"]) == (210, 210)
    assert gan["copying"]["n"] == 210 < gan["copying"]["against"]  # -n is about samples
    vae = first["stages"]["vae"]
    assert [vae[name]["no_floor"] for name in ("psnr", "iwae", "kl")] == [f"only a model {has}" for has in ONLY_A_MODEL]
    assert set(first["spectra"]) == {"real", "vae", "gan"}
    assert len(first["spectra"]["gan"]) == 8
    assert len(first["per_dimension_kl"]) == 4
    assert [len(column) for column in first["neighbours"].values()] == [8, 8, 8]
    assert len(first["verdict"]) == 3
    # Against real images a barely trained model is far off, and real ones are not.
    assert first["stages"]["gan"]["kernel_distance"]["value"] > 10 * abs(first["floor"]["kernel_distance"]["value"])


def test_numbers_do_not_depend_on_how_many_images_pass_a_network_together(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(trained, n=64, stage="vae")["stages"]["vae"]
    decode, passed = Decoder.forward, []

    def counted(decoder: Decoder, latents: Tensor, *rest: Any, **more: Any) -> Tensor:
        passed.append(len(latents))
        return decode(decoder, latents, *rest, **more)

    monkeypatch.setattr("vaegan.model.AT_ONCE", 7)
    monkeypatch.setattr(Decoder, "forward", counted)
    parts = evaluate(trained, n=64, stage="vae")["stages"]["vae"]
    assert max(passed) == 7
    assert whole.keys() == parts.keys()
    for name, number in whole.items():
        if number["interval"]:
            assert number["interval"][0] <= parts[name]["value"] <= number["interval"][1], name
        else:
            assert parts[name]["value"] == pytest.approx(number["value"], rel=1e-3), name


def test_both_samples_of_a_vae_are_measured(trained: Path, tmp_path: Path) -> None:
    both = evaluate(trained, n=64, stage="vae")
    stage, prior = both["stages"]["vae"], both["prior_samples"]["vae"]
    assert set(prior) == set(stage) - {name for name in stage if METRICS[name].no_floor}  # what is no number of samples
    assert prior["sharpness"]["value"] != stage["sharpness"]["value"]
    # Without a mixture the stage's own samples are those of N(0, I).
    shutil.copytree(trained, tmp_path / "unfitted")
    model = Model.from_pretrained(tmp_path / "unfitted/vae/model")
    assert model.networks.mixture is not None
    model.networks.mixture.weights.zero_()
    model.save_pretrained(tmp_path / "unfitted/vae/model")
    found = evaluate(tmp_path / "unfitted", n=64, stage="vae")
    assert found["prior_samples"] == {}
    assert {name: found["stages"]["vae"][name] for name in prior} == prior


@pytest.mark.slow
def test_numbers_stay_in_their_intervals_for_other_blocks_threads_processes_and_devices(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    first, before = evaluate(trained, "faces:900", n=210, device=DeviceConfig("cpu")), torch.get_num_threads()
    headline = [name for name, metric in METRICS.items() if metric.headline]

    def check(found: dict[str, Any], other: str, rounding: float | None) -> None:
        for stage, numbers in (*first["stages"].items(), ("real", first["floor"])):
            others = found["floor"] if stage == "real" else found["stages"][stage]
            assert numbers.keys() == others.keys()
            for name, number in numbers.items():
                low, high = number["interval"] or (number["value"], number["value"])
                value = others[name]["value"]
                if name in headline:
                    assert low - 1e-9 <= value <= high + 1e-9, (other, stage, name)
                if rounding is not None:
                    assert value == pytest.approx(number["value"], rel=rounding, abs=1e-6), (other, stage, name)

    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            check(evaluate(trained, "faces:900", n=210, device=DeviceConfig("cpu")), f"{threads} threads", 1e-3)
        finally:
            torch.set_num_threads(before)
    run_alone = [sys.executable, "-m", "vaegan", "evaluate", str(trained), "faces:900", "-n", "210", "--accelerator", "cpu"]
    done = subprocess.run([*run_alone, "--devices", "2", "--json"], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    # One document, printed by one of them. Both pass the same blocks: only sums are added in another order.
    check(json.loads(done.stdout), "2 processes", 1e-6)
    monkeypatch.setenv("VAEGAN_CACHE", os.environ["VAEGAN_CACHE"] + "-other")  # nothing that was noted with other blocks
    monkeypatch.setattr("vaegan.model.AT_ONCE", 7)
    monkeypatch.setattr("vaegan.evaluation.reference.BLOCK", 37)
    check(evaluate(trained, "faces:900", n=210, device=DeviceConfig("cpu")), "other blocks", None)
    for accelerator, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if there:
            check(evaluate(trained, "faces:900", n=210, device=DeviceConfig(accelerator)), accelerator, None)


def test_few_heldout_images_leave_metrics_out_and_say_so(trained: Path) -> None:
    found = evaluate(trained, n=100, stage="gan")
    assert found["reference"]["side"] == "test"
    assert found["reference"]["count"] < 50
    assert "frechet_distance" in found["left_out"]
    assert "frechet_distance" not in found["stages"]["gan"]
    assert "kernel_distance" in found["stages"]["gan"]
    assert set(found["stages"]) == {"gan"}
    assert "prior" in found["left_out"]["kl"]
    there = found["reference"]["count"]
    assert found["left_out"]["recall"] == f"needs 100 held-out images, and there are {there}"
    assert found["left_out"]["mode_coverage"] == "needs 300 labelled training images, and -n takes only 100"


def test_the_table_names_the_floor_and_the_verdict(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(trained), "-n", "64"])
    printed = capsys.readouterr().out
    for words in (
        "kernel distance",
        "real",
        "the VAE's samples from",
        "mixture  ",
        "N(0, I)  ",
        "GAN",
        "Left out",
        "evaluation.json",
        "Samples of the GAN",
    ):
        assert words in printed
    assert f"first train it longer: vaegan train --resume {trained} --minutes 10" in printed
    assert "train --resume" in (trained / "report.html").read_text()
    main(["evaluate", str(trained), "-n", "64", "--json"])
    assert json.loads(capsys.readouterr().out)["n"] == 64


def test_wrong_requests_are_one_line(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "not a run" in refused(capsys, "nowhere")
    assert "-n 3" in refused(capsys, str(trained), "-n", "3")
    assert "nothing-here" in refused(capsys, str(trained), "nothing-here")
    other = tmp_path / "other"
    shutil.copytree(trained, other, ignore=shutil.ignore_patterns("evaluation.json"))
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(record | {"format_version": 99}))
    assert "has format 99; this version of vaegan reads 7" in refused(capsys, str(other))
    (other / "run.json").write_text(json.dumps(record | {"fingerprint": "0"}))
    assert "have changed" in refused(capsys, str(other))
    assert not (other / "evaluation.json").exists()


def test_images_that_were_moved_are_asked_for_and_known_by_their_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8))
    main(["train", "images.npy", *OPTIONS, "--images", "16", "--recipe", "vae", "--out", "run"])
    wanted = evaluate("run", n=64)
    place, moved = tmp_path / "images.npy", tmp_path / "moved.npy"
    place.rename(moved)
    said = refused(capsys, "run")
    assert str(place) in said
    assert "vaegan evaluate run PLACE" in said
    found = evaluate("run", moved, n=64)
    assert found["stages"] == wanted["stages"]
    assert found["reference"] == wanted["reference"]
    # Others lie in their place: it is not known which of them were trained on.
    np.save(place, np.random.default_rng(1).integers(0, 256, (96, 16, 16, 3), dtype=np.uint8))
    assert "have changed" in refused(capsys, "run", "images.npy")


@pytest.mark.heavy
def test_vae_and_gan_at_once_have_posteriors_and_say_what_they_lack(tmp_path: Path) -> None:
    run = tmp_path / "joint"
    main(["train", "faces:600", *OPTIONS[:8], "--precision", "float32", "--images", "32", "--recipe", "joint", "--out", str(run)])
    found = evaluate(run, n=64)
    assert {"kl", "active_units", "aggregate_gap", "reconstruction_error"} <= set(found["stages"]["joint"])
    assert len(found["per_dimension_kl"]) == 4
    assert found["left_out"]["elbo"] == "the model has no p(x|z)"


def test_a_run_is_evaluated_by_one_process_at_a_time(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holding = (
        "import sys; from pathlib import Path; from vaegan.training.run import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).alone(): print('here', flush=True); sys.stdin.read()"
    )
    call = [sys.executable, "-c", holding, str(trained)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "here\n"
        with pytest.raises(SystemExit) as exit:
            main(["evaluate", str(trained), "-n", "64"])
        assert exit.value.code == 1
        said = capsys.readouterr().err
        assert said == f"vaegan: Another command is at work in {trained}; wait until it ends, or stop it.\n"
        other.communicate("")


def test_a_few_images_are_enough_to_be_compared_with(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("few.npy", np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8))
    found = evaluate(trained, "few.npy", n=64, stage="gan")
    assert found["reference"] == {"side": "other", "count": 3}
    np.save("one.npy", np.load("few.npy")[:1])
    assert "one.npy has 1 image that the run was not trained on" in refused(capsys, str(trained), "one.npy", "-n", "64")


def test_what_too_few_images_leave_out_is_said_once(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(trained), "-n", "64", "--stage", "gan", "--seed", "3"])
    printed = capsys.readouterr().out
    assert printed.count("needs 100 held-out images") == 1
    page = (trained / "report.html").read_text()
    assert page.count("needs 100 held-out images") == 1
    assert f"vaegan evaluate {trained} --stage gan -n 64 --seed 3" in page


def test_iwae_of_a_linear_gaussian_model_meets_its_marginal_likelihood() -> None:
    """p(z) = N(0, I), p(x|z) = N(Wz, s): log p(x) is known, the ELBO is less by KL(q || posterior), IWAE lies between."""
    import torch

    from vaegan.objectives.latent import importance_weighted_bound, log_ratio
    from vaegan.objectives.likelihood import log_density

    generator = torch.Generator().manual_seed(0)
    weights, variance = torch.randn(16, 3, generator=generator), torch.tensor(0.5)
    x = torch.randn(40, 1, 4, 4, generator=generator)
    flat = x.flatten(1)
    marginal = torch.distributions.MultivariateNormal(torch.zeros(16), weights @ weights.T + variance * torch.eye(16))
    exact = marginal.log_prob(flat)
    covariance = torch.linalg.inv(torch.eye(3) + weights.T @ weights / variance)
    mean = flat @ weights @ covariance / variance + 0.2
    log_var = torch.full((40, 3), -2.0)
    posterior = torch.distributions.MultivariateNormal(mean - 0.2, covariance)
    encoder = torch.distributions.MultivariateNormal(mean, torch.diag_embed(log_var.exp()))
    gap = torch.distributions.kl_divergence(encoder, posterior)
    rows = []
    for _ in range(4000):
        noise = torch.randn(40, 3, generator=generator)
        z = mean + (log_var / 2).exp() * noise
        rows.append(log_density("gaussian", x, (z @ weights.T).reshape(x.shape), variance) + log_ratio(z, mean, log_var, noise))
    drawn = torch.stack(rows).double()
    error = drawn.std(0).mean() / 4000**0.5
    assert float((drawn.mean(0) - (exact - gap)).mean()) == pytest.approx(0, abs=4 * float(error))
    tight, loose = importance_weighted_bound(drawn).mean(), importance_weighted_bound(drawn[:5]).mean()
    assert float(drawn.mean()) < float(loose) < float(tight) <= float(exact.mean()) + 0.02
    assert float(tight) == pytest.approx(float(exact.mean()), abs=0.05)


def numbers(**values: float) -> dict[str, dict[str, object]]:
    return {
        name: {"value": value, "interval": [0.97 * value, 1.03 * value], "n": 100, "features": None}
        for name, value in values.items()
    }


def test_the_verdict_follows_the_numbers() -> None:
    from vaegan.evaluation.verdict import verdict, wants_training

    floor = numbers(variety=1.0, coverage=0.97, duplicates=1.0)
    vae = numbers(sharpness=0.05, variety=0.9, coverage=0.5, copying=0.4)
    good = numbers(sharpness=1.18, texture_2=1.1, texture_4=0.9, variety=0.88, coverage=0.96, duplicates=1.1, copying=0.5)
    looks, variety, copying = verdict({"vae": vae, "gan": good}, floor)
    assert "sharper than the VAE's and slightly noisy (1.18" in looks
    assert "grid" not in looks
    assert "Samples of the GAN" in looks
    assert "12% less varied than the same number of training images" in variety
    assert not wants_training({"vae": vae, "gan": good}, floor)
    assert wants_training({"vae": vae}, floor)
    assert not wants_training({"vae": vae | numbers(coverage=0.9)}, floor)  # blurred, as a VAE is
    assert "no sign of copying" in copying
    assert "sharper than the VAE's but still very blurred (0.30" in verdict({"vae": vae, "gan": numbers(sharpness=0.3)}, floor)[0]
    soft = floor | numbers(sharpness=1.2)  # few held-out images, softer than most by chance
    assert "as sharp as real images" in verdict({"gan": numbers(sharpness=1.22)}, soft)[0]
    assert wants_training({"gan": numbers(sharpness=0.85)}, soft)
    assert not wants_training({"gan": numbers(sharpness=0.85)}, floor)
    grid = verdict({"gan": numbers(sharpness=1.0, texture_2=2.0)}, floor)[0]
    assert "as sharp as real images, with a faint grid" in grid  # and real images have none
    grain = verdict({"gan": numbers(sharpness=1.0, flatness=0.15)}, floor)[0]
    assert "as sharp as real images, grainy" in grain
    assert "(15% of the real flat areas)" in grain
    assert "grainy" not in verdict({"gan": numbers(sharpness=1.0, flatness=0.6)}, floor)[0]
    strokes = verdict({"gan": numbers(sharpness=1.0, detail_likeness=10.2)}, floor)[0]
    assert "the same fine strokes" in strokes
    assert "10 times as alike" in strokes
    assert "strokes" not in verdict({"gan": numbers(sharpness=1.0, detail_likeness=3.0)}, floor)[0]
    assert "sharper than the VAE's and as sharp as real" in verdict({"vae": vae, "gan": numbers(sharpness=1.0)}, floor)[0]
    bad = numbers(sharpness=0.3, texture_2=9.0, texture_4=1.0, variety=1.0, coverage=0.6, duplicates=30.0, copying=0.9)
    looks, variety, copying = verdict({"gan": bad}, floor)
    assert "very blurred" in looks
    assert "visible grid" in looks
    assert "as varied" in variety
    assert "40% of unseen real images have no sample near" in variety
    assert "it would be 3%" in variety
    assert not wants_training({"gan": bad}, floor)  # it copies
    assert wants_training({"gan": bad | numbers(copying=0.5)}, floor)
    assert "30 times" in variety
    assert copying.startswith("They copy")
    wide = {"copying": {"value": 0.99, "interval": [0.02, 1.0], "n": 100, "features": None}}
    assert "cannot be said: 99% of them" in verdict({"gan": bad | wide}, floor)[2]
    for far in ({"neighbour_distance": 1.8, "precision": 0.6}, {"neighbour_distance": 1.2, "precision": 0.3}):
        far = numbers(sharpness=1.0, variety=1.0, coverage=0.1, copying=0.9, **far)
        assert "cannot be said yet" in verdict({"gan": far}, floor)[2]
        assert wants_training({"gan": far}, floor)
    few_kinds = numbers(sharpness=1.0, variety=0.6, coverage=0.3, precision=0.95, neighbour_distance=1.0, copying=0.5)
    assert "no sign of copying" in verdict({"gan": few_kinds}, floor)[2]
    assert "Samples of the VAE are" in verdict({"vae": vae}, floor)[0]
    assert all("cannot be said" in sentence for sentence in verdict({"gan": {}}, {}))


@pytest.mark.heavy
def test_numbers_of_pairs_are_right_in_the_mean_and_their_intervals_know_the_chance_of_both_sides() -> None:
    import torch

    from recorded import described
    from vaegan.evaluation.samples import Yardstick, compare
    from vaegan.evaluation.tally import Findings

    def pictures(count: int, seed: int) -> Tensor:
        rough = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        return (0.4 * torch.nn.functional.interpolate(rough, size=16, mode="bilinear")).clamp(-1, 1)

    names, draws = ("density", "duplicates"), 12
    values, reach = torch.zeros(2, draws, len(names), dtype=torch.float64)
    train = described(pictures(400, 99))
    for draw in range(draws):
        found = Findings()
        compare(Yardstick(described(pictures(200, 2 * draw)), train, draw), described(pictures(600, 2 * draw + 1)), found)
        for at, name in enumerate(names):
            low, high = found.numbers[name].interval
            values[draw, at], reach[draw, at] = found.numbers[name].value, (float(high) - float(low)) / 2
    mean, spread = dict(zip(names, values.mean(0).tolist(), strict=True)), values.std(0)
    assert mean["density"] == pytest.approx(1, abs=0.1)
    assert mean["duplicates"] == pytest.approx(1, abs=0.4)
    assert (reach.mean(0) > 1.2 * spread).all(), dict(zip(names, (reach.mean(0) / spread).tolist(), strict=True))


@pytest.mark.parametrize("copied", [10, 30, 100])
@pytest.mark.heavy
def test_a_model_that_repeats_a_few_training_images_is_said_to_copy(copied: int) -> None:
    """Its coverage is low and the interval of copying wide, because so few images stand for all samples."""
    import torch

    from recorded import described
    from vaegan.evaluation.copies import CopyCheck
    from vaegan.evaluation.reference import RealImages, References
    from vaegan.evaluation.samples import Yardstick, compare
    from vaegan.evaluation.tally import Findings
    from vaegan.evaluation.verdict import verdict, wants_training

    dataset = open_dataset("faces:900", DataConfig(size=16))
    parts = np.split(np.arange(len(dataset)), [150, 300])
    heldout, new, train = (RealImages(dataset, part, "test") for part in parts)
    yard = Yardstick(described(heldout.images(), given=False), described(train.first(200).images()), 0)
    check = CopyCheck(References(heldout, train, mirrored=False), None, full=False)

    def judged(images: Tensor) -> Findings:
        found, samples = Findings(), described(images)
        compare(yard, samples, found)
        check.describe(samples.tally, 0, images)
        check.judge(samples.tally, found, 0)
        return found

    floor, generator = judged(new.images()), torch.Generator().manual_seed(0)
    few = train.images()[torch.randint(copied, (200,), generator=generator)]
    copies = {"gan": judged((few + 0.01 * torch.randn(few.shape, generator=generator)).clamp(-1, 1)).as_json()}
    assert verdict(copies, floor.as_json())[2].startswith("They copy")
    assert not wants_training(copies, floor.as_json())
    assert "They copy" not in verdict({"gan": floor.as_json()}, floor.as_json())[2]


def test_copying_is_left_out_where_too_few_samples_can_be_nearest_to_a_heldout_image() -> None:
    from vaegan.evaluation.copies import CopyCheck
    from vaegan.evaluation.reference import RealImages, References
    from vaegan.evaluation.tally import Findings, Tally

    dataset = open_dataset("faces:900", DataConfig(size=16))
    new, heldout, train = (RealImages(dataset, part, "test") for part in np.split(np.arange(len(dataset)), [200, 260]))
    for mirrored in (False, True):
        check = CopyCheck(References(heldout, train, mirrored), None, full=False)
        for samples, there in ((new, True), (new.first(100), False)):
            found, tally = Findings(), Tally()
            check.describe(tally, 0, samples.images())
            check.judge(tally, found, 0)
            assert ("copying" in found.numbers) == there
            assert "neighbour_distance" in found.numbers
        # 640 training images: one in 11.7 samples is nearest to one of 60.
        assert re.search(r"needs 117 samples .* 100$", found.left_out["copying"])
        found, tally = Findings(), Tally()
        check.describe(tally, 0, heldout.images())
        check.judge(tally, found, 0)
        assert found.numbers["neighbour_distance"].value == pytest.approx(1, rel=1e-5)


def row_of(capsys: pytest.CaptureFixture[str], title: str, **stages: dict[str, Any]) -> str:
    """One row of the printed table, without what a number means."""
    from vaegan.commands.evaluate import print_evaluation
    from vaegan.console import Console

    facts = {"stages": stages, "prior_samples": {}, "floor": {}, "left_out": {}, "verdict": [], "train_longer": False}
    facts |= {"n": 100, "reference": {"count": 100, "side": "test"}, "data": "faces", "seed": 0}
    print_evaluation(facts, Path("evaluation.json"), Console())
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith(title))
    return " ".join(row.removeprefix(title).split())


@pytest.mark.parametrize(
    ("name", "value", "ends", "shown"),
    [
        ("psnr", 481_383.3, [164_000.0, 1_416_000.0], "481k (164k, 1.42M)"),
        ("coverage", 0.01, [0.0, 0.031], "0.01 (0.00, 0.03)"),
        ("coverage", 0.5, [0.46, 0.55], "0.50 ±0.05"),
        ("coverage", float("nan"), [0.0, float("nan")], "not a number"),
    ],
)
def test_a_lopsided_interval_shows_its_ends(
    capsys: pytest.CaptureFixture[str], name: str, value: float, ends: list[float] | None, shown: str
) -> None:
    row = row_of(capsys, METRICS[name].title, gan={name: {"value": value, "interval": ends, "n": 1700}})
    assert row.startswith(f"{shown} high")


def test_images_that_are_all_alike_are_as_near_as_they_are() -> None:
    import torch

    from vaegan.evaluation.samples import duplicates
    from vaegan.evaluation.tally import Findings

    for kinds in (1, 2):
        real = torch.randn(kinds, 63, generator=torch.Generator().manual_seed(0)).repeat(100, 1)
        duplicates(real, torch.randn(120, 63, generator=torch.Generator().manual_seed(1)), found := Findings())
        assert found.numbers["duplicates"].value == 0


class Tiny:
    """Writes small feature networks as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def description(self, stem: str, text: str) -> None:
        (self.folder / f"{stem}.toml").write_text(text)

    def program(self, stem: str, size: int, batch: int, flat: bool = True) -> Path:
        import torch
        from torch import nn

        layers = [nn.AvgPool2d(size // 4), *([nn.Flatten()] if flat else [])]
        path = self.folder / f"{stem}.pt2"
        torch.export.save(torch.export.export(nn.Sequential(*layers).eval(), (torch.zeros(batch, 3, size, size),)), path)
        return path

    def onnx_with_weights_outside(self, stem: str, weight: float) -> Path:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
        weights = numpy_helper.from_array(np.full((192, 4), weight, np.float32), "w")
        graph = helper.make_graph(nodes, "g", [x], [y], [weights])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = self.folder / f"{stem}.onnx"
        (self.folder / f"{stem}.data").unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location=f"{stem}.data", size_threshold=0)
        return path

    def onnx(self, stem: str, size: int) -> Path:
        import onnx
        from onnx import TensorProto, helper

        nodes = [
            helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[size // 4] * 2, strides=[size // 4] * 2),
            helper.make_node("Flatten", ["p"], ["y"]),
        ]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, size, size])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 48])
        model = helper.make_model(
            helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        )
        onnx.save(model, self.folder / f"{stem}.onnx")
        return self.folder / f"{stem}.onnx"


def test_feature_networks_give_the_same_from_onnx_and_torch_export(tmp_path: Path) -> None:
    import numpy as np
    import torch
    from PIL import Image

    from vaegan.evaluation.feature_files import open_feature_network

    tiny = Tiny(tmp_path)
    for stem in ("one", "two"):
        tiny.description(
            stem,
            'name = "pooled"\nsize = 32\nlow = 0\nhigh = 1\nmean = [0.5, 0.5, 0.5]\ndeviation = [0.5, 0.5, 0.5]\nbatch = 8\n',
        )
    program, onnx = open_feature_network(tiny.program("one", 32, 8)), open_feature_network(tiny.onnx("two", 32))
    images = torch.rand(11, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(program(images), onnx(images), rtol=1e-5, atol=1e-6)
    assert program(images).shape == (11, 48)
    # clean-fid's resize of the first image's red channel, by hand.
    red = np.round((images[0, 0].numpy() + 1) * 127.5).astype(np.float32)
    large = np.asarray(Image.fromarray(red).resize((32, 32), Image.Resampling.BICUBIC))
    assert large.min() < 0
    large = large.clip(0, 255) / 255
    expected = (large.reshape(4, 8, 4, 8).mean((1, 3)) - 0.5) / 0.5
    np.testing.assert_allclose(program(images)[0, :16].reshape(4, 4).numpy(), expected, atol=1e-5)


def test_weights_beside_an_onnx_file_make_another_network(tmp_path: Path) -> None:
    from vaegan.evaluation.feature_files import open_feature_network

    tiny = Tiny(tmp_path)
    tiny.description("net", 'name = "pooled"\nsize = 8\nlow = 0\nhigh = 1\n')
    networks = [open_feature_network(tiny.onnx_with_weights_outside("net", weight)) for weight in (1.0, 1.0, 2.0)]
    assert (tmp_path / "net.data").stat().st_size == 192 * 4 * 4
    # What is kept of real images is found again by this name.
    assert networks[0].identity == networks[1].identity
    assert networks[0].identity != networks[2].identity


def test_a_feature_file_adds_its_numbers_and_only_inception_is_called_fid(trained: Path, tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    path = tiny.program("net", 32, 32)
    for name, keys in (("pooled", {"feature_kernel_distance"}), ("inception-2015", {"kid"})):
        tiny.description("net", f'name = "{name}"\nsize = 32\nlow = -1\nhigh = 1\n')
        found = evaluate(trained, n=64, stage="gan", features=path)
        assert found["features"] == name
        there = set(found["stages"]["gan"]) & {"fid", "kid", "feature_kernel_distance", "feature_frechet_distance"}
        assert there == keys
        assert found["stages"]["gan"][keys.copy().pop()]["features"] == name


def test_the_frechet_distance_of_many_dimensions_has_an_interval(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaegan.evaluation.samples.MOST_RESAMPLED", 40)  # the network gives 48
    tiny = Tiny(tmp_path)
    tiny.description("net", 'name = "inception-2015"\nsize = 32\nlow = -1\nhigh = 1\n')
    found = evaluate(trained, "faces:900", n=210, stage="gan", features=tiny.program("net", 32, 32))
    for fid in (found["stages"]["gan"]["fid"], found["floor"]["fid"]):
        assert fid["interval"][0] < fid["value"] < fid["interval"][1]


def test_feature_files_that_do_not_fit_are_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tiny, run = Tiny(tmp_path), str(trained)
    assert "net.pkl" in refused(capsys, run, "--features", str(tmp_path / "net.pkl"))
    assert "does not exist" in refused(capsys, run, "--features", str(tmp_path / "net.onnx"))
    path = tiny.program("net", 32, 32)
    assert "net.toml" in refused(capsys, run, "--features", str(path))
    good = 'name = "pooled"\nsize = 32\nlow = 0\nhigh = 1\n'
    for text, words in (
        ("not toml at all =", "not TOML"),
        (good + "colour = 3\n", "colour"),
        (good.replace("32", "3"), "size is 3; it must be 8 to 1024"),
        (good + "batch = 0\n", "batch is 0; it must be 1 to 1024"),
        (good.replace("low = 0", "low = -inf"), "low is -inf; it must be a number from"),
        (good.replace("high = 1", "high = 0"), "low is 0 and high 0; low must be less"),
        (good + "mean = [0, 0, 0]\ndeviation = [1, 0, 1]\n", "its numbers must be positive"),
        (good + "deviation = [1, 1, 1]\n", "mean is (); it must be three numbers"),
        (good.replace("pooled", "Random-conv-1"), "the program's own features"),
        (good.replace("pooled", "layout-dct-1"), "the program's own features"),
        (good.replace("pooled", "a\\u001b"), "letters that can be shown"),
        (good.replace("pooled", "a" * 81), "1 to 80 letters"),
        (good.replace("32", "48"), "48, 48"),
        (good + "mean = [1]\ndeviation = [1]\n", "three numbers"),
    ):
        tiny.description("net", text)
        assert words in refused(capsys, run, "--features", str(path))
    tiny.description("flat", good)
    assert "must be [32, features]" in refused(capsys, run, "--features", str(tiny.program("flat", 32, 32, flat=False)))
    with zipfile.ZipFile(tmp_path / "flat.pt2", "w") as archive:
        archive.writestr("a.txt", "no program")
    caplog.clear()
    assert "holds no program that torch" in refused(capsys, run, "--features", str(tmp_path / "flat.pt2"))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    tiny.description("bad", good)
    assert "cannot be used" in refused(capsys, run, "--features", str(tmp_path / "bad.onnx"))


@pytest.mark.parametrize(("factor", "words"), [(0.0, "the same features for"), (float("nan"), "not finite")])
def test_features_that_cannot_judge_are_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float, words: str
) -> None:
    import torch
    from torch import nn

    class Network(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            # Rounding apart, nothing of the image comes through: a network whose units are all dead.
            return 1 + factor * images.flatten(1)[:, :8]

    before = (trained / "evaluation.json").read_bytes() if (trained / "evaluation.json").is_file() else None
    program = torch.export.export(Network().eval(), (torch.zeros(32, 3, 32, 32),))
    torch.export.save(program, tmp_path / "net.pt2")
    Tiny(tmp_path).description("net", 'name = "dead"\nsize = 32\nlow = 0\nhigh = 1\n')
    said = refused(capsys, str(trained), "--features", str(tmp_path / "net.pt2"))
    assert words in said
    assert "dead" in said
    assert ((trained / "evaluation.json").read_bytes() if before else None) == before


def test_a_program_that_hides_a_pickle_is_not_executed(tmp_path: Path) -> None:
    import os
    import pickle

    from vaegan.errors import RequestError
    from vaegan.evaluation.feature_files import open_feature_network

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    tiny = Tiny(tmp_path)
    good, evil = tiny.program("good", 32, 8), tmp_path / "evil.pt2"
    tiny.description("evil", 'name = "pooled"\nsize = 32\nlow = 0\nhigh = 1\nbatch = 8\n')
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(evil, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, pickle.dumps(Evil()) if "sample_inputs" in name else content)
    with pytest.raises(RequestError):
        open_feature_network(evil)
    assert not (tmp_path / "executed").exists()


def test_labelled_data_get_numbers_of_their_factors(trained: Path) -> None:
    found = evaluate(trained, "faces:900", n=310)
    for name in ("mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "attribute_accuracy", "mode_coverage"):
        number = found["stages"]["vae"][name]
        assert number["interval"][0] < number["value"] < number["interval"][1], name
        if name != "mode_coverage":
            assert number["no_floor"].startswith(f"{number['chance']:.2f} by chance")
    assert 0 <= found["stages"]["gan"]["mode_coverage"]["value"] < found["floor"]["mode_coverage"]["value"] <= 1


@pytest.mark.heavy
def test_what_latents_say_of_factors_stands_beside_what_noise_would_say() -> None:
    import torch

    from vaegan.evaluation.inference import KnownFactors
    from vaegan.evaluation.reference import RealImages, References
    from vaegan.evaluation.tally import Findings

    dataset = open_dataset("faces:900", DataConfig(size=16))
    train, heldout = (RealImages(dataset, part, "test") for part in np.split(np.arange(len(dataset)), [700]))
    known = KnownFactors(References(heldout, train, mirrored=False), 900)
    seen = [factor.name for factor in known.factors if factor.continuous]

    class Condition:
        def __init__(self, told: float) -> None:
            self.told = told

        def lacks(self, part: RealImages) -> bool:
            return False

        def encode(self, model: Any, part: RealImages) -> Tensor:
            latents = torch.randn(len(part), 32, generator=torch.Generator().manual_seed(len(part)))
            for at, name in enumerate(seen):
                latents[:, at] += self.told * torch.from_numpy(part.dataset.labels[name][part.indices]).float()
            return latents

    def found(told: float) -> dict[str, Any]:
        findings: Any = Findings()
        known.latent(cast(Any, None), cast(Any, Condition(told)), findings, 0)
        return findings.numbers

    for name, number in found(0.0).items():
        low, high = number.interval
        assert number.chance == pytest.approx(number.value, abs=high - low), name
    told = found(1e3)
    for name in ("dci_disentanglement", "dci_completeness"):
        # The 14 factors that no latent tells weigh little beside the 9 that are told; and noise not much.
        assert told[name].value > 0.55 > 0.25 > told[name].chance, name


def test_more_images_leave_less_to_chance_in_what_latents_say_of_factors() -> None:
    """Of many images a fixed penalty let so few weights of noise through that they looked disentangled: 0.7 with 4,000."""
    import torch

    from vaegan.metrics.posterior import disentanglement, importance

    def score(count: int, told: float) -> float:
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn(count, 12, generator=generator, dtype=torch.float64)
        factors = torch.randn(4, count, generator=generator, dtype=torch.float64) + told * latents.T[:4]
        return disentanglement(torch.stack([importance(latents, one[:, None]) for one in factors], 1))[0]

    few, many = score(400, 0.0), score(4000, 0.0)
    assert max(few, many) < 0.5
    assert abs(few - many) < 0.2
    assert score(400, 1.0) < score(4000, 1.0)


def test_intervals_of_nearest_neighbours_and_of_attributes_hold_the_truth_over_repeated_draws() -> None:
    import torch

    from vaegan.metrics.neighbours import median_ratio, nearest
    from vaegan.metrics.posterior import shared_mix_with_interval

    def normal(count: int, seed: int) -> Tensor:
        return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))

    def codes(features: Tensor) -> Tensor:
        first = features[:, 0]
        return torch.stack([torch.zeros(len(features)), first, 2 * first - 1, -first - 0.5], 1).argmax(1)

    train, held_distance, mixes = normal(400, 1), 0, []
    long_run = [float(nearest(scale * normal(10_000, 5), train)[0].median()) for scale in (0.6, 1.0)]
    for draw in range(60):
        heldout, samples = normal(100, 3 * draw + 10), normal(300, 3 * draw + 11)
        _, (low, high) = median_ratio(nearest(0.6 * samples, train)[0], nearest(heldout, train)[0], draw)
        held_distance += low <= long_run[0] / long_run[1] <= high
        mixes.append(shared_mix_with_interval([(codes(heldout), codes(samples + 0.5), 4)], draw))
    right = np.mean([value for value, _ in mixes])
    # Of 95 % in 60 draws fewer than 51 come by chance once in 300 times.
    assert held_distance >= 51
    assert sum(low <= right <= high for _, (low, high) in mixes) >= 51


def test_the_cache_drops_what_was_not_used_for_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from vaegan.evaluation.reference import read_cached, write_cached

    monkeypatch.setenv("VAEGAN_CACHE_LIMIT", "25e-6")
    paths = [tmp_path / "features" / f"{name}.safetensors" for name in "abcd"]
    for at, path in enumerate(paths[:3]):
        write_cached(path, {"features": torch.zeros(2_000)})  # 8 kB
        os.utime(path, (at, at))
    assert len(read_cached(paths[0])) == 1
    write_cached(paths[3], {"features": torch.zeros(2_000)})
    assert [path.exists() for path in paths] == [True, False, True, True]
    write_cached(paths[1], {"features": torch.zeros(20_000)})  # more than all of them may have, and needed now
    assert [path.exists() for path in paths] == [False, True, False, False]


def test_a_full_disk_costs_the_cache_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors import SafetensorError

    from vaegan.evaluation.reference import read_cached, write_cached

    def full(*_: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("vaegan.evaluation.reference.save_file", full)
    write_cached(tmp_path / "c/features/a.safetensors", {"features": torch.zeros(2)})
    assert read_cached(tmp_path / "c/features/a.safetensors") == {}
    assert not list((tmp_path / "c/features").iterdir())


def test_a_single_label_has_no_disentanglement(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaegan.evaluation.inference.MOST_FACTORS", 1)
    found = evaluate(trained, "faces:900", n=310, stage="vae")
    assert "dci_disentanglement" not in found["stages"]["vae"]
    assert found["left_out"]["dci_disentanglement"].startswith("needs two labels")
    assert {"mig", "dci_completeness", "dci_informativeness"} <= set(found["stages"]["vae"])


def test_features_of_binarised_images_are_not_those_of_grey_ones(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (80, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    found = []
    for binarize in ("none", "dynamic"):
        dataset = open_dataset(tmp_path / "grey.npy", DataConfig(size=16, binarize=binarize))
        found.append(of_side(dataset, TRAIN, "train").features("pixels", lambda images: images.flatten(1)))
    assert (found[0].abs() < 1).any()
    assert (found[1].abs() == 1).all()


def test_a_missing_model_of_a_finished_run_is_refused(tmp_path: Path) -> None:
    run = RunFolder(make_run(tmp_path / "run"))
    shutil.rmtree(run.model("gan"))
    with pytest.raises(ModelError, match=r"is missing, although the run is finished.*--stage vae"):
        load_stages(run, run.read(), None)
    assert list(load_stages(run, run.read(), "vae")) == ["vae"]
    run.write(replace(run.read(), status="interrupted"))
    assert list(load_stages(run, run.read(), None)) == ["vae"]


def test_words_of_other_data_are_read_by_what_they_say(tmp_path: Path) -> None:
    """Each data set numbers its own sub-folders: without a, b is the first of them."""
    from vaegan.evaluation.inference import factors_of
    from vaegan.evaluation.reference import RealImages

    def part(*words: str) -> RealImages:
        for word in words:
            (tmp_path / "-".join(words) / word).mkdir(parents=True)
            for index in range(4):
                picture = np.full((16, 16, 3), (40 * index, 50 * ord(word) % 256, 9), np.uint8)
                Image.fromarray(picture).save(tmp_path / "-".join(words) / word / f"{index}.png")
        dataset = open_dataset(tmp_path / "-".join(words), DataConfig(size=16), for_training=False)
        return RealImages(dataset, np.arange(len(dataset)), "test")

    own, fewer, others = part("a", "b", "c"), part("b", "c"), part("b", "d")
    (factor,) = factors_of(own, fewer)
    assert factor.train.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert factor.heldout.tolist() == [1] * 4 + [2] * 4
    assert factors_of(own, others) == []


def test_one_test_image_is_as_good_as_none(trained: Path) -> None:
    from vaegan.data import TEST, VALIDATION
    from vaegan.evaluation.reference import references

    dataset = open_dataset("faces:200", DataConfig(size=16))
    sides = dataset.sides.copy()
    sides[sides == TEST] = VALIDATION
    sides[0] = TEST
    chosen = references(replace(dataset, sides=sides), None)
    assert (chosen.heldout.side, len(chosen.heldout)) == ("validation", int((sides == VALIDATION).sum()))


def test_images_that_may_have_been_trained_on_are_not_called_unseen(trained: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(trained, run)
    record = json.loads((run / "run.json").read_text())
    assert evaluate(run, "faces:700", n=64, stage="vae")["reference"]["side"] == "other"
    record["source"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(record))
    found = evaluate(run, "faces:700", n=64, stage="vae")
    assert "may have been trained on" in found["verdict"][-1]
    main(["report", str(run), "--out", str(tmp_path / "page.html")])
    assert "other data than the run" in (tmp_path / "page.html").read_text()


def test_what_is_no_bound_is_not_called_one() -> None:
    """Cross-entropy of grey images is no log-likelihood: its density does not integrate to one."""
    import torch

    from vaegan.config import NetworkConfig
    from vaegan.evaluation.inference import likelihood
    from vaegan.evaluation.reference import Condition, RealImages
    from vaegan.evaluation.tally import Findings
    from vaegan.model import Model
    from vaegan.model_files import ModelConfig, Networks

    torch.manual_seed(0)
    network = NetworkConfig(latent_dim=4, width=4, width_limit=8, output="sigmoid")
    config = ModelConfig(16, 1, "vae", network, likelihood="bernoulli")
    model, names = Model(config, Networks(config)), {"elbo", "iwae"}
    for binarize in ("none", "dynamic"):
        dataset = open_dataset("faces:64", DataConfig(size=16, channels="1", binarize=binarize))
        found = Findings()
        likelihood(model, RealImages(dataset, np.arange(30), "test"), Condition(None, ()), found, 0, full=False)
        assert names & found.numbers.keys() == (names if binarize == "dynamic" else set())
        assert names & found.left_out.keys() == (set() if binarize == "dynamic" else names)


@pytest.mark.parametrize(
    ("numbers", "copies"),
    [
        ({"copying": (0.7, 0.3), "neighbour_distance": (1.0, 1.0), "precision": (0.9, 0.9)}, False),
        ({"copying": (0.9, 0.8), "neighbour_distance": (1.0, 1.0), "precision": (0.3, 0.3)}, False),
        ({"copying": (0.6, 0.5), "neighbour_distance": (0.2, 0.2), "precision": (0.9, 0.9)}, True),
        ({"copying": (0.9, 0.8), "neighbour_distance": (1.0, 1.0), "precision": (0.9, 0.9)}, True),
        ({}, False),
    ],
)
def test_who_shares_a_model_is_told_what_the_verdict_says(numbers: dict[str, tuple[float, float]], copies: bool) -> None:
    from vaegan.evaluation.verdict import copies_images, copying

    judged = {name: {"value": value, "interval": [low, 1.0]} for name, (value, low) in numbers.items()}
    assert copies_images(judged) == copies == copying(judged).startswith("They copy")
