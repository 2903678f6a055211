"""Where the page can go: sliders along directions in latent space and how to read them off, and maps of the images."""

import base64
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaegan.errors import RequestError
from vaegan.explorer.encoding import Encodings
from vaegan.latent.stored import Direction
from vaegan.model import Model

SliderKind = Literal["principal", "attribute", "dimension"]

FEWEST_ON_A_SIDE = 20  # [images] on both sides before a label becomes a direction
MOST_TSNE_POINTS = 10_000  # more are thinned out first: the map takes about a minute for each ten thousand [images]
TSNE_ROUNDS = 500


@dataclass(frozen=True, eq=False)
class Slider:
    """One slider: `latent + amount * move` changes `read(latent) = latent @ read - zero` by the amount."""

    kind: SliderKind
    name: str
    note: str  # shown beside the slider
    move: NDArray[np.float32]  # [latent], what one unit adds
    read: NDArray[np.float32] | None = None  # [latent]; None for attributes, whose sliders count from where one is
    zero: float = 0.0
    residual: NDArray[np.float32] | None = None
    """[latent], the strongest direction at right angles to an attribute: the map's other axis."""

    def as_json(self) -> dict[str, Any]:
        """The slider as the page reads it; vectors as in `as_base64`."""
        return {
            "group": self.kind,
            "name": self.name,
            "note": self.note,
            "move": as_base64(self.move),
            "read": None if self.read is None else as_base64(self.read),
            "zero": self.zero,
            "residual": None if self.residual is None else as_base64(self.residual),
        }


def as_base64(values: NDArray[np.float32]) -> str:
    """The numbers as the page reads them: float32, little-endian."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def principal_directions(latents: NDArray[np.float32], gram: NDArray[np.float32] | None = None) -> list[Slider]:
    """Directions without labels, strongest first; one unit is one standard deviation of the latents [images, latent].

    They are principal components, or eigenvectors of `gram`, the decoder's mean J'J, where it is given.
    """
    points = latents.astype(np.float64)
    mean, covariance = points.mean(0), np.cov(points.T).reshape(latents.shape[1], latents.shape[1])
    vectors = np.linalg.eigh(covariance if gram is None else gram.astype(np.float64))[1].T
    variances = np.maximum(np.einsum("ki,ij,kj->k", vectors, covariance, vectors), 1e-12)
    strengths = variances if gram is None else variances * np.einsum("ki,ij,kj->k", vectors, gram, vectors)
    found: list[Slider] = []
    for number, place in enumerate(np.argsort(-strengths, kind="stable"), 1):
        vector, deviation = vectors[place], variances[place] ** 0.5
        vector = vector if vector[np.abs(vector).argmax()] > 0 else -vector  # a sign that does not depend on the solver
        share = strengths[place] / strengths.sum()
        of = "the variance of the encoded images" if gram is None else "the change that such steps make in the picture"
        found.append(
            Slider(
                kind="principal",
                name=f"Principal {number}",
                note=f"{share:.1%} of {of}",
                move=(deviation * vector).astype(np.float32),
                read=(vector / deviation).astype(np.float32),
                zero=float(mean @ vector / deviation),
            )
        )
    return found


def saved_directions(directions: Iterable[Direction], latents: NDArray[np.float32]) -> list[Slider]:
    """The named directions that were saved with the model, as attributes."""
    note = "saved with the model"
    return [slider for one in directions for slider in _attribute(one.name, note, one.vector.numpy(), latents)]


def _attribute(name: str, note: str, move: NDArray[np.float32], latents: NDArray[np.float32]) -> list[Slider]:
    """The slider of a direction, if it leads anywhere."""
    length = float(np.linalg.norm(move))
    if length <= 1e-6:
        return []
    # What is left of the latents at right angles to the attribute: its first principal component, one deviation long.
    unit = move / length
    rest = latents - np.outer(latents @ unit, unit)
    values, vectors = np.linalg.eigh(np.cov(rest.T).reshape(len(unit), len(unit)))
    vector = vectors[:, -1]
    vector = vector - (vector @ unit) * unit
    residual = (vector * max(float(values[-1]), 1e-12) ** 0.5).astype(np.float32)
    return [Slider("attribute", name, note, move, residual=residual)]


def raw_dimensions(model: Model, encodings: Encodings | None) -> list[Slider]:
    """The dimensions of the latent, sorted by their KL divergence, or by their number without encodings."""
    units = np.eye(model.latent_dim, dtype=np.float32)
    kl = None if encodings is None else encodings.kl
    order = np.arange(model.latent_dim) if kl is None else np.argsort(-kl, kind="stable")
    return [
        Slider(
            kind="dimension",
            name=f"z{index}",
            note="" if kl is None else f"KL {kl[index]:.2f} nats",
            move=units[index],
            read=units[index],
        )
        for index in order
    ]


def label_directions(
    encodings: Encodings, labels: dict[str, NDArray[np.float32]], words: dict[str, tuple[str, ...]]
) -> list[Slider]:
    """Attributes from labels: from the mean of the images without it to the mean of those with it.

    A category of two words gives one; of more words, one for each against all others; of a number, the lowest third and the
    highest third are the two sides.
    """
    found: list[Slider] = []
    sided = [(name, *side) for name, values in labels.items() for side in _sides(values, words.get(name))]
    for name, what, low, high, note in sorted(sided, key=lambda one: len(words.get(one[0], "")) > 2):
        if min(low.sum(), high.sum()) < FEWEST_ON_A_SIDE:
            continue
        move = encodings.latents[high].mean(0) - encodings.latents[low].mean(0)
        found += _attribute(f"{name}{what}", note, move.astype(np.float32), encodings.latents)
    return found


_Side = tuple[str, NDArray[np.bool_], NDArray[np.bool_], str]
"""What is added to a label's name; the images on the low and on the high side; the difference in words."""


def _sides(values: NDArray[np.float32], words: tuple[str, ...] | None) -> list[_Side]:
    known = np.isfinite(values)
    if words is not None and len(words) == 2:
        return [("", known & (values == 0), known & (values == 1), f"from {words[0]} to {words[1]}: difference of the means")]
    if words is not None:
        note = "from all others to {}: difference of the means"
        sides = ((known & (values != code), known & (values == code)) for code in range(len(words)))
        return [(f": {word}", *side, note.format(word)) for word, side in zip(words, sides, strict=True)]
    if not known.any():
        return []
    low, high = np.quantile(values[known], (1 / 3, 2 / 3))
    if low < high:
        return [("", known & (values <= low), known & (values >= high), "from the lowest to the highest third")]
    middle = float(np.median(values[known]))
    return [("", known & (values <= middle), known & (values > middle), "from low to high")]


class TsneMap:
    """One map by t-SNE (van der Maaten & Hinton 2008), made by openTSNE in the background: absent, being made, or ready."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._round = 0
        self._error = ""
        self._content = b""

    def describe(self) -> dict[str, Any]:
        """Whether there can be a map, and how far it is."""
        if find_spec("openTSNE") is None:
            return {"state": "missing", "why": 't-SNE needs an extra: pip install "vaegan[maps]"'}
        if self._error:
            return {"state": "failed", "why": self._error}
        if self._content:
            return {"state": "ready"}
        running = self._thread is not None and self._thread.is_alive()
        return {"state": "running" if running else "absent", "done": self._round, "total": TSNE_ROUNDS}

    def start(self, latents: NDArray[np.float32]) -> None:
        """Begins to make the map of these latents, unless that was begun before; RequestError without the extra."""
        described = self.describe()
        if described["state"] == "missing":
            raise RequestError(described["why"])
        if self._thread is None:
            self._thread = threading.Thread(target=self._make, args=(latents,), daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the making at its next round."""
        self._stopped.set()

    def content(self) -> bytes:
        """Indices (uint32) and then places (float32, two a point) of the map; RequestError if it is not ready."""
        if not self._content:
            raise RequestError("The map is not ready yet.")
        return self._content

    def _make(self, latents: NDArray[np.float32]) -> None:
        from openTSNE import TSNE

        chosen = np.arange(len(latents))
        if len(chosen) > MOST_TSNE_POINTS:
            chosen = np.sort(np.random.default_rng(0).choice(len(latents), MOST_TSNE_POINTS, replace=False))

        def after_some_rounds(_iteration: int, _error: float, _embedding: object) -> bool:
            self._round = min(TSNE_ROUNDS, self._round + 10)
            return self._stopped.is_set()

        method = TSNE(
            perplexity=min(30, max(2, (len(chosen) - 1) // 4)),
            early_exaggeration_iter=TSNE_ROUNDS // 4,
            n_iter=TSNE_ROUNDS - TSNE_ROUNDS // 4,
            callbacks=after_some_rounds,
            callbacks_every_iters=10,
            random_state=0,
            n_jobs=-1,
        )
        try:
            places = np.asarray(method.fit(latents[chosen]))
        except Exception as error:  # numerical libraries raise what they like; the page must say something
            self._error = f"t-SNE failed: {error}"
            return
        self._content = chosen.astype("<u4").tobytes() + places.astype("<f4").tobytes()
