"""The report: complete whatever is missing, safe for any name, small, and free of the data where that is asked for."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

import vaegan
from report_runs import evaluation, make_run, score
from vaegan.cli import main
from vaegan.config import DataConfig, RecipeName
from vaegan.data import open_dataset
from vaegan.errors import ModelError, RequestError
from vaegan.latent.stored import model_fingerprint
from vaegan.markup import escaped, tag
from vaegan.pictures import GAP, grid, save_png
from vaegan.priors import fit_mixture
from vaegan.report import write_report
from vaegan.report.gathering import gather
from vaegan.report.pictures import frame
from vaegan.report.run_report import KINDS
from vaegan.report.scores import number, points_of, score_table, training_points

OPTIONS = [
    *("--size", "16", "--network.width", "8", "--network.width-limit", "16", "--network.latent-dim", "4"),
    *("--vae.batch-size", "8", "--gan.batch-size", "8", "--precision", "float32"),
]


class Page(HTMLParser):
    """What is in a page: elements with their attributes, and whether every element ends."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.elements, self.open = text, list[tuple[str, dict[str, str | None]]](), list[str]()
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str]:
        return [str(attributes["id"]) for attributes in self.all("section")]


def train(folder: Path, *more: str) -> Path:
    main(["train", "faces:96", *OPTIONS, *more, "--out", str(folder)])
    return folder


@pytest.fixture(scope="module")
def original(heavy: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        train(path, "--images", "160")
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def change_record(run: Path, **changes: Any) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | changes))


def test_a_page_has_all_sections_and_needs_nothing_outside(run: Path) -> None:
    page = Page(write_report(run).read_text())
    wanted = ["verdict", "samples", "progress", "real", "reconstructions", "interpolations", "curves", "checks"]
    wanted += ["settings", "about"]
    wanted[7:7] = ["guards"] if "guards" in page.sections else []  # only where they had something to do
    assert page.sections == wanted
    assert [link["href"] for link in page.all("a") if link.get("class") != "skip"] == [f"#{name}" for name in wanted]
    assert all(str(image["src"]).startswith("data:image/webp;base64,") and image["alt"] for image in page.all("img"))
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page.text)
    assert "not been evaluated" in page.text
    assert len(page.text) < 2_000_000


def test_settings_and_checks_are_said_in_words(run: Path) -> None:
    text = re.sub(r"<script.*?</script>", "", write_report(run).read_text(), flags=re.DOTALL)
    assert not {"None", "True", "False", "nan"} & set(text.replace("<", " ").replace(">", " ").split())
    assert ">Arrays of weights taken over from the VAE" in text


def test_without_images_nothing_of_the_data_is_left(run: Path) -> None:
    change_record(run, source=str(run.parent / "secret place"))
    page = Page(write_report(run, run / "shared.html", with_images=False).read_text())
    assert "secret" not in page.text
    assert (
        len(
            [
                image
                for image in page.all("img")
                if "sample" not in str(image["alt"]).lower() and "made by" not in str(image["alt"])
            ]
        )
        == 0
    )


def test_names_and_labels_are_text_and_never_tags(run: Path) -> None:
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(2)>&\x00\ud800'
    change_record(run, source=hostile)
    lines = [json.loads(line) for line in (run / "vae/metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line["<b>curve</b>"] = line["seen"] / 2
    lines.append({"stage": "vae", "seen": 80, "seconds": 1, "guard": "<i>guard</i>", "action": "</p><script>alert(3)</script>"})
    (run / "vae/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    moved = run.rename(run.parent / "<img src=y onerror=alert(4)>")
    page = Page(write_report(moved).read_text())
    assert len(page.all("script")) == 1
    assert not page.all("i") or all(attributes.get("class", "").startswith("key") for attributes in page.all("i"))
    assert all(str(image["src"]).startswith("data:") for image in page.all("img"))
    assert "guards" in page.sections
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_markup_escapes_everything_that_is_not_markup() -> None:
    assert str(tag("p", "<b>", tag("b", "a & b"), title='"')) == '<p title="&quot;">&lt;b&gt;<b>a &amp; b</b></p>'
    assert str(escaped(["a<", None, 3])) == "a&lt;3"


@pytest.mark.parametrize("recipe", ["vae", "gan"])
def test_runs_of_one_stage(tmp_path: Path, recipe: str) -> None:
    run = train(tmp_path / recipe, "--images", "16", "--recipe", recipe)
    text = write_report(run).read_text()
    page = Page(text)
    assert "samples" in page.sections
    assert ("nothing can be given back" in text) == (recipe == "gan")


def test_every_recipe_is_called_something() -> None:
    assert set(KINDS) == set(get_args(RecipeName))


def test_an_unfinished_run_says_so(run: Path) -> None:
    change_record(run, status="interrupted")
    shutil.rmtree(run / "gan")
    text = write_report(run).read_text()
    Page(text)
    assert "interrupted" in text
    assert "has not begun" in text
    assert "has not saved a model yet" in text


def test_a_run_whose_images_are_gone(run: Path) -> None:
    change_record(run, source=str(run / "gone"))
    assert "cannot be opened any more" in write_report(run).read_text()
    change_record(run, source="faces:97")
    assert "have changed since" in write_report(run).read_text()


def test_a_damaged_evaluation_is_a_gap_and_no_crash(run: Path) -> None:
    for text in ("{", "[]", '{"format_version": 1}', '{"format_version": 2, "stages": 3}'):
        (run / "evaluation.json").write_text(text)
        assert "vaegan evaluate" in write_report(run).read_text()
    for damage in ({"value": 10**400}, {"interval": [1]}):
        values = evaluation(frechet=score(0.5))
        values["stages"]["gan"]["frechet"] |= damage
        (run / "evaluation.json").write_text(json.dumps(values))
        assert "evaluation.json is damaged. Make it again" in write_report(run).read_text()


def test_scores_of_a_model_that_was_trained_further_are_not_shown(run: Path) -> None:
    values = evaluation(frechet=score(0.5))
    measured = {"vae": model_fingerprint(vaegan.load(run, "vae")), "gan": model_fingerprint(vaegan.load(run, "gan"))}
    for models, gone in ((measured, False), (measured | {"gan": "0" * 16}, True)):
        (run / "evaluation.json").write_text(json.dumps(values | {"models": models}))
        found = gather(run, with_data=False)
        assert (found.evaluation is None) is gone
        assert ("a model that is gone" in found.gaps.get("evaluation", "")) is gone


def test_wrong_requests(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"ends in \.html"):
        write_report(run, tmp_path / "page.pdf")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(RequestError, match="is a folder"):
        write_report(run, tmp_path / "folder.html")
    with pytest.raises(ModelError, match="not a run"):
        write_report(tmp_path / "nowhere")


def test_the_command_says_what_it_made(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(run), "--json", "--without-images"])
    facts = json.loads(capsys.readouterr().out)
    assert facts == {"out": str(run / "report.html"), "bytes": (run / "report.html").stat().st_size, "images_of_the_data": False}


def test_scores_are_shown_with_floor_interval_and_meaning(tmp_path: Path) -> None:
    own = open_dataset("faces:96", DataConfig(size=16)).fingerprint
    scores = {"recall": score(0.5), "kernel_distance": score(1.25, against=400), "made_up": score(0.125)}
    run = make_run(tmp_path / "run", scores=scores | {"odd": score(1.0) | {"interval": None}}, fingerprint=own)
    text = write_report(run).read_text()
    page = Page(text)
    assert page.sections == [
        *("verdict", "samples", "scores", "progress", "real", "reconstructions", "interpolations", "copies", "spectra", "curves"),
        *("settings", "about"),
    ]
    for words in (
        "1.25",
        "1.2 to 1.3",
        "Made up",
        "Recall",
        "higher is better",
        "Less varied &lt;than&gt; the data.",
        "n = 1,700 ",
        "n = 1,700 against 400",
        ">VAE, mixture<",
        ">VAE, N(0, I)<",
        "3.25",
        "(of a VAE from its mixture, and as many from N(0, I))",
    ):
        assert words in text
    assert "It needs &lt;Inception&gt;." in text
    assert "not be opened" not in text


def test_a_vaes_samples_are_shown_from_its_mixture_and_from_its_prior(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")

    def shown() -> dict[str, str]:
        page = Page(write_report(run).read_text())
        return {str(image["alt"]): str(image["src"]) for image in page.all("img") if "made by" in str(image["alt"])}

    before = shown()
    assert list(before) == [f"36 images made by the {stage}" for stage in ("VAE", "GAN")]
    model = vaegan.Model.from_pretrained(run / "vae" / "model")
    model.networks.mixture = fit_mixture(3 + torch.zeros(1, model.latent_dim))
    model.save_pretrained(run / "vae" / "model")
    after = shown()
    mixture, prior, gan = after
    assert mixture == "36 images made by the VAE, drawn from the mixture fitted to the encoded training images"
    assert prior == "36 images made by the VAE, drawn from N(0, I)"
    assert (after[prior], after[gan]) == tuple(before.values())
    assert after[mixture] != after[prior]
    text = write_report(run).read_text()
    for sampler in ("mixture", "prior"):
        assert f"--stage vae -n 36 --seed 0 --sampler {sampler} --out vae-{sampler}.png" in text


def test_numbers_that_are_none_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", scores={"recall": score(0.5), "coverage": score(0.5)})
    values = json.loads((run / "evaluation.json").read_text())
    values["stages"]["gan"]["recall"]["value"] = None
    values["spectra"]["gan"] = [None, 1.0, 2.0]
    values["neighbours"] = {"samples": [1], "training_index": [10**9]}
    (run / "evaluation.json").write_text(json.dumps(values))
    assert "not measured" in write_report(run).read_text()


@pytest.mark.parametrize(
    "changes", [{"plan": [{"name": "../x", "images": 1}]}, {"facts": {"data": []}}, {"spent_seconds": "long"}]
)
def test_a_damaged_record_is_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    run = make_run(tmp_path / "run")
    change_record(run, **changes)
    with pytest.raises(ModelError, match="is damaged"):
        write_report(run)


@pytest.mark.parametrize("size", [16, 64])
def test_frames_of_an_animation_lose_their_paper(tmp_path: Path, size: int) -> None:
    save_png(grid(np.full((36, size, size, 3), 90, np.uint8)), tmp_path / "1.png")
    shown = frame(tmp_path / "1.png", across=6)
    with Image.open(io.BytesIO(base64.b64decode(shown.data.partition(",")[2]))) as picture:
        opaque = np.asarray(picture.convert("RGBA"))[..., 3] > 0
    wanted = np.arange(6 * (64 + GAP) + GAP) % (64 + GAP) >= GAP
    assert np.array_equal(opaque, wanted[:, None] & wanted[None])


def test_the_table_says_why_a_number_has_no_interval_or_no_floor(tmp_path: Path) -> None:
    values = evaluation(kl=score(3.0, 0.5) | {"interval": None, "no_interval": "It is a bound.", "no_floor": "Only a model has."})
    run = make_run(tmp_path / "run")
    (run / "evaluation.json").write_text(json.dumps(values | {"floor": {}}))
    found = gather(run, with_data=False).evaluation
    assert found is not None
    table = str(score_table(found, ["kl"]))
    assert table.count("<small>It is a bound.</small>") == 3
    assert table.count('<span class="absent">Only a model has.</span>') == 1


def test_a_last_mean_over_few_images_is_no_jump() -> None:
    lines: list[dict[str, Any]] = [{"seen": seen, "loss": 1.0, "heldout_loss": 2.0} for seen in (800, 1600, 2400, 2448)]
    assert [seen for seen, _ in training_points(lines, "loss")] == [800, 1600, 2400]
    assert len(training_points(lines[:-1], "loss")) == 3
    assert len(points_of(lines, "heldout_loss")) == 4


def test_large_numbers_have_no_exponent() -> None:
    assert number(1_416_666.0) == "1,416,666"
