"""Shape of the feature maps: how often an image is halved, and to what it is padded."""

from dataclasses import dataclass

from vaegan.config import NetworkConfig
from vaegan.shapes import Shape, shape_of

MOST_PLACES = 36  # of the coarsest map


@dataclass(frozen=True)
class GridPlan:
    """How often images of one size are halved, and to what they are padded.

    They are padded to `padded`, the smallest sides that halve `halvings` times down to the sides of `grid`.
    """

    padded: Shape
    halvings: int
    grid: Shape


def halved(size: int | Shape, halvings: int) -> GridPlan:
    """The plan for images of `size` [pixels] and a number of halvings."""
    grid = Shape(*(-(-side // 2**halvings) for side in shape_of(size)))
    return GridPlan(Shape(*(side * 2**halvings for side in grid)), halvings, grid)


def plan_stages(size: int | Shape) -> GridPlan:
    """Halves images of `size` [pixels] down to a grid of at most 36 places: 64 -> 4 halvings, 28 -> 3, as 32; 64x96 -> 4."""
    halvings = 1
    while halved(size, halvings).grid.area > MOST_PLACES:
        halvings += 1
    return halved(size, halvings)


def stage_widths(config: NetworkConfig, count: int, finest: int | None = None) -> list[int]:
    """Channels of `count` stages from the finest to the coarsest; the finest has `config.width` unless told otherwise."""
    return [min((finest or config.width) * 2**stage, config.width_limit) for stage in range(count)]
