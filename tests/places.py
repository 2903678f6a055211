"""Where tests find what is not part of the project: a browser, and real images."""

import os
from pathlib import Path

import pytest

CHROMIUM = Path(os.environ.get("VAEGAN_CHROMIUM", "/usr/bin/chromium"))
REAL_DATA = Path(os.environ.get("VAEGAN_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def need(path: Path, what: str) -> Path:
    """`path` if something is there. Else the running test is skipped, and fails in CI; `what` is missing, for the reason."""
    if path.exists():
        return path
    if os.environ.get("CI"):
        pytest.fail(f"CI needs {what}; {path} does not exist", pytrace=False)
    pytest.skip(f"needs {what}; {path} does not exist")
