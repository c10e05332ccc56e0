"""Which stretch of a voice a chunk can hear: what it has to be made again for when that changes.

Knows how features are encoded along a track; it knows nothing of keys or files.
"""

from __future__ import annotations

from .features import PieceLayout
from .windows import WINDOW_OFFSETS


def heard_frames(
    start_frame: int, frames: int, track_frames: int, layout: PieceLayout | None = None
) -> range:
    """The frames of sound behind the audio windows of a chunk.

    In a track up to 60 s every feature looks at the whole track. In a longer one it looks at its
    piece of 40 s and 10 s on either side, so that another ending, or one more minute, leaves the
    beginning as it was.

    What looks at the whole track whatever its length is left out: the gain that brings a voice to
    -23 LUFS, and the mean and variance that wav2vec2 divides by. Another ending moves them by
    little, and counting them in would make every chunk again for it.

    Args:
        start_frame: First frame of the chunk, counted from the start of the track.
        frames: Frames of the chunk.
        track_frames: Frames of the track, silence at its end included.
        layout: How long tracks are cut.

    Returns:
        Within ``0..track_frames``.
    """
    layout = layout or PieceLayout()
    if track_frames <= layout.whole_frames:
        return range(track_frames)
    last = track_frames - 1
    first_seen = min(max(start_frame + WINDOW_OFFSETS[0], 0), last)
    last_seen = min(max(start_frame + frames - 1 + WINDOW_OFFSETS[-1], 0), last)
    length, margin = layout.piece_frames, layout.margin_frames
    begin = first_seen // length * length - margin
    stop = (last_seen // length + 1) * length + margin
    return range(max(0, begin), min(stop, track_frames))
