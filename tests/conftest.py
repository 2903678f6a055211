"""What all tests share: nothing heavy is imported here."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from places import CHROMIUM, REAL_DATA, need

# Shared cores make any deadline flaky; the same examples every time make a failure everybody's.
settings.register_profile("vaegan", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("vaegan")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Takes back what a test set torch's threads to: processes that share two cores would wait for each other from then on."""
    yield
    torch, wanted = sys.modules.get("torch"), os.environ.get("OMP_NUM_THREADS")
    if torch is not None and wanted is not None:
        torch.set_num_threads(int(wanted))


@pytest.fixture(scope="session")
def heavy() -> None:
    """Asked for by fixtures that train a run or export one: whatever uses them is marked `heavy`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as `heavy` what uses such a fixture or a browser, before `-m` chooses."""
    for item in items:
        if "heavy" in getattr(item, "fixturenames", ()) or item.get_closest_marker("browser") is not None:
            item.add_marker("heavy")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that need a Chromium or the real images are skipped without them, and fail in CI."""
    if item.get_closest_marker("browser") is not None:
        need(CHROMIUM, "a Chromium: name one in VAEGAN_CHROMIUM")
    if item.get_closest_marker("real") is not None:
        need(REAL_DATA, "the real images: name their folder in VAEGAN_REAL_DATA")
