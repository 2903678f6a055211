"""Where regular textures come from: how far periods of two and four pixels stand out, stage by stage, in generator and critic.

    python benchmarks/texture.py DATA RUN [RUN ..]

A map's standing out is its power at a period (across, down and diagonal) over the median power of frequencies within three of
those: 1 is nothing, a regular grid has far more. Of every convolution's output in the decoder, finest last, of the image, and of
the gradient of the critic's logit by its input; the first row is of networks nobody trained. `=` is the share of the power at the
period that has the same phase in all images: a grid that is drawn whatever the latent is.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from vaegan.config import NetworkConfig
from vaegan.data import VALIDATION, DataConfig, open_dataset
from vaegan.model import Model
from vaegan.networks import Critic, Decoder
from vaegan.types import Images

COUNT = 256
REACH = 3  # frequencies around a line that it is compared with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data, DataConfig())
    real = dataset.load(dataset.indices(VALIDATION)[:COUNT])
    size, channels = real.shape[-1], real.shape[1]
    config = NetworkConfig()
    torch.manual_seed(0)
    print_row("real images", [("image", real)])
    latents = torch.randn(COUNT, config.latent_dim)
    print_row("untrained", maps(Decoder(config, size, channels), Critic(config, size, channels), latents, real))
    for run in arguments.runs:
        for stage in ("vae", "gan"):
            if (run / stage / "model").is_dir():
                model = Model.from_pretrained(run / stage / "model")
                latents = model.latents(COUNT, seed=0)
                print_row(f"{run.name}, {stage}", maps(model.networks.decoder, critic_of(run / stage, model), latents, real))


def critic_of(stage: Path, model: Model) -> Critic | None:
    """The critic in the stage's checkpoint."""
    state = torch.load(stage / "checkpoint.pt", weights_only=True)["recipe"]
    for prefix in ("parts.0.player.network.", "critic.network."):
        if weights := {name.removeprefix(prefix): part for name, part in state.items() if name.startswith(prefix)}:
            critic = Critic(model.config.network, model.config.size, model.config.channels, len(model.config.labels))
            critic.load_state_dict(weights, strict=False)
            return critic
    return None


def maps(decoder: Decoder, critic: Critic | None, latents: Tensor, real: Images) -> list[tuple[str, Tensor]]:
    """Named maps [count, channels, side, side]: the decoder's convolutions, its image, the critic's gradients."""
    found: list[tuple[str, Tensor]] = []
    convolutions = [layer for layer in decoder.stages if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [
        layer.register_forward_hook(lambda _layer, _given, made: found.append((f"{made.shape[-1]}x{made.shape[-1]}", made)))
        for layer in convolutions
    ]
    with torch.no_grad():
        image = decoder(latents)
    for hook in hooks:
        hook.remove()
    found.append(("image", image))
    if critic is not None:
        found += [("gradient at real", gradient(critic, real)), ("gradient at generated", gradient(critic, image))]
    return found


def gradient(critic: Critic, images: Images) -> Tensor:
    """Of the critic's logit by each image."""
    images = images.clone().requires_grad_(True)
    return torch.autograd.grad(critic(images).sum(), images)[0].detach()


def print_row(name: str, found: list[tuple[str, Tensor]]) -> None:
    cells = [f"{what} {describe(values)}" for what, values in found]
    print(f"{name}: " + "; ".join(cells), flush=True)


def describe(values: Tensor) -> str:
    """Periods of two and four, each with how far it stands out and how much of it is the same in all images."""
    values = values.float() - values.float().mean((2, 3), keepdim=True)
    spectrum = torch.fft.fft2(values)
    power, common = spectrum.abs().square().mean((0, 1)), spectrum.mean(0).abs().square().mean(0)
    cells: list[str] = []
    for period in (2, 4):
        at = values.shape[-1] // period
        lines = [(at, 0), (0, at), (at, at)]
        out = torch.stack([power[line] / around(power, *line) for line in lines]).mean()
        same = sum(float(common[line]) for line in lines) / sum(float(power[line]) for line in lines)
        cells.append(f"{float(out):.2g} (={same:.0%})")
    return "/".join(cells)


def around(power: Tensor, row: int, column: int) -> Tensor:
    """The median power near a frequency; the axes of frequency 0 count only where the line itself lies on one."""
    side = power.shape[-1]
    near = [
        power[(row + down) % side, (column + across) % side]
        for down in range(-REACH, REACH + 1)
        for across in range(-REACH, REACH + 1)
        if (down, across) != (0, 0) and ((row + down) % side != 0 or row == 0) and ((column + across) % side != 0 or column == 0)
    ]
    return torch.stack(near).median()


if __name__ == "__main__":
    main()
