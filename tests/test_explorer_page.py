"""The explorer's page in a real Chromium: what a person does there, and what it must never do."""

import base64
import contextlib
import io
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from places import CHROMIUM

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
]

pytestmark = [
    pytest.mark.browser,
    # Playwright's connections are closed by its own process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SIZE, LATENT = 16, 6


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A running explorer of an untrained VAE and GAN, with 150 drawn faces on its map."""
    import torch

    from vaegan.config import NetworkConfig
    from vaegan.config_files import load_preset
    from vaegan.explorer.state import Explorer
    from vaegan.model import Model
    from vaegan.model_files import ModelConfig, Networks
    from vaegan.training.run import RunFolder, RunRecord, StagePlan

    folder = RunFolder(tmp_path_factory.mktemp("runs") / "little")
    folder.write(
        RunRecord(
            "faces:150",
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
        explorer = Explorer(folder.path)
        explorer.open_data(required=True)
    with served(explorer) as address:
        yield address


@pytest.fixture(scope="module")
def from_scratch(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A running explorer of an untrained GAN without an encoder."""
    with served(alone(tmp_path_factory.mktemp("models") / "scratch", "gan", has_encoder=False)) as address:
        yield address


@pytest.fixture(scope="module")
def of_a_vae(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A running explorer of an untrained VAE with a fitted mixture."""
    with served(alone(tmp_path_factory.mktemp("models") / "vae", "vae")) as address:
        yield address


def alone(folder: Path, stage: str, **shape: Any) -> Any:
    """The explorer of an untrained model that was saved on its own; its mixture is fitted if it has an encoder."""
    import torch

    from vaegan.config import NetworkConfig
    from vaegan.explorer.state import Explorer
    from vaegan.model import Model
    from vaegan.model_files import ModelConfig, Networks
    from vaegan.priors import fit_mixture

    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=SIZE, channels=3, stage=stage, network=network, **shape)  # pyright: ignore
    networks = Networks(config)
    if config.has_encoder:
        networks.mixture = fit_mixture(torch.randn(100, LATENT) + 3)
    Model(config, networks).save_pretrained(folder)
    explorer = Explorer(folder)
    explorer.open_data()
    return explorer


@contextlib.contextmanager
def served(explorer: Any) -> Generator[str]:
    """The address that the explorer is served at."""
    import uvicorn

    from vaegan.explorer import server

    listening = server.open_port(18_900)
    running = uvicorn.Server(server.configuration(server.build_app(explorer)))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    running.should_exit = True
    thread.join(10)


@dataclass
class Visit:
    """A page, and everything it complained about or asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Generator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Generator[Callable[..., Visit]]:
    contexts: list[Any] = []

    def come(fragment: str = "", at: str = "", **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        contexts.append(context)
        visited = Visit(context.new_page())
        visited.page.on("console", lambda message: message.type == "error" and visited.complaints.append(message.text))
        visited.page.on("pageerror", lambda error: visited.complaints.append(str(error)))
        visited.page.on("request", lambda request: visited.requests.append(request.url))
        visited.page.on("websocket", lambda socket: visited.requests.append(socket.url))
        visited.page.goto((at or address) + fragment)
        visited.page.wait_for_selector("body.ready")
        return visited

    yield come
    for context in contexts:
        context.close()


def pixels(page: Any, selector: str) -> str:
    """What a canvas shows, as text to compare."""
    return page.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


def levels(url: str) -> np.ndarray:
    """The levels of such a text."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def eventually(page: Any, is_so: Callable[[], bool]) -> bool:
    """Waits until something is so, for five seconds at most: what a page shows comes when it is ready."""
    for _ in range(100):
        if is_so():
            return True
        page.wait_for_timeout(50)
    return False


def changed(page: Any, selector: str, before: str) -> bool:
    """Whether a canvas comes to show something else."""
    return eventually(page, lambda: pixels(page, selector) != before)


def shown_again(page: Any, selector: str, before: str) -> bool:
    """Whether a canvas comes to show what it showed before."""
    return eventually(page, lambda: pixels(page, selector) == before)


def settled(page: Any, selector: str) -> str:
    """What a canvas shows once neither it nor the address has changed for half a second."""
    seen, same = ("", ""), 0
    for _ in range(200):
        now = (pixels(page, selector), page.url)
        seen, same = now, same + 1 if now == seen else 0
        if same == 10:
            break
        page.wait_for_timeout(50)
    return seen[0]


def counts(page: Any, selector: str, count: int) -> bool:
    """Whether the page comes to have as many of these."""
    return eventually(page, lambda: page.locator(selector).count() == count)


CURRENT = "#pictures figure:not([hidden]) canvas"


def test_hover_decodes_and_click_pins(visit: Callable[..., Visit]) -> None:
    visited = visit()
    page = visited.page
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 300)
    page.wait_for_selector("#lens.shown")
    assert counts(page, "#lens figure:not([hidden])", 2)  # decoded, and the nearest image
    before = pixels(page, "#lens figure.gan canvas")
    page.mouse.move(box["x"] + 600, box["y"] + 200)
    assert changed(page, "#lens figure.gan canvas", before)
    before = pixels(page, CURRENT)
    page.mouse.click(box["x"] + 600, box["y"] + 200)
    assert changed(page, CURRENT, before)
    assert counts(page, "#pins [data-pin]", 1)
    assert visited.complaints == []


def test_nothing_is_asked_of_another_host(visit: Callable[..., Visit], address: str) -> None:
    visited = visit()
    page = visited.page
    page.get_by_role("button", name="Seeds").click()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Both").click()
    page.wait_for_timeout(300)
    assert any(url.startswith("ws://") for url in visited.requests)
    assert all(url.startswith((address, address.replace("http", "ws"), "data:", "blob:")) for url in visited.requests)
    assert visited.complaints == []


def test_sliders_move_the_picture_and_can_be_undone(visit: Callable[..., Visit]) -> None:
    visited = visit()
    page = visited.page
    start = settled(page, CURRENT)
    slider = page.get_by_role("slider", name="Principal 1", exact=True)
    slider.fill("3")
    assert changed(page, CURRENT, start)
    assert page.locator(".slider output").first.inner_text() == "3.0"
    page.get_by_role("button", name="Undo").click()
    assert shown_again(page, CURRENT, start)
    attribute = page.get_by_role("slider", name="smiling", exact=True)
    attribute.fill("2")
    assert changed(page, CURRENT, start)
    assert visited.complaints == []


def test_keys_are_enough(visit: Callable[..., Visit]) -> None:
    visited = visit()
    page = visited.page
    page.locator("#canvas").focus()
    for key in ("ArrowRight", "Shift+ArrowUp", "+", "Enter", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
        page.wait_for_timeout(100)
    page.wait_for_selector("[data-pin] >> nth=1")
    page.locator("[data-pin]").nth(1).focus()
    page.keyboard.press("c")
    assert eventually(page, lambda: page.locator("[data-pin]").nth(1).inner_text() == "BC")
    page.keyboard.press("Delete")
    assert counts(page, "[data-pin]", 1)
    page.locator("#canvas").focus()
    page.keyboard.press("r")
    page.keyboard.press("p")
    page.wait_for_selector("[data-pin] >> nth=1")
    assert visited.complaints == []


def test_tray_makes_strips_sums_and_children(visit: Callable[..., Visit], tmp_path: Path) -> None:
    visited = visit()
    page = visited.page
    for _ in range(3):
        page.locator("#far").click()
        page.locator("#pin").click()
    page.wait_for_selector("#strip:not([disabled])")
    page.locator("#strip").click()
    page.wait_for_selector(".frames button:nth-child(16)")
    for name, frames in (("GIF", 30), ("WebP", 30), ("Image", 1)):
        with page.expect_download() as downloaded:
            page.get_by_role("button", name=name, exact=True).click()
        path = tmp_path / downloaded.value.suggested_filename
        downloaded.value.save_as(path)
        with Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) == frames
            first = np.asarray(picture.convert("RGB"))
            assert len(np.unique(first.reshape(-1, 3), axis=0)) > 10
            if frames > 1:
                picture.seek(15)
                assert not np.array_equal(np.asarray(picture.convert("RGB")), first)
                picture.seek(29)
    page.keyboard.press("Escape")
    page.locator("#sum").click()
    page.wait_for_selector("[data-pin] >> nth=3")
    page.locator("#cross").click()
    page.locator(".nine button").nth(5).click()
    page.wait_for_selector("[data-pin] >> nth=4")
    page.locator("#similar").click()
    assert counts(page, ".nine canvas", 9)
    assert visited.complaints == []


def test_gif_shows_what_the_page_shows(visit: Callable[..., Visit], tmp_path: Path) -> None:
    page = visit().page
    page.locator("#far").click()
    page.locator("#pin").click()
    page.locator("#far").click()
    page.locator("#pin").click()
    page.locator("#strip").click()
    page.wait_for_selector(".frames button:nth-child(16)")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="GIF", exact=True).click()
    downloaded.value.save_as(tmp_path / "strip.gif")
    url = page.locator(".frames button:nth-child(1) canvas").evaluate("canvas => canvas.toDataURL()")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")).astype(int)
    with Image.open(tmp_path / "strip.gif") as saved:
        assert np.abs(np.asarray(saved.convert("RGB")) - shown).mean() < 12  # 256 colours for noise


def test_an_image_of_ones_own_and_a_hostile_one(visit: Callable[..., Visit], tmp_path: Path) -> None:
    visited = visit()
    page = visited.page
    Image.effect_noise((50, 40), 80).convert("RGB").save(tmp_path / "mine.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    Image.new("1", (12_000, 12_000)).save(tmp_path / "bomb.png")
    before = settled(page, CURRENT)
    page.locator("#yours").click()
    page.locator("#file").set_input_files(tmp_path / "mine.png")
    page.wait_for_selector("#pictures .original")
    assert changed(page, "#pictures figure.gan canvas", before)
    assert counts(page, "[data-pin]", 1)
    assert visited.complaints == []
    for name, said in (("broken.png", "cannot be used"), ("bomb.png", "too many pixels")):
        page.locator("#yours").click()
        page.locator("#file").set_input_files(tmp_path / name)
        page.wait_for_selector(f"#said.shown:has-text('{said}')")
        page.keyboard.press("Escape")
    page.locator("#far").click()
    assert counts(page, "#pictures .original", 0)
    assert [text for text in visited.complaints if "400" not in text] == []


def test_drawing_is_encoded_while_it_is_drawn(visit: Callable[..., Visit]) -> None:
    visited = visit()
    page = visited.page
    page.locator("#yours").click()
    page.wait_for_timeout(400)
    before = pixels(page, ".drawing figure:nth-child(2) canvas")
    box = page.locator(".paper").bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 150, steps=8)
    page.mouse.up()
    assert changed(page, ".drawing figure:nth-child(2) canvas", before)
    page.get_by_role("button", name="Use it").click()
    page.wait_for_selector("#pictures .original")
    assert visited.complaints == []


def test_a_part_of_ones_own_image_is_made_anew(visit: Callable[..., Visit], tmp_path: Path) -> None:
    visited = visit()
    page = visited.page
    Image.effect_noise((SIZE, SIZE), 80).convert("RGB").save(tmp_path / "mine.png")
    page.locator("#yours").click()
    page.locator("#file").set_input_files(tmp_path / "mine.png")
    page.wait_for_selector("#pictures .original")
    before = pixels(page, "#pictures .original canvas")
    page.get_by_role("button", name="make a part anew").click()
    page.get_by_role("button", name="Make it anew").click()
    page.wait_for_selector(".tools p:has-text('Paint over a part of the picture')")  # nothing was painted over
    box = page.locator(".paper").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] - 5, steps=8)
    page.mouse.up()
    page.get_by_role("button", name="Make it anew").click()
    page.wait_for_selector(".answers button", timeout=30_000)
    assert counts(page, ".answers button", 4)
    page.get_by_role("button", name="Answer 2").click()
    assert changed(page, "#pictures .original canvas", before)
    after = pixels(page, "#pictures .original canvas")
    old, new = (levels(url)[:, : SIZE // 2] for url in (before, after))
    assert (old != new).any()
    old, new = (levels(url)[:, SIZE // 2 :] for url in (before, after))
    assert (old == new).all()
    assert counts(page, "[data-pin]", 2)
    assert [text for text in visited.complaints if "400" not in text] == []


@pytest.mark.parametrize("width", [1280, 360])
def test_a_gan_without_encoder_has_seeds_sliders_and_tray(visit: Callable[..., Visit], from_scratch: str, width: int) -> None:
    visited = visit(at=from_scratch, viewport={"width": width, "height": 800})
    page = visited.page
    page.wait_for_selector("#plane-note:has-text('trained without a VAE: nothing can be placed on the map')")
    assert not page.locator("#yours").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    note, zoom = (page.locator(selector).bounding_box() for selector in ("#plane-note", ".zoom"))
    assert note["x"] + note["width"] < zoom["x"]
    page.get_by_role("button", name="Seeds").click()
    box = page.locator("#canvas").bounding_box()
    before = pixels(page, CURRENT)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    page.wait_for_selector("[data-pin]", state="attached")
    assert changed(page, CURRENT, before)
    if width == 360:
        page.locator("#panels button").nth(1).click()
    before = pixels(page, CURRENT)
    page.get_by_role("slider", name="Principal 1", exact=True).fill("3")
    assert changed(page, CURRENT, before)
    assert visited.complaints == []


def test_a_vaes_page_offers_its_mixture_and_the_prior(visit: Callable[..., Visit], of_a_vae: str, from_scratch: str) -> None:
    visited = visit("#view=seeds", at=of_a_vae)
    page, drawn = visited.page, settled(visited.page, "#canvas")
    assert page.get_by_role("button", name="Mixture").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="N(0, I)").click()
    assert changed(page, "#canvas", drawn)
    page.get_by_role("button", name="Mixture").click()
    assert shown_again(page, "#canvas", drawn)
    again = visit("#sampler=prior", at=of_a_vae).page
    assert again.get_by_role("button", name="N(0, I)").get_attribute("aria-pressed") == "true"
    assert not visit(at=from_scratch).page.locator("#samplers").is_visible()
    assert visited.complaints == []


def test_numbers_of_the_wrong_length_are_refused_in_words(visit: Callable[..., Visit]) -> None:
    page = visit().page
    page.locator("#numbers").click()
    for text, said in (("1, 2, 3", f"holds 3 numbers; a latent of this model has {LATENT}"), ("1 2 x 4 5 6", "“x” is no number")):
        page.locator("textarea").fill(text)
        page.get_by_role("button", name="Use these").click()
        assert eventually(page, lambda said=said: said in page.locator(".wrong").inner_text())
    page.locator("textarea").fill("[0.5, -1.25, 2e-1, 0, 1, 2]")
    page.get_by_role("button", name="Use these").click()
    page.locator("#numbers").click()
    assert page.locator("textarea").input_value() == "0.5, -1.25, 0.2, 0, 1, 2"
    page.locator("textarea").fill(" 0:37\n")  # a sample, which the server draws
    page.get_by_role("button", name="Use these").click()
    assert eventually(page, lambda: not page.locator("textarea").is_visible())
    page.locator("#numbers").click()
    numbers = [float(word) for word in page.locator("textarea").input_value().split(",")]
    assert numbers != [0.5, -1.25, 0.2, 0, 1, 2]
    assert len(numbers) == LATENT


def test_the_address_holds_the_view(visit: Callable[..., Visit]) -> None:
    visited = visit()
    page = visited.page
    start = pixels(page, CURRENT)
    page.locator("#far").click()
    page.locator("#pin").click()
    page.get_by_role("button", name="VAE", exact=True).click()
    page.locator("#axis-y").select_option("smiling")
    assert changed(page, CURRENT, start)
    shown = settled(page, CURRENT)
    again = visit(page.url.split("/")[-1]).page
    assert shown_again(again, CURRENT, shown)
    assert counts(again, "[data-pin]", 1)
    assert again.locator("#axis-y").input_value() == "smiling"
    broken = visit("#z=%%%&pins=.x.AAAA&view=map&stage=zebra&x=nothing")
    assert broken.page.locator("[data-pin]").count() == 0
    assert broken.complaints == []
    wrong = visit("#view=zebra&through=zebra&show=zebra").page
    assert wrong.locator("[data-view=map]").get_attribute("aria-pressed") == "true"
    assert [wrong.locator(f"#{name}").input_value() for name in ("through", "show")] == ["current", "points"]


def test_an_address_pasted_over_the_old_one_is_shown(visit: Callable[..., Visit], address: str) -> None:
    page = visit().page
    start = pixels(page, CURRENT)
    page.locator("#far").click()
    assert changed(page, CURRENT, start)
    shown, link = settled(page, CURRENT), page.url
    page.locator("#far").click()
    assert changed(page, CURRENT, shown)
    settled(page, CURRENT)
    with page.expect_navigation(wait_until="load"):
        page.evaluate("link => { location.href = link; }", link)
    page.wait_for_selector("body.ready")
    assert shown_again(page, CURRENT, shown)


def test_nothing_waits_for_tsne(visit: Callable[..., Visit]) -> None:
    pytest.importorskip("openTSNE")
    page = visit().page
    page.route("**/tsne", lambda route: route.fulfill(json={}))  # begun, and never ready
    page.locator("#axis-x").select_option("t-SNE")
    page.wait_for_selector("#plane-note:has-text('t-SNE is being made')")
    page.wait_for_timeout(500)
    page.reload()
    page.wait_for_selector("body.ready", timeout=10_000)
    page.wait_for_selector("#plane-note:has-text('t-SNE is being made')")
    page.locator("#axis-x").select_option("Principal 1")
    page.wait_for_selector("#plane-note", state="hidden", timeout=10_000)


def test_every_plane_can_be_hovered(visit: Callable[..., Visit]) -> None:
    visited = visit()
    page = visited.page
    box = page.locator("#canvas").bounding_box()
    planes = (
        ("z0", "z1", "average", "points"),
        ("smiling", "residual", "nearest", "points"),
        ("smiling", "Principal 2", "current", "pictures"),
        ("z0", "z0", "average", "pictures"),
    )
    for step, (x, y, through, show) in enumerate(planes):
        for name, value in (("axis-x", x), ("axis-y", y), ("through", through), ("show", show)):
            page.locator(f"#{name}").select_option(value)
            page.wait_for_timeout(150)
        before = pixels(page, "#lens figure.gan canvas") if step else ""
        page.mouse.move(box["x"] + 150 + 60 * step, box["y"] + 200 + 50 * step)
        page.wait_for_selector("#lens.shown")
        assert changed(page, "#lens figure.gan canvas", before)
    assert visited.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cut_off_at_360_pixels(visit: Callable[..., Visit], theme: str) -> None:
    visited = visit(viewport={"width": 360, "height": 740}, color_scheme=theme, has_touch=True)
    page = visited.page
    for panel in ("aside", "tray", "plane"):
        page.locator(f"#panels [data-panel={panel}]").click()
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        shown = page.locator("header button:visible, #panels button:visible, #axes select:visible, #operations button:visible")
        for one in shown.all():
            box = one.bounding_box()
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 360, one.inner_text()
            assert box["height"] >= 28
    page.get_by_role("button", name="Both", exact=True).click()
    box = page.locator("#canvas").bounding_box()
    page.touchscreen.tap(box["x"] + 150, box["y"] + 250)
    page.wait_for_selector("#lens.shown figure.real")
    lens = page.locator("#lens").bounding_box()
    assert 0 <= lens["x"] <= lens["x"] + lens["width"] <= 360
    page.locator("#panels [data-panel=tray]").click()
    page.wait_for_selector("[data-pin]")
    assert visited.complaints == []


def test_everything_has_a_name(visit: Callable[..., Visit]) -> None:
    page = visit().page
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, canvas[tabindex], [role=application]")]
            .filter((one) => one.offsetParent !== null)
            .filter((one) => !(one.getAttribute("aria-label") || one.innerText?.trim() || one.closest("label")?.innerText.trim()))
            .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
