"""What a face does over a clip, and the wobble, blinks and gaze that are drawn by lot."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ...frames import FPS

# What `draw_motion` never exceeds; the boxes for measurements count on it.
SHIFT_LIMIT = 0.04
TILT_LIMIT = 0.09


@dataclass(frozen=True)
class Motion:
    """What a face does, one value per frame: every field is ``[F]`` float32.

    Attributes:
        shift_y: Head downwards from its resting place, in picture heights.
        shift_x: Head to the right, in picture heights.
        tilt: Radians, clockwise.
        blink: 0 open to 1 closed.
        mouth_open: 0 closed to 1 widest.
        mouth_width: -1 rounded (o, u) over 0 neutral to 1 wide (e, i).
        gaze_x: -1 left to 1 right.
        gaze_y: -1 up to 1 down.
        nod: -1 chin up to 1 chin down; moves the features over the head a little.
    """

    shift_y: np.ndarray
    shift_x: np.ndarray
    tilt: np.ndarray
    blink: np.ndarray
    mouth_open: np.ndarray
    mouth_width: np.ndarray
    gaze_x: np.ndarray
    gaze_y: np.ndarray
    nod: np.ndarray

    def __len__(self) -> int:
        return len(self.mouth_open)

    def between(self, first: int, last: int) -> Motion:
        """Frames ``first`` to ``last`` (exclusive)."""
        return Motion(*(getattr(self, field.name)[first:last] for field in fields(self)))


def draw_motion(
    rng: np.random.Generator, mouth_open: np.ndarray, mouth_width: np.ndarray
) -> Motion:
    """Draw head wobble, blinks and gaze for a given mouth, at 25 frames a second.

    Args:
        rng: Where the lots come from.
        mouth_open: Opening per frame, ``[F]``, 0 to 1.
        mouth_width: Rounded to wide per frame, ``[F]``, -1 to 1.

    Returns:
        A motion of F frames that stays within `SHIFT_LIMIT` and `TILT_LIMIT`.
    """
    opening = np.asarray(mouth_open, np.float32)
    frames = len(opening)
    return Motion(
        shift_y=_wobble(rng, frames, 0.022, SHIFT_LIMIT),
        shift_x=_wobble(rng, frames, 0.02, SHIFT_LIMIT),
        tilt=_wobble(rng, frames, 0.055, TILT_LIMIT),
        blink=_draw_blinks(rng, frames),
        mouth_open=opening,
        mouth_width=np.asarray(mouth_width, np.float32),
        gaze_x=_wobble(rng, frames, 0.6, 1.0),
        gaze_y=_wobble(rng, frames, 0.35, 1.0),
        nod=_wobble(rng, frames, 0.6, 1.0),
    )


def _wobble(rng: np.random.Generator, frames: int, amplitude: float, limit: float) -> np.ndarray:
    """Three slow sines, ``[F]``: the strongest amplitude first, periods of one to four seconds."""
    seconds = np.arange(frames) / FPS
    periods = rng.uniform(1.2, 4.0, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    weights = np.array([0.6, 0.3, 0.15]) * rng.uniform(0.4, 1.3, 3) * amplitude
    waves = np.sin(2 * np.pi * seconds[:, None] / periods + phases) @ weights
    return np.clip(waves, -limit, limit).astype(np.float32)


def _draw_blinks(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Blinks of five frames, two to five seconds apart, ``[F]``."""
    blink = np.zeros(frames + 8, np.float32)
    start = int(rng.uniform(0, 3.5) * FPS)
    while start < frames:
        blink[start : start + 5] = (0.45, 1.0, 1.0, 0.75, 0.3)
        start += int(rng.uniform(2, 5) * FPS)
    return blink[:frames]
