"""The size of images that --size auto stands for."""

import math
from dataclasses import replace
from itertools import islice

import numpy as np

from vaegan.config import DataConfig
from vaegan.data.decoding import Prepared, quiet_pillow
from vaegan.data.source import Source
from vaegan.shapes import AUTO, LEAST_SIZE, MOST_SIZE, Shape

_LOOKED_AT = 320  # images, about
_STEP = 16  # [pixels] of the longer side


def settle_size(source: Source, config: DataConfig) -> DataConfig:
    """Settings with a size: auto becomes 64 pixels and, in steps of 16, the longer side that most images of a source have.

    The median shape of some hundred images from all over the source decides.
    """
    if config.size != AUTO:
        return config
    step, small = max(1, source.count() // _LOOKED_AT), replace(config, size=LEAST_SIZE)
    with quiet_pillow():
        found = [one for task in islice(source.tasks(small), 0, None, step) for one in task()]
    shapes = [one.shape for one in found if isinstance(one, Prepared) and one.shape and not one.own]
    ratio = float(np.exp(np.median([math.log(shape.width / shape.height) for shape in shapes]))) if shapes else 1.0
    longer = min(MOST_SIZE, _STEP * round(64 * max(ratio, 1 / ratio) / _STEP))
    return replace(config, size=str(Shape(64, longer) if ratio > 1 else Shape(longer, 64)))
