"""How loud a voice is at every frame: the curve that a mouth is measured against.

Knows samples and the clock. It knows nothing of phonemes, features or pictures.
"""

from __future__ import annotations

import numpy as np

from ..frames import FPS, clip_frames
from .track import SAMPLE_RATE_HZ

FRAME_SAMPLES = SAMPLE_RATE_HZ // FPS
"""Samples that one frame covers."""

COMPRESSION = 0.6
"""Exponent from sound pressure to the opening of the mouth: half as loud opens it by two thirds."""

FLOOR_RMS = 10 ** (-66 / 20)
"""Sound below this level (-66 dBFS) opens no mouth, however quiet the rest is."""

FLOOR_RATIO = 0.02
"""Sound this much below the speech (34 dB) opens no mouth either."""


def voice_envelope(samples: np.ndarray) -> np.ndarray:
    """The loudness that a mouth is measured against.

    Root mean square of each frame (frame i covers ``i/25 .. (i+1)/25`` s) relative to the speech,
    compressed, smoothed with 1-2-1. Independent of the gain as long as the speech stays well above
    -66 dBFS.

    Args:
        samples: Mono 16 kHz, ``[n]``.

    Returns:
        ``[F]`` float32, 0 to 1, F the nearest number of frames.
    """
    frames = clip_frames(samples.size / SAMPLE_RATE_HZ)
    padded = np.zeros(frames * FRAME_SAMPLES, np.float64)
    padded[: samples.size] = samples[: padded.size]
    rms = np.sqrt(np.square(padded).reshape(frames, FRAME_SAMPLES).mean(axis=1))
    speech = rms[rms > max(FLOOR_RMS, 0.1 * rms.max())]
    if speech.size == 0:
        return np.zeros(frames, np.float32)
    loudest = np.percentile(speech, 95)
    floor = FLOOR_RATIO * loudest
    relative = np.clip((rms - floor) / (loudest - floor), 0, 1) * (rms > FLOOR_RMS)
    return smoothed(relative**COMPRESSION).astype(np.float32)


def smoothed(curve: np.ndarray) -> np.ndarray:
    """A curve ``[F]`` with every value averaged with its neighbours, 1-2-1; the ends go on."""
    padded = np.pad(curve, 1, mode="edge")
    return (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
