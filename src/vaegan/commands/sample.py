"""vaegan sample: new images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from vaegan.commands.shared import StageOption, check_folder, check_picture, report
from vaegan.errors import RequestError
from vaegan.files import atomic_folder

MOST_IN_A_GRID, MOST_SAMPLES = 10_000, 1_000_000


@dataclass(frozen=True)
class Sample:
    """Make new images."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run, or a saved model."""
    n: Annotated[int, arg(aliases=["-n"])] = 64
    """How many."""
    out: Path = Path("samples.png")
    """A .png: one picture with all of them; anything else: a folder with one PNG each."""
    seed: int = 0
    """The same seed gives the same images."""
    stage: StageOption = None
    sampler: Literal["prior", "gmm"] | None = None
    """prior: latents as the model was trained with: from N(0, I), for a GAN that grew out of a VAE from a mixture of Gaussians
    fitted to the encoded training images (--gan.prior); gmm: from that mixture anyway. The prior by default; a plain autoencoder
    has none, and takes the mixture."""
    temperature: float = 1.0
    """How far latents are drawn from the middle, times the usual: 0.8 makes fewer odd images and fewer kinds of them, 1.05 more
    of both. A GAN that grew out of a VAE draws from a mixture that --gan.temperature has narrowed already (1.087 undoes its
    0.92), and what changes coarse images most stays as wide as it is."""
    label: str | None = None
    """Only images of this label, from a model trained with --conditional; without it all labels in turn."""
    observation_noise: bool = False
    """Draw from p(x|z) of the VAE and not only its mean: honest, and grainy."""
    json: bool = False
    """Print JSON instead of words."""


def sample(request: Sample) -> None:
    """Makes images."""
    one_picture = request.out.suffix.lower() == ".png"
    limit = MOST_IN_A_GRID if one_picture else MOST_SAMPLES
    if not 1 <= request.n <= limit:
        raise RequestError(f"-n {request.n} is not possible; give 1 to {limit} (one PNG), or a folder as --out for more.")
    (check_picture if one_picture else check_folder)(request.out)

    from itertools import chain

    import numpy as np

    from vaegan import api
    from vaegan.data import to_uint8
    from vaegan.pictures import grid, save_png, to_picture

    model = api.load(request.run, request.stage)
    model = model if request.label is None else model.told(request.label)
    sampler = request.sampler or model.usual_sampler
    how = {"seed": request.seed, "stage": model.config.stage, "sampler": sampler, "temperature": request.temperature}
    notes = {name: str(value) for name, value in how.items()} | {"software": "vaegan"}
    notes |= {} if request.label is None else {"label": request.label}
    drawn = model.sample_blocks(request.n, request.seed, sampler, request.observation_noise, temperature=request.temperature)
    blocks = map(to_uint8, drawn)
    if one_picture:
        save_png(grid(np.concatenate(list(blocks))), request.out, notes)
    else:
        with atomic_folder(request.out) as folder:
            for index, image in enumerate(chain.from_iterable(blocks)):
                save_png(to_picture(image), folder / f"{index:05d}.png", notes | {"index": str(index)})
    facts = {"out": str(request.out), "count": request.n} | how
    # A plain autoencoder promises nothing about any latent, so it is said where these come from.
    source = "" if model.has_prior else " from the mixture fitted to its encodings, as it has no prior"
    words = f"{request.n} images of the {model.config.stage.upper()}{source}, seed {request.seed}: {request.out}"
    report(facts, words, request.json)
