"""The frame of the studies: arms side by side on one budget, resumed, interrupted, refused; the figures and pages they leave."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vaegan import api
from vaegan.charts import save_bars
from vaegan.config import GAN_COST, NetworkConfig, TrainConfig
from vaegan.data import open_dataset
from vaegan.describe import measure_speed
from vaegan.errors import InterruptedTraining, ModelError, RequestError, TrainingError, VaeganError
from vaegan.networks import Encoder, Gaussian
from vaegan.parts.muon import Muon
from vaegan.shapes import Shape
from vaegan.studies.plan import StudyRequest, make_plan, read_measured, read_record, with_precision
from vaegan.studies.running import run_study
from vaegan.studies.study import (
    ComputedArm,
    Numbers,
    Picture,
    Results,
    Setting,
    Story,
    Study,
    Subject,
    TrainedArm,
    Work,
    arm_folder,
    some,
)
from vaegan.training.run import disk_errors

pytestmark = pytest.mark.heavy

DATA = "faces:96"


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def config() -> TrainConfig:
    base = TrainConfig()
    return replace(
        base,
        data=replace(base.data, size=16),
        network=NetworkConfig(width=4, width_limit=8, latent_dim=3),
        vae=replace(base.vae, batch_size=8),
        gan=replace(base.gan, batch_size=8),
        device=replace(base.device, precision="float32"),
    )


class Stub:
    """A study of two VAEs, a GAN grown out of the first, and a toy; counts what it is asked to measure."""

    def __init__(self) -> None:
        self.measured: list[tuple[str, int]] = []
        columns = {"weights": "|w|", "answer": "answer"}
        self.study = Study("stub", "Does it run?", "nobody", self.arms, self.measure, self.tell, columns)

    def arms(self, setting: Setting) -> list[TrainedArm | ComputedArm]:
        vae = replace(setting.base, recipe="vae")
        slow = replace(vae, vae=replace(vae.vae, learning_rate=1e-5, final_learning_rate=1e-5))
        gan = replace(setting.base, recipe="gan")
        return [
            ComputedArm("toy", self.compute, images=0.5),
            TrainedArm("fast", vae),
            TrainedArm("slow", slow),
            TrainedArm("grown", gan, start="fast"),
        ]

    def compute(self, work: Work) -> Numbers:
        self.measured.append(("toy", work.seed))
        work.tick(0.5)
        return {"answer": 40 + 2 * work.seed, "budget": work.images}

    def measure(self, subject: Subject) -> Numbers:
        self.measured.append((subject.arm.label, subject.seed))
        return {"weights": float(sum(p.double().abs().sum() for p in subject.model.networks.decoder.parameters()))}

    def tell(self, results: Results) -> Story:
        save_bars(results.folder / "bars.svg", {label: results.mean(label, "weights") for label in results.labels}, "w", "w")
        sentences = some(lambda: f"The <toy> says {results.mean('toy', 'answer'):g}.")
        return Story(sentences, [Picture("bars.svg", "bars")], {"toy": 42})


def test_a_study_trains_measures_and_tells(config: TrainConfig, tmp_path: Path) -> None:
    stub, told = Stub(), []
    patient = replace(config, patience=10.0)
    folder = run_study(
        stub.study, DATA, patient, tmp_path / "s", images=7 * 64, seeds=2, progress=lambda *facts: told.append(facts)
    )
    facts = json.loads((tmp_path / "s/study.json").read_text())
    assert facts["status"] == "finished"
    assert facts["images"] == 64  # 448 images, two seeds, shares 0.5 + 1 + 1 + 1
    labels = ["toy", "fast", "slow", "grown"]
    assert [(one["label"], one["seed"]) for one in facts["results"]] == [(label, seed) for seed in (0, 1) for label in labels]
    by_name = {(one["label"], one["seed"]): one for one in facts["results"]}
    assert by_name["toy", 0]["measurements"] == [{"answer": 40, "budget": 32}]
    assert by_name["grown", 1]["measurements"][0]["seen"] == 64
    # The same budget, seed and images, another rate: other weights. The grown one began with the fast one's decoder.
    weights = {key: one["measurements"][0].get("weights") for key, one in by_name.items()}
    assert len(set(weights.values())) == len(weights) - 1
    grown = json.loads((arm_folder(tmp_path / "s", "grown", 0) / "run.json").read_text())
    assert grown["facts"]["gan"]["handover"]
    assert grown["config"]["guards"] == "off"  # they would mend what a study is there to show
    assert grown["config"]["patience"] == 0  # every arm sees as many images
    assert folder.story.answer == {"toy": 42}
    page = folder.report.read_text()
    assert "The &lt;toy&gt; says 41." in page
    assert "data:image/svg+xml;base64," in page
    assert "41 ± 1.41" in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    # Progress grows to the whole and never beyond.
    done = [facts[1] for facts in told]
    assert done == sorted(done)
    assert max(done) <= told[-1][2] == round(2 * (32 + 64 + 64 + GAN_COST * 64))
    assert not list((tmp_path / "s").rglob("checkpoint.pt"))


def test_a_finished_study_is_told_again_but_not_trained(config: TrainConfig, tmp_path: Path) -> None:
    stub = Stub()
    run_study(stub.study, DATA, config, tmp_path / "s", images=224)
    count = len(stub.measured)
    (tmp_path / "s/report.html").unlink()
    run_study(stub.study, DATA, config, tmp_path / "s")
    assert len(stub.measured) == count
    assert (tmp_path / "s/report.html").is_file()


@pytest.mark.parametrize("calls", [2, 25])
def test_an_interrupted_study_gives_what_an_uninterrupted_one_gives(config: TrainConfig, tmp_path: Path, calls: int) -> None:
    whole = Stub()
    run_study(whole.study, DATA, config, tmp_path / "whole", images=280)
    asked = 0

    def cancel() -> bool:
        nonlocal asked
        asked += 1
        return asked > calls

    stub = Stub()
    with pytest.raises(InterruptedTraining, match="same settings: vaegan study stub") as stopped:
        run_study(stub.study, DATA, config, tmp_path / "parts", images=280, cancel=cancel)
    assert "Traceback" not in str(stopped.value)
    before = json.loads((tmp_path / "parts/study.json").read_text())
    assert before["status"] == "interrupted"
    run_study(stub.study, DATA, config, tmp_path / "parts", images=280)
    finished, again = (json.loads((tmp_path / name / "study.json").read_text()) for name in ("whole", "parts"))
    assert [one["measurements"] for one in again["results"]] == [one["measurements"] for one in finished["results"]]
    assert len(stub.measured) == len(whole.measured)  # no arm was measured twice


def test_an_arm_is_measured_at_points_and_ends_as_if_it_had_not_been(config: TrainConfig, tmp_path: Path) -> None:
    stub = Stub()
    vae = replace(config, recipe="vae")
    plain, measured = (
        replace(
            stub.study, arms=lambda setting, points=points: [TrainedArm("a", vae, points=points)], tell=lambda results: Story()
        )
        for points in (1, 3)
    )
    run_study(plain, DATA, config, tmp_path / "plain", images=1500)
    run_study(measured, DATA, config, tmp_path / "points", images=1500)
    one, three = (
        json.loads((tmp_path / name / "study.json").read_text())["results"][0]["measurements"] for name in ("plain", "points")
    )
    assert len(three) == 3
    assert [point["seen"] for point in three] == sorted(point["seen"] for point in three)
    assert three[0]["seen"] >= 500
    assert three[-1] == one[-1]


def test_what_lies_in_the_folder_is_respected(config: TrainConfig, tmp_path: Path) -> None:
    stub = Stub()
    run_study(stub.study, DATA, config, tmp_path / "s", images=224)
    other = replace(stub.study, name="another")
    with pytest.raises(RequestError, match="begun with study stub"):
        run_study(other, DATA, config, tmp_path / "s", images=224)
    with pytest.raises(RequestError, match="--images 224"):
        run_study(stub.study, DATA, config, tmp_path / "s", images=300)
    with pytest.raises(RequestError, match="--seeds 1"):
        run_study(stub.study, DATA, config, tmp_path / "s", seeds=2)
    with pytest.raises(RequestError, match=r"other settings \(network\.width 4\);"):
        run_study(stub.study, DATA, replace(config, network=replace(config.network, width=8)), tmp_path / "s")
    with pytest.raises(RequestError, match="DATA faces:96"):
        run_study(stub.study, "faces:97", config, tmp_path / "s")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    with pytest.raises(RequestError, match="is no study"):
        run_study(stub.study, DATA, config, tmp_path / "full", images=224)
    study = json.loads((tmp_path / "s/study.json").read_text())
    wrong = [
        json.dumps(study | {"results": [study["results"][0] | {name: value}]})
        for name, value in (("measurements", 5), ("measurements", [5]), ("measurements", []), ("seed", "0"), ("more", 1))
    ]
    wrong += [json.dumps(study | {"seeds": 0}), json.dumps(study | {"images": float("inf")})]
    deep = "[" * 100_000
    for text in ("{", "[]", '{"format_version": 1}', '{"format_version": 7}', deep, *wrong):
        (tmp_path / "s/study.json").write_text(text)
        with pytest.raises(ModelError, match=r"study\.json"):
            run_study(stub.study, DATA, config, tmp_path / "s", images=224)


@pytest.mark.parametrize(("text", "words"), [("null", "no record of a study"), ('{"format_version": 1}', "lacks config")])
def test_a_broken_record_is_told_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ModelError, match=words):
        read_record(tmp_path)


def test_two_processes_do_not_work_on_one_study(config: TrainConfig, tmp_path: Path) -> None:
    """Computed arms have no run whose lock would keep another out."""
    holding = (
        "import sys; from pathlib import Path; from vaegan.training.run import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).alone(): print('here', flush=True); sys.stdin.read()"
    )
    stub = Stub()
    study = replace(stub.study, arms=lambda setting: stub.arms(setting)[:1])
    run_study(study, DATA, config, tmp_path / "s", images=224)
    before = (tmp_path / "s/study.json").read_bytes()
    call = [sys.executable, "-c", holding, str(tmp_path / "s")]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "here\n"
        with pytest.raises(VaeganError, match=r"Another command is at work in .*/s; wait"):
            run_study(study, DATA, config, tmp_path / "s")
        other.communicate()
    assert (tmp_path / "s/study.json").read_bytes() == before
    run_study(study, DATA, config, tmp_path / "s")


def test_impossible_studies_are_refused_before_anything_is_made(config: TrainConfig, tmp_path: Path) -> None:
    study = Stub().study
    impossible = replace(config, network=replace(config.network, output="sigmoid"))
    for wrong, words in (
        ({"images": 10}, "at least 64"),
        ({"images": 0}, "positive"),
        ({"minutes": -1.0}, "positive"),
        ({"minutes": 1.0, "images": 5}, "not both"),
        ({"images": 500, "seeds": 0}, "--seeds 0"),
        ({"images": 500, "config": impossible}, "sigmoid"),
        ({"images": 500, "config": replace(config, conditional=True)}, "conditional"),
        ({"images": 500, "config": replace(config, condition="hat")}, "conditional"),
    ):
        settings = {"config": config} | wrong
        with pytest.raises(RequestError, match=words):
            run_study(study, DATA, out=tmp_path / "s", **settings)
    assert not (tmp_path / "s").exists()


def test_a_place_that_cannot_be_written_is_refused_before_decoding(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaegan.studies.running.open_dataset", None)  # nothing may be decoded
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RequestError, match=r"--out .*file/s cannot be written"):
        run_study(Stub().study, DATA, config, tmp_path / "file/s", images=224)


@pytest.mark.parametrize("text", ["{", "{}", "[]", "[5]", "[" * 100_000])
def test_damaged_notes_of_a_stopped_arm_are_told_with_what_to_do(config: TrainConfig, tmp_path: Path, text: str) -> None:
    stub = Stub()
    study = replace(stub.study, arms=lambda setting: stub.arms(setting)[1:2])
    notes = arm_folder(tmp_path / "s", "fast", 0).with_suffix(".json")

    def stopped() -> bool:
        return notes.parent.exists()

    with pytest.raises(InterruptedTraining):
        run_study(study, DATA, config, tmp_path / "s", images=224, cancel=stopped)
    notes.write_text(text)
    with pytest.raises(ModelError, match=r"remove it and .*fast"):
        run_study(study, DATA, config, tmp_path / "s", images=224)


def test_minutes_become_the_same_images_for_every_arm(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaegan.studies.plan.measure_speed", lambda *arguments: {"vae": 50.0})
    stub = Stub()
    two = replace(stub.study, arms=lambda setting: stub.arms(setting)[1:3], minutes=0.1)
    run_study(two, DATA, config, tmp_path / "s")
    facts = json.loads((tmp_path / "s/study.json").read_text())
    assert facts["minutes"] == 0.1
    # Six seconds, seven tenths of them for training, two arms, 50 images a second.
    assert [one["images"] for one in facts["results"]] == [105, 105]


def test_an_arm_that_breaks_down_is_a_result_without_numbers(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, trained = Stub(), list[str]()
    train = api.train

    def counted(source: object, config: TrainConfig, **options: object) -> object:
        trained.append(config.recipe)
        return train(source, config, **options)

    def arms(setting: Setting) -> list[TrainedArm | ComputedArm]:
        toy, fast, slow, grown = stub.arms(setting)
        wild = replace(fast.config, vae=replace(fast.config.vae, learning_rate=1e15, final_learning_rate=1e15))
        return [toy, replace(fast, config=wild), slow, grown]

    monkeypatch.setattr(api, "train", counted)
    study = replace(stub.study, arms=arms)
    folder = run_study(study, DATA, config, tmp_path / "s", images=224)
    facts = json.loads((tmp_path / "s/study.json").read_text())
    assert facts["status"] == "finished"
    found = {one["label"]: one for one in facts["results"]}
    assert "not a number" in found["fast"]["failed"]
    assert "starts from fast" in found["grown"]["failed"]
    assert found["fast"]["measurements"] == found["grown"]["measurements"] == []
    assert found["slow"]["measurements"]
    assert found["slow"]["failed"] is None
    assert stub.measured == [("toy", 0), ("slow", 0)]
    assert "fast, seed 0: The" in folder.story.sentences[0]
    assert "fast, seed 0: The" in folder.report.read_text()
    assert trained == ["vae", "vae"]
    run_study(study, DATA, config, tmp_path / "s")  # it is not tried again
    assert trained == ["vae", "vae"]
    # When nothing has numbers the report says at least that.
    only = replace(study, arms=lambda setting: arms(setting)[1:2])
    folder = run_study(only, DATA, config, tmp_path / "none", images=64)
    assert len(folder.story.sentences) == 1
    assert folder.report.is_file()


def test_a_full_disk_is_no_result(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        with disk_errors(tmp_path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(api, "train", full)
    with pytest.raises(TrainingError, match="No space left"):
        run_study(Stub().study, DATA, config, tmp_path / "s", images=224)


def test_what_the_study_does_not_know_is_refused_before_training(config: TrainConfig, tmp_path: Path) -> None:
    stub = Stub()
    study = replace(stub.study, arms=lambda setting: stub.arms(setting)[:2])
    run_study(study, DATA, config, tmp_path / "s", images=96)
    facts, count = json.loads((tmp_path / "s/study.json").read_text()), len(stub.measured)
    for changes in ({"label": "renamed"}, {"seed": 1}, {"label": "toy"}):
        facts["results"][1] |= changes
        (tmp_path / "s/study.json").write_text(json.dumps(facts))
        with pytest.raises(RequestError, match=r"/s holds a result of '(renamed|toy)'.*another --out"):
            run_study(study, DATA, config, tmp_path / "s")
        assert len(stub.measured) == count


def test_another_precision_is_refused_and_auto_takes_the_study_s(config: TrainConfig, tmp_path: Path) -> None:
    stub = Stub()
    study = replace(stub.study, arms=lambda setting: stub.arms(setting)[1:2])
    run_study(study, DATA, config, tmp_path / "s", images=64)
    run_study(study, DATA, replace(config, device=replace(config.device, precision="auto")), tmp_path / "s")
    with pytest.raises(RequestError, match="begun with --precision float32;"):
        run_study(study, DATA, replace(config, device=replace(config.device, precision="bfloat16")), tmp_path / "s")


def test_records_that_are_too_large_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaegan.studies.plan.MAXIMUM_RECORD_BYTES", 1000)
    (tmp_path / "study.json").write_text('{"format_version": 1' + " " * 1000)
    with pytest.raises(ModelError, match="too large"):
        read_record(tmp_path)
    (tmp_path / "seed-0.json").write_text('[{"seen": 1}]' + " " * 1000)
    with pytest.raises(ModelError, match="too large"):
        read_measured(tmp_path / "seed-0.json", tmp_path)


def test_speed_and_precision_are_measured_where_and_as_the_arms_train(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    # What the engine takes where there is one.
    monkeypatch.setattr("vaegan.studies.plan.chosen_device", lambda wanted: torch.device("mps"))
    monkeypatch.setattr("vaegan.studies.plan.probe_precision", lambda device: asked.append(device.type) or ("bfloat16", {}))
    monkeypatch.setattr("vaegan.studies.plan.measure_speed", lambda *arguments: asked.extend(arguments[3:]) or {"vae": 50.0})
    config = with_precision(replace(config, device=replace(config.device, precision="auto")))
    assert config.device.precision == "bfloat16"
    stub, setting = Stub(), Setting(open_dataset(DATA, config.data), config, tmp_path)
    make_plan(stub.study, StudyRequest(DATA, 1.0, None, None), setting, stub.arms(setting))
    assert asked == ["mps", 8, torch.device("mps"), "bfloat16"]


def test_speed_is_that_of_the_batch_and_precision_asked_for(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[int, bool]] = set()

    class Watched(Encoder):
        def forward(self, images: torch.Tensor) -> Gaussian:
            seen.add((len(images), torch.is_autocast_enabled("cpu")))
            return super().forward(images)

    steps, step = list[float](), Muon.step
    monkeypatch.setattr(Muon, "step", lambda self: steps.append(1.0) or step(self))
    monkeypatch.setattr("vaegan.describe.Encoder", Watched)
    speed = measure_speed(config.network, Shape(16, 16), 1, 4, torch.device("cpu"), "bfloat16")
    assert seen == {(4, True)}
    assert speed["vae"] == pytest.approx(GAN_COST * speed["gan"])
    assert len(steps) == 6  # of many latents the optimiser takes longer than the networks
    measure_speed(config.network, Shape(16, 16), 1)  # as `vaegan preview` asks
    assert seen == {(4, True), (32, False)}


def test_labels_are_asked_for_by_name(config: TrainConfig, tmp_path: Path) -> None:
    dataset = open_dataset(DATA, config.data)
    unlabelled = replace(dataset, label_words={}, labels={})
    with pytest.raises(RequestError, match="no classes"):
        Setting(unlabelled, config, tmp_path).labels()
