"""Audio windows: the features of a frame with those of its two neighbours on each side.

Knows frame indices and where to read features. It does not know how features are made.
"""

from __future__ import annotations

from typing import Protocol

import torch

WINDOW_OFFSETS = (-2, -1, 0, 1, 2)
"""Frames an audio window looks at, relative to its own."""

_MIRROR_EXTRA_FRAMES = 3


class FeatureSource(Protocol):
    """Audio features of one speaker, read by span."""

    @property
    def frames(self) -> int:
        """Frames that have features."""
        ...

    def features(self, start_frame: int, stop_frame: int) -> torch.Tensor:
        """Features of frames ``start_frame`` to ``stop_frame - 1``, ``[n, layers, channels]``."""
        ...


class TensorFeatures:
    """Features already in memory, ``[frames, layers, channels]``, as a `FeatureSource`."""

    def __init__(self, features: torch.Tensor):
        self._features = features

    @property
    def frames(self) -> int:
        """Frames that have features."""
        return self._features.shape[0]

    def features(self, start_frame: int, stop_frame: int) -> torch.Tensor:
        """Features of frames ``start_frame`` to ``stop_frame - 1``, ``[n, layers, channels]``."""
        return self._features[start_frame:stop_frame]


def audio_window_indices(start_frame: int, frames: int, track_frames: int) -> torch.Tensor:
    """Feature indices of the windows of ``frames`` frames from ``start_frame`` on.

    Returns:
        int64 ``[frames, 5]``, each frame with two neighbours on either side, clamped to
        ``[0, track_frames - 1]``.

    Source: InfiniteTalk, ``generate_infinitetalk`` (``center_indices``).
    """
    centre = torch.arange(start_frame, start_frame + frames)
    indices = centre[:, None] + torch.tensor(WINDOW_OFFSETS)
    return indices.clamp(0, track_frames - 1)


def audio_windows(
    source: FeatureSource | torch.Tensor, start_frame: int, frames: int
) -> torch.Tensor:
    """Cut the audio windows of one speaker for one chunk, reading only the span they need.

    Args:
        source: Where the features are, or ``[track_frames, layers, channels]``.
        start_frame: First frame of the chunk, counted from the start of the clip.
        frames: Frames of the chunk.

    Returns:
        ``[1, frames, 5, layers, channels]``; neighbouring frames of other chunks are seen, and past
        the ends of the track its first or last frame is repeated.
    """
    if isinstance(source, torch.Tensor):
        source = TensorFeatures(source)
    indices = audio_window_indices(start_frame, frames, source.frames)
    first, last = int(indices.min()), int(indices.max())
    span = source.features(first, last + 1)
    return span[indices - first][None]


def mirror_tail(features: torch.Tensor, end_frame: int) -> torch.Tensor:
    """Lengthen features past ``end_frame`` by their own tail, last frame first.

    The published answer to a last chunk that outlasts the voice. We pad with silence before
    encoding instead; this is here to compare the two.

    Args:
        features: ``[track_frames, layers, channels]``.
        end_frame: Frame after the last of the last chunk.

    Returns:
        ``features`` and their last ``end_frame - track_frames + 3`` frames reversed, at most all of
        them; unchanged when the track is longer than ``end_frame``.

    Source: InfiniteTalk, ``generate_infinitetalk`` (``miss_length``).
    """
    track_frames = features.shape[0]
    if end_frame < track_frames:
        return features
    missing = min(end_frame - track_frames + _MIRROR_EXTRA_FRAMES, track_frames)
    return torch.cat([features, features[track_frames - missing :].flip(0)])
