"""What all tests share: nothing heavy is imported here."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from places import CHROMIUM, REAL_DATA

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


def _present(marker: str) -> bool:
    """Whether what a marker asks for is on this machine."""
    return Path(CHROMIUM).is_file() if marker == "browser" else REAL_DATA.is_dir()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests that need a Chromium or the real images where they are missing; in CI their absence is a failure."""
    for marker, needs in (("browser", "a Chromium: name one in VAEGAN_CHROMIUM"), ("real", "the real images")):
        if item.get_closest_marker(marker) is None or _present(marker):
            continue
        if os.environ.get("CI"):
            pytest.fail(f"CI needs {needs}", pytrace=False)
        pytest.skip(f"needs {needs}")
