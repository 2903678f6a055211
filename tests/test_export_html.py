"""The explorer as one file: what is in it, what is not, and what it does over file:// in a real Chromium."""

import base64
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Generator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from places import CHROMIUM
from vaegan.config import NetworkConfig
from vaegan.config_files import load_preset
from vaegan.data import default_cache_dir
from vaegan.errors import RequestError, VaeganError
from vaegan.explorer.server import PAGE
from vaegan.explorer.state import Explorer
from vaegan.export import runtime
from vaegan.export.html import as_text, bundled, export_html, packed
from vaegan.files import write_atomically
from vaegan.latent.stored import Direction, save_direction
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.priors import fit_mixture
from vaegan.training.run import RunFolder, RunRecord, StagePlan

pytest.importorskip("onnxscript")

RUNTIME = Path(os.environ.get("VAEGAN_ONNXRUNTIME_WEB", default_cache_dir() / "runtime" / f"onnxruntime-web-{runtime.VERSION}"))
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
]
SIZE, LATENT = 16, 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "a<b>")
    folder.write(
        RunRecord(
            "faces:80",
            load_preset("tiny"),
            None,
            (StagePlan("vae", 16), StagePlan("gan", 16)),
            None,
            "",
            None,
            {},
            status="finished",
        )
    )
    for seed, stage in enumerate(("vae", "gan")):
        torch.manual_seed(seed)
        network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
        config = ModelConfig(size=SIZE, channels=3, stage=stage, network=network)  # pyright: ignore
        Model(config, Networks(config)).save_pretrained(folder.model(stage))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield folder.path


@pytest.fixture(scope="module")
def small(heavy: None, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "small.html"
    export_html(run, path, cdn=True, stage="gan")
    return path


PART = re.compile(r'<script type="text/plain" id="([a-z-]+)" data-bytes="([0-9]+)"( data-planes="2")?>([^<]*)</script>')


def parts_of(path: Path) -> dict[str, bytes]:
    """What the parts of a page hold, read in another way than the page does."""
    parts: dict[str, bytes] = {}
    digits = {character: place for place, character in enumerate("".join(map(chr, range(35, 127))).replace("<", ""))}
    for name, length, planes, text in PART.findall(path.read_text()):
        bits = "".join(f"{91 * digits[a] + digits[b]:013b}" for a, b in zip(text[::2], text[1::2], strict=True))
        content = zlib.decompress(bytes(int(bits[start : start + 8], 2) for start in range(0, 8 * int(length), 8)))
        if planes:
            even, odd = content[: -(-len(content) // 2)], content[-(-len(content) // 2) :]
            content = bytes(byte for pair in zip_longest(even, odd) for byte in pair if byte is not None)
        parts[name] = content
    return parts


def told_by(path: Path) -> str:
    """All that can be read in a page: its own text, and what is told in it about the model."""
    return path.read_text() + parts_of(path)["facts"].decode()


def test_a_page_without_images_holds_nothing_of_them(small: Path, run: Path) -> None:
    parts = parts_of(small)
    assert set(parts) == {"facts", "network-gan", "encoder"}
    facts = json.loads(parts["facts"])
    assert facts["images"] is None
    assert facts["description"]["data"]["count"] == 0
    assert facts["description"]["data"]["labels"] == []
    assert not any(text in told_by(small) for text in ("faces:80", str(run.parent)))


@pytest.mark.heavy
def test_a_page_without_images_carries_no_label_and_no_vector_from_them(run: Path, small: Path, tmp_path: Path) -> None:
    """Labels are names of sub-folders, perhaps of persons; directions and means of latents are computed from the images."""
    own = tmp_path / "run"
    shutil.copytree(run, own)
    for stage in ("vae", "gan"):
        model = Model.from_pretrained(own / stage / "model")
        save_direction(own / stage / "model", model, Direction("like Anna", torch.ones(LATENT)))
    made = export_html(own, tmp_path / "page.html", cdn=True, stage="gan")
    described = json.loads(parts_of(made.path)["facts"])["description"]
    assert {one["group"] for one in described["directions"]} == {"principal", "dimension"}
    assert all(one["note"] == "" for one in described["directions"] if one["group"] == "dimension")  # no KL of the images
    assert np.frombuffer(base64.b64decode(described["origin"]), "<f4").tolist() == [0] * LATENT
    assert not any(word in told_by(made.path) for word in ("like Anna", "smiling", "hair_style"))
    assert "no label" in made.said == described["data"]["why"]
    with_images = export_html(own, tmp_path / "with.html", cdn=True, stage="gan", with_images=True)
    names = [one["name"] for one in json.loads(parts_of(with_images.path)["facts"])["description"]["directions"]]
    assert {"like Anna", "smiling"} <= set(names)
    assert "like Anna" in told_by(with_images.path)


@pytest.mark.heavy
def test_without_images_the_data_may_be_gone(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaegan.explorer.state.open_dataset", None)
    assert export_html(run, tmp_path / "page.html", cdn=True, stage="gan").images == 0


@pytest.mark.heavy
def test_an_autoencoders_page_says_what_it_holds_of_the_latents(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=SIZE, channels=1, stage="ae", network=network)
    networks = Networks(config)
    networks.mixture.weights[0] = 1
    networks.mixture.means[0] = 5
    networks.mixture.factors[0] = 0.1 * torch.eye(LATENT)
    Model(config, networks).save_pretrained(tmp_path / "ae")
    made = export_html(tmp_path / "ae", tmp_path / "ae.html", cdn=True)
    described = json.loads(parts_of(made.path)["facts"])["description"]
    assert described["prior"] is None
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(described["origin"]), "<f4"), 5, atol=0.1)
    assert sum(one["group"] == "principal" for one in described["directions"]) == LATENT
    assert "the mean and the spread of their latents" in made.said


def _checksum(content: bytes) -> str:
    return base64.b64encode(hashlib.sha384(content).digest()).decode()


def run_in_node(script: str, folder: Path) -> Any:
    """What a script prints as JSON that stands beside the modules of the page."""
    shutil.copytree(PAGE, folder / "page")
    (folder / "page" / "package.json").write_text('{"type": "module"}')
    (folder / "page" / "test.js").write_text(script)
    command = [shutil.which("node") or "node", str(folder / "page" / "test.js")]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


NODE = pytest.mark.skipif(shutil.which("node") is None, reason="no node")


@NODE
def test_noise_sliders_and_sums_keep_to_a_uniform_prior(tmp_path: Path) -> None:
    found = run_in_node(
        """
        import { Explorer } from "./explorer.js";
        import { gaussian } from "./latents.js";
        const noise = gaussian(1000, 3);
        const made = (prior) => {
          const app = Object.create(Explorer.prototype);
          const shape = { stages: ["gan"], samplers: ["prior"], latentDim: 1000, origin: new Float32Array(1000), directions: [] };
          app.model = { description: { prior, data: { state: "absent" }, ...shape } };
          app.store = {};
          app.begin();
          const reach = ["principal", "dimension"].map((group) => app.reach({ group }));
          const parts = [app.place(noise), app.step(noise), app.within(noise), app.store.current].map((part) => [...part]);
          return { reach, parts };
        };
        console.log(JSON.stringify({ noise: [...noise], uniform: made("uniform"), normal: made("normal") }));
        """,
        tmp_path,
    )
    noise = np.array(found["noise"])
    place, step, within, first = (np.array(part) for part in found["uniform"]["parts"])
    np.testing.assert_allclose(place, [math.erf(value / math.sqrt(2)) for value in noise], atol=1e-6)
    np.testing.assert_allclose(step, noise / math.sqrt(3), atol=1e-6)  # as wide as the prior
    np.testing.assert_array_equal(within, noise.clip(-1, 1))
    assert 0.9 < np.abs(first).max() <= 1
    assert found["uniform"]["reach"] == [1.73, 1]  # along one direction no number of a latent leaves [-1, 1]
    place, step, within, first = (np.array(part) for part in found["normal"]["parts"])
    for part in (place, step, within):
        np.testing.assert_array_equal(part, noise)
    assert np.abs(first).max() > 2
    assert found["normal"]["reach"] == [4, 4]


@NODE
def test_a_sum_of_latents_stays_where_draws_lie(tmp_path: Path) -> None:
    found = run_in_node(
        """
        import { gaussian, sphericalSum } from "./latents.js";
        const [a, b, c] = [1, 2, 3].map((key) => gaussian(64, key));
        const zero = new Float32Array(64);
        const sums = [sphericalSum(a, b, c), sphericalSum(a, b, b), sphericalSum(a, a, c), sphericalSum(zero, zero, zero)];
        console.log(JSON.stringify([a, b, c, ...sums].map((latent) => [...latent])));
        """,
        tmp_path,
    )
    a, b, c, of_three, like_a, like_c, nothing = (np.array(one) for one in found)
    lengths = [float(np.linalg.norm(one)) for one in (a, b, c)]
    assert np.linalg.norm(of_three) == pytest.approx(max(lengths[0] - lengths[1] + lengths[2], min(lengths)), rel=1e-5)
    plain = a - b + c
    assert of_three @ plain == pytest.approx(np.linalg.norm(of_three) * np.linalg.norm(plain), rel=1e-5)
    np.testing.assert_allclose(like_a, a, atol=1e-5)
    np.testing.assert_allclose(like_c, c, atol=1e-5)
    assert not nothing.any()


@NODE
def test_latents_of_a_mixture_are_those_of_the_model(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=SIZE, channels=3, stage="gan", network=network, prior="mixture")
    model = Model(config, Networks(config))
    mixture = fit_mixture(torch.randn(400, LATENT, generator=random) ** 3)
    mixture.factors += 0.1 * torch.randn(mixture.factors.shape, generator=random)  # no factor is triangular any more
    model.networks.mixture = mixture
    model.save_pretrained(tmp_path / "model")
    explorer = Explorer(tmp_path / "model")
    found = run_in_node(
        f"""
        import {{ Explorer }} from "./explorer.js";
        import {{ gaussian }} from "./latents.js";
        import {{ unpacked }} from "./socket.js";
        const app = Object.create(Explorer.prototype);
        app.model = {{ description: unpacked({json.dumps(explorer.describe())}) }};
        const noise = [...Array(200).keys()].map((key) => [...gaussian({LATENT + 1}, key)]);
        const drawn = noise.map((_, key) => [...app.drawn(key)]);
        const [left, right, between] = [[3, 0], [4, 0], [3.5, 0]].map((place) => [...app.seedAt(...place)]);
        console.log(JSON.stringify({{ noise, drawn, left, right, between }}));
        """,
        tmp_path,
    )
    np.testing.assert_allclose(found["drawn"], model.networks.mixture(torch.tensor(found["noise"])), atol=1e-4)
    between = (np.array(found["left"]) + found["right"]) / math.sqrt(2)
    np.testing.assert_allclose(found["between"], between, atol=1e-4)


@NODE
def test_a_vaes_page_draws_from_its_mixture_or_from_the_prior(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=SIZE, channels=3, stage="vae", network=network)
    model = Model(config, Networks(config))
    model.networks.mixture = mixture = fit_mixture(torch.randn(400, LATENT) ** 3 + 1)
    model.save_pretrained(tmp_path / "model")
    made = export_html(tmp_path / "model", tmp_path / "vae.html", cdn=True)
    assert "the means and the spreads of up to ten groups" in made.said
    described = json.loads(parts_of(made.path)["facts"])["description"]
    found = run_in_node(
        f"""
        import {{ Explorer }} from "./explorer.js";
        import {{ gaussian }} from "./latents.js";
        import {{ unpacked }} from "./socket.js";
        const app = Object.create(Explorer.prototype);
        app.model = {{ description: unpacked({json.dumps(described)}) }};
        const drawn = (sampler) => {{
          app.store = {{ settings: {{ sampler }} }};
          return [[...app.drawn(5)], [...app.seedAt(2, 3)]];
        }};
        const noise = [{LATENT}, {LATENT + 1}].map((length) => [[...gaussian(length, 5)], [...gaussian(length, 0, 2, 3)]]);
        console.log(JSON.stringify({{ noise, mixture: drawn("mixture"), prior: drawn("prior") }}));
        """,
        tmp_path,
    )
    np.testing.assert_allclose(found["prior"], found["noise"][0], atol=1e-6)
    np.testing.assert_allclose(found["mixture"], mixture(torch.tensor(found["noise"][1])), atol=1e-4)


@NODE
def test_an_upload_to_a_page_of_binary_images_is_drawn_black_and_white(tmp_path: Path) -> None:
    found = run_in_node(
        """
        import { binarized } from "./onnx.js";
        const picture = Uint8Array.from({ length: 256 * 256 }, (_, i) => i % 256);
        const [once, again] = [binarized(picture), binarized(picture)];
        console.log(JSON.stringify([[...once], [...again]]));
        """,
        tmp_path,
    )
    once, again = (np.array(one).reshape(256, 256) for one in found)
    assert np.array_equal(once, again)
    assert set(np.unique(once)) == {0, 255}
    assert (once[:, 0].max(), once[:, 255].min()) == (0, 255)
    np.testing.assert_allclose(once.mean(0), np.arange(256), atol=4.5 * 255 / 2 / 16)  # standard error: at most half of 255 / 16


@NODE
def test_an_upload_to_a_page_of_masks_has_their_black_and_white(tmp_path: Path) -> None:
    found = run_in_node(
        """
        import { levelled } from "./onnx.js";
        const picture = Uint8Array.from([0, 5, 10, 20, 255]);
        console.log(JSON.stringify([[...levelled(picture, [0, 255])], [...levelled(picture, [5, 20])]]));
        """,
        tmp_path,
    )
    assert found == [[0, 5, 10, 20, 255], [0, 0, 85, 255, 255]]


@pytest.mark.parametrize("float16", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 12, 13, 14, 26, 1001, 900_001])
def test_a_packed_part_is_what_was_packed(tmp_path: Path, length: int, float16: bool) -> None:
    content = np.random.default_rng(0).bytes(length)
    (tmp_path / "part.html").write_text(packed("part", content, float16=float16))
    assert parts_of(tmp_path / "part.html")["part"] == content


@NODE
@pytest.mark.parametrize("length", [0, 1, 2, 12, 13, 14, 26, 1001])
def test_the_page_reads_packed_text_as_it_was_written(tmp_path: Path, length: int) -> None:
    content = np.random.default_rng(1).bytes(length)
    apart = json.dumps(list(content[::2] + content[1::2]))
    script = f"""
        import {{ bytesFromText, interleaved }} from "./packing.js";
        const read = bytesFromText({json.dumps(as_text(content))}, {length});
        console.log(JSON.stringify([[...read], [...interleaved(Uint8Array.from({apart}))]]));
    """
    assert run_in_node(script, tmp_path) == [list(content)] * 2


def test_the_networks_inside_are_the_models(small: Path, run: Path) -> None:
    import onnxruntime

    model = Model.from_pretrained(run / "gan" / "model")
    session = onnxruntime.InferenceSession(parts_of(small)["network-gan"])
    latents = torch.randn(5, LATENT)
    found = session.run(None, {"latents": latents.numpy()})[0]
    error = np.square(np.asarray(found) - model.decode(latents).numpy()).mean()
    assert 0 < error < 4e-6  # float16 weights: not equal, and 60 dB or better


def test_a_page_for_the_network_names_exact_files_and_their_checksums(small: Path) -> None:
    text = small.read_text()
    assert f"onnxruntime-web@{runtime.VERSION}/dist/ort.wasm.min.js" in text
    assert f'integrity="{runtime.integrity(runtime.SCRIPT)}"' in text
    facts = json.loads(parts_of(small)["facts"])
    assert {part["integrity"] for part in facts["cdn"].values()} == {
        runtime.integrity(runtime.GLUE),
        runtime.integrity(runtime.BINARY),
    }
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].count("https://") == 2
    assert small.stat().st_size < 500_000
    assert "<title>a&lt;b&gt;</title>" in text


@pytest.mark.heavy
def test_with_images_they_are_inside_and_it_is_said(run: Path, tmp_path: Path) -> None:
    made = export_html(run, tmp_path / "page.html", cdn=True, with_images=True)
    assert made.images == 74  # 6 of the 80 are on the test side
    parts = parts_of(made.path)
    facts = json.loads(parts["facts"])
    assert "74 of the images" in facts["said"]
    assert len(base64.b64decode(facts["images"]["latents"])) == 74 * LATENT * 4
    (tmp_path / "sheet.jpg").write_bytes(parts["sheet"])
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size == (9 * SIZE, 9 * SIZE)


def test_bundling_leaves_no_import_and_keeps_names_apart(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(
        'import { b } from "./b.js";\n\nconst NAME = 1;\nexport function a() {\n  return b() + NAME;\n}\n'
    )
    (tmp_path / "b.js").write_text("const NAME = 2;\nexport function b() {\n  return NAME;\n}\n")
    (tmp_path / "odd.js").write_text('import * as b from "./b.js";\n')
    text = bundled("a", tmp_path)
    assert text.index("module_b =") < text.index("module_a =")
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert not re.search(r"^(import|export)\b", bundled("offline"), re.MULTILINE)
    with pytest.raises(AssertionError):
        bundled("odd", tmp_path)
    node = shutil.which("node")
    if node:
        (tmp_path / "joined.mjs").write_text(text + "console.log(module_a.a());")
        done = subprocess.run([node, str(tmp_path / "joined.mjs")], capture_output=True, text=True, check=True)
        assert done.stdout == "3\n"


class TestRuntime:
    def test_other_files_than_the_known_ones_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "dist").mkdir()
        for name in runtime.FILES:
            (tmp_path / "dist" / name).write_bytes(b"console.log('hello')")
        with pytest.raises(RequestError, match="checksum differs"):
            runtime.find_runtime(tmp_path)
        packed = tmp_path / "package.tgz"
        with tarfile.open(packed, "w:gz") as archive:
            archive.add(tmp_path / "dist", "package/dist")
        with pytest.raises(RequestError, match="checksum differs"):
            runtime.find_runtime(packed)

    def test_what_is_no_package_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "text.tgz").write_text("no archive")
        with tarfile.open(tmp_path / "empty.tgz", "w:gz"):
            pass
        for name, said in (
            ("text.tgz", "no package"),
            ("empty.tgz", "has no ort"),
            ("missing", "does not exist"),
            (".", "has no ort"),
        ):
            with pytest.raises(RequestError, match=said):
                runtime.find_runtime(tmp_path / name)

    def test_a_fetch_that_was_interrupted_is_made_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        contents = {name: name.encode() for name in runtime.FILES}
        checks = {name: (_checksum(content), len(content)) for name, content in contents.items()}
        monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path))
        monkeypatch.setattr(runtime, "FILES", checks)
        monkeypatch.setattr(runtime, "fetch_from_npm", lambda: runtime.Runtime(*contents.values()))
        written: list[Path] = []

        def interrupted(path: Path, write: Any) -> None:
            if written:
                raise KeyboardInterrupt
            written.append(path)
            write_atomically(path, write)

        with monkeypatch.context() as patch:
            patch.setattr(runtime, "write_atomically", interrupted)
            with pytest.raises(KeyboardInterrupt):
                runtime.find_runtime(None)
        assert written[0].is_file()
        assert runtime.find_runtime(None) == runtime.Runtime(*contents.values())
        monkeypatch.setattr(runtime, "fetch_from_npm", None)
        assert runtime.find_runtime(None) == runtime.Runtime(*contents.values())  # now from the cache

    def test_without_npm_it_is_said_what_else_can_be_done(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(VaeganError, match="--runtime"):
            runtime.find_runtime(None)
        (tmp_path / "npm").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "npm").chmod(0o755)
        with pytest.raises(VaeganError, match="npm could not bring"):
            runtime.find_runtime(None)

    @pytest.mark.skipif(not RUNTIME.exists(), reason="no onnxruntime-web: name its package in VAEGAN_ONNXRUNTIME_WEB")
    def test_the_real_package_is_taken(self) -> None:
        found = runtime.find_runtime(RUNTIME)
        assert found.binary.startswith(b"\0asm")


@pytest.mark.heavy
def test_the_place_must_be_a_page(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vaegan.cli import main

    with pytest.raises(SystemExit) as exit:
        main(["export", str(run), "--to", "html", "--out", str(tmp_path / "page.txt")])
    assert exit.value.code == 2
    assert "ends in .html" in capsys.readouterr().err
    main(["export", str(run), "--to", "html", "--out", str(tmp_path / "page.html"), "--cdn", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["stages"] == ["gan"]
    assert facts["images"] == 0


@pytest.fixture(scope="module")
def chromium() -> Generator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def new_page(chromium: Any) -> Any:
    """A page that keeps what it complained about and asked for."""
    page = chromium.new_page()
    page.complaints = []
    page.asked = []
    page.on("console", lambda message: message.type in ("error", "warning") and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    return page


@pytest.fixture(scope="module")
def page(chromium: Any, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("whole") / "whole.html"
    export_html(run, path, runtime=RUNTIME, with_images=True)
    page = new_page(chromium)
    page.goto(path.as_uri())
    page.wait_for_selector("body.ready")
    return page


def in_a_browser(tests: Any) -> Any:
    """Marks what needs a Chromium and the runtime."""
    for mark in (
        pytest.mark.browser,
        pytest.mark.skipif(not RUNTIME.exists(), reason="no onnxruntime-web: name its package in VAEGAN_ONNXRUNTIME_WEB"),
        pytest.mark.filterwarnings("ignore::ResourceWarning"),
    ):
        tests = mark(tests)
    return tests


@in_a_browser
class TestPageOfTheNetwork:
    """The exact files that the page names are served in the network's place."""

    def open(self, chromium: Any, path: Path, changed: str = "") -> Any:
        """The page, with one byte more at the end of one of the runtime's files."""
        found = runtime.find_runtime(RUNTIME)
        files = dict(zip(runtime.FILES, (found.script, found.glue, found.binary), strict=True))
        types = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}

        def serve(route: Any) -> None:
            name = route.request.url.removeprefix(runtime.CDN)
            content = files[name] + (b"\n" if name == changed else b"")
            headers = {"access-control-allow-origin": "*", "content-type": types[Path(name).suffix]}
            route.fulfill(body=content, headers=headers)

        page = new_page(chromium)
        page.route(re.compile("^https?:"), serve)
        page.goto(path.as_uri())
        return page

    def test_works_with_the_files_that_it_names(self, chromium: Any, small: Path, run: Path) -> None:
        page = self.open(chromium, small)
        page.wait_for_selector("body.ready")
        assert page.complaints == []
        asked = [url for url in page.asked if not url.startswith(("file:", "blob:", "data:"))]
        assert sorted(asked) == sorted(runtime.CDN + name for name in runtime.FILES)
        latent = torch.randn(1, LATENT, generator=torch.Generator().manual_seed(4))
        found = page.evaluate(
            "async (latent) => [...(await globalThis.explorer.model.decodeNow([Float32Array.from(latent)], 'gan'))[0]]",
            latent[0].tolist(),
        )
        wanted = Model.from_pretrained(run / "gan" / "model").decode(latent).permute(0, 2, 3, 1).flatten()
        assert (torch.tensor(found) / 127.5 - 1 - wanted).abs().max() < 0.01 + 0.5 / 127.5
        page.close()

    @pytest.mark.parametrize("name", runtime.FILES)
    def test_other_bytes_are_refused_in_words(self, chromium: Any, small: Path, name: str) -> None:
        page = self.open(chromium, small, changed=name)
        page.wait_for_selector("#said.shown:has-text('The runtime did not come, or is not the one that this file names')")
        assert any("integrity" in complaint for complaint in page.complaints)
        assert page.locator("body.ready").count() == 0
        page.close()

    def test_a_file_that_is_not_whole_says_so(self, chromium: Any, small: Path, tmp_path: Path) -> None:
        text = small.read_text()
        packed = re.search(r'id="network-gan"[^>]*>([^<]*)', text)
        assert packed is not None
        damaged = tmp_path / "damaged.html"
        damaged.write_text(text.replace(packed[1], packed[1][:1001]))
        page = self.open(chromium, damaged)
        page.wait_for_selector("#said.shown:has-text('This file is damaged')")
        page.close()


@in_a_browser
class TestPage:
    def test_opens_over_file_and_asks_for_nothing(self, page: Any) -> None:
        assert page.complaints == []
        assert all(url.startswith(("file://", "blob:", "data:")) for url in page.asked)
        assert page.locator("#stages button").count() == 3
        assert page.locator("#colour").is_visible()

    @pytest.mark.parametrize("stage", ["gan", "vae"])
    def test_decodes_as_torch_does(self, page: Any, run: Path, stage: str) -> None:
        latents = torch.randn(3, LATENT, generator=torch.Generator().manual_seed(4))
        found = page.evaluate(
            """async ([stage, latents]) => {
                const { model } = globalThis.explorer;
                const made = await model.decodeNow(latents.map((latent) => Float32Array.from(latent)), stage);
                return made.map((picture) => [...picture]);
            }""",
            [stage, latents.tolist()],
        )
        wanted = Model.from_pretrained(run / stage / "model").decode(latents).permute(0, 2, 3, 1).flatten(1)
        shown = torch.tensor(found, dtype=torch.float32) / 127.5 - 1
        assert (shown - wanted).abs().max() < 0.01 + 0.5 / 127.5  # and half a level, which pixels are rounded by

    def test_hover_shows_the_nearest_image_and_an_upload_is_encoded(self, page: Any, run: Path, tmp_path: Path) -> None:
        box = page.locator("#canvas").bounding_box()
        page.mouse.move(box["x"] + 300, box["y"] + 250)
        page.wait_for_selector("#lens.shown figure.real:not([hidden])")
        pixels = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "mine.png")
        page.locator("#yours").click()
        page.locator("#file").set_input_files(tmp_path / "mine.png")
        page.wait_for_selector("#pictures .original")
        found = page.evaluate("[...globalThis.explorer.store.current]")
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 127.5 - 1
        wanted = Model.from_pretrained(run / "gan" / "model").encode(image)[0]
        assert torch.allclose(torch.tensor(found), wanted, atol=0.02)
        assert page.complaints == []
