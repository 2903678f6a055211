"""What all tests share: nothing heavy is imported here."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

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
