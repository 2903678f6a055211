"""Sides of the feature maps: how often an image is halved, and to what it is padded."""

from dataclasses import dataclass

from vaegan.config import NetworkConfig


@dataclass(frozen=True)
class GridPlan:
    """How often one image size is halved, and to what it is padded.

    The image is padded to `padded`, the smallest size that halves `halvings` times down to a `grid` of at most 6.
    """

    size: int
    padded: int
    halvings: int
    grid: int


def plan_stages(size: int) -> GridPlan:
    """Halvings, padded size and coarsest grid for square images of `size` [pixels]: 64 -> 4 halvings, 28 -> 3, as 32."""
    halvings = 1
    while -(-size // 2**halvings) > 6:
        halvings += 1
    grid = -(-size // 2**halvings)
    return GridPlan(size=size, padded=grid * 2**halvings, halvings=halvings, grid=grid)


def stage_widths(config: NetworkConfig, count: int, finest: int | None = None) -> list[int]:
    """Channels of `count` stages from the finest to the coarsest; the finest has `config.width` unless told otherwise."""
    return [min((finest or config.width) * 2**stage, config.width_limit) for stage in range(count)]
