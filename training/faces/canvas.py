"""Pixels that know where on a head they are, and how shapes are painted on them.

Knows head units and tile units, see the package. It does not know what a face consists of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .colours import Colour
from .identity import Identity
from .motion import Motion

Box = tuple[float, float, float, float]
"""Top, left, bottom, right in head units."""

OUTLINES = {"outline": 0.045, "ink": 0.06}
"""Width of the line around a shape, in head units, by drawing style; the others have none."""

# The base of the neck, about which the head turns.
_PIVOT_V = 1.0


def head_to_tile(
    face: Identity, motion: Motion, u: np.ndarray | float, v: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Where head points are in the tile; the head turns about the base of the neck.

    Returns:
        (y, x) in tile units, broadcast of ``[F]`` and the points' shape.
    """
    cos, sin = np.cos(motion.tilt), np.sin(motion.tilt)
    across, down = u, v - _PIVOT_V
    x = face.rest_x + motion.shift_x + face.head_size * (cos * across - sin * down)
    y = face.rest_y + motion.shift_y + face.head_size * (sin * across + cos * down + _PIVOT_V)
    return y, x


@dataclass(frozen=True)
class Canvas:
    """Pixels of some frames with the head coordinates of every pixel; regions are views.

    Attributes:
        pixels: ``[F, 3, H, W]`` float32 in [0, 1], painted in place.
        u: ``[F, H, W]`` head units.
        v: ``[F, H, W]`` head units.
        edge: Width of a pixel in head units.
        face: Whose head it is.
        motion: Of the same F frames.
        top: First row of this view in the tile, in pixels.
        left: First column.
    """

    pixels: np.ndarray
    u: np.ndarray
    v: np.ndarray
    edge: float
    face: Identity
    motion: Motion
    top: int = 0
    left: int = 0

    @property
    def size(self) -> float:
        """Pixels per side of the whole tile."""
        return 1 / (self.edge * self.face.head_size)

    def region(self, box: Box) -> Canvas:
        """The part that a head-units box (top, left, bottom, right) covers in any frame."""
        top, left, bottom, right = box
        corners_v = np.array([top, top, bottom, bottom])[:, None]
        corners_u = np.array([left, right, left, right])[:, None]
        y, x = head_to_tile(self.face, self.motion, corners_u, corners_v)
        y, x = y * self.size, x * self.size
        height, width = self.u.shape[1:]
        first_row = int(np.clip(np.floor(y.min()) - 1 - self.top, 0, height))
        last_row = int(np.clip(np.ceil(y.max()) + 1 - self.top, 0, height))
        first_column = int(np.clip(np.floor(x.min()) - 1 - self.left, 0, width))
        last_column = int(np.clip(np.ceil(x.max()) + 1 - self.left, 0, width))
        rows, columns = slice(first_row, last_row), slice(first_column, last_column)
        return Canvas(
            self.pixels[:, :, rows, columns],
            self.u[:, rows, columns],
            self.v[:, rows, columns],
            self.edge,
            self.face,
            self.motion,
            self.top + first_row,
            self.left + first_column,
        )

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Share of each pixel inside a shape, from signed distances in head units."""
        return np.clip(0.5 - distance * (1 / self.edge), 0, 1)

    def paint(self, coverage: np.ndarray, colour: Colour | np.ndarray) -> None:
        """Lay a colour over the pixels, ``[F, H, W]`` coverage times."""
        for channel in range(3):
            plane = self.pixels[:, channel]
            plane += coverage * (colour[channel] - plane)

    def fill(self, distance: np.ndarray, colour: Colour | np.ndarray) -> np.ndarray:
        """Paint a shape in the drawing's manner, with its outline where it has one."""
        width = OUTLINES.get(self.face.drawing, 0.0)
        if width:
            self.paint(self.cover(distance - width / 2), self.face.line)
            distance = distance + width / 2
        coverage = self.cover(distance)
        self.paint(coverage, colour)
        return coverage


def canvas_of(face: Identity, motion: Motion, pixels: np.ndarray, size: int) -> Canvas:
    """The canvas on a whole tile, ``pixels [F, 3, size, size]``."""
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size
    x = (grid[None, None, :] - face.rest_x - column(motion.shift_x)) / face.head_size
    y = (grid[None, :, None] - face.rest_y - column(motion.shift_y)) / face.head_size - _PIVOT_V
    cos, sin = column(np.cos(motion.tilt)), column(np.sin(motion.tilt))
    u = cos * x + sin * y
    v = cos * y - sin * x + _PIVOT_V
    return Canvas(pixels, u, v, 1 / (size * face.head_size), face, motion)


def grown(box: Box, margin: float) -> Box:
    """A box with a margin on all sides."""
    top, left, bottom, right = box
    return top - margin, left - margin, bottom + margin, right + margin


def column(values: np.ndarray) -> np.ndarray:
    """Per-frame values ``[F]`` made to broadcast over pixels, ``[F, 1, 1]``."""
    return values.astype(np.float32)[:, None, None]
