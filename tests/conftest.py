"""What all tests share: nothing heavy is imported here."""

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
