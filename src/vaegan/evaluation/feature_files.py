"""Feature networks that the user brings: ONNX or torch.export, described by a small TOML. No pickle, no TorchScript."""

import hashlib
import logging
import os
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaegan.data import to_uint8
from vaegan.errors import RequestError, one_line
from vaegan.evaluation.copies import ENCODER, PIXELS
from vaegan.evaluation.inference import FEATURES as BOTH_FEATURES
from vaegan.extras import need
from vaegan.metrics.features import LAYOUT_FEATURES, RANDOM_FEATURES
from vaegan.settings import from_dictionary, read_toml
from vaegan.transparency import over_grey
from vaegan.types import Images

MOST_FEATURES = 16_384
MOST_LETTERS = 80  # of a name, which stands in tables
MOST_VALUE = 1_000_000  # of a network's input
BUILT_IN = (RANDOM_FEATURES, LAYOUT_FEATURES, BOTH_FEATURES, PIXELS, ENCODER)


@dataclass(frozen=True)
class Description:
    """What must be said of a feature network; the TOML's keys."""

    name: str  # scores are named by it; inception-2015 alone makes a Frechet distance an FID
    size: int  # side of the images it expects [pixels]; ours are resized to it
    low: float  # its input for black
    high: float  # its input for white
    mean: tuple[float, ...] = ()  # three numbers subtracted after the range (ImageNet's: [0.485, 0.456, 0.406])
    deviation: tuple[float, ...] = ()  # divided by then (ImageNet's: [0.229, 0.224, 0.225])
    batch: int = 32  # images at a time; for a network with a fixed batch, that one

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > MOST_LETTERS or one_line(self.name) != self.name:
            raise RequestError(f"name is {self.name[:MOST_LETTERS]!r}; it must be 1 to {MOST_LETTERS} letters that can be shown")
        if self.name.strip().casefold() in BUILT_IN:
            raise RequestError(f"name is {self.name!r}, by which the program's own features are known; choose another")
        for key, value, least in (("size", self.size, 8), ("batch", self.batch, 1)):
            if not least <= value <= 1024:
                raise RequestError(f"{key} is {value}; it must be {least} to 1024")
        for key, value in (("low", self.low), ("high", self.high)):
            if not abs(value) <= MOST_VALUE:
                raise RequestError(f"{key} is {value:g}; it must be a number from -{MOST_VALUE:,} to {MOST_VALUE:,}")
        if not self.low < self.high:
            raise RequestError(f"low is {self.low:g} and high {self.high:g}; low must be less than high")
        if self.mean or self.deviation:
            for key, values in (("mean", self.mean), ("deviation", self.deviation)):
                if len(values) != 3 or not all(abs(value) <= MOST_VALUE for value in values):
                    raise RequestError(f"{key} is {values}; it must be three numbers, and mean and deviation are given together")
            if min(self.deviation) < 1 / MOST_VALUE:
                raise RequestError(f"deviation is {self.deviation}; its numbers must be positive, and not next to 0")


Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""What runs a network, from images [batch, 3, size, size] in the network's range to features [batch, dimension]."""


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that turns images into features."""

    description: Description
    identity: str  # name and hash of all its files: what features are cached under
    run: Run

    def __call__(self, images: Images) -> Tensor:
        """Features [count, dimension] of images in [-1, 1]; RequestError if it gives no vector of finite numbers an image."""
        name, batch, parts = self.description.name, self.description.batch, list[Tensor]()
        for block in images.split(batch):
            pixels = prepared(block, self.description)
            # A last block that is not full is filled up, for networks whose batch is fixed.
            features = self.run(np.concatenate([pixels, np.repeat(pixels[-1:], batch - len(pixels), 0)]))
            if features.ndim != 2 or len(features) != batch or not 1 <= features.shape[1] <= MOST_FEATURES:
                shape = f"{batch} images with the shape {list(features.shape)}; it must be [{batch}, features]"
                raise RequestError(f"The feature network {name} answers {shape}.")
            parts.append(torch.from_numpy(np.ascontiguousarray(features[: len(pixels)], dtype=np.float32)))
        found = torch.cat(parts)
        if not found.isfinite().all():
            raise RequestError(f"The feature network {name} gives numbers that are not finite; check its range in the TOML.")
        return found


def check_features(features: Tensor, described: Description) -> None:
    """Refuses features that are the same for all of different real images: in them every model would be perfect."""
    apart = features.amax(0) - features.amin(0)
    # Rounding differs with an image's place in its batch.
    if bool((apart <= 1e-6 * features.abs().amax(0)).all()):
        raise RequestError(
            f"The feature network {described.name} gives the same features for {len(features):,} different images, so it can "
            "judge none; check its weights and its range in the TOML."
        )


def open_feature_network(path: Path) -> FeatureNetwork:
    """Reads FILE (.onnx or .pt2) and the TOML beside it, and tries the network on one grey batch."""
    runners: dict[str, Callable[[Path], tuple[Run, list[Path]]]] = {".onnx": _onnx, ".pt2": _program}
    if path.suffix not in runners:
        raise RequestError(f"--features {path} must be an ONNX file (.onnx) or a torch.export program (.pt2).")
    if not path.is_file():
        raise RequestError(f"--features {path} does not exist. How to get the usual networks: docs/evaluation.md")
    described = _description(path.with_suffix(".toml"), path)
    try:
        run, beside = runners[path.suffix](path)
        network = FeatureNetwork(described, f"{described.name} {_digest(path, path.with_suffix('.toml'), *beside)}", run)
        network(torch.zeros(2, 3, 32, 32))
    except RequestError:
        raise
    except Exception as error:  # what a foreign file can raise is known to nobody
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RequestError(
            f"--features {path} cannot be used with [batch, 3, {described.size}, {described.size}] images: {reason[:200]}"
        ) from error
    return network


def prepared(images: Images, described: Description) -> NDArray[np.float32]:
    """Images as the network wants them: resized like clean-fid does (Parmar et al. 2022), then moved into its range.

    Each channel is resized by Pillow's bicubic filter in float, and clipped to the 8-bit range (since clean-fid 0.1.35).
    """
    resized = np.stack([_resized(image, described.size) for image in to_uint8(over_grey(images))])
    pixels = resized / 255 * (described.high - described.low) + described.low
    if described.mean:
        pixels = (pixels - np.array(described.mean)) / np.array(described.deviation)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    colour = np.broadcast_to(image, (*image.shape[:2], 3))
    channels = [Image.fromarray(np.ascontiguousarray(colour[..., index], dtype=np.float32)) for index in range(3)]
    resized = np.stack([np.asarray(channel.resize((size, size), Image.Resampling.BICUBIC)) for channel in channels], 2)
    return resized.clip(0, 255)


def _description(path: Path, network: Path) -> Description:
    try:
        return from_dictionary(Description, read_toml(path), str(path))
    except OSError as error:
        raise RequestError(
            f"{network} needs {path.name} beside it, with name, size, low and high of its input; docs/evaluation.md shows one."
        ) from error
    except RequestError as error:
        message = str(error)
        raise RequestError(message if message.startswith(str(path)) else f"{path}: {message}.") from error


def _digest(*paths: Path) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: hashed)
    return hashed.hexdigest()


def _onnx(path: Path) -> tuple[Run, list[Path]]:
    need("onnx", "onnx", "onnxruntime", purpose="A feature network in ONNX")
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise RequestError(f"--features {path} has {len(inputs)} inputs; a feature network has one, the images.")
    outside = sorted(set(_locations(onnx.load(path, load_external_data=False))))
    return (
        lambda pixels: np.asarray(session.run(None, {inputs[0].name: pixels})[0], dtype=np.float32),
        [path.parent / location for location in outside],
    )


def _locations(message: Any) -> Generator[str]:
    """The files that a part of an ONNX model names as the places of its weights, wherever in its graphs these are."""
    for field, value in message.ListFields():
        if field.name == "external_data":
            yield from (entry.value for entry in value if entry.key == "location")
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _locations(part)


def _program(path: Path) -> tuple[Run, list[Path]]:
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if any("custom_obj" in name for name in names) or any(name.endswith("/code/") or "/code/__torch__" in name for name in names):
        raise RequestError(f"--features {path} holds TorchScript, which is not run here; export it with torch.export.")
    try:
        with _tensors_only():
            module = torch.export.load(path).module()
    except Exception as error:  # what a foreign file can raise is known to nobody, and torch points to what it has logged
        raise RequestError(
            f"--features {path} holds no program that torch {torch.__version__.split('+')[0]} can read; write it with "
            "torch.export.save, by the same version of torch."
        ) from error

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            answer = module(torch.from_numpy(pixels))
            first: Tensor = answer[0] if isinstance(answer, tuple | list) else answer
            return first.float().numpy()

    return run, []


@contextmanager
def _tensors_only() -> Generator[None]:
    """While a program is loaded, no pickle may do more than hold tensors; and torch logs no traceback before it raises."""
    name, log = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", logging.getLogger("torch.export")
    before, level = os.environ.get(name), log.level
    os.environ[name] = "1"
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
