"""The sound of a video as a waveform with all its channels, on the video's own clock.

Knows containers and time stamps. `decoding` reads voices from files as mono tracks and lets time 0
be the first sample; here time 0 is the picture's, because a dubbed voice must stay with its video.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_log = logging.getLogger(__name__)

_ROUNDING_SECONDS = 0.1
"""Gaps below this are rounding of time stamps."""

_LEAD_SECONDS = 1.0
"""Decoding begins so much early, because a decoder's first samples after a seek are unusable."""


def video_sound(
    source: str | BytesIO, *, start_seconds: float = 0.0, duration_seconds: float = 0.0
) -> tuple[Tensor, int]:
    """Decode the sound of a video, or of a part of it.

    Where there is none (a late start, a gap) there is silence.

    Args:
        source: The file, or its bytes.
        start_seconds: Where the part begins.
        duration_seconds: How long it is; 0 is to the end.

    Returns:
        float32 ``[channels, n]`` and samples per second.

    Raises:
        InputError: No sound in the file, none in the part, or not a media file.
    """
    import av
    from av.error import FFmpegError

    if isinstance(source, BytesIO):
        source.seek(0)
    try:
        with av.open(source, metadata_errors="ignore") as container:
            return _decode(container, start_seconds, duration_seconds)
    except FFmpegError as error:
        raise InputError(
            f"The video cannot be read ({error.strerror}); check that it plays, or connect AUDIO."
        ) from error


def _decode(
    container: InputContainer, start_seconds: float, duration_seconds: float
) -> tuple[Tensor, int]:
    from av.audio.stream import AudioStream

    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        raise InputError(
            "The video has no sound; connect AUDIO with the voice, or a video with sound."
        )
    rate_hz = stream.codec_context.sample_rate
    start = max(start_seconds, _picture_start(container))
    stop_seconds = start_seconds + duration_seconds if duration_seconds else None
    blocks: list[np.ndarray] = []
    position = round(start * rate_hz)
    stop = None if stop_seconds is None else round(stop_seconds * rate_hz)
    if start_seconds > _LEAD_SECONDS:
        container.seek(int((start_seconds - _LEAD_SECONDS) * 1_000_000))
    for begin, samples in _positioned(container, stream, rate_hz):
        if stop is not None and begin >= stop:
            break
        gap, tolerated = begin - position, _ROUNDING_SECONDS * rate_hz if blocks else 0
        if gap > tolerated:
            samples = np.pad(samples, ((0, 0), (gap, 0)))
        elif gap < -tolerated:
            samples = samples[:, -gap:]
        if samples.shape[1]:
            blocks.append(samples)
            position += samples.shape[1]
    if not blocks:
        raise InputError(
            f"The video has no sound after {start:g} s; choose another part of it, or connect "
            "AUDIO with the voice."
        )
    waveform = torch.from_numpy(np.concatenate(blocks, axis=1))
    return waveform if stop is None else waveform[:, : stop - round(start * rate_hz)], rate_hz


def _picture_start(container: InputContainer) -> float:
    """Time stamp of the first picture, which is where the host begins a video."""
    video = container.streams.best("video")
    if video is None or video.start_time is None or video.time_base is None:
        return 0.0
    return float(video.start_time * video.time_base)


def _positioned(
    container: InputContainer, stream: AudioStream, rate_hz: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of planar samples with the index of their first on the video's clock."""
    import av

    planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate_hz)
    for frame in _frames(container, stream):
        begin = round((frame.time or 0.0) * rate_hz)
        for block in planar.resample(frame):
            yield begin, block.to_ndarray()
            begin += block.samples


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    from av.error import FFmpegError

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except FFmpegError as error:
            _log.warning("a damaged packet of the video's sound is left out (%s)", error.strerror)
