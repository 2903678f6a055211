"""Draws the pictures of README and docs from runs on the drawn faces.

python docs/make_pictures.py RUN

RUN is on the drawn faces: what `make demo` trained.

vae-and-gan.png: real images, samples of the VAE, samples of the GAN. smile.png: faces that nobody trained on and that do not
smile; what the VAE makes of them; and the same with more and more of the direction learned from those that do.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import vaegan
from vaegan.config import DataConfig
from vaegan.data import TRAIN, ImageDataset, to_uint8
from vaegan.latent.directions import find_direction
from vaegan.latent.learning import encode_images, groups_of_label
from vaegan.pictures import grid, save_png

COUNT, ROW, GAP = 36, 6, 16
STRENGTHS = (0.0, 0.5, 1.0, 1.5)
PICTURES = Path(__file__).parent / "pictures"


def main() -> None:
    """Nothing is picked by hand: the first images of each kind, and the samples of seed 0."""
    run = Path(sys.argv[1])
    dataset = vaegan.open_dataset("faces", DataConfig())
    draw_stages(run, dataset)
    draw_smile(vaegan.load(run, stage="vae"), dataset)


def draw_stages(run: Path, dataset: ImageDataset) -> None:
    """Real images, samples of the VAE and of the GAN side by side, each a 6x6 grid."""
    real = to_uint8(dataset.load(dataset.indices(TRAIN)[:COUNT]))
    sheets = [real] + [to_uint8(vaegan.load(run, stage=stage).sample(COUNT, seed=0)) for stage in ("vae", "gan")]
    save_png(side_by_side(sheets), PICTURES / "vae-and-gan.png")


def side_by_side(sheets: list[np.ndarray]) -> Image.Image:
    """Images as grids, with a gap between them."""
    parts = [np.asarray(grid(sheet, ROW)) for sheet in sheets]
    white = np.full((parts[0].shape[0], GAP, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([part for sheet in parts for part in (white, sheet)][1:], axis=1))


def draw_smile(model: vaegan.Model, dataset: ImageDataset) -> None:
    """The first held-out faces that do not smile, and below them what the model makes of them, strength by strength."""
    smiling, others = groups_of_label(dataset, "smiling")
    learned = (side[dataset.sides[side] == TRAIN] for side in (smiling, others))
    direction = find_direction(*(encode_images(model, dataset, side) for side in learned))
    unseen = others[dataset.sides[others] != TRAIN][: 2 * ROW]
    start = encode_images(model, dataset, unseen)
    rows = [dataset.load(unseen)] + [model.decode(start + strength * direction) for strength in STRENGTHS]
    save_png(grid(np.concatenate([to_uint8(row) for row in rows]), 2 * ROW), PICTURES / "smile.png")


if __name__ == "__main__":
    main()
