"""The loop, resuming, processes and the run folder: on tiny networks and drawn faces."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import vaegan
from vaegan.config import Budget, DataConfig, DeviceConfig, GANConfig, HandoverConfig, NetworkConfig, TrainConfig, VAEConfig
from vaegan.parts.schedule import Clock
from vaegan.training import engine
from vaegan.training.journal import read_journal
from vaegan.training.loop import Progress
from vaegan.training.run import RunFolder, StagePlan

TINY = TrainConfig(
    data=DataConfig(size=16),
    network=NetworkConfig(latent_dim=4, width=8, width_limit=16),
    vae=VAEConfig(batch_size=8),
    gan=GANConfig(batch_size=8, augmentation=0.5),
    handover=HandoverConfig(whitening=True),
    budget=Budget(vae_share=0.5),
    device=DeviceConfig(precision="float32"),  # a probe may choose differently from run to run
)
IMAGES = 320  # 20 steps a stage
OPTIONS = [
    *("--size", "16", "--network.width", "8", "--network.width-limit", "16", "--network.latent-dim", "4"),
    *("--vae.batch-size", "8", "--gan.batch-size", "8", "--precision", "float32"),
]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def state(run: Path, stage: str) -> dict[str, Any]:
    return torch.load(run / stage / "checkpoint.pt", weights_only=True)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {name: leaf for key, part in value.items() for name, leaf in flat(part, f"{prefix}/{key}").items()}
    if isinstance(value, list | tuple):
        return flat(dict(enumerate(value)), prefix)
    return {prefix: value}


def assert_same(first: Any, second: Any) -> None:
    a, b = flat(first), flat(second)
    assert a.keys() == b.keys()
    for name, value in a.items():
        same = torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name]
        assert same, name


def stop_after(steps: int) -> Callable[[], bool]:
    """Asked before every step; says yes once `steps` have been taken."""
    left = steps

    def ask() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    return ask


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    os.environ["VAEGAN_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")
    path = tmp_path_factory.mktemp("runs") / "whole"
    vaegan.train("faces:96", TINY, images=IMAGES, out=path)
    return path


@pytest.mark.parametrize("steps", [1, 7, 20, 22, 33])
def test_an_interrupted_run_continues_bit_for_bit(whole_run: Path, tmp_path: Path, steps: int) -> None:
    run = tmp_path / "run"
    with pytest.raises(vaegan.InterruptedTraining, match="--resume"):
        vaegan.train("faces:96", TINY, images=IMAGES, out=run, cancel=stop_after(steps))
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    with pytest.raises(vaegan.InterruptedTraining):
        vaegan.resume(run, cancel=stop_after(3))  # and once more
    vaegan.resume(run)
    for stage in ("vae", "gan"):
        assert_same(state(run, stage), state(whole_run, stage))
        names = ("model.safetensors", "config.json")
        for name in names:
            assert (run / stage / "model" / name).read_bytes() == (whole_run / stage / "model" / name).read_bytes()


class Crash(Exception):
    """Stands for a power cut: nothing is saved."""


@pytest.mark.parametrize(("crash_stage", "checkpoint_seconds"), [("vae", 1e9), ("gan", 1e9), ("gan", 0.0)])
def test_a_killed_run_starts_again_from_what_is_on_disk(
    whole_run: Path, tmp_path: Path, crash_stage: str, checkpoint_seconds: float
) -> None:
    def crash(progress: Progress) -> None:
        if progress.stage == crash_stage and progress.seen >= 64:
            raise Crash

    run = tmp_path / "run"
    with pytest.raises(Crash):
        vaegan.train("faces:96", TINY, images=IMAGES, out=run, progress=crash, checkpoint_seconds=checkpoint_seconds)
    assert (run / crash_stage / "checkpoint.pt").exists() == (checkpoint_seconds == 0)
    vaegan.resume(run)
    assert_same(state(run, "gan"), state(whole_run, "gan"))


def test_a_finished_run_can_be_extended(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    vaegan.train("faces:96", TINY, images=IMAGES, out=run)
    with pytest.raises(vaegan.RequestError, match="finished"):
        vaegan.resume(run)
    with pytest.raises(vaegan.RequestError, match="counts all stages"):
        vaegan.resume(run, images=100)
    before = load_file(run / "vae/model/model.safetensors")
    kept = load_file(run / "gan/model/model.safetensors")
    with pytest.raises(vaegan.InterruptedTraining):
        vaegan.resume(run, images=IMAGES + 80, cancel=stop_after(4))
    assert RunFolder(run).read().facts["gan"].keys() >= {"heldout", "inverse", "finished_by"}
    assert_same(kept, load_file(run / "gan/model/model.safetensors"))  # until there is a better one
    vaegan.resume(run)
    assert RunFolder(run).read().facts["gan"].keys() >= {"heldout", "inverse", "finished_by"}
    assert state(run, "gan")["seen"] == IMAGES // 2 + 80
    assert not torch.equal(
        kept["decoder.stages.1.weight"], load_file(run / "gan/model/model.safetensors")["decoder.stages.1.weight"]
    )
    assert_same(before, load_file(run / "vae/model/model.safetensors"))
    seen = [line["seen"] for line in read_journal(run / "gan/metrics.jsonl")]
    assert seen == sorted(seen)
    assert seen[-1] == IMAGES // 2 + 80


def test_a_joint_models_latents_are_whitened_for_its_gan_too(tmp_path: Path) -> None:
    vaegan.train("faces:96", replace(TINY, recipe="joint"), images=80, out=tmp_path / "joint")
    grown = replace(TINY, recipe="gan")
    vaegan.train("faces:96", grown, images=48, out=tmp_path / "gan", init=tmp_path / "joint")
    whitening = vaegan.load(tmp_path / "gan").networks.whitening
    assert whitening is not None
    assert not torch.allclose(whitening.root, torch.eye(len(whitening.root)), atol=0.05)


def test_an_extension_learns_at_the_rates_of_a_longer_run(whole_run: Path, tmp_path: Path) -> None:
    half, run, stopped = IMAGES // 2, tmp_path / "run", tmp_path / "stopped"
    for path in (run, stopped):
        vaegan.train("faces:96", TINY, images=IMAGES, out=path)
    finished = max(group["lr"] for group in state(run, "gan")["recipe"]["generator._extra_state"]["param_groups"])
    vaegan.resume(run, images=2 * IMAGES)
    with pytest.raises(vaegan.InterruptedTraining):
        vaegan.resume(stopped, images=2 * IMAGES, cancel=stop_after(2))
    under_way = max(group["lr"] for group in state(stopped, "gan")["recipe"]["generator._extra_state"]["param_groups"])
    assert under_way > 5 * finished
    plan = RunFolder(stopped).read().plan_of("gan")
    assert (plan.schedule_start, plan.schedule_end) == (half - IMAGES, half + IMAGES)  # its middle is where it goes on
    vaegan.resume(stopped)
    assert_same(state(stopped, "gan"), state(run, "gan"))


@pytest.mark.parametrize(
    ("images", "seen", "start", "end"),
    [
        (1_000, 1_000, 0, 1_000),  # no more than planned
        (800, 500, 0, 800),  # less: the end comes forward
        (3_000, 1_000, -1_000, 3_000),  # far more: from the middle
        (1_250, 1_000, 0, 1_250),  # a little more: as if it had been planned
        (3_000, 200, -500, 3_000),  # on the way: from where it stands
        (3_000, 3_000, 0, 3_000),  # all seen already, as where run.json is older than the checkpoint
    ],
)
def test_schedules_of_more_and_of_less(images: int, seen: int, start: int, end: int, whole_run: Path) -> None:
    record = RunFolder(whole_run).read()
    record = replace(record, plan=(StagePlan("gan", 1_000, 0, 1_000),))
    plan = record.with_images("gan", images, seen).plan_of("gan")
    assert (plan.images, plan.schedule_start, plan.schedule_end) == (images, start, end)
    progress = [Clock(at, plan.schedule_end, 1, plan.schedule_start).progress for at in (seen, images)]
    assert progress == pytest.approx([max(min(0.5, seen / 1_000), seen / images), 1])


def test_minutes_become_a_recorded_number_of_images(tmp_path: Path) -> None:
    run = tmp_path / "run"
    vaegan.train("faces:96", TINY, minutes=0.05, out=run)
    record = RunFolder(run).read()
    assert all(plan.images and plan.images % 8 == 0 for plan in record.plan)
    assert [state(run, plan.name)["seen"] for plan in record.plan] == [plan.images for plan in record.plan]
    longer = RunFolder(vaegan.resume(run, minutes=0.02).path).read()
    assert longer.plan[0] == record.plan[0]
    assert (longer.plan[1].images or 0) > (record.plan[1].images or 0)


def test_other_seeds_give_other_weights(whole_run: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    run = tmp_path / "run"
    vaegan.train("faces:96", replace(TINY, seed=1, recipe="vae"), images=IMAGES // 2, out=run)
    a, b = (load_file(path / "vae/model/model.safetensors") for path in (run, whole_run))
    assert not torch.equal(a["decoder.start.weight"], b["decoder.start.weight"])


def test_a_run_leaves_everything_a_person_looks_for(whole_run: Path) -> None:
    expected = ["run.json", "skipped.csv", "progress.webp", "progress.gif"]
    stage = ["metrics.jsonl", "curves.svg", "model/config.json", "model/model.safetensors", "model/README.md", "checkpoint.pt"]
    for name in expected + [f"{folder}/{name}" for folder in ("vae", "gan") for name in stage]:
        assert (whole_run / name).stat().st_size > 0, name
    leftovers = [path for path in whole_run.rglob(".*") if path.name != ".lock"]
    assert leftovers == []
    with Image.open(whole_run / "progress.webp") as animation:
        assert getattr(animation, "n_frames", 1) >= 10
    facts = json.loads((whole_run / "run.json").read_text())["facts"]
    assert facts["gan"]["handover"]["generator_equals_decoder"] is True
    assert facts["gan"]["handover"]["verified_tensors"] == len(
        [name for name in load_file(whole_run / "vae/model/model.safetensors") if name.startswith("decoder.")]
    )


def test_the_gans_encoder_still_encodes(whole_run: Path) -> None:
    model = vaegan.load(whole_run, stage="gan")
    dataset = vaegan.open_dataset("faces:96", DataConfig(size=16))
    images = dataset.load(dataset.indices(1))
    assert model.reconstruct(images).shape == images.shape
    assert vaegan.load(whole_run).config.stage == "gan"
    assert vaegan.load(whole_run / "vae" / "model").config.stage == "vae"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 32}, "size"),
        ({"channels": "1"}, "channels"),
    ],
)
def test_a_start_of_other_shape_is_refused(whole_run: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    from dataclasses import replace

    config = replace(TINY, data=replace(TINY.data, **changes))
    with pytest.raises(vaegan.RequestError, match=words):
        vaegan.train("faces:96", config, images=64, out=tmp_path / "run", init=whole_run)


def test_a_run_can_start_from_another_on_other_images(whole_run: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    run = vaegan.train("faces:128", TINY, images=16, out=tmp_path / "tuned", init=whole_run).path
    start, tuned = (load_file(path / "vae/model/model.safetensors")["decoder.start.weight"] for path in (whole_run, run))
    assert 0 < (start - tuned).abs().max() < 0.05
    gan = replace(TINY, recipe="gan", handover=HandoverConfig())
    run = vaegan.train("faces:96", gan, images=8, out=tmp_path / "gan", init=whole_run / "gan").path
    assert RunFolder(run).read().facts["gan"]["handover"]["generator_equals_decoder"] is True


def test_a_gan_from_scratch_has_no_encoder(tmp_path: Path) -> None:
    from dataclasses import replace

    run = vaegan.train("faces:96", replace(TINY, recipe="gan"), images=80, out=tmp_path / "run").path
    model = vaegan.load(run)
    assert model.sample(3).shape == (3, 3, 16, 16)
    with pytest.raises(vaegan.RequestError, match="no encoder"):
        model.encode(torch.zeros(1, 3, 16, 16))


def test_numbers_that_break_down_stop_the_run_and_keep_the_last_checkpoint(tmp_path: Path) -> None:
    from dataclasses import replace

    config = replace(TINY, vae=replace(TINY.vae, learning_rate=1e15, final_learning_rate=1e15), recipe="vae")
    with pytest.raises(vaegan.TrainingError, match="not a number"):
        vaegan.train("faces:96", config, images=800, out=tmp_path / "run", checkpoint_seconds=1e9)
    assert (tmp_path / "run/run.json").exists()
    assert not (tmp_path / "run/vae/model").exists()


def run_command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vaegan", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    # Few steps, the exact penalty and no floor: Adam, a finite difference and a gain near 0 turn the rounding of a different
    # summation order into differences that grow from step to step. (test_recipes compares the finite difference's draws,
    # test_subpixel_floor says that the floor of one image hangs on no other.)
    options = [*OPTIONS, "--images", "48", "--gan.critic-warmup", "0", "--gan.generator-ramp", "0"]
    options += ["--gan.penalty-kind", "exact", "--gan.floor", "0"]
    for name, extra in (("one", []), ("two", ["--devices", "2"])):
        done = run_command("train", "faces:96", *options, *extra, "--out", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Done in") == 1
    for stage in ("vae", "gan"):
        a, b = (flat(state(tmp_path / name, stage)["recipe"]) for name in ("one", "two"))
        assert a.keys() == b.keys()
        for name, value in a.items():
            # The refit's pull on the variances starts at exactly 0, where Adam's steps are the sign of rounding noise.
            rows = slice(4) if stage == "gan" and "encoder/head" in name else slice(None)
            torch.testing.assert_close(
                value[rows], b[name][rows], rtol=1e-4, atol=3e-6, msg=lambda text, name=f"{stage}{name}": f"{name}: {text}"
            )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_with_130(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "vaegan", "train", "faces:96", *OPTIONS, "--images", "400000", "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics, deadline = tmp_path / "run/vae/metrics.jsonl", time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "vaegan train --resume run" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "run/vae/checkpoint.pt").exists()
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"


class FakeMachine:
    """A clock, and a layer whose time depends on the precision and on when it is asked."""

    def __init__(self, seconds: Callable[[float, bool], float]) -> None:
        self.now, self.seconds = 0.0, seconds

    def work(self, low: bool) -> None:
        self.now += self.seconds(self.now, low)


@pytest.mark.parametrize(
    ("seconds", "faster", "took"),
    [
        (lambda now, low: 0.02 if low else 0.01, "float32", 1.0),  # emulated: clear after a second
        (lambda now, low: 0.01 if low else 0.02, "bfloat16", 1.0),
        # Another program has the processor for the first two seconds.
        (lambda now, low: 0.04 if now < 2 else 0.01 if low else 0.02, "bfloat16", 2.0),
        (lambda now, low: 0.01, "float32", 4.0),
    ],
    ids=["emulated", "native", "disturbed", "alike"],
)
def test_precision_is_measured_until_one_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: Callable[[float, bool], float], faster: str, took: float
) -> None:
    machine = FakeMachine(seconds)
    monkeypatch.setattr(engine, "_convolution", lambda device: (machine.work, 1e9))
    monkeypatch.setattr(engine.time, "perf_counter", lambda: machine.now)
    assert engine.probe_precision(torch.device("cpu"))[0] == faster
    assert took <= machine.now <= took + 0.2


def test_images_asked_for_when_resuming_count_all_stages_even_before_the_minutes_became_images(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(vaegan.InterruptedTraining):
        vaegan.train("faces:96", TINY, minutes=5, out=run, cancel=lambda: True)
    assert [plan.images for plan in RunFolder(run).read().plan] == [None, None]
    vaegan.resume(run, images=80)
    assert [state(run, stage)["seen"] for stage in ("vae", "gan")] == [40, 40]


def test_minutes_given_to_a_run_stopped_in_its_first_stage_are_for_all_stages(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(vaegan.InterruptedTraining):
        vaegan.train("faces:96", TINY, images=10**8, out=run, cancel=stop_after(20))
    vaegan.resume(run, minutes=0.1)
    vae, gan = RunFolder(run).read().plan
    assert vae.images is not None
    assert gan.images is not None
    assert 160 < vae.images < 10**6
    assert vae.schedule_end == vae.images  # brought forward, so that the learning rate comes down
    assert gan.images > 10 * 8  # it was one batch before it was known how long that takes, and one after


def test_a_stage_brought_forward_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaegan.training import session

    said: list[str] = []
    train = session.run_stage

    def slower(*given: Any) -> Any:  # what the loop does on such a machine: test_best.py
        *between, hooks, limits, seen = given
        for images, after in (160, 80), (128, 96), (120, 104):
            hooks.planned(images, after, 50.0)
        return train(*between, hooks, replace(limits, images=120), seen)

    monkeypatch.setattr(session, "run_stage", slower)
    run = tmp_path / "run"
    vaegan.train("faces:96", replace(TINY, recipe="vae"), minutes=1, out=run, say=said.append)
    record = RunFolder(run).read()
    assert record.plan == (StagePlan("vae", 120, 80, 120),)
    cuts = [{"after": 96, "from": 160, "to": 128}, {"after": 104, "from": 128, "to": 120}]
    assert record.facts["vae"]["brought_forward"] == cuts
    told = [sentence for sentence in said if "longer than was measured" in sentence]
    assert [("VAE ends after 128 images instead of 160" in told[0]), ("120 images instead of 128" in told[1])] == [True, True]


def test_a_vae_that_took_all_the_time_leaves_some_for_the_gan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaegan.training import session

    said: list[str] = []
    seconds: dict[str, float] = {}
    train = session.run_stage

    def train_little(*given: Any) -> Any:
        recipe, *between, limits, seen = given
        seconds[recipe.name] = limits.seconds(1e9)  # images/s: what counts is the least share of the time
        return train(recipe, *between, replace(limits, images=16), seen)

    monkeypatch.setattr(session, "run_stage", train_little)
    monkeypatch.setattr(session.Session, "_spent", lambda _: 300.0 if "vae" in seconds else 0.0)
    vaegan.train("faces:96", TINY, minutes=4, out=tmp_path / "run", say=said.append)
    assert seconds == {"vae": pytest.approx(0.3 * 240), "gan": pytest.approx(0.4 * 240)}
    assert any("became slower" in sentence and "2.6 minutes later" in sentence for sentence in said)


def test_the_speed_of_an_extension_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaegan.training import session

    train = session.run_stage

    def plan_and_train(*given: Any) -> Any:
        *between, hooks, limits, seen = given
        hooks.planned(seen + 160, seen, 50.0)
        return train(*between, hooks, replace(limits, images=seen + 160), seen)

    monkeypatch.setattr(session, "run_stage", plan_and_train)
    run = vaegan.train("faces:96", replace(TINY, recipe="vae"), minutes=1, out=tmp_path / "run").path
    document = json.loads((run / "run.json").read_text())
    document["facts"]["vae"]["mean_speed"] = 1e6  # of the first session
    (run / "run.json").write_text(json.dumps(document))
    vaegan.resume(run, minutes=1)
    assert 0 < RunFolder(run).read().facts["vae"]["mean_speed"] < 1e5


def test_a_stage_that_has_seen_more_than_is_asked_for_says_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(vaegan.InterruptedTraining):
        vaegan.train("faces:96", TINY, minutes=5, out=run, cancel=stop_after(10))
    vaegan.resume(run, images=80)
    facts = RunFolder(run).read().facts["vae"]
    assert (facts["images"], facts["ended"]) == (80, "the 40 images planned are seen")


def test_the_numbers_at_the_end_are_of_the_samples_that_the_kept_model_draws(tmp_path: Path) -> None:
    from vaegan.data import VALIDATION, open_dataset
    from vaegan.metrics.watch import SampleScores

    run, config = tmp_path / "run", replace(TINY, recipe="gan")
    vaegan.train("faces:2600", config, images=320, out=run)
    facts = RunFolder(run).read().facts["gan"]
    assert [one["name"] for one in facts["finished_by"]] == ["narrow_prior", "equalise_detail"]
    dataset = open_dataset("faces:2600", config.data)
    real = dataset.load(dataset.indices(VALIDATION))
    wanted = SampleScores()(vaegan.load(run).sample(len(real), seed=1), real)  # those of seed 0 it was equalised by
    assert len(wanted) > 2
    assert {name: facts["heldout"][name] for name in wanted} == pytest.approx({name: float(v) for name, v in wanted.items()})


def test_resuming_with_more_processes_than_the_batch_allows_is_refused(
    whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Two:
        world_size = 2

    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    record = json.loads((run / "run.json").read_text())
    record["config"]["gan"]["batch_size"] = 9
    (run / "run.json").write_text(json.dumps(record))
    monkeypatch.setattr("vaegan.api.Engine", lambda *_: Two())
    with pytest.raises(vaegan.RequestError, match="batch"):
        vaegan.resume(run, minutes=1)


def test_a_run_of_before_the_discrepancy_of_details_goes_on_without_it(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    record = json.loads((run / "run.json").read_text())
    assert record["config"]["gan"].pop("details") > 0
    (run / "run.json").write_text(json.dumps(record))
    assert RunFolder(run).read().config.gan.details == 0
    for damaged in ({"config": []}, {"config": {"gan": 3}}, {"config": None}):
        (run / "run.json").write_text(json.dumps(record | damaged))
        with pytest.raises(vaegan.ModelError, match="damaged"):
            RunFolder(run).read()


@pytest.mark.parametrize("recipe", ["vae", "ae", "joint"])
def test_one_validation_image_is_enough(tmp_path: Path, recipe: str) -> None:
    import numpy as np

    from vaegan.data import TRAIN, VALIDATION, open_dataset

    np.save(tmp_path / "all.npy", np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8))
    dataset = open_dataset(tmp_path / "all.npy", TINY.data)
    kept = np.concatenate([dataset.indices(TRAIN)[:80], dataset.indices(VALIDATION)[:1]])
    np.save(tmp_path / "one.npy", dataset.images[kept])
    assert len(open_dataset(tmp_path / "one.npy", TINY.data).indices(VALIDATION)) == 1
    run = vaegan.train(tmp_path / "one.npy", replace(TINY, recipe=recipe), images=16, out=tmp_path / "run")
    (row,) = [row for row in read_journal(run.path / recipe / "metrics.jsonl") if "active_units" in row][-1:]
    assert row["active_units"] == 0


def test_a_generator_has_a_floor_and_the_vae_it_grew_from_has_none(whole_run: Path, tmp_path: Path) -> None:
    vae, gan = (vaegan.load(whole_run, stage) for stage in ("vae", "gan"))
    of_gan = RunFolder(whole_run).read().facts["gan"]
    assert (vae.config.floor, vae.config.steep_floor) == (0, 0)
    (_, equalised) = of_gan["finished_by"]
    assert (gan.config.floor, round(gan.config.steep_floor, 3)) == (TINY.gan.floor, equalised["set"]["steep_floor"])
    assert 0 < gan.config.steep_floor <= 0.1
    facts = of_gan["handover"]
    assert facts["generator_equals_decoder"]  # before the floor was put
    latents = gan.latents(4)
    with_floor = gan.decode(latents)
    gan.networks.decoder.learn_under(0)
    assert not torch.equal(gan.decode(latents), with_floor)

    # As it learned, where nothing is set at the end.
    plain = replace(TINY, recipe="gan", gan=replace(TINY.gan, equalise=False))
    run = vaegan.train("faces:96", plain, images=16, out=tmp_path / "soft", init=whole_run)
    soft = vaegan.load(run.path).config
    assert (soft.floor, soft.steep_floor) == (TINY.gan.floor, 0)
    assert TINY.gan.floor > 0

    # What starts from it goes on with it, and a file that is read draws what was trained.
    off = replace(TINY, recipe="gan", gan=replace(TINY.gan, floor=0.0))
    run = vaegan.train("faces:96", off, images=16, out=tmp_path / "off", init=whole_run)
    assert vaegan.load(run.path).config.floor == 0
    alone = vaegan.train("faces:96", plain, images=16, out=tmp_path / "alone")
    assert vaegan.load(alone.path).config.floor == 0  # nothing to take out yet, much to learn
    later, path, start = replace(TINY, recipe="vae"), tmp_path / "vae", whole_run / "gan"
    with pytest.raises(vaegan.InterruptedTraining):
        vaegan.train("faces:96", later, images=64, out=path, init=start, cancel=stop_after(4))
    stopped = vaegan.load(path).config.floor
    vaegan.resume(path)
    assert [stopped, vaegan.load(path).config.floor] == [0, 0]  # a resumed stage does not know what it grew from


def test_what_starts_from_a_kept_gan_learns_as_that_one_did(whole_run: Path, tmp_path: Path) -> None:
    from vaegan.networks.subpixel import picture_kernel

    def last_of(path: Path, stage: str) -> tuple[bool, float]:
        layer = vaegan.load(path, stage).networks.decoder.stages[-1]
        return torch.equal(layer.kernel, picture_kernel(3)), getattr(layer, "steep_floor", 0.0)

    as_learned, floor = last_of(whole_run, "gan")
    assert not as_learned
    assert floor > 0
    for recipe in ("gan", "vae", "joint"):
        config = replace(TINY, recipe=recipe, gan=replace(TINY.gan, equalise=False))
        run = vaegan.train("faces:96", config, images=16, out=tmp_path / recipe, init=whole_run / "gan")
        assert last_of(run.path, recipe) == (True, 0)


def test_a_gan_from_scratch_is_kept_with_a_steep_floor_and_labels_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaegan.training import finishing

    told, as_it_is = list[Any](), finishing.equalise
    monkeypatch.setattr(finishing, "equalise", lambda *given: told.append(given[3]) or as_it_is(*given))
    scratch = replace(TINY, recipe="gan")
    found = vaegan.load(vaegan.train("faces:96", scratch, images=16, out=tmp_path / "alone").path).config
    assert found.floor == 0
    assert found.steep_floor > 0
    vaegan.train("faces:96", replace(scratch, condition="glasses"), images=16, out=tmp_path / "told")
    assert told[0] is None
    assert set(told[1].tolist()) == {0, 1}


def test_a_temperature_spares_what_changes_coarse_images_most_of_a_gan_that_grew(whole_run: Path) -> None:
    vae, gan = (vaegan.load(whole_run, stage) for stage in ("vae", "gan"))
    assert not vae.networks.mixture.strong.any()
    strong = gan.networks.mixture.strong
    assert float(strong.trace()) == pytest.approx(TINY.network.latent_dim // 4, abs=1e-4)
    # Along the strongest direction latents are the same at every temperature, and as wide as in training.
    narrow, usual = (gan.latents(64, temperature=temperature) for temperature in (0.1, 1.0))
    assert not torch.allclose(narrow, usual, atol=1e-2)
    torch.testing.assert_close(narrow @ strong.T, usual @ strong.T, atol=1e-5, rtol=1e-4)
    trained = torch.load(whole_run / "gan" / "checkpoint.pt", weights_only=True)["recipe"]["prior.factors"]
    torch.testing.assert_close(gan.networks.mixture.tempered(1 / TINY.gan.temperature).factors, trained, atol=1e-5, rtol=1e-4)


def test_the_kept_gan_is_equalised_and_training_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaegan.parts.equalise.FEWEST", 2)
    run = vaegan.train("faces:96", TINY, images=IMAGES, out=tmp_path / "run").path
    average = next(
        name for name in state(run, "gan")["recipe"] if name.startswith("generator.average") and name.endswith("kernel")
    )
    kernel = average.removeprefix("generator.average.")
    kept = load_file(run / "gan" / "model" / "model.safetensors")[f"decoder.{kernel}"]
    trained = state(run, "gan")["recipe"][average]
    finest = RunFolder(run).read().facts["gan"]["finished_by"][-1]["set"]["gains"][0]
    # A checker's own block in the middle of the window, where the grid's factor hardly reaches.
    assert float((kept / trained)[:, 3, 2, 2].mean()) == pytest.approx(finest, rel=0.05)
    assert finest != pytest.approx(1, abs=0.05)

    longer = vaegan.resume(run, images=IMAGES + 16).path
    assert torch.equal(state(longer, "gan")["recipe"][average], trained)

    off = replace(TINY, gan=replace(TINY.gan, equalise=False))
    other = vaegan.train("faces:96", off, images=IMAGES, out=tmp_path / "off").path
    assert torch.equal(load_file(other / "gan" / "model" / "model.safetensors")[f"decoder.{kernel}"], trained)
    assert [one["name"] for one in RunFolder(other).read().facts["gan"]["finished_by"]] == ["narrow_prior"]
