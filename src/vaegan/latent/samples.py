"""One sample among all: its address, and the latent that a picture's own file keeps."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaegan.data import ImageDataset, to_uint8
from vaegan.data.decoding import quiet_pillow
from vaegan.errors import RequestError, one_line
from vaegan.latent.learning import encode_images
from vaegan.latent.stored import model_fingerprint
from vaegan.latent.tables import latent_as_text, parse_latent
from vaegan.model import Model, Sampler
from vaegan.pictures import png_bytes, to_picture
from vaegan.settings import check_seed
from vaegan.types import Latents, ProgressCallback

MOST_NUMBER = 10**12  # of a sample among those of its seed
MOST_BYTES, MOST_SIDE = 2**20, 1024  # of a picture of one image [bytes, pixels]; no more of a file is read
BLOCK = 256  # latents that are decoded together
HEAD = 2**14  # where the latent begins in a file, at the latest [bytes]
MOST_DIGITS = 32  # of a number of a latent


class Address(NamedTuple):
    """A sample, by the seed it is drawn with and its number among that seed's samples, from 0 on; written 0:37."""

    seed: int
    number: int


class Drawn(NamedTuple):
    """An image that a model drew."""

    pixels: NDArray[np.uint8]  # [height, width, channels]
    latent: Tensor  # [latent]
    name: str  # of its file, without suffix
    number: int  # among the others
    notes: dict[str, str]  # how it came about: its file's metadata


class Kept(NamedTuple):
    """What the file of a picture keeps of the image."""

    latent: Tensor  # float32 [latent]
    label: str | None  # what a conditional model was told


def parse_address(text: str) -> Address | None:
    """The address that a text is, and that is no file's name; None if it is none, RequestError if there is no such sample."""
    found = re.fullmatch(r"([0-9]{1,19}):([0-9]{1,19})", text)
    if found is None or Path(text).exists():
        return None
    address = Address(int(found[1]), int(found[2]))
    check_seed(address.seed)
    if address.number >= MOST_NUMBER:
        raise RequestError(f"There is no sample {text}: the last of a seed has the number {MOST_NUMBER - 1}.")
    return address


def draw_samples(
    model: Model,
    first: Address,
    count: int = 1,
    sampler: Sampler | None = None,
    observation_noise: bool = False,
    temperature: float = 1.0,
) -> Iterator[Drawn]:
    """The `count` samples from an address on, as `Model.sample` makes them; their files are named by seed and number."""
    seed, number = first
    for images in model.sample_blocks(count, seed, sampler, observation_noise, temperature=temperature, first=number):
        latents = model.latents(len(images), seed, sampler, temperature, first=number)
        for pixels, latent in zip(to_uint8(images), latents, strict=True):
            label = _label_at(model, number)
            notes = {"seed": str(seed)} | ({} if label is None else {"label": label})
            yield Drawn(pixels, latent, f"{seed}-{number:05d}", number, notes)
            number += 1


def _label_at(model: Model, number: int) -> str | None:
    """What the sample of this number shows: a conditional model that was told no label draws all of them in turn."""
    labels = model.config.labels
    return labels[number % len(labels)] if labels else model.fixed_label


def draw_latents(model: Model, latents: Latents, names: Sequence[str] = ()) -> Iterator[Drawn]:
    """The images of latents [n, latent]; their files are named by their numbers without `names`."""
    label = {} if model.fixed_label is None else {"label": model.fixed_label}
    for start in range(0, len(latents), BLOCK):
        block = latents[start : start + BLOCK]
        for index, (pixels, latent) in enumerate(zip(to_uint8(model.decode(block)), block, strict=True), start):
            yield Drawn(pixels, latent, names[index] if names else f"{index:05d}", index, label)


def family(model: Model) -> str:
    """16 hexadecimal digits that say whose latents fit: the same for all labels of a conditional model."""
    return model_fingerprint(model.whole or model)


def keeping(picture: Image.Image, drawn: Drawn, model: str) -> dict[str, str]:
    """Notes for the file of a picture of one image, that hold its latent; `model` is the model's `family`."""
    return {
        "latent": latent_as_text(drawn.latent),
        "model": model,
        "pixels": _digest(picture),
        "index": str(drawn.number),
    } | drawn.notes


def _digest(picture: Image.Image) -> str:
    shape = f"{picture.mode} {picture.size}".encode()
    return hashlib.blake2b(shape + picture.tobytes(), digest_size=16).hexdigest()


def read_kept(model: Model, source: Path | bytes) -> Kept | None:
    """The latent that a picture's file keeps, bit for bit; None if it keeps none.

    At most a megabyte is read. RequestError, with a reason to follow the file's name, if the picture was drawn by another model
    or was changed, or the latent cannot be one of this model.
    """
    try:
        with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            data = _with_latent(file)
        if data is None:
            return None
        with quiet_pillow(), Image.open(BytesIO(data), formats=["PNG"]) as picture:
            notes = {name: text for name, text in picture.info.items() if isinstance(text, str)}
            if "latent" not in notes:
                return None
            if max(picture.size) > MOST_SIDE or _digest(picture) != notes.get("pixels"):
                raise RequestError("was changed after it was drawn")
    except RequestError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise RequestError("was changed after it was drawn") from error
    if notes.get("model") != family(model):
        raise RequestError("was drawn by another model, or before this one was trained further")
    known = {one_line(label): label for label in (model.whole or model).config.labels}
    label = known.get(notes.get("label", ""))
    if (known and label is None) or len(notes["latent"]) > MOST_DIGITS * model.latent_dim:
        raise RequestError("keeps a latent that is none of this model")
    try:
        return Kept(parse_latent(notes["latent"], model.latent_dim), label)
    except RequestError as error:
        raise RequestError(f"keeps a latent that cannot be used ({str(error).rstrip('.')})") from error


def _with_latent(file: BinaryIO) -> bytes | None:
    """The content of a picture's file that may hold a latent."""
    head = file.read(HEAD)
    return head + file.read(MOST_BYTES - HEAD) if b"latent\0" in head else None


def common_label(model: Model, places: Sequence[str]) -> str | None:
    """The label that all samples at these places, addresses or files, show; None if they do not say, or differ."""
    found: set[str | None] = set()
    for place in places:
        try:
            address = parse_address(place)
            kept = None if address or not may_keep(place) else read_kept(model, Path(place))
        except RequestError:
            return None
        found.add(_label_at(model, address.number) if address else kept and kept.label)
    return found.pop() if len(found) == 1 else None


def may_keep(place: str) -> bool:
    """Whether a place that a person names can bring a latent along: a sample's address, or a picture's file."""
    return parse_address(place) is not None or (place.lower().endswith(".png") and Path(place).is_file())


def files_of(model: Model, places: Sequence[str]) -> dict[str, bytes]:
    """The files that the samples would have whose addresses are among the places."""
    addresses = {place: address for place in places if (address := parse_address(place))}
    return {place: _file_of(model, next(draw_samples(model, address))) for place, address in addresses.items()}


def _file_of(model: Model, drawn: Drawn) -> bytes:
    picture = to_picture(drawn.pixels)
    return png_bytes(picture, keeping(picture, drawn, family(model)))


@dataclass(frozen=True, eq=False, kw_only=True)
class GivenImages(ImageDataset):
    """Images that a person named, some of which brought their latent along."""

    kept: Mapping[int, Tensor]
    """Those latents [latent], by their positions."""
    reasons: Mapping[str, str]
    """Why the latents of others cannot be used, by their names."""

    @classmethod
    def of(cls, model: Model, dataset: ImageDataset, places: Sequence[str], drawn: Mapping[str, bytes]) -> Self:
        """A data set that was opened from places, with what its files keep; some may be `drawn` and lie in no folder."""
        folder = Path(places[0]) if len(places) == 1 and Path(places[0]).is_dir() else Path()
        kept, reasons = dict[int, Tensor](), dict[str, str]()
        for index, name in enumerate(dataset.names):
            source = drawn.get(name) or folder / name
            if isinstance(source, Path) and not may_keep(str(source)):
                continue
            try:
                found = read_kept(model, source)
            except RequestError as error:
                reasons[name] = str(error)
            else:
                kept |= {} if found is None else {index: found.latent}
        return cls(**{one.name: getattr(dataset, one.name) for one in fields(dataset)}, kept=kept, reasons=reasons)

    def latents(self, model: Model, progress: ProgressCallback | None = None) -> Latents:
        """The latents [n, latent]: those that the images brought along, and the encodings of the others."""
        others = np.array([index for index in range(len(self)) if index not in self.kept], np.int64)
        latents = torch.empty(len(self), model.latent_dim)
        if len(others):
            latents[others] = encode_images(model, self, others, progress)
        for index, latent in self.kept.items():
            latents[index] = latent
        return latents
