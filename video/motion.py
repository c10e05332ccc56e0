"""Frozen motion: stretches in which nothing moves although somebody speaks.

Knows one number per frame of motion and of loudness. It sees no pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..frames import FPS

STILL_SHARE = 0.1
"""Motion below this share of the clip's median counts as none."""

STILL_LEVEL = 0.0002
"""Motion, in fractions of full scale, that is none in any clip: a twentieth of an 8-bit level."""

SPEAKING = 0.2
"""Loudness of the voice, of 1, from which a mouth has to move."""

SHORTEST_MOUTH_FRAMES = FPS // 2
SHORTEST_HEAD_FRAMES = FPS
"""Shorter rests are natural: a held vowel, a steady look."""


@dataclass(frozen=True)
class Frozen:
    """Frames ``start`` to ``stop - 1``, in which a mouth or everything else stands still.

    Attributes:
        what: ``mouth`` or ``head``.
        face: Number of the face from 1; 0 for the head, which is everything outside the mouths.
        start: First frame that equals the one before.
        stop: Frame after the last.
    """

    what: Literal["mouth", "head"]
    face: int
    start: int
    stop: int


def frozen_stretches(
    motion: np.ndarray,
    envelope: np.ndarray,
    *,
    what: Literal["mouth", "head"] = "mouth",
    face: int = 0,
) -> list[Frozen]:
    """Runs of frames without motion while the voice sounds for half of them or more.

    Args:
        motion: ``[F]``: mean absolute difference to the frame before, in fractions of full scale.
        envelope: ``[F]``: loudness, 0..1.
        what: What the motion is of; a mouth may rest half a second, a head one second.
        face: Which face's mouth.
    """
    shortest = SHORTEST_MOUTH_FRAMES if what == "mouth" else SHORTEST_HEAD_FRAMES
    usual = float(np.median(motion[1:])) if motion.size > 1 else 0.0
    still = motion < max(STILL_LEVEL, STILL_SHARE * usual)
    still[0] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]])))
    return [
        Frozen(what, face, int(start), int(stop))
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
        if stop - start >= shortest and (envelope[start:stop] > SPEAKING).mean() >= 0.5
    ]


def least_moving(values: np.ndarray, stretches: Sequence[range]) -> float:
    """Mean of the stretch with the lowest, relative to the median of all; NaN for a single one."""
    means = np.array([values[part.start : part.stop].mean() for part in stretches])
    usual = float(np.median(means))
    if len(means) < 2:
        return math.nan
    return float(means.min()) / usual if usual > 0 else 0.0
