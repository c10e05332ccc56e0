"""The clock: pixel frames, latent frames and seconds, and how they convert.

The only place that knows the frame rate and the ``4n + 1`` rule; no networks, no files.
"""

from __future__ import annotations

import math

FPS = 25
"""Pixel frames per second of every clip; InfiniteTalk's adapter was trained at this rate only."""

TEMPORAL_STRIDE = 4
"""Pixel frames per latent frame after the first, which stands for one pixel frame alone."""

SPATIAL_STRIDE = 8
"""Pixels per latent position, in height and in width."""


def latent_frames(frames: int) -> int:
    """Latent frames that ``frames`` pixel frames encode to; those past ``4n + 1`` are lost."""
    return (frames - 1) // TEMPORAL_STRIDE + 1


def pixel_frames(latents: int) -> int:
    """Pixel frames that ``latents`` latent frames decode to."""
    return TEMPORAL_STRIDE * (latents - 1) + 1


def is_chunk_length(frames: int) -> bool:
    """Whether ``frames`` is ``4n + 1``, so that encoding loses none of them."""
    return frames >= 1 and (frames - 1) % TEMPORAL_STRIDE == 0


def clip_frames(seconds: float) -> int:
    """Frames of a clip that lasts ``seconds``: the nearest count, halves rounded up, at least 1.

    Differs: InfiniteTalk truncates, and in floating point, so 29 frames' worth of samples give 28.
    """
    return max(1, math.floor(seconds * FPS + 0.5))
