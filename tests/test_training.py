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
from vaegan.config import Budget, DataConfig, DeviceConfig, GANConfig, NetworkConfig, TrainConfig, VAEConfig
from vaegan.parts.schedule import Clock
from vaegan.training import engine
from vaegan.training.journal import read_journal
from vaegan.training.loop import End, Progress, Training
from vaegan.training.run import RunFolder, StagePlan
from vaegan.training.timing import Timetable

pytestmark = pytest.mark.heavy

TINY = TrainConfig(
    data=DataConfig(size=16),
    network=NetworkConfig(latent_dim=4, width=8, width_limit=16),
    vae=VAEConfig(batch_size=8),
    gan=GANConfig(batch_size=8, augmentation=0.5),
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


def rate_of(run: Path) -> float:
    """The generator's last learning rate."""
    return max(group["lr"] for group in state(run, "gan")["recipe"]["generator._extra_state"]["param_groups"])


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
def whole_run(heavy: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
        journals = (read_journal(path / stage / "metrics.jsonl") for path in (run, whole_run))
        first, second = ([line | {"seconds": 0} for line in lines] for lines in journals)
        assert first == second


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on by 20 ms whenever it is looked at: the same for every machine."""
    now = [0.0]

    def looked_at() -> float:
        now[0] += 0.02
        return now[0]

    monkeypatch.setattr("vaegan.training.timing.time.perf_counter", looked_at)
    return now


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


def test_a_finished_run_can_be_extended(tmp_path: Path) -> None:
    run = tmp_path / "run"
    vaegan.train("faces:96", replace(TINY, guards="warn"), images=IMAGES, out=run)
    with pytest.raises(vaegan.RequestError, match="finished"):
        vaegan.resume(run)
    with pytest.raises(vaegan.RequestError, match="counts all stages"):
        vaegan.resume(run, images=100)
    before = load_file(run / "vae/model/model.safetensors")
    kept = load_file(run / "gan/model/model.safetensors")
    with pytest.raises(vaegan.InterruptedTraining):
        vaegan.resume(run, images=IMAGES + 80, cancel=stop_after(4))
    assert RunFolder(run).read().facts["gan"].keys() >= {"heldout", "inverse"}
    assert_same(kept, load_file(run / "gan/model/model.safetensors"))  # until there is a better one
    vaegan.resume(run)
    assert RunFolder(run).read().facts["gan"].keys() >= {"heldout", "inverse"}
    assert state(run, "gan")["seen"] == IMAGES // 2 + 80
    assert not torch.equal(
        kept["decoder.stages.1.weight"], load_file(run / "gan/model/model.safetensors")["decoder.stages.1.weight"]
    )
    assert_same(before, load_file(run / "vae/model/model.safetensors"))
    seen = [line["seen"] for line in read_journal(run / "gan/metrics.jsonl")]
    assert seen == sorted(seen)
    assert seen[-1] == IMAGES // 2 + 80


def test_a_gan_grows_out_of_a_joint_model_too(tmp_path: Path) -> None:
    vaegan.train("faces:96", replace(TINY, recipe="joint"), images=80, out=tmp_path / "joint")
    vaegan.train("faces:96", replace(TINY, recipe="gan"), images=48, out=tmp_path / "gan", init=tmp_path / "joint")
    joint, gan = (vaegan.load(tmp_path / name) for name in ("joint", "gan"))
    facts = RunFolder(tmp_path / "gan").read().facts["gan"]["handover"]
    assert facts["verified_tensors"] == len(joint.networks.decoder.state_dict())
    assert gan.has_encoder
    assert gan.config.prior == "mixture"


def test_an_extension_learns_at_the_rates_of_a_longer_run(whole_run: Path, tmp_path: Path) -> None:
    half, run, stopped = IMAGES // 2, tmp_path / "run", tmp_path / "stopped"
    for path in (run, stopped):
        shutil.copytree(whole_run, path)
    finished = rate_of(run)
    vaegan.resume(run, images=2 * IMAGES)
    with pytest.raises(vaegan.InterruptedTraining):
        vaegan.resume(stopped, images=2 * IMAGES, cancel=stop_after(2))
    assert rate_of(stopped) > 5 * finished
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


@pytest.mark.usefixtures("ticks")
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
    run = tmp_path / "run"
    vaegan.train("faces:96", replace(TINY, seed=1, recipe="vae"), images=IMAGES // 2, out=run)
    a, b = (load_file(path / "vae/model/model.safetensors") for path in (run, whole_run))
    assert not torch.equal(a["decoder.start.weight"], b["decoder.start.weight"])


def test_a_run_leaves_everything_a_person_looks_for(whole_run: Path) -> None:
    expected = ["run.json", "skipped.csv", "progress.webp", "progress.gif"]
    stage = ["metrics.jsonl", "model/config.json", "model/model.safetensors", "model/README.md", "checkpoint.pt"]
    for name in expected + [f"{folder}/{name}" for folder in ("vae", "gan") for name in stage]:
        assert (whole_run / name).stat().st_size > 0, name
    leftovers = [path for path in whole_run.rglob(".*") if path.name != ".lock"]
    assert leftovers == []
    with Image.open(whole_run / "progress.webp") as animation:
        assert getattr(animation, "n_frames", 1) >= 10
    facts = json.loads((whole_run / "run.json").read_text())["facts"]
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
    config = replace(TINY, data=replace(TINY.data, **changes))
    with pytest.raises(vaegan.RequestError, match=words):
        vaegan.train("faces:96", config, images=64, out=tmp_path / "run", init=whole_run)


def test_a_run_can_start_from_another_on_other_images(whole_run: Path, tmp_path: Path) -> None:
    run = vaegan.train("faces:128", TINY, images=16, out=tmp_path / "tuned", init=whole_run).path
    start, tuned = (load_file(path / "vae/model/model.safetensors")["decoder.start.weight"] for path in (whole_run, run))
    assert 0 < (start - tuned).abs().max() < 0.05
    gan = replace(TINY, recipe="gan")
    run = vaegan.train("faces:96", gan, images=8, out=tmp_path / "gan", init=whole_run / "gan").path
    assert RunFolder(run).read().facts["gan"]["handover"]["verified_tensors"] > 0


def test_init_takes_a_run_s_vae_or_its_last_stage_or_the_stage_that_is_named(whole_run: Path, tmp_path: Path) -> None:
    ae = vaegan.train("faces:96", replace(TINY, recipe="ae"), images=8, out=tmp_path / "ae").path
    for number, (init, stage) in enumerate(((whole_run, "vae"), (whole_run / "gan", "gan"), (ae, "ae"))):
        run = tmp_path / str(number)
        with pytest.raises(vaegan.InterruptedTraining):
            vaegan.train("faces:96", replace(TINY, recipe="ae"), images=16, out=run, init=init, cancel=lambda: True)
        began = vaegan.load(run).networks.encoder
        start = vaegan.load(init, stage).networks.encoder
        assert began is not None
        assert start is not None
        assert_same(began.state_dict(), start.state_dict())


def test_a_gan_from_scratch_has_no_encoder(tmp_path: Path) -> None:
    run = vaegan.train("faces:96", replace(TINY, recipe="gan"), images=80, out=tmp_path / "run").path
    model = vaegan.load(run)
    assert model.sample(3).shape == (3, 3, 16, 16)
    with pytest.raises(vaegan.RequestError, match="no encoder"):
        model.encode(torch.zeros(1, 3, 16, 16))


def test_numbers_that_break_down_stop_the_run_and_keep_the_last_checkpoint(tmp_path: Path) -> None:
    config = replace(TINY, vae=replace(TINY.vae, learning_rate=1e15, final_learning_rate=1e15), recipe="vae")
    with pytest.raises(vaegan.TrainingError, match="not a number"):
        vaegan.train("faces:96", config, images=800, out=tmp_path / "run", checkpoint_seconds=1e9)
    assert (tmp_path / "run/run.json").exists()
    assert not (tmp_path / "run/vae/model").exists()


def run_command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vaegan", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    # Few steps and no penalty: a finite difference turns the rounding of a different summation order into differences that grow
    # from step to step. (test_adversarial compares the finite difference's draws.)
    options = [*OPTIONS, "--images", "48", "--gan.penalty", "0"]
    for name, extra in (("one", []), ("two", ["--devices", "2"])):
        done = run_command("train", "faces:96", *options, *extra, "--out", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Done in") == 1
    for stage in ("vae", "gan"):
        a, b = (state(tmp_path / name, stage)["recipe"] for name in ("one", "two"))
        assert a.keys() == b.keys()
        for name, value in a.items():
            if isinstance(value, torch.Tensor):
                # Adam divides a gradient by its size: rounding moves a weight whose gradient is next to 0 by a part of a step.
                # The mean of details weighs much, and Muon makes steps of one length out of gradients of any: rounding grows.
                atol = 1e-3 if ".heads." in name else 1e-5 if stage == "vae" else 5e-5
                rtol = 1e-3 if stage == "gan" else 1e-4
                torch.testing.assert_close(
                    value, b[name], rtol=rtol, atol=atol, msg=lambda text, name=f"{stage}/{name}": f"{name}: {text}"
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
    monkeypatch.setattr(engine, "timed_convolution", lambda device: (machine.work, 1e9))
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


@pytest.mark.usefixtures("ticks")
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


def ends_after(training: Training, images: int) -> End:
    """Trains until so many images, whatever the time."""
    limits = replace(training.timetable.limits, images=images)
    training.timetable = Timetable(limits, training.batches.batch_size, training.seen)
    return RUN(training)


RUN = Training.run


def test_a_stage_brought_forward_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def slower(training: Training) -> End:  # what the loop does on such a machine: test_loop.py
        for images, after in (160, 80), (128, 96), (120, 104):
            training.hooks.plan(images, after, 50.0)
        return ends_after(training, 120)

    monkeypatch.setattr(Training, "run", slower)
    run = tmp_path / "run"
    vaegan.train("faces:96", replace(TINY, recipe="vae"), minutes=1, out=run, say=said.append)
    record = RunFolder(run).read()
    assert record.plan == (StagePlan("vae", 120, 80, 120),)
    cuts = [{"after": 96, "from": 160, "to": 128}, {"after": 104, "from": 128, "to": 120}]
    assert record.facts["vae"]["brought_forward"] == cuts
    told = [sentence for sentence in said if "longer than was measured" in sentence]
    assert [("128 images instead of 160" in told[0]), ("120 images instead of 128" in told[1])] == [True, True]


def test_a_vae_that_took_all_the_time_leaves_some_for_the_gan(
    tmp_path: Path, ticks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    seconds: dict[str, float] = {}

    def train_little(training: Training) -> End:
        allowed = training.timetable.limits.seconds
        assert allowed is not None
        seconds[training.recipe.name] = allowed(1e9)  # images/s: what counts is the least share of the time
        ticks[0] += 300
        return ends_after(training, 16)

    monkeypatch.setattr(Training, "run", train_little)
    vaegan.train("faces:96", replace(TINY, budget=Budget()), minutes=4, out=tmp_path / "run", say=said.append)
    assert seconds == {"vae": pytest.approx(0.3 * 240, rel=0.01), "gan": pytest.approx(0.4 * 240, rel=0.01)}
    assert any("became slower" in sentence and "2.6 minutes later" in sentence for sentence in said)


def test_the_speed_of_an_extension_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan_and_train(training: Training) -> End:
        training.hooks.plan(training.seen + 160, training.seen, 50.0)
        return ends_after(training, training.seen + 160)

    monkeypatch.setattr(Training, "run", plan_and_train)
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


def test_resuming_with_more_processes_than_the_batch_allows_is_refused(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    record = json.loads((run / "run.json").read_text())
    record["config"]["gan"]["batch_size"] = 9
    record["config"]["device"]["devices"] = 2
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(vaegan.RequestError, match="batch"):
        vaegan.resume(run, minutes=1)


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
