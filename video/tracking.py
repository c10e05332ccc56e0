"""Where a face has moved to: a small patch of the reference frame found again in every frame.

Shift and turn in the picture plane, after Lucas and Kanade, with brightness and contrast left free
so that drifting colours do not look like motion. Knows planes of numbers; it does not know what is
on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

ITERATIONS = 12
CLOSE_ENOUGH = 0.01
"""Pixels; a smaller step ends the search."""

FOUND = 0.5
"""Correlation with the reference below which a patch counts as lost."""

SEARCH_PIXELS = 8
"""How far a lost patch is looked for on either side."""


@dataclass(frozen=True)
class Pose:
    """How a patch has moved since the reference frame.

    Attributes:
        down: Pixels.
        right: Pixels.
        turn: Radians about the middle of the patch, clockwise.
    """

    down: float = 0.0
    right: float = 0.0
    turn: float = 0.0


class PatchTracker:
    """Finds one patch of a reference plane in others, starting from where it was last.

    Args:
        plane: The reference, ``[h, w]``, any scale of brightness.
        box: ``(left, top, right, bottom)`` of the patch in pixels of the plane.

    Differs from the textbook: the patch's gradients stand for those of the frame (inverse
    compositional, Baker and Matthews 2004), so that the matrix is inverted once.
    """

    def __init__(self, plane: np.ndarray, box: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = box
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float64)
        self.centre = ((top + bottom - 1) / 2, (left + right - 1) / 2)
        self._y, self._x = rows.ravel() - self.centre[0], columns.ravel() - self.centre[1]
        patch = plane[top:bottom, left:right].astype(np.float64).ravel()
        self._patch = patch - patch.mean()
        slope_y, slope_x = (
            np.asarray(np.gradient(plane.astype(np.float64), axis=axis))[top:bottom, left:right]
            for axis in (0, 1)
        )
        slope_y, slope_x = slope_y.ravel(), slope_x.ravel()
        turning = slope_y * self._x - slope_x * self._y
        steepest = np.stack([slope_y, slope_x, turning, self._patch, np.ones_like(patch)])
        self._solve = np.linalg.pinv(steepest.T)
        self.pose = Pose()
        self.likeness = 1.0

    @property
    def found(self) -> bool:
        """Whether the last plane had the patch."""
        return self.likeness >= FOUND

    def follow(self, plane: np.ndarray) -> Pose:
        """Find the patch in the next plane ``[h, w]``; stays where it was when it is lost."""
        pose, self.likeness = self._refined(plane, self.pose)
        if not self.found:
            pose, self.likeness = self._refined(plane, self._searched(plane))
        if self.found:
            self.pose = pose
        return self.pose

    def _refined(self, plane: np.ndarray, pose: Pose) -> tuple[Pose, float]:
        """A pose improved step by step, and how like the reference the patch is there."""
        down, right, turn = pose.down, pose.right, pose.turn
        for _ in range(ITERATIONS):
            step = self._solve @ (self._seen(plane, Pose(down, right, turn)) - self._patch)
            # The inverse of a small step, turned into the frame's directions.
            cos, sin = math.cos(turn), math.sin(turn)
            down -= cos * step[0] + sin * step[1]
            right -= cos * step[1] - sin * step[0]
            turn -= step[2]
            if max(abs(step[0]), abs(step[1])) < CLOSE_ENOUGH:
                break
        pose = Pose(float(down), float(right), float(turn))
        return pose, self._likeness(plane, pose)

    def _searched(self, plane: np.ndarray) -> Pose:
        """The likeliest of all shifts by whole pixels."""
        reach = range(-SEARCH_PIXELS, SEARCH_PIXELS + 1)
        poses = [Pose(float(down), float(right)) for down in reach for right in reach]
        return max(poses, key=lambda pose: self._likeness(plane, pose))

    def _likeness(self, plane: np.ndarray, pose: Pose) -> float:
        seen = self._seen(plane, pose)
        spread = float(np.linalg.norm(seen) * np.linalg.norm(self._patch))
        return float(seen @ self._patch) / spread if spread > 0 else 0.0

    def carried(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points of the reference plane are now, as ``(y, x)`` of the same shapes."""
        return self._moved(y - self.centre[0], x - self.centre[1], self.pose)

    def _seen(self, plane: np.ndarray, pose: Pose) -> np.ndarray:
        """What is under the patch at a pose, its mean taken out."""
        seen = sampled(plane, *self._moved(self._y, self._x, pose))
        return seen - seen.mean()

    def _moved(self, y: np.ndarray, x: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        cos, sin = math.cos(pose.turn), math.sin(pose.turn)
        return (
            self.centre[0] + pose.down + cos * y + sin * x,
            self.centre[1] + pose.right + cos * x - sin * y,
        )


def sampled(plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values of a plane ``[h, w]`` or of planes ``[C, h, w]`` at points, bilinear; edges go on."""
    height, width = plane.shape[-2:]
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    top, left = np.minimum(y.astype(int), height - 2), np.minimum(x.astype(int), width - 2)
    down, right = y - top, x - left
    above = plane[..., top, left] * (1 - right) + plane[..., top, left + 1] * right
    below = plane[..., top + 1, left] * (1 - right) + plane[..., top + 1, left + 1] * right
    return above * (1 - down) + below * down
