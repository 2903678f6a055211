"""A model on disk: its configuration, the names of its tensors, and both written, read and checked."""

import json
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vaegan.config import MOST_CLASSES, PriorName, Stage
from vaegan.errors import ModelError, RequestError
from vaegan.files import write_atomically, write_json
from vaegan.networks import Decoder, Encoder
from vaegan.objectives.likelihood import Likelihood
from vaegan.priors import PRIORS, Mixture, Prior
from vaegan.settings import from_dictionary
from vaegan.shapes import AUTO, DataConfig, NetworkConfig, Shape, plain_size, shape_of
from vaegan.transparency import TRANSPARENT

FORMAT_VERSION = 11
MAXIMUM_CONFIG_BYTES = 1_000_000
_ANOTHER = "copy the model again from where it came from, or train it again"  # what helps where a file is damaged
CARD_PICTURE = "samples.png"  # beside a saved model when its card shows one; drawn by the model


@dataclass(frozen=True)
class ModelConfig:
    """What must be known to build a model's networks; stored as config.json."""

    size: int | str
    """Side of the square images, or HEIGHTxWIDTH [pixels]."""
    channels: int
    """1 grey, 3 colour, 4 colour with transparency (transparency.py)."""
    stage: Stage
    """Which training stage the weights come from."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Shape of the networks."""
    variance: float | None = None
    """Variance of p(x|z) around the decoder's output, as calibrated on the training images; a GAN has no p(x|z), and the
    Bernoulli likelihoods need none."""
    prior: PriorName = "normal"
    """What latents are drawn from: N(0, I), uniform on [-1, 1], or the mixture beside the networks."""
    likelihood: Likelihood = "gaussian"
    """Family of p(x|z)."""
    labels: tuple[str, ...] = ()
    """What a conditional model can be told, in the order of the codes."""
    has_encoder: bool = True
    """A GAN trained from scratch has none."""
    levels: str = ""
    """What was black and white in the files of the training images, as `DataConfig.levels` takes it: so others are prepared."""
    background: str = "white"
    """What lay behind their transparency."""
    library: str = "vaegan"
    """Marks the file as this library's."""
    format_version: int = FORMAT_VERSION
    """Version of this file and of the weights' names."""

    def __post_init__(self) -> None:
        if self.size == AUTO or self.channels not in (1, 3, TRANSPARENT):
            raise RequestError(f"A model of {self.channels} channels at {self.size} pixels cannot be built here.")
        object.__setattr__(self, "size", plain_size(self.size))
        DataConfig(levels=self.levels, background=self.background)  # refuses what is not possible
        if not self.has_encoder and self.stage != "gan":
            raise RequestError(f"A model of stage {self.stage} has an encoder; this one says it has none.")
        if len(self.labels) > MOST_CLASSES:
            raise RequestError(f"The model has {len(self.labels)} labels; {MOST_CLASSES} is the most.")
        if self.variance is not None and not 0 < self.variance < math.inf:
            raise RequestError(f"The model's variance is {self.variance}; it must be positive.")

    @property
    def shape(self) -> Shape:
        """Height and width of the images [pixels]."""
        return shape_of(self.size)


class Networks(nn.Module):
    """The tensors of a model, under the names they have in model.safetensors."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        latent_dim, shape = config.network.latent_dim, (config.network, config.shape, config.channels, len(config.labels))
        self.decoder = Decoder(*shape)
        self.encoder = Encoder(*shape) if config.has_encoder else None
        self.mixture = Mixture(latent_dim) if config.has_encoder else None
        self._prior = PRIORS[config.prior]

    @property
    def prior(self) -> Prior:
        """What latents are drawn from."""
        return self.mixture if self._prior is Mixture and self.mixture is not None else self._prior(self.decoder.latent_dim)


def check_free_for_model(folder: Path) -> None:
    """Refuses to put a model where something else lies: RequestError with what it is. Over an earlier model it may go."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; a model needs a folder of its own.")
    if (folder / "run.json").is_file():
        raise RequestError(f"{folder} is a run, whose models lie in the folders of its stages; name another folder.")
    if any((folder / name).exists() for name in ("config.json", "README.md", "model.safetensors")):
        try:
            read_config(folder)
        except ModelError as error:
            raise RequestError(
                f"{folder} holds files of the names that a model has, but no model of this package; name another folder."
            ) from error


def write_model(folder: Path, config: ModelConfig, networks: Networks, card: str | None) -> None:
    """Writes config.json, model.safetensors and README.md (`card`; a short one when None) into a folder, made when missing."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in networks.state_dict().items()}
    content = save(tensors, metadata={"format": "pt"})  # not by save_file: of a full disk it has an error of its own
    write_atomically(folder / "model.safetensors", lambda file: file.write(content))
    write_json(folder / "config.json", asdict(config))
    text = card or f"# A {config.stage.upper()} of {config.shape} images, made with vaegan\n"
    write_atomically(folder / "README.md", lambda file: file.write(text.encode()))


def read_model(folder: Path) -> tuple[ModelConfig, Networks]:
    """Reads what `write_model` wrote. Nothing in it is executed, and shapes are checked before loading.

    ModelError if it is missing, damaged, of another version, or holds numbers that are not finite.
    """
    config = read_config(folder)
    with torch.device("meta"):
        networks = Networks(config)
    networks.load_state_dict(_read_tensors(folder / "model.safetensors", networks), assign=True)
    return config, networks


def read_config(folder: Path) -> ModelConfig:
    """What a model in `folder` is, without its weights; ModelError if it is missing, damaged or of another version."""
    path = folder / "config.json"
    with _as_model_errors(path):
        if path.stat().st_size > MAXIMUM_CONFIG_BYTES:
            raise ModelError(f"{path} is too large to be a model's configuration.")
        values = json.loads(path.read_text("utf-8"))
        if not isinstance(values, dict) or values.get("library") != "vaegan":
            raise ModelError(f"{path} is not the configuration of a vaegan model.")
        if values.get("format_version") != FORMAT_VERSION:
            raise ModelError(
                f"{path} has format {values.get('format_version')!r}; this version of vaegan reads {FORMAT_VERSION}. "
                "Install the version that wrote it, or train again."
            )
        return from_dictionary(ModelConfig, values, str(path))


def _read_tensors(path: Path, networks: nn.Module) -> dict[str, Tensor]:
    # Counts (how many batches a normalisation has seen) are whole numbers, everything else is float32.
    wanted = {name: [*part.shape, "F32" if part.is_floating_point() else "I64"] for name, part in networks.state_dict().items()}
    with _as_model_errors(path), safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        found = {name: [*part.get_shape(), part.get_dtype()] for name, part in slices.items()}
        if found != wanted:
            odd = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
            raise ModelError(
                f"{path} does not fit its config.json: {odd[0]!r} (and {len(odd) - 1} more tensors) differ; {_ANOTHER}."
            )
        tensors = {name: file.get_tensor(name) for name in wanted}
        # The mixture's last component ends at infinity.
        broken = [name for name, part in tensors.items() if (part.isnan() if name == "mixture.ends" else ~part.isfinite()).any()]
        if broken:
            raise ModelError(
                f"{path} holds numbers that are not finite, in {broken[0]!r} (and {len(broken) - 1} more tensors); {_ANOTHER}."
            )
        return tensors


@contextmanager
def _as_model_errors(path: Path) -> Generator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ModelError(f"No model here: {path} is missing.") from error
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}): check what it is, and its permissions.") from error
    except (ValueError, SafetensorError, RequestError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].removeprefix(f"{path}: ")
        raise ModelError(
            f"{path} cannot be used ({reason.rstrip('.')}): it is damaged, cut off or edited; {_ANOTHER}."
        ) from error
