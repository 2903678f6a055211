"""Draws the README's picture from a run on the drawn faces: real images, samples of the VAE, samples of the GAN.

python docs/make_pictures.py RUN
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import vaegan
from vaegan.config import DataConfig
from vaegan.data import TRAIN, to_uint8
from vaegan.pictures import grid, save_png

COUNT, ROW, GAP = 36, 6, 16


def main() -> None:
    """Side by side, each a 6x6 grid, never picked by hand: the first training images and the samples of seed 0."""
    run = Path(sys.argv[1])
    dataset = vaegan.open_dataset("faces", DataConfig())
    real = to_uint8(dataset.load(dataset.indices(TRAIN)[:COUNT]))
    sheets = [real] + [to_uint8(vaegan.load(run, stage=stage).sample(COUNT, seed=0)) for stage in ("vae", "gan")]
    parts = [np.asarray(grid(sheet, ROW)) for sheet in sheets]
    white = np.full((parts[0].shape[0], GAP, 3), 255, np.uint8)
    joined = np.concatenate([parts[0], white, parts[1], white, parts[2]], axis=1)
    save_png(Image.fromarray(joined), Path(__file__).parent / "pictures" / "vae-and-gan.png")


if __name__ == "__main__":
    main()
