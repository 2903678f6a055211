"""What cannot work is refused here, in one line, before anything is made; and what will go wrong is said."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from vaegan.config import TrainConfig, VAEConfig
from vaegan.data import ImageDataset
from vaegan.errors import RequestError
from vaegan.model import Model
from vaegan.objectives.likelihood import RECONSTRUCTIONS
from vaegan.shapes import AUTO


def check_start(model: Model, config: TrainConfig) -> None:
    """Refuses to start from a model that does not fit the settings, whatever the images are: RequestError naming what differs."""
    if config.is_classic:
        raise RequestError("--recipe classic-gan starts from scratch, as its sources do; leave --init out, or use --recipe gan.")
    _check_handover_of_normalised(config, config.stages[0])
    if config.stages[0] != "gan" and not model.has_encoder:
        raise RequestError("The --init run has no encoder; start from a run with a VAE, or leave --init out.")
    if bool(model.config.labels) != config.is_conditional:
        raise _other_labels(model, "some" if config.is_conditional else "none")
    pairs: dict[str, tuple[Any, Any]] = {}
    if config.data.size != AUTO:
        pairs["--size"] = model.config.size, config.data.size
    for name, has in asdict(model.config.network).items():
        pairs[f"--network.{name.replace('_', '-')}"] = has, getattr(config.network, name)
    if config.data.channels != "auto":
        pairs["--channels"] = model.config.channels, int(config.data.channels)
    _check_same(pairs)
    uniform = "uniform" in (model.config.prior, config.gan.prior) and model.config.prior != config.gan.prior
    if config.stages[0] == "gan" and uniform:
        fitting = "uniform" if model.config.prior == "uniform" else "mixture"
        raise RequestError(
            f"The --init run's latents are {model.config.prior} and --gan.prior is {config.gan.prior}; its decoder would get "
            f"latents it never saw. Use --gan.prior {fitting}."
        )
    if model.config.stage == "ae" and config.stages[0] in ("gan", "joint"):
        raise RequestError(
            f"--recipe {config.recipe} cannot start from the --init run's AE, whose latents have no prior. Give a run with a VAE."
        )


def check_fits(model: Model, config: TrainConfig, dataset: ImageDataset) -> None:
    """Refuses to start from a model of other channels or labels than the images'; `check_start` comes before."""
    words = dataset.categories(config.condition)[2] if config.is_conditional else ()
    if model.config.labels != words:
        raise _other_labels(model, ", ".join(words))
    _check_same({"--channels": (model.config.channels, dataset.channels), "--size": (model.config.size, dataset.config.size)})


def _check_same(pairs: Mapping[str, tuple[Any, Any]]) -> None:
    """Refuses settings of which the model that a run starts from has others."""
    differing = {name: (has, wants) for name, (has, wants) in pairs.items() if has != wants}
    if differing:
        name, (has, wants) = next(iter(differing.items()))
        same = " ".join(f"{option} {value}" for option, (value, _) in differing.items())
        raise RequestError(f"The --init run has {name} {has} but this run has {wants}; they must be the same: add {same}.")


def _other_labels(model: Model, wanted: str) -> RequestError:
    has = f"knows the labels {', '.join(model.config.labels)}" if model.config.labels else "knows no labels"
    return RequestError(f"--init and --conditional do not fit: that run {has}, this run is told {wanted}.")


def _check_handover_of_normalised(config: TrainConfig, grown: str) -> None:
    """Refuses a GAN or joint model on batch-normalised networks that would mix encoded and drawn latents in one batch."""
    if config.network.norm == "batch" and grown in ("gan", "joint") and not config.is_classic:
        where = f"--recipe {config.recipe}"
        raise RequestError(
            f"--network.norm batch does not fit {where}: real and generated images share a batch there, whose statistics are "
            "neither's. Use --network.norm none, or --recipe vae or classic-gan."
        )


def _check_normalisation(config: TrainConfig, world_size: int) -> None:
    if config.network.norm != "batch":
        return
    processes = max(world_size, config.device.devices * config.device.nodes)
    if processes > 1:
        raise RequestError(
            f"--network.norm batch does not fit --devices {processes}: each process would normalise by its own part of the "
            "batch. Use --devices 1, or --network.norm none."
        )
    _check_handover_of_normalised(config, config.stages[-1])


OUTPUT_OF = {"cross-entropy": "sigmoid", "continuous-bernoulli": "continuous-bernoulli"}
"""Decoder outputs that give the mean of what an objective models; all others compare images in [-1, 1]."""


def check_output_range(config: TrainConfig) -> None:
    """Refuses a decoder whose last operation does not give what the objective compares: RequestError naming both settings.

    Two of the tutorials behind this project held a sigmoid, which ends at 0, against images that begin at -1.
    """
    output = config.network.output
    objectives: dict[str, str] = {"ae": "squared-error", "vae": config.vae.objective}
    for stage in config.stages:
        if stage not in objectives:
            continue
        wanted = OUTPUT_OF.get(objectives[stage])
        setting = "--vae.objective" if stage == "vae" else "the AE's"
        if wanted is None and output in OUTPUT_OF.values():
            raise RequestError(
                f"--network.output {output} models values in [0, 1], but {setting} {objectives[stage]} compares with images in "
                "[-1, 1]: use --network.output linear or tanh."
            )
        if wanted is not None and output != wanted:
            raise RequestError(f"{setting} {objectives[stage]} needs --network.output {wanted}, not {output}.")


def describe_objective(config: VAEConfig, values: int) -> str:
    """The VAE's objective in a sentence, with its effective beta where it is defined, for images of so many `values`."""
    bound = f"IWAE-{config.samples}, " if config.samples > 1 else ""
    start = f"VAE objective: {bound}{config.objective}"
    reconstruction, kl_weight = RECONSTRUCTIONS[config.objective], config.kl_weight
    if config.reconstruction_weight == 0:
        return f"{start} with reconstruction weight 0: only the KL divergence is trained, and images will not come back."
    if kl_weight == 0:
        return f"{start} with KL weight 0: nothing orders the latents, and samples of the prior will not look like images."
    if reconstruction.beta is None:
        return f"{start}; there is no effective beta, which 1/2 squared error + beta KL would define."
    ratio = kl_weight / config.reconstruction_weight
    if config.objective == "calibrated":
        return f"{start}; effective beta = {ratio:g} x the current mean squared error."
    beta = ratio * float(reconstruction.beta(values, torch.ones(())))
    collapses = ": the KL divergence wins and the posterior will collapse; calibrated does not" if beta > 50 else ""
    return f"{start}; effective beta {beta:,.4g} (1/2 squared error + beta KL){collapses}."


def reason_of_collapse(config: VAEConfig, values: int) -> tuple[str, float]:
    """Which setting lets the KL divergence win, in words, and how many times too much it weighs: 1 when it does not.

    The yardstick is the calibrated objective at a squared error of 0.1 for each of an image's `values`, where photographs and
    drawings end.
    """
    ratio, beta = config.kl_weight / config.reconstruction_weight, RECONSTRUCTIONS[config.objective].beta
    excess = ratio if beta is None else ratio * float(beta(values, torch.tensor(0.1, dtype=torch.float64))) / 0.1
    if excess <= 1:
        return "the reconstruction gains less by them than they cost", 1.0
    if config.objective == "mean-squared-error":
        return f"mean-squared-error averages over an image's {values:,} values, and nothing divides the KL divergence", excess
    times = f"{excess:.3g}" if excess < 10 else f"{excess:,.0f}"
    return f"the KL divergence weighs {times} times what the calibrated objective gives it", excess


def check_settings(config: TrainConfig, world_size: int) -> None:
    """Refuses combinations that cannot work, before anything is made: RequestError naming the settings."""
    check_output_range(config)
    _check_normalisation(config, world_size)
    if config.stages == ("vae", "gan") and config.gan.prior == "uniform":
        raise RequestError(
            "--gan.prior uniform does not fit --recipe vae-gan: the VAE's decoder does not know uniform latents. Use "
            "--gan.prior mixture or --recipe gan."
        )
    for stage in config.stages:
        batch_size = config.batch_size(stage)
        # The penalty and the anchor look at a quarter of the batch, which must be the same images for any number of processes.
        share = 4 * world_size if stage in ("gan", "joint") and world_size > 1 else world_size
        if batch_size % share:
            raise RequestError(
                f"The batch size of {stage}, {batch_size}, cannot be shared by {world_size} processes; use a multiple of {share}."
            )
