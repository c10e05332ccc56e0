"""How open a mouth is: tracked with the head, compared with how it looks when it is closed.

Darkness alone does not tell it: teeth are bright, tongues red, outlines and beards dark. So every
frame leaves 64 numbers, the colours of 32 rows through the middle of the mouth, taken where the
head has moved to. At the end the rows that change quickly count most (heads sway, lips snap), the
frames with the least darkness and contrast are taken as closed, and what differs from them is the
opening. Nothing of the voice is read, so that the comparison with it stays honest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .head import LUMA, Cells, HeadTracker
from .regions import Box

ROWS = 32
INNER = (0.4, 0.6)
"""Share of the mouth box's width that is looked at: its middle, where rounded lips part, too."""

CLOSED_SHARE = 0.12
"""Share of the frames taken as closed: pauses between words alone are more."""

WIDEST_PERCENTILE = 98.0

RED_GREEN = np.array([0.6, -0.5, -0.1])
"""What sets lips and tongues apart from skin."""

WIDE_OPEN_DARKENING = 0.2
"""Darkening of a wide open drawn mouth in its box: mean of 20 faces, which spread by 0.04."""


@dataclass(frozen=True, eq=False)
class MouthScale:
    """What turns the looks of one mouth into its opening; carries over to clips of the same face.

    Attributes:
        closed: How it looks when closed, ``[32, 2]``: brightness and redness.
        weights: How much each row counts, ``[32]``, sum 1.
        low: Difference from ``closed`` that is 0.
        high: Difference that is 1.
    """

    closed: np.ndarray
    weights: np.ndarray
    low: float
    high: float

    def opening(self, looks: np.ndarray) -> np.ndarray:
        """Opening ``[F]`` of looks ``[F, 32, 2]``: 0 closed, 1 widest; not clipped above."""
        difference = _difference(looks, self.closed, self.weights)
        span = self.high - self.low
        return np.maximum(difference - self.low, 0) / span if span > 0 else 0 * difference


@dataclass(frozen=True, eq=False)
class MouthCurve:
    """How open one mouth is over a clip.

    Attributes:
        opening: ``[F]``, 0 closed to 1 widest, on ``scale``.
        darkening: ``[F]``: mean darkening of the mouth against its closed look, relative to the
            brightness of the skin. Needs no calibration: 0 closed, about 0.2 wide open.
        scale: From this clip, or the one handed in.
    """

    opening: np.ndarray
    darkening: np.ndarray
    scale: MouthScale


def mouth_cells(head: HeadTracker, mouth: Box) -> Cells:
    """Where the looks of a mouth are taken: 32 rows through its middle."""
    left, top, right, bottom = mouth
    width = right - left
    return head.cells((left + INNER[0] * width, top, left + INNER[1] * width, bottom), ROWS, 1)


def looks_of(colours: np.ndarray) -> np.ndarray:
    """Brightness and redness, ``[32, 2]``, of the colours of `mouth_cells`, ``[3, 32, 1]``."""
    return np.stack([LUMA @ colours[..., 0], RED_GREEN @ colours[..., 0]], axis=-1)


def mouth_curve(looks: np.ndarray, scale: MouthScale | None = None) -> MouthCurve:
    """The opening of a mouth over a clip.

    Args:
        looks: ``[F, 32, 2]``.
        scale: Of another clip of the same face, with the same boxes and the same reference frame;
            None makes one of this clip.
    """
    scale = scale or scale_of(looks)
    darker = np.maximum(scale.closed[:, 0] - looks[..., 0], 0)
    skin = max(float(np.median(scale.closed[:, 0])), 0.05)
    return MouthCurve(scale.opening(looks), darker.mean(axis=1) / skin, scale)


def scale_of(looks: np.ndarray) -> MouthScale:
    """The scale of a mouth from its looks over a clip, ``[F, 32, 2]``."""
    steps = np.diff(looks, axis=0) if len(looks) > 1 else np.zeros_like(looks)
    weights = np.sqrt(np.square(steps).sum(axis=-1).mean(axis=0)) + 1e-6
    weights = weights / weights.sum()
    closed = _typical_of_lowest(looks, _guess(looks, weights))
    difference = _difference(looks, closed, weights)
    count = _closed_frames(len(looks))
    return MouthScale(
        closed=closed,
        weights=weights,
        low=float(np.median(np.sort(difference)[:count])),
        high=float(np.percentile(difference, WIDEST_PERCENTILE)),
    )


def _guess(looks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A first idea of the opening, ``[F]``: what is dark for this mouth, and contrast."""
    light = looks[..., 0]
    dark = -np.minimum(light, np.median(light)) @ np.square(weights)
    contrast = light.std(axis=1)
    return _standardized(dark) + _standardized(contrast)


def _typical_of_lowest(looks: np.ndarray, values: np.ndarray) -> np.ndarray:
    lowest = np.argsort(values, kind="stable")[: _closed_frames(len(values))]
    return np.median(looks[lowest], axis=0)


def _closed_frames(frames: int) -> int:
    return max(1, round(CLOSED_SHARE * frames))


def _difference(looks: np.ndarray, closed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.abs(looks - closed).sum(axis=-1) @ weights


def _standardized(values: np.ndarray) -> np.ndarray:
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 0 else 0 * values
