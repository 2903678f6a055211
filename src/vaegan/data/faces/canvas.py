"""A batch of pictures painted with signed distance fields: anti-aliased at any size, all faces at once."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

# float32 in fact; numpy's annotations take float32 times a Python number for float64.
Array = npt.NDArray[np.floating[Any]]
Index = npt.NDArray[np.intp]

LINE = 0.030  # width of an outline; the frame is 2 wide, so this is one pixel at 64x64


@dataclass(frozen=True)
class Canvas:
    """Pictures [face, 3, row, column] in [0, 1], painted in place, and the coordinates of their pixel centres.

    The frame runs from -1 to 1, x to the right and y down. `x`, `y` broadcast to [face, row, column]; `pixel` is the
    width of a pixel in the unit of `x` and `y`.
    """

    pixels: Array
    x: Array
    y: Array
    pixel: Array

    @classmethod
    def blank(cls, count: int, size: int) -> Self:
        """Black square pictures."""
        centres = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
        pixels = np.zeros((count, 3, size, size), np.float32)
        return cls(pixels, centres[None, None, :], centres[None, :, None], np.full((1, 1, 1), 2 / size, np.float32))

    def coverage(self, distance: Array) -> Array:
        """Share of each pixel inside the shape whose signed distance (negative inside) is given."""
        share = distance / -self.pixel
        share += 0.5
        return np.clip(share, 0, 1, out=share)

    def paint(self, alpha: Array, colour: Array) -> None:
        """Lay `colour` [face, 3, 1, 1] or [face, 3, row, column] over the pictures with opacity `alpha`."""
        for channel in range(3):  # one at a time: three planes together do not fit a core's cache
            plane = self.pixels[:, channel]
            change = colour[:, channel] - plane
            change *= alpha
            plane += change

    def shape(
        self, distance: Array, fill: Array, ink: Array, line: float = LINE, fade: tuple[Array, Array] | None = None
    ) -> Array:
        """Paint a filled shape with an outline of colour `ink` centred on its edge; returns the coverage inside it.

        With `fade` = (colour, share [face, row, column]) the fill turns to another colour where the share is one.
        """
        inside, covered = self.coverage(distance + line / 2), self.coverage(distance - line / 2)
        for channel in range(3):
            plane, edge = self.pixels[:, channel], ink[:, channel]
            change = fill[:, channel] - edge
            if fade is not None:
                change = fade[1] * (fade[0] - fill)[:, channel] + change
            change = change * inside
            change += edge
            change -= plane
            change *= covered
            plane += change
        return inside

    def stroke(self, distance: Array, width: Array | float, colour: Array, clip: Array | float = 1.0) -> None:
        """Paint a line along the zero of a signed distance; thin lines fade instead of growing to a pixel."""
        alpha = self.coverage(distance - width / 2) - self.coverage(distance + width / 2)
        self.paint(alpha * clip, colour)

    @contextmanager
    def window(
        self, x: Array, y: Array, half_width: float, half_height: float, faces: Index | None = None
    ) -> Generator["Canvas"]:
        """A copy of the part of each picture around (x, y) [face, 1, 1], pasted back at the end: small parts cost less.

        `faces` picks the pictures that x and y belong to (default: all).
        """
        size = self.pixels.shape[-1]
        width, height = (min(size, int(np.ceil(half * size)) + 2) for half in (half_width, half_height))
        left = np.clip((x + 1) * (size / 2) - width / 2, 0, size - width).astype(np.intp)
        top = np.clip((y + 1) * (size / 2) - height / 2, 0, size - height).astype(np.intp)
        which = np.arange(len(x)) if faces is None else faces
        # One copy for all faces: a loop over slices hands Python's lock to the other threads once a face.
        views = np.lib.stride_tricks.sliding_window_view(self.pixels, (height, width), axis=(2, 3), writeable=True)
        place = (which, slice(None), top[:, 0, 0], left[:, 0, 0])
        across, down = self.x[0, 0][left + np.arange(width)], self.y[0, :, 0][top + np.arange(height)[:, None]]
        part = Canvas(views[place], across, down, self.pixel)
        yield part
        views[place] = part.pixels


def ellipse(x: Array, y: Array, radius_x: Array | float, radius_y: Array | float) -> Array:
    """Signed distance to an ellipse around the origin, exact to first order at its edge."""
    across, down = x / radius_x, y / radius_y
    reach = np.sqrt(across**2 + down**2) + np.float32(1e-6)
    slope = np.sqrt((across / radius_x) ** 2 + (down / radius_y) ** 2) + np.float32(1e-6)
    return reach * (reach - 1) / slope


def rounded_box(x: Array, y: Array, half_width: Array | float, half_height: Array | float, radius: Array) -> Array:
    """Signed distance to a box around the origin with rounded corners."""
    across, down = np.abs(x) - half_width + radius, np.abs(y) - half_height + radius
    outside = np.sqrt(np.maximum(across, 0) ** 2 + np.maximum(down, 0) ** 2)
    return outside + np.minimum(np.maximum(across, down), 0) - radius


def polygon(x: Array, y: Array, corners: tuple[tuple[float, float], ...]) -> Array:
    """Signed distance to a convex polygon's nearest edge line; corners clockwise as seen in the picture."""
    sides: list[Array] = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = float(np.hypot(x1 - x0, y1 - y0))
        sides.append((x - x0) * ((y1 - y0) / length) - (y - y0) * ((x1 - x0) / length))
    return np.maximum.reduce(sides)


def arch(x: Array, y: Array, height: Array | float, bend: Array | float) -> Array:
    """Signed distance to the parabola y = height + bend x^2, negative above it (smaller y)."""
    return (y - height - bend * x**2) / np.sqrt(1 + (2 * bend * x) ** 2)


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    share = value * np.float32(1 / (high - low))
    share -= np.float32(low / (high - low))
    np.clip(share, 0, 1, out=share)
    return share * share * (3 - 2 * share)


class Profile:
    """Curves y(t), one a face, tabulated over t: any outline at the price of a lookup a pixel."""

    STEPS = 512

    def __init__(self, low: float, high: float) -> None:
        """Cover t from `low` to `high`; `grid` [1, 1, steps] are the places to evaluate the curves at."""
        self.low, self.scale = low, self.STEPS / (high - low)
        self.grid: Array = (low + (np.arange(self.STEPS, dtype=np.float32)[None, None] + 0.5) / self.scale).astype(np.float32)

    def places(self, position: Array) -> Index:
        """Where to read the flattened tables of all faces for positions [face, row, column]."""
        step = np.clip((position - self.low) * self.scale, 0, self.STEPS - 1).astype(np.intp)
        step += np.arange(len(position))[:, None, None] * self.STEPS
        return step

    def slope(self, table: Array) -> Array:
        """The derivative of a table [face, 1, steps]."""
        return (np.gradient(table, axis=-1) * self.scale).astype(np.float32)


class PolarProfile(Profile):
    """Outlines r(direction) around the head's centre; directions are 0 up, +-1 to the sides, +-2 down."""

    def __init__(self) -> None:
        """`angle` [1, 1, steps] is the true angle from up in radians."""
        super().__init__(-2, 2)
        magnitude = np.abs(self.grid)
        across = np.sign(self.grid) * np.where(magnitude < 1, magnitude, 2 - magnitude)
        self.angle: Array = np.arctan2(across, 1 - magnitude).astype(np.float32)

    @staticmethod
    def direction(x: Array, y: Array) -> Array:
        """Direction of each point, to be looked up with `places`."""
        share = x / (np.abs(x) + np.abs(y) + np.float32(1e-6))
        return np.where(y < 0, share, np.copysign(np.float32(2), x) - share)

    def outline(self, radius: Array, x: Array, y: Array) -> Array:
        """Signed distance, to first order, of points to the outline of table `radius`."""
        direction = self.direction(x, y)
        places = self.places(direction)
        steepness = np.gradient(radius, axis=-1) / np.gradient(self.angle, axis=-1) / radius
        normal = (1 / np.sqrt(1 + steepness**2)).astype(np.float32)
        # Interpolate: steps of the table would show as teeth where a long outline runs down.
        slope = self.slope(radius)
        edge = np.take(slope, places) * direction
        edge += np.take(radius - slope * self.grid, places)
        return (np.sqrt(x**2 + y**2) - edge) * np.take(normal, places)


def superellipse(angle: Array, half_width: Array, up: Array, down: Array, power_up: Array, power_down: Array) -> Array:
    """Radius at `angle` from up of an egg: two halves of superellipses that meet at its widest place."""
    upper = np.abs(angle) < np.pi / 2
    height, power = np.where(upper, up, down), np.where(upper, power_up, power_down)
    across, along = np.abs(np.sin(angle)) / half_width, np.abs(np.cos(angle)) / height
    return ((across**power + along**power) ** (-1 / power)).astype(np.float32)
