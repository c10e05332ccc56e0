"""Lip sync: how a mouth's opening follows a voice, frame by frame.

Two curves of one number per frame go in. It does not know where they come from: neither pictures
nor sound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..frames import FPS

LARGEST_LAG_FRAMES = 8
"""Lags that are looked at on either side: 0.32 s, far beyond what a viewer forgives."""

SHORTEST_SHIFT_FRAMES = FPS + 1
"""Shuffled audio is moved by more than a second, so that no syllable meets itself."""

SHUFFLES = 64
"""Shifts of the control at most, evenly spread over the clip."""


@dataclass(frozen=True)
class Sync:
    """How a mouth follows a voice. Correlations are Pearson's r; NaN where one curve is constant.

    Attributes:
        correlation: At lag 0.
        lag_frames: Where the correlation is highest within 8 frames on either side, refined by a
            parabola; positive when the mouth comes after the voice.
        best_correlation: At the whole frame nearest to that lag.
        shuffled_mean: Control: mean of r with the voice moved round by more than a second.
        shuffled_mean_abs: Control: mean of its size.
        shuffled_max_abs: Control: the largest of them.
    """

    correlation: float
    lag_frames: float
    best_correlation: float
    shuffled_mean: float
    shuffled_mean_abs: float
    shuffled_max_abs: float


def measure_sync(opening: np.ndarray, envelope: np.ndarray) -> Sync:
    """Compare a mouth with a voice.

    Args:
        opening: How open the mouth is, ``[F]``, any scale.
        envelope: How loud the voice is, ``[F]``, any scale.

    Raises:
        ValueError: The curves differ in length.
    """
    if opening.shape != envelope.shape:
        raise ValueError(f"{opening.shape} mouth frames and {envelope.shape} voice frames")
    lags = np.arange(-LARGEST_LAG_FRAMES, LARGEST_LAG_FRAMES + 1)
    values = np.array([correlation_at(opening, envelope, int(lag)) for lag in lags])
    best = None if np.isnan(values).all() else int(np.nanargmax(values))
    shuffled = shuffled_correlations(opening, envelope)
    size = np.abs(shuffled)
    return Sync(
        correlation=float(values[LARGEST_LAG_FRAMES]),
        lag_frames=math.nan if best is None else float(lags[best]) + _summit(values, best),
        best_correlation=math.nan if best is None else float(values[best]),
        shuffled_mean=float(shuffled.mean()) if shuffled.size else math.nan,
        shuffled_mean_abs=float(size.mean()) if size.size else math.nan,
        shuffled_max_abs=float(size.max()) if size.size else math.nan,
    )


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two curves ``[n]``; NaN below 3 values or when one is constant."""
    if first.size < 3:
        return math.nan
    first, second = first - first.mean(), second - second.mean()
    spread = float(np.linalg.norm(first) * np.linalg.norm(second))
    # A constant curve misses 0 by the rounding of its mean.
    return math.nan if spread < 1e-9 * first.size else float(first @ second) / spread


def correlation_at(opening: np.ndarray, envelope: np.ndarray, lag_frames: int) -> float:
    """Correlation of the voice with the mouth ``lag_frames`` later, where the two overlap."""
    count = opening.size - abs(lag_frames)
    if count < 3:
        return math.nan
    mouth_first, voice_first = max(lag_frames, 0), max(-lag_frames, 0)
    return correlation(
        opening[mouth_first : mouth_first + count], envelope[voice_first : voice_first + count]
    )


def correlation_matrix(openings: np.ndarray, envelopes: np.ndarray) -> np.ndarray:
    """Which mouth follows which voice: r at lag 0, ``[speakers, faces]``.

    Args:
        openings: ``[faces, F]``.
        envelopes: ``[speakers, F]``.
    """
    return np.array([[correlation(mouth, voice) for mouth in openings] for voice in envelopes])


def shuffled_correlations(opening: np.ndarray, envelope: np.ndarray) -> np.ndarray:
    """Correlations with the voice moved round the clip by more than a second either way.

    Returns:
        At most 64 values; none when the clip is too short or a curve constant.
    """
    shifts = np.arange(SHORTEST_SHIFT_FRAMES, envelope.size - SHORTEST_SHIFT_FRAMES + 1)
    if shifts.size > SHUFFLES:
        shifts = shifts[np.linspace(0, shifts.size - 1, SHUFFLES).round().astype(int)]
    values = [correlation(opening, np.roll(envelope, shift)) for shift in shifts]
    return np.array([value for value in values if not math.isnan(value)])


def _summit(values: np.ndarray, best: int) -> float:
    """Where a parabola through the highest value and its neighbours is highest, in -0.5..0.5."""
    if not 0 < best < values.size - 1:
        return 0.0
    before, here, after = values[best - 1 : best + 2]
    bend = before - 2 * here + after
    if not bend < 0:  # flat, or NaN beside the summit
        return 0.0
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
