"""Any media file PyAV can read, to a track; the sound of a video included.

Knows containers and sample formats. It knows nothing of loudness, frames or networks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .track import Track, check_rate, track_from_mono

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_log = logging.getLogger(__name__)

_SMALLEST_HOLE_SECONDS = 0.1  # less is the rounding of timestamps
_LARGEST_HOLE_SECONDS = 10.0


def decode_track(path: str | Path) -> Track:
    """Read the sound of a file as a mono 16 kHz track.

    Time 0 is the first sample the decoder hands out, after its own skip of the priming samples that
    AAC, MP3, Opus and Vorbis put in front; a late start of the sound in a video is not filled.
    Channels are averaged while decoding, so one channel of the file is held and never all of them.
    Where timestamps leave 0.1 s to 10 s without sound (pauses of a call recording, damage) there is
    silence, as in a player, and a line in the log. A file with several sound tracks gives
    the one FFmpeg considers the best.

    Raises:
        FileNotFoundError: No such file.
        InputError: A folder, an empty file, not media, no sound in it, more than 10 s of it
            missing, NaN or infinite samples, or a sampling rate outside 2 000..768 000 Hz.

    Source: InfiniteTalk, ``audio_prepare_single``.
    Differs: a video's sound goes straight to float samples instead of through a 16 bit wav file.
    """
    import av
    from av.error import FFmpegError

    path = _existing_file(Path(path))
    try:
        # An absolute path, because FFmpeg takes "a:b.wav" for protocol "a".
        with av.open(str(path.resolve()), metadata_errors="ignore") as container:
            return _decode_container(container, path.name)
    except FFmpegError as error:
        raise InputError(
            f"{path.name}: expected an audio or video file, but it cannot be read"
            f" ({error.strerror}); check that it plays, or convert it to wav."
        ) from error


def _existing_file(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"no file {path.name} in {path.parent}")
    if path.is_dir():
        raise InputError(f"{path}: expected an audio or video file, got a folder; name a file.")
    if path.stat().st_size == 0:
        raise InputError(
            f"{path.name}: expected an audio or video file, got 0 bytes; copy or export it again."
        )
    return path


def _decode_container(container: InputContainer, name: str) -> Track:
    from av.audio.stream import AudioStream

    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        raise InputError(
            f"{name}: expected sound, but the file has none (a silent video?);"
            " choose a file with sound."
        )
    blocks: list[np.ndarray] = []
    rate_hz, start_seconds, samples = 0, 0.0, 0
    for frame in _decoded_frames(container, stream, name):
        if not blocks:
            rate_hz, start_seconds = frame.sample_rate, frame.time or 0.0
            check_rate(rate_hz, name)
        if frame.sample_rate != rate_hz:
            raise InputError(
                f"{name}: expected one sampling rate, but it changes from {rate_hz} to"
                f" {frame.sample_rate} Hz; convert the file to wav first."
            )
        seconds = samples / rate_hz
        hole_seconds = 0.0 if frame.time is None else frame.time - start_seconds - seconds
        if hole_seconds > _SMALLEST_HOLE_SECONDS:
            blocks.append(_silence(hole_seconds, seconds, rate_hz, name))
            samples += blocks[-1].size
        blocks.append(_mono(frame))
        samples += blocks[-1].size
    if not blocks:
        raise InputError(f"{name}: expected sound, got 0 samples; use a file that plays.")
    return track_from_mono(np.concatenate(blocks), rate_hz, name)


def _decoded_frames(
    container: InputContainer, stream: AudioStream, name: str
) -> Iterator[AudioFrame]:
    from av.error import FFmpegError

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except FFmpegError as error:
            _log.warning("%s: a damaged packet is left out (%s)", name, error.strerror)


def _silence(hole_seconds: float, at_seconds: float, rate_hz: int, name: str) -> np.ndarray:
    # A pause in a call recording or a damaged stretch: what follows must keep its time.
    if hole_seconds > _LARGEST_HOLE_SECONDS:
        raise InputError(
            f"{name}: expected continuous sound, but at {at_seconds:.2f} s it is missing for"
            f" {hole_seconds:.2f} s; repair the file or convert it to wav."
        )
    _log.warning("%s: sound missing at %.2f s, %.2f s silent", name, at_seconds, hole_seconds)
    return np.zeros(round(hole_seconds * rate_hz), np.float32)


def _mono(frame: AudioFrame) -> np.ndarray:
    """Mean of the channels of a block, float32 ``[samples]``, integers scaled to [-1, 1]."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype.kind == "u":
        middle = 2.0 ** (8 * values.dtype.itemsize - 1)
        values = (values.astype(np.float32) - middle) / middle
    elif values.dtype.kind == "i":
        values = values.astype(np.float32) / 2.0 ** (8 * values.dtype.itemsize - 1)
    return values.mean(axis=0, dtype=np.float32)
