"""The pages in a real Chromium: silent, asking nobody, in both themes, and no wider than a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from places import CHROMIUM
from report_runs import make_run, score
from vaegan.config import DataConfig
from vaegan.data import open_dataset
from vaegan.report import write_comparison, write_report

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

pytestmark = pytest.mark.browser

SCORES = {"recall": score(0.5), "sharpness": score(0.6), "copying": score(0.5), "kernel_distance": score(1.0)}
HOSTILE = "<img src=x onerror=alert(1)> a-very-long-name-without-any-place-to-break-it-anywhere-at-all"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        own = open_dataset("faces:96", DataConfig(size=16)).fingerprint
        runs = [make_run(folder / HOSTILE, scores=SCORES, fingerprint=own), make_run(folder / "b", penalty=0.3, scores=SCORES)]
        write_comparison(runs, folder / "compare.html")
        return {"report": write_report(runs[0], folder / "report.html"), "compare": folder / "compare.html"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def opened(browser: Any, path: Path, width: int = 1200, theme: str = "light") -> tuple[Any, list[str]]:
    """A page, and everything that went wrong in it or was asked for elsewhere, so far and later."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    page.on("request", lambda request: None if request.url.startswith(("data:", path.as_uri())) else wrong.append(request.url))
    page.goto(path.as_uri())
    return page, wrong


@pytest.mark.parametrize("name", ["report", "compare"])
@pytest.mark.parametrize("width", [360, 390, 1200])
def test_a_page_is_silent_and_fits(browser: Any, pages: dict[str, Path], name: str, width: int) -> None:
    page, wrong = opened(browser, pages[name], width)
    for details in page.query_selector_all("details"):
        details.evaluate("element => (element.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(image => !image.src || (image.complete && image.naturalWidth === 0)).length"
    assert page.evaluate(broken) == 0
    assert page.evaluate("[...document.querySelectorAll('button, input')].every(one => one.innerText || one.ariaLabel)")
    assert wrong == []
    page.close()


def luminance(page: Any, name: str) -> float:
    """Relative luminance (WCAG 2.2) of a colour of the body."""
    text: str = page.evaluate(f"getComputedStyle(document.body).{name}")
    parts = [int(part) / 255 for part in text[4:-1].split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_themes_follow_the_system_and_the_button(browser: Any, pages: dict[str, Path]) -> None:
    for theme in ("light", "dark"):
        page, wrong = opened(browser, pages["report"], theme=theme)
        for dark in (theme == "dark", theme != "dark"):
            paper, ink = luminance(page, "backgroundColor"), luminance(page, "color")
            assert (paper < ink) == dark
            assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) > 7
            page.click("#theme")
        assert wrong == []
        page.close()


def test_charts_can_be_read_and_zoomed(browser: Any, pages: dict[str, Path]) -> None:
    page, wrong = opened(browser, pages["report"])
    chart = page.query_selector("#curves .chart svg")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    before = page.evaluate("document.querySelector('#curves .lines path').getAttribute('d')")
    across, down = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5
    page.mouse.move(across, down)
    assert "images seen: training 0." in page.inner_text("#curves .chart .readout")
    page.mouse.down()
    page.mouse.move(across + 90, down, steps=3)
    page.mouse.up()
    path = "document.querySelector('#curves .lines path').getAttribute('d')"
    zoomed = page.evaluate(path)
    assert 2 <= zoomed.count(",") < before.count(",")
    page.mouse.dblclick(across, down)
    assert page.evaluate(path).count(",") == before.count(",")
    assert wrong == []
    page.close()


def test_pictures_open_large(browser: Any, pages: dict[str, Path]) -> None:
    page, wrong = opened(browser, pages["report"])
    image = page.query_selector("#samples .sheet img")
    image.click()
    assert page.evaluate("document.querySelector('dialog').open")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.querySelector('dialog').open")
    assert wrong == []
    page.close()
