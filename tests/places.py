"""Where tests find what is not part of the project: a browser, and real images."""

import os
from pathlib import Path

CHROMIUM = os.environ.get("VAEGAN_CHROMIUM", "/usr/bin/chromium")
REAL_DATA = Path(os.environ.get("VAEGAN_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
