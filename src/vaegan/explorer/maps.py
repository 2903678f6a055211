"""t-SNE of the encoded images (van der Maaten & Hinton 2008), made by openTSNE in the background when somebody asks for it."""

import threading
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaegan.errors import RequestError

MOST_POINTS = 10_000
"""More images than this are thinned out first: the map takes about a minute for each ten thousand [images]."""

ROUNDS = 500


class _StoppedError(Exception):
    """The explorer was closed."""


class TsneMap:
    """One map: absent, being made, or ready."""

    def __init__(self) -> None:
        """Makes nothing yet."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._round = 0
        self.error = ""
        self.indices: NDArray[np.uint32] | None = None
        self.places: NDArray[np.float32] | None = None

    def describe(self) -> dict[str, Any]:
        """Whether there can be a map, and how far it is."""
        if find_spec("openTSNE") is None:
            return {"state": "missing", "why": 't-SNE needs an extra: pip install "vaegan[maps]"'}
        if self.error:
            return {"state": "failed", "why": self.error}
        if self.places is not None:
            return {"state": "ready"}
        running = self._thread is not None and self._thread.is_alive()
        return {"state": "running" if running else "absent", "done": self._round, "total": ROUNDS}

    def start(self, latents: NDArray[np.float32]) -> None:
        """Begins to make the map of these latents, unless that was begun before; RequestError without the extra."""
        described = self.describe()
        if described["state"] == "missing":
            raise RequestError(described["why"])
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._make, args=(latents,), daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ends the making at its next round."""
        self._stopped.set()

    def content(self) -> bytes:
        """Indices (uint32) and then places (float32, two a point) of the map; RequestError if it is not ready."""
        if self.indices is None or self.places is None:
            raise RequestError("The map is not ready yet.")
        return self.indices.astype("<u4").tobytes() + self.places.astype("<f4").tobytes()

    def _make(self, latents: NDArray[np.float32]) -> None:
        from openTSNE import TSNE

        chosen = np.arange(len(latents))
        if len(chosen) > MOST_POINTS:
            chosen = np.sort(np.random.default_rng(0).choice(len(latents), MOST_POINTS, replace=False))

        def after_some_rounds(_iteration: int, _error: float, _embedding: object) -> None:
            self._round = min(ROUNDS, self._round + 10)
            if self._stopped.is_set():
                raise _StoppedError

        method = TSNE(
            perplexity=min(30, max(2, (len(chosen) - 1) // 4)),
            early_exaggeration_iter=ROUNDS // 4,
            n_iter=ROUNDS - ROUNDS // 4,
            callbacks=after_some_rounds,
            callbacks_every_iters=10,
            random_state=0,
            n_jobs=-1,
        )
        try:
            places = np.asarray(method.fit(latents[chosen]), np.float32)
        except _StoppedError:
            return
        except Exception as error:  # numerical libraries raise what they like; the page must say something
            self.error = f"t-SNE failed: {error}"
            return
        self.indices, self.places = chosen.astype(np.uint32), places
