"""One head followed through a clip, so that parts of the face can be looked at wherever it sways.

Large faces are averaged down to a working size first: what moves by less than a mouth's fortieth
does not matter here. Knows boxes and frames; it does not know what is looked for in them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .regions import Box, FaceBoxes, grown, joined, pixel_box
from .tracking import PatchTracker, sampled

WORKING_MOUTH = 40
"""Pixels a mouth is wide at most while its head is followed."""

MARGIN = 0.35
"""Room around the face for its sway, in widths of the mouth."""

SMALLEST_PATCH = 6
"""Pixels per side below which eyes are nothing to follow a head by."""

LUMA = np.array([0.299, 0.587, 0.114])
"""Rec. 601 brightness."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Points on the reference frame, grouped into cells.

    Attributes:
        y: Rows in the working plane, ``[rows, n, columns, m]``: a cell is the mean of n times m.
        x: Columns, alike.
    """

    y: np.ndarray
    x: np.ndarray


class HeadTracker:
    """Follows a head by its eyes and samples what moves along.

    Args:
        frame: The frame that the boxes belong to, ``[3, H, W]`` in 0..1.
        face: The boxes.
    """

    def __init__(self, frame: np.ndarray, face: FaceBoxes) -> None:
        size = (frame.shape[1], frame.shape[2])
        width = face.mouth[2] - face.mouth[0]
        around = joined(joined(face.mouth, face.eyes), face.face)
        self._window = pixel_box(grown(around, MARGIN * width), size)
        self._step = max(1, math.ceil(width / WORKING_MOUTH))
        self._planes = self._reduced(frame)
        box = self._reduced_box(pixel_box(face.eyes, size))
        small = min(box[2] - box[0], box[3] - box[1]) < SMALLEST_PATCH
        self._patch = None if small else PatchTracker(self._light(), box)

    @property
    def found(self) -> bool:
        """Whether the head was found in the last frame."""
        return self._patch is not None and self._patch.found

    @property
    def shift(self) -> tuple[int, int]:
        """How far down and right the head has moved since the reference frame, in whole pixels."""
        if self._patch is None:
            return 0, 0
        pose = self._patch.pose
        return round(pose.down * self._step), round(pose.right * self._step)

    def follow(self, frame: np.ndarray) -> None:
        """Go on to the next frame, ``[3, H, W]`` in 0..1."""
        self._planes = self._reduced(frame)
        if self._patch is not None:
            self._patch.follow(self._light())

    def cells(self, box: Box, rows: int, columns: int, *, spacing: float = 0.5) -> Cells:
        """A grid of cells over a box of the reference frame.

        Args:
            box: In pixels of the clip.
            rows: Cells from top to bottom.
            columns: Cells from left to right.
            spacing: Working pixels between two points of a cell, at most.
        """
        left, top, right, bottom = box
        y = self._points(top - self._window[1], bottom - self._window[1], rows, spacing)
        x = self._points(left - self._window[0], right - self._window[0], columns, spacing)
        grid = np.meshgrid(y, x, indexing="ij")
        shape = (rows, y.size // rows, columns, x.size // columns)
        return Cells(grid[0].reshape(shape), grid[1].reshape(shape))

    def colours(self, cells: Cells) -> np.ndarray:
        """Mean colours of cells in the present frame, ``[3, rows, columns]`` in 0..1."""
        y, x = cells.y, cells.x
        if self._patch is not None:
            y, x = self._patch.carried(y, x)
        return sampled(self._planes, y, x).mean(axis=(2, 4))

    def _light(self) -> np.ndarray:
        return np.tensordot(LUMA, self._planes, 1)

    def _reduced(self, frame: np.ndarray) -> np.ndarray:
        """The surroundings of the face at working size, ``[3, h, w]``."""
        left, top, right, bottom = self._window
        planes, step = frame[:, top:bottom, left:right], self._step
        if step == 1:
            return planes
        height, width = planes.shape[1] // step, planes.shape[2] // step
        whole = planes[:, : height * step, : width * step]
        return whole.reshape(3, height, step, width, step).mean(axis=(2, 4))

    def _reduced_box(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """A box of whole pixels in the working plane."""
        x, y, step = self._window[0], self._window[1], self._step
        height, width = self._planes.shape[1:]
        return (
            (box[0] - x) // step,
            (box[1] - y) // step,
            min((box[2] - x) // step, width),
            min((box[3] - y) // step, height),
        )

    def _points(self, first: float, last: float, cells: int, spacing: float) -> np.ndarray:
        """Evenly spread points from one pixel edge to another, some for each cell."""
        each = max(1, math.ceil((last - first) / self._step / spacing / cells))
        shares = (np.arange(cells * each) + 0.5) / (cells * each)
        return (first + shares * (last - first)) / self._step - 0.5
