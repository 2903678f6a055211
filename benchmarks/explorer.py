"""How quick the explorer is in a real Chromium: from hover to pixels, first paint, ready; live and as one HTML file.

    python benchmarks/explorer.py RUN [--html PAGE.html] [--out explorer.json]

Prints medians and 95th percentiles with the load of the machine beside them; needs a Chromium (VAEGAN_CHROMIUM names another than
/usr/bin/chromium) and playwright. The latents are encoded anew, in a cache of their own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Page, sync_playwright

CHROMIUM = os.environ.get("VAEGAN_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
]
MOVES = 200
DECODES = """async (count) => {
    const { model } = globalThis.explorer;
    const { latentDim, stages } = model.description;
    const times = [];
    for (let i = 0; i < count; i++) {
        const latent = Float32Array.from({ length: latentDim }, () => 2 * Math.random() - 1);
        const start = performance.now();
        await model.decodeNow([latent], stages[0]);
        times.push(performance.now() - start);
    }
    return times;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--html", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        facts: dict[str, Any] = {"load_before": os.getloadavg()[0], "cores": os.cpu_count()}
        facts["live"] = live(browser, options.run)
        if options.html is not None:
            facts["file"] = alone(browser, options.html)
        facts["load_after"] = os.getloadavg()[0]
        browser.close()
    text = json.dumps(facts, indent=2)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n")


def live(browser: Any, run: Path) -> dict[str, Any]:
    """The page with its server: started cold, then again with the latents kept."""
    with tempfile.TemporaryDirectory() as folder:
        # The prepared images are the user's own; only the latents are made anew.
        images = Path(os.environ.get("VAEGAN_CACHE", Path.home() / ".cache" / "vaegan")) / "images"
        (Path(folder) / "images").symlink_to(images)
        environment = os.environ | {"VAEGAN_CACHE": folder}
        first = _started(run, environment, lambda _: {})
        return {"first_time": first} | _started(run, environment, lambda url: _visited(browser, url))


def _started(run: Path, environment: dict[str, str], visit: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", "vaegan", "explore", str(run), "--no-open", "--json"]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        url: str = json.loads(server.stdout.readline())["url"]
        serving = time.perf_counter() - begun
        while (described := json.load(urllib.request.urlopen(url + "model.json")))["data"]["state"] == "waiting":
            time.sleep(0.25)  # what describes the model is large: asked more often it would slow what is timed
        facts: dict[str, Any] = {"serving_s": round(serving, 2), "map_ready_s": round(time.perf_counter() - begun, 2)}
        while (described := json.load(urllib.request.urlopen(url + "model.json")))["data"]["growing"]:
            time.sleep(0.25)
        facts["map_complete_s"] = round(time.perf_counter() - begun, 2)
        facts["images"] = described["data"]["count"]
        facts |= visit(url)
        server.terminate()
    return facts


def _visited(browser: Any, url: str) -> dict[str, Any]:
    paints: list[float] = []
    for _ in range(3):
        page: Page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(url)
        page.wait_for_selector("body.ready")
        page.wait_for_timeout(300)
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        page.close()
    return {"first_paint_ms": round(median(paints)), "hover_to_pixels_ms": _hovered(browser, url)}


def _hovered(browser: Any, url: str) -> dict[str, float]:
    """From the event's own time stamp to pixels on the canvas, over a path across the map."""
    page: Page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(url)
    page.wait_for_selector("body.ready")
    page.wait_for_timeout(2000)
    page.evaluate(
        "globalThis.times = []; document.addEventListener('hovershown', (event) => globalThis.times.push(event.detail)); null"
    )
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    for step in range(MOVES):
        x, y = 0.15 + 0.7 * (step % 40) / 40, 0.2 + 0.6 * step / MOVES
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_timeout(30)
    page.wait_for_timeout(300)
    times: list[float] = page.evaluate("globalThis.times")
    page.close()
    return _summary(times)


def alone(browser: Any, path: Path) -> dict[str, Any]:
    """The page without a server, over file://."""
    url = path.resolve().as_uri()
    ready: list[float] = []
    for _ in range(3):
        page: Page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script("document.addEventListener('explorerready', () => (globalThis.readyAt = performance.now()))")
        page.goto(url)
        page.wait_for_selector("body.ready")
        ready.append(page.evaluate("globalThis.readyAt"))
        page.wait_for_timeout(3000)
        decodes = _summary(page.evaluate(DECODES, 100))
        page.close()
    return {
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "ready_ms": round(median(ready)),
        "decode_ms": decodes,
        "hover_to_pixels_ms": _hovered(browser, url),
    }


def _summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"count": len(ordered), "p50": round(median(ordered), 1), "p95": round(ordered[int(0.95 * len(ordered))], 1)}


if __name__ == "__main__":
    main()
