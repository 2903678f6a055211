"""What is being explored: the models of a run, its images as latents, and everything the page may ask about them."""

import os
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vaegan.data import ImageDataset, image_from_bytes, open_dataset, to_tensor, to_uint8
from vaegan.data.decoding import MAX_PIXELS
from vaegan.data.levels import range_of
from vaegan.errors import ModelError, RequestError, VaeganError, one_line
from vaegan.explorer import coordinates
from vaegan.explorer.coordinates import Slider, TsneMap, as_base64, raw_dimensions
from vaegan.explorer.encoding import EARLY, Encodings, early_first, encode_dataset
from vaegan.explorer.protocol import Kind, Message
from vaegan.latent.directions import mean_gram
from vaegan.latent.restoring import restore, through_mask
from vaegan.latent.samples import files_of, read_kept
from vaegan.latent.stored import load_directions
from vaegan.model import Model
from vaegan.training.run import RunFolder, RunRecord
from vaegan.training.saved import images_config, load, showing
from vaegan.types import ProgressCallback

MAX_UPLOAD_BYTES = 32 * 2**20  # larger uploads are refused [bytes]
ANSWERS = 4
MOST_ADDRESS = 64  # of a sample's address [bytes]

FEWEST_ON_MAP = 2  # images that have a spread
PRIOR_DRAWS = 512
GRAM_DRAWS = 10  # draws that say which directions matter, in about a second for the preset tiny
MOST_BYTES_FOR_COLOURS = 2**30  # reading more than this for the colour of dots would take too long

DataState = Literal["absent", "waiting", "ready"]


def _models_of(run: Path, stage: str | None, label: str | None) -> dict[str, Model]:
    """The model of a run's last stage and, of a GAN with an encoder, the VAE that it grew out of, whose latents it shares."""
    main = load(run, stage).unconditional(label)
    models = {main.config.stage: main}
    vae = RunFolder(run).model("vae") / "config.json"
    if stage is None and main.config.stage == "gan" and main.has_encoder and vae.is_file():
        older = Model.from_pretrained(vae.parent).unconditional(label)
        shapes = {(model.latent_dim, model.config.size, model.config.channels) for model in (main, older)}
        if len(shapes) == 1:
            models["vae"] = older
    return models


class Explorer:
    """One run, opened; answers are pure functions of what was encoded so far."""

    def __init__(self, run: Path, data: str | None = None, stage: str | None = None, label: str | None = None) -> None:
        """Loads the models of a run, or of one `stage`; the data, its own or others, come later, by `open_data`.

        A conditional model needs its condition, a `label`; the map then shows the images of this label.
        """
        self.run = run
        self.models = _models_of(run, stage, label)  # by stage; all latents are those of the first, the last one trained
        self.data_config = images_config(self.model, run)
        record: RunRecord | None = None
        with suppress(ModelError):  # a model saved on its own
            record = RunFolder(run).read()
        self.source = data or (None if record is None else record.source)
        self.dataset: ImageDataset | None = None
        self.encodings: Encodings | None = None  # what is known of the images on the map, in the order of `order`
        self.order = np.zeros(0, np.int64)
        """Position in the data set of each image on the map; images are only ever added at its end."""
        self.growing = False
        self.tsne = TsneMap()
        self.on_progress: ProgressCallback | None = None
        self.progress = ("Opening the images", 0, 0)
        self.why_no_data = ""
        self.data_state: DataState = "waiting"
        self._sliders = raw_dimensions(self.model, None)
        self._principal: list[Slider] = []
        self._origin = np.zeros(self.model.latent_dim, np.float32)
        """The middle of the map: the prior's, until images were encoded."""
        self._saved = list(load_directions(self.model.folder, self.model, "drop").values()) if self.model.folder else []
        self._stopped = threading.Event()

    @property
    def model(self) -> Model:
        """The last stage's model."""
        return next(iter(self.models.values()))

    @property
    def knows_only_the_mixture(self) -> bool:
        """Whether only the mixture fitted to encoded images says where latents lie, as for a plain autoencoder."""
        mixture = self.model.networks.mixture
        return not self.model.has_prior and mixture is not None and mixture.is_fitted

    @property
    def draws_from_mixture(self) -> bool:
        """Whether new latents come from a mixture, which the page then holds: of a VAE, and of a GAN that grew out of one."""
        return self.model.has_prior and "mixture" in (self.model.config.prior, self.model.samplers[0])

    def close(self) -> None:
        """Stops what is still being encoded."""
        self._stopped.set()
        self.tsne.stop()

    def open_data(self, required: bool = False) -> None:
        """Opens and encodes the images, on a thread of its own beside the page; says why they cannot be, or raises it."""
        if self.data_state != "waiting":
            return
        torch.set_num_threads(os.cpu_count() or 1)  # of this thread
        if not self.model.has_encoder:
            self.leave_images_out("This GAN was trained without a VAE: nothing can be placed on the map, and no image encoded.")
            return
        if self.source is None:
            self.leave_images_out("A model saved on its own does not say what it was trained on: add --data DATA for the map.")
            return
        try:
            dataset = open_dataset(self.source, self.data_config, progress=self._report, for_training=False)
            shown = showing(self.run, dataset, self.model.fixed_label)
            if len(shown) < FEWEST_ON_MAP:
                raise RequestError(f"A map takes at least {FEWEST_ON_MAP} images, and there are only {len(shown)}.")
            encodings = encode_dataset(
                self.model,
                dataset,
                shown,
                progress=self._report,
                cancelled=self._stopped.is_set,
                early=partial(self._show, dataset, shown, growing=True),
            )
        except VaeganError as error:
            self.leave_images_out(str(error))
            if required:
                raise
            return
        if encodings is not None:
            ordered = encodings.latents[early_first(len(shown))]
            self._show(dataset, shown, Encodings(ordered, encodings.kl), growing=False)

    def _show(self, dataset: ImageDataset, shown: NDArray[np.int64], encodings: Encodings, growing: bool) -> None:
        """Puts the first images on the map, or all of them; the first ones decide its axes and its middle."""
        if not self._principal:
            first = encodings.latents[:EARLY]
            self._principal, self._origin = coordinates.principal_directions(first), first.mean(0)
        order = shown[early_first(len(shown))[: len(encodings.latents)]]
        labels = {name: values[order] for name, values in dataset.labels.items()}
        saved = coordinates.saved_directions(self._saved, encodings.latents)
        names = {one.name for one in saved}
        learned = coordinates.label_directions(encodings, labels, _in_text(dataset))
        attributes = [*saved, *(one for one in learned if one.name not in names)]
        self._sliders = [*self._principal, *attributes, *raw_dimensions(self.model, encodings)]
        # The order first: whoever knows of an image can have it.
        self.dataset, self.order, self.encodings = dataset, order, encodings
        self.growing, self.data_state = growing, "ready"

    def leave_images_out(self, why: str) -> None:
        """Makes do without images: sliders from latents that the model draws; `why` is shown."""
        if self.model.has_prior or self.knows_only_the_mixture:
            draws = self.model.latents(PRIOR_DRAWS, 0)
            if self.knows_only_the_mixture:
                self._origin = draws.mean(0).numpy()
            gram = mean_gram(self.model, draws[:GRAM_DRAWS]).float().numpy() if self.model.has_prior else None
            points = draws.numpy()
            saved = coordinates.saved_directions(self._saved, points)
            self._sliders = [*coordinates.principal_directions(points, gram), *saved, *raw_dimensions(self.model, None)]
        self.data_state, self.why_no_data = "absent", why

    def _report(self, what: str, done: int, total: int) -> None:
        self.progress = (what, done, total)
        if self.on_progress is not None:
            self.on_progress(what, done, total)

    def describe(self) -> dict[str, Any]:
        """What the page must know before it can show anything; matrices are float32 in base64."""
        config = self.model.config
        what, done, total = self.progress
        labels = [] if self.dataset is None else list(self.dataset.labels)
        words = {} if self.dataset is None else _in_text(self.dataset)
        return {
            "name": one_line(self.run.resolve().name + (f", {self.model.fixed_label}" if self.model.fixed_label else "")),
            "height": config.shape.height,
            "width": config.shape.width,
            "channels": config.channels,
            "latentDim": self.model.latent_dim,
            "stages": list(self.models),
            "canEncode": self.model.has_encoder,
            "prior": config.prior if self.model.has_prior else None,
            "samplers": self.model.samplers,
            "mixture": self._mixture(),
            "fit": self.data_config.fit,
            "background": self.data_config.background,
            "levels": range_of(self.data_config.levels, "8-bit"),
            "binarize": self.data_config.binarize == "dynamic",
            "maxUploadBytes": MAX_UPLOAD_BYTES,
            "maxUploadPixels": MAX_PIXELS,
            "origin": as_base64(self._origin),
            "directions": [slider.as_json() for slider in self._sliders],
            "data": {
                "state": self.data_state,
                "growing": self.growing,
                "why": one_line(self.why_no_data),
                "source": "" if self.source is None else one_line(Path(self.source).name),
                "progress": {"what": what, "done": done, "total": total},
                "count": 0 if self.encodings is None else len(self.encodings.latents),
                "ownColours": self.dataset is not None and self.dataset.images.nbytes <= MOST_BYTES_FOR_COLOURS,
                "labels": [{"name": name, "words": words.get(name)} for name in labels],
            },
            "tsne": self.tsne.describe(),
        }

    def _mixture(self) -> dict[str, str] | None:
        """What latents are drawn from, where that is a mixture: its used components, and what number each ends at."""
        mixture = self.model.networks.mixture
        if not self.draws_from_mixture or mixture is None:
            return None
        used = int((mixture.weights > 0).sum())
        parts = {"ends": mixture.ends[: used - 1], "means": mixture.means[:used], "factors": mixture.factors[:used]}
        return {name: as_base64(tensor.cpu().numpy()) for name, tensor in parts.items()}

    def answer(self, message: Message) -> bytes:
        """The payload that answers a message of the socket; RequestError if there is none."""
        latent_dim = self.model.latent_dim
        match message.kind:
            case Kind.DECODE:
                return self._decoded(message.option, torch.from_numpy(message.latents(latent_dim).copy()))
            case Kind.LATENTS:
                latents = self._latents()  # once: the map may grow meanwhile
                return latents[message.indices(len(latents))].tobytes()
            case Kind.IMAGES:
                images = self._opened().images
                return np.take(np.asarray(images), self.order[message.indices(len(self.order))], axis=0).tobytes()
            case Kind.NEAREST:
                latents, latent = self._latents(), message.latents(latent_dim)[0]
                distances = np.square(latents - latent).sum(1)
                count = min(max(1, message.option), len(latents))
                nearest = np.argpartition(distances, count - 1)[:count]
                return nearest[np.argsort(distances[nearest], kind="stable")].astype("<u4").tobytes()
            case Kind.PROJECT:
                if message.count != 3:
                    raise RequestError("A projection needs an origin and two axes.")
                origin, across, up = message.latents(latent_dim)
                axes = np.stack([across, up], axis=1)
                return (self._latents() @ axes - origin @ axes).astype("<f4").tobytes()

    def _decoded(self, stage: int, latents: torch.Tensor) -> bytes:
        if stage >= len(self.models):
            raise RequestError(f"There is no stage {stage}; this run has {len(self.models)}.")
        model = list(self.models.values())[stage]
        return to_uint8(
            model.decode(latents).nan_to_num()
        ).tobytes()  # sliders may ask for what no network can: a picture all the same

    def labels(self, name: str) -> bytes:
        """A label of every image, float32; RequestError if the data have no such label."""
        if self.dataset is None or name not in self.dataset.labels:
            raise RequestError(f"The images have no label {name!r}.")
        return self.dataset.labels[name][self.order].astype("<f4").tobytes()

    def mean_colours(self) -> bytes:
        """The mean colour of the middle of every image, uint8 [images, 3]; RequestError if there are no images."""
        images, order = self._opened().images, self.order
        (height, width), (top, left) = self.model.config.shape, (side // 6 for side in self.model.config.shape)
        middle = images[:, top : height - top : 2, left : width - left : 2]
        parts = [middle[order[start : start + 4096]].mean((1, 2)) for start in range(0, len(order), 4096)]
        return np.broadcast_to(np.concatenate(parts)[:, :3], (len(order), 3)).astype(np.uint8).tobytes()

    def encode_upload(self, data: bytes) -> tuple[bytes, bytes]:
        """An uploaded image file, or a sample's address, as its latent (float32) and as pixels; RequestError if it cannot be.

        The model's own samples have the latent that they were drawn from, others are encoded.
        """
        name = data[:MOST_ADDRESS].decode(errors="replace")
        data = files_of(self.model, [name]).get(name, data)
        image = image_from_bytes("The image", data, self.data_config)
        kept = None
        with suppress(RequestError):  # a picture all the same
            kept = read_kept(self.model, data)
        latent = self.model.encode(image) if kept is None else kept.latent
        return latent.cpu().numpy().astype("<f4").tobytes(), to_uint8(image).tobytes()

    def restore(self, data: bytes, progress: ProgressCallback) -> bytes:
        """Answers to what a part of a picture may be: the latent (float32) and the pixels of each, one after the other.

        `data` is the picture, uint8 [height, width, channels], and a byte for each of its pixels: 0 where it is to stay. What
        `progress` raises ends the search. RequestError if the data are anything else, or nothing or all is to be made anew.
        """
        shape, channels = self.model.config.shape, self.model.config.channels
        if len(data) != shape.area * (channels + 1):
            raise RequestError(f"A picture of {shape} and its part to be made anew are {shape.area * (channels + 1)} bytes.")
        values = np.frombuffer(bytearray(data), np.uint8)
        picture, anew = values[: shape.area * channels].reshape(1, *shape, channels), values[shape.area * channels :] > 0
        if anew.all() or not anew.any():
            raise RequestError("Paint over a part of the picture, and leave a part of it.")
        view = through_mask(torch.from_numpy(~anew).reshape(shape))
        found = restore(self.model, view.see(to_tensor(picture)), view, ANSWERS, progress=progress)
        answers = zip(found.latents[:, 0].numpy().astype("<f4"), to_uint8(found.images[:, 0]), strict=True)
        return b"".join(latent.tobytes() + pixels.tobytes() for latent, pixels in answers)

    def _opened(self) -> ImageDataset:
        if self.dataset is None:
            raise RequestError("There are no images.")
        return self.dataset

    def _latents(self) -> NDArray[np.float32]:
        if self.encodings is None:
            raise RequestError(self.why_no_data or "The images are still being encoded.")
        return self.encodings.latents


def _in_text(dataset: ImageDataset) -> dict[str, tuple[str, ...]]:
    """The words of the labels: names of folders, which need not be text."""
    return {name: tuple(map(one_line, words)) for name, words in dataset.label_words.items()}
