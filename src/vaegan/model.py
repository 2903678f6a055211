"""Model: encode, decode, sample. Inference only; knows no training."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vaegan.data import given_images
from vaegan.errors import RequestError, did_you_mean
from vaegan.model_files import ModelConfig, Networks, check_free_for_model, read_model, write_model
from vaegan.networks import Gaussian
from vaegan.objectives import likelihood as likelihoods
from vaegan.priors import Mixture, Prior
from vaegan.randomness import keyed_seed
from vaegan.sharing import share
from vaegan.types import Images, Labels, Latents

BLOCK = 64  # samples are drawn and decoded in blocks of this size, so that image i does not depend on how many are asked for
AT_ONCE = 4 * BLOCK  # images or latents that pass a network together
HOTTEST = 10  # of temperatures: what is so far out decodes to noise

Sampler = Literal["mixture", "prior"]


class Model:
    """A trained model: latents to images, images to latents.

    Images are float [batch, channel, height, width] in [-1, 1], or given as NumPy arrays, of such numbers or of uint8
    [batch, height, width, channel]; latents are [batch, latent]. Nothing here tracks gradients.
    """

    def __init__(self, config: ModelConfig, networks: Networks, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        self.networks = networks.to(self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.networks.eval().requires_grad_(False)
        self.folder: Path | None = None
        """Where the model was read from."""
        self.fixed_label: str | None = None
        """The label that `for_label` folded into the weights."""
        self.whole: Model | None = None
        """The conditional model that `for_label` was asked of."""

    @property
    def latent_dim(self) -> int:
        """Length of a latent."""
        return self.config.network.latent_dim

    @property
    def has_prior(self) -> bool:
        """Whether latents are distributed as something known; a plain autoencoder's are not."""
        return self.config.stage != "ae"

    @property
    def has_observation_noise(self) -> bool:
        """Whether there is a p(x|z) to draw from."""
        return self.config.variance is not None or self.config.likelihood in ("bernoulli", "continuous-bernoulli")

    @property
    def has_encoder(self) -> bool:
        """Whether `encode` and `reconstruct` can be used."""
        return self.config.has_encoder

    @torch.no_grad()
    def posterior(self, images: Images | NDArray[Any], labels: Labels | None = None) -> Gaussian:
        """Mean and log-variance of q(z|x) for each image.

        Raises:
            RequestError: if the model has no encoder, the images have another shape or values outside [-1, 1], NaN and infinities
                among them, or a conditional model gets no `labels`.
        """
        self.require_encoder()
        assert self.networks.encoder is not None
        images = given_images(images, self.config.channels, self.config.shape)
        self._check_labels(labels, len(images))
        if len(images) == 0:
            empty = torch.zeros(0, self.latent_dim, device=self.device)
            return Gaussian(empty, empty)
        means, log_vars = zip(*(self.networks.encoder(*block) for block in self._blocks(images, labels)), strict=True)
        return Gaussian(torch.cat(means), torch.cat(log_vars))

    @torch.no_grad()
    def encode(self, images: Images | NDArray[Any], labels: Labels | None = None) -> Latents:
        """The latent of each image: the mean of its `posterior`."""
        return self.posterior(images, labels).mean

    @torch.no_grad()
    def decode(self, latents: Latents | NDArray[Any], labels: Labels | None = None) -> Images:
        """The image of each latent (of its label, for a conditional model): the mean of p(x|z), in [-1, 1]."""
        latents = torch.as_tensor(latents)
        self._check_labels(labels, len(latents))
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim:
            raise RequestError(f"Latents of shape {list(latents.shape)} do not fit; this model wants [n, {self.latent_dim}].")
        if len(latents) == 0:
            return torch.zeros(0, self.config.channels, *self.config.shape, device=self.device)
        return torch.cat([self.networks.decoder(*block) for block in self._blocks(latents, labels)])

    @torch.no_grad()
    def raw(self, latents: Latents, labels: Labels | None = None) -> Tensor:
        """What `objectives.likelihood.log_density` needs of each latent: the decoder's numbers before its last operation."""
        self._check_labels(labels, len(latents))
        return torch.cat([self.networks.decoder(*block, raw=True) for block in self._blocks(latents, labels)])

    def reconstruct(self, images: Images | NDArray[Any], labels: Labels | None = None) -> Images:
        """Decoded encodings: what the model keeps of each image."""
        return self.decode(self.encode(images, labels), labels)

    def for_label(self, label: str) -> "Model":
        """The unconditional model that takes every image for one of `label`, whose biases are folded into the weights."""
        names = self.config.labels
        if label not in names:
            known = f"it knows {', '.join(names)}" if names else "it was trained without --conditional: leave --label out"
            raise RequestError(f"This model knows no label {label!r}; {known}.{did_you_mean(label, names)}")
        config = replace(self.config, labels=())
        with torch.device("meta"):
            networks = Networks(config)
        state = {name: tensor for name, tensor in self.networks.state_dict().items() if name in networks.state_dict()}
        for part, network in (("decoder", self.networks.decoder), ("encoder", self.networks.encoder)):
            if network is not None:
                state |= {f"{part}.{name}": tensor for name, tensor in network.for_label(names.index(label)).items()}
        networks.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
        model = Model(config, networks, self.device)
        model.folder, model.fixed_label, model.whole = self.folder, label, self
        return model

    def unconditional(self, label: str | None, option: str = "--label") -> "Model":
        """This model, or of a conditional one that of `label`, given by `option`; RequestError if it is missing or not known."""
        return self._needs_label(option) if label is None else self.for_label(label)

    def _needs_label(self, option: str = "--label") -> Self:
        if self.config.labels:
            known = ", ".join(self.config.labels)
            raise RequestError(f"This model was trained with --conditional; say which with {option}: {known}.")
        return self

    def _check_labels(self, labels: Labels | None, count: int) -> None:
        if labels is None:
            self._needs_label()
        if not self.config.labels or labels is None:
            return
        if labels.shape != (count,):
            raise RequestError(f"Labels of shape {list(labels.shape)} do not fit; {count} images take [{count}], a code each.")
        if not ((labels >= 0) & (labels < len(self.config.labels))).all():
            raise RequestError(f"This model's labels have the codes 0 to {len(self.config.labels) - 1}; others are given.")

    def _blocks(self, batch: Tensor, labels: Labels | None) -> Iterator[tuple[Tensor, ...]]:
        """Parts of a batch on the device, beside those of the labels of a conditional model."""
        batch = batch.float()  # NumPy's numbers are double
        whole = (batch,) if not self.config.labels or labels is None else (batch, labels)
        return zip(*([part.to(self.device) for part in tensor.split(AT_ONCE)] for tensor in whole), strict=True)

    @torch.no_grad()
    def latents(
        self, count: int, seed: int = 0, sampler: Sampler | None = None, temperature: float = 1.0, first: int = 0
    ) -> Latents:
        """`count` latents from the prior or the fitted mixture, those of the images that `sample` makes; see there.

        Raises:
            RequestError: if the model lacks what the sampler draws from, or the temperature is no positive number.
        """
        blocks = _blocks_of(count, first)
        draw = self._drawing(seed, sampler, temperature)
        return torch.cat([torch.zeros(0, self.latent_dim), *map(draw, blocks)])[first % BLOCK :][:count]

    def _drawing(self, seed: int, sampler: Sampler | None, temperature: float) -> Callable[[int], Latents]:
        if not 0 < temperature <= HOTTEST:
            raise RequestError(
                f"The temperature is {temperature:g}; give a number over 0 and up to {HOTTEST}; 1 changes nothing."
            )
        tempered = self.prior(sampler).tempered(temperature)
        return lambda block: tempered.sample(BLOCK, torch.Generator().manual_seed(keyed_seed(seed, "sample", block)))

    def prior(self, sampler: Sampler | None = None) -> Prior:
        """What a sampler draws latents from, on the CPU; RequestError if the model lacks it. See `sample`."""
        sampler = sampler or self.samplers[0]
        if sampler not in get_args(Sampler):
            raise RequestError(f"There is no sampler {sampler!r}; there are {' and '.join(get_args(Sampler))}.")
        if sampler == "prior" and not self.has_prior:
            raise RequestError(
                "A plain autoencoder has no prior to sample from: use --sampler mixture, which was fitted to its encodings."
            )
        return self._mixture() if "mixture" in (sampler, self.config.prior) else self.networks.prior

    @torch.no_grad()
    def sample(
        self,
        count: int,
        seed: int = 0,
        sampler: Sampler | None = None,
        observation_noise: bool = False,
        labels: Labels | None = None,
        temperature: float = 1.0,
        first: int = 0,
    ) -> Images:
        """New images.

        Args:
            count: how many.
            seed: the same seed gives the same images, bit for bit on one machine; image i does not depend on count.
            sampler: mixture draws latents from the mixture fitted to the encoded training images; prior from what the model was
                trained with: N(0, I), for a GAN what --gan.prior says. The first of `samplers` when None.
            observation_noise: draw from p(x|z) and not only its mean.
            labels: one code for each image, for a conditional model; all its labels in turn when None.
            temperature: factor on the width of the prior, or of each Gaussian of the mixture. Under 1: fewer odd images and fewer
                kinds of them (Kingma & Dhariwal 2018, Section 6).
            first: the number of the first one among all samples of the seed: `sample(1, seed=0, first=37)` is what the command
                line calls 0:37.
        """
        blocks = self.sample_blocks(count, seed, sampler, observation_noise, labels, temperature, first)
        empty = torch.zeros(0, self.config.channels, *self.config.shape)
        return torch.cat([empty, *blocks])

    def sample_blocks(
        self,
        count: int,
        seed: int = 0,
        sampler: Sampler | None = None,
        observation_noise: bool = False,
        labels: Labels | None = None,
        temperature: float = 1.0,
        first: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[Images]:
        """The images of `sample` in blocks of at most 64, for more of them than fit into memory.

        `share` (r, w) gives every w-th block from the r-th on, for the r-th of w processes.
        """
        blocks, end = _blocks_of(count, first), first + count
        if observation_noise and not self.has_observation_noise:
            raise RequestError(
                f"The {self.config.stage.upper()} has no p(x|z) to draw from; use --stage vae, or leave --observation-noise out."
            )
        draw = self._drawing(seed, sampler, temperature)
        if not self.config.labels:
            labels = None
        elif labels is not None:
            self._check_labels(labels, count)
            labels = functional.pad(labels.cpu(), (first % BLOCK, -end % BLOCK))
        else:
            labels = torch.arange(blocks.start * BLOCK, blocks.stop * BLOCK) % len(self.config.labels)
        parts = repeat(None) if labels is None else labels.split(BLOCK)
        return (
            self._sample_block(draw, part, seed, at, observation_noise)[max(first - at * BLOCK, 0) : end - at * BLOCK]
            for at, part in islice(zip(blocks, parts, strict=False), share[0], None, share[1])
        )

    @torch.no_grad()
    def _sample_block(
        self, draw: Callable[[int], Latents], labels: Labels | None, seed: int, index: int, observation_noise: bool
    ) -> Images:
        latents = draw(index)
        if not observation_noise:
            return self.decode(latents, labels).cpu()
        raw = self.raw(latents, labels)
        images, raw = self.networks.decoder.output(raw).cpu(), raw.cpu()
        generator = torch.Generator().manual_seed(keyed_seed(seed, "observation", index))
        variance = self.config.variance or 0.0
        return likelihoods.draw(self.config.likelihood, images, raw, variance, generator).clamp(-1, 1)

    @property
    def samplers(self) -> tuple[Sampler, ...]:
        """What latents can be drawn from, the default first: of a VAE its mixture, as it never learned from draws of N(0, I)."""
        mixture = self.networks.mixture
        if self.config.stage == "gan" or (self.has_prior and (mixture is None or not mixture.is_fitted)):
            return ("prior",)
        return ("mixture", "prior") if self.has_prior else ("mixture",)

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> None:
        """Writes config.json, model.safetensors and README.md, the layout of the Hugging Face Hub; the folder need not exist.

        `card` is the text of README.md; a short one when None. RequestError if the folder holds something else than a model.
        """
        check_free_for_model(Path(folder))
        write_model(Path(folder), self.config, self.networks, card)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: torch.device | str = "cpu") -> Self:
        """Reads a model that `save_pretrained` wrote. Nothing in it is executed, and shapes are checked before loading.

        Raises:
            ModelError: if it is missing, damaged, or of a newer version.
        """
        model = cls(*read_model(Path(folder)), device)
        model.folder = Path(folder)
        return model

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None, card: str | None = None) -> str:
        """Shares the files of `save_pretrained` on the Hugging Face Hub; returns the address.

        Warns (UserWarning) if the evaluation of its run found that it copies training images.

        Args:
            repository: NAME or OWNER/NAME; made if it does not exist.
            private: whether only its owner sees it, if it has to be made.
            token: of an account; that of `hf auth login` when None.
            card: text of README.md; the card that was saved with the model when None.

        Raises:
            RequestError: if the extra [hub] is missing or the name is none.
            VaeganError: if the Hub cannot be reached or refuses.
        """
        return share(self, self.folder, repository, private, token, card)

    def require_encoder(self, instead: str | None = None) -> None:
        """Refuses what only an encoder can do: RequestError if there is none, with what can be done `instead`."""
        if not self.has_encoder:
            other = f", or {instead}" if instead else ""
            raise RequestError(f"This GAN was trained without a VAE, so it has no encoder; train with --recipe vae-gan{other}.")

    def _mixture(self) -> Mixture:
        mixture = self.networks.mixture
        if mixture is None or not mixture.is_fitted:
            if self.has_encoder:
                raise RequestError("This model has no fitted mixture yet: its stage is not finished. Go on with --resume.")
            raise RequestError("This model has no encoder, and so no mixture fitted to encodings; use --sampler prior.")
        return copy.deepcopy(mixture).cpu()


def _blocks_of(count: int, first: int) -> range:
    """The blocks of 64 samples that `count` of them, from the one numbered `first` on, lie in."""
    if min(count, first) < 0:
        raise RequestError(f"{min(count, first)} is no number of samples; give 0 or more.")
    return range(first // BLOCK, -(-(first + count) // BLOCK) if count else first // BLOCK)
