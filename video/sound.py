"""What is heard: a media file or samples, as packets of an mp4's sound track.

It knows codecs, rates and channel counts, and where time 0 lies in a file: at the first sample a
decoder gives, after it dropped the encoder's priming. It does not know pictures, and it changes no
loudness.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import InputError
from ..frames import FPS

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.filter import Graph
    from torch import Tensor

logger = logging.getLogger(__name__)

COPIED_CODECS = frozenset({"aac", "mp3", "mp3float"})
"""Codecs put into the mp4 as they are: players take them, and decoding was seen to start at 0."""

AAC_RATES_HZ = (
    7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000
)  # fmt: skip
"""The sample rates of AAC (ISO/IEC 14496-3, sampling frequency index)."""

AAC_BITS_PER_CHANNEL = 128_000
"""Bits per second; transparent for speech and music, and little beside the pictures."""

LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
"""The usual meaning of 1 to 8 channels."""

BLOCK_SAMPLES = 16384

SMALLEST_HOLE_SECONDS = 0.1
"""Shorter gaps between time stamps are rounding of the container."""


@dataclass(frozen=True, eq=False)
class Sound:
    """A sound track: the first sound of a media file, or samples in memory.

    Checked when made, so that a clip of hours does not fail at its end.

    Args:
        path: An audio or video file.
        samples: Instead of a file, ``[channels, n]`` floats in [-1, 1].
        rate_hz: Samples per second; with ``samples`` only.

    Raises:
        InputError: Not exactly one of the two, no sound in the file, or unusable samples.
        FileNotFoundError: The file does not exist.
    """

    path: Path | None = None
    samples: Tensor | None = None
    rate_hz: int | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.samples is None):
            raise InputError("A sound is either a media file or samples; give exactly one of them.")
        if self.path is not None:
            _check_file(Path(self.path))
        if self.samples is not None:
            _check_samples(self.samples, self.rate_hz)


def open_source(path: Path) -> InputContainer:
    """Open a media file by its whole path: FFmpeg takes what precedes a colon for a protocol."""
    import av

    return av.open(str(path.absolute()), metadata_errors="ignore")


def sound_stream(source: InputContainer) -> AudioStream:
    """The sound of a file with several: the one that players choose, and that drives the lips."""
    stream = source.streams.best("audio")
    assert stream is not None
    return cast("AudioStream", stream)


def sound_packets(
    sound: Sound, output: OutputContainer, clip_seconds: Fraction
) -> Iterator[av.Packet]:
    """Add a sound track to ``output`` and make its packets, in order.

    Copied when an mp4 can hold the codec and the sound is not longer than the clip by more than
    one frame; otherwise encoded as AAC, at the source's rate and channels where AAC has them, and
    cut to the clip if it was longer.

    Args:
        sound: What is heard.
        output: An mp4 that has not been written to yet.
        clip_seconds: Length of the pictures.

    Returns:
        Packets of the new stream; time 0 is the first sample a player plays.
    """
    if sound.path is None:
        return _sample_packets(sound, output, clip_seconds)
    with open_source(sound.path) as source:
        stream = sound_stream(source)
        codec, channels = stream.codec_context.name, stream.codec_context.channels
        rate_hz = stream.codec_context.sample_rate
        copied = codec in COPIED_CODECS
        cut = _exceeds(source, clip_seconds, whole_packets=copied)
        if copied and not cut:
            logger.debug("sound: %s copied", codec)
            return _copied(sound.path, output.add_stream_from_template(stream))
    logger.debug("sound: %s encoded as AAC%s", codec, ", cut to the clip" if cut else "")
    track = _aac_track(output, rate_hz, channels)
    return _encoded(_file_frames(sound.path, channels), track, clip_seconds if cut else None)


def _sample_packets(
    sound: Sound, output: OutputContainer, clip_seconds: Fraction
) -> Iterator[av.Packet]:
    assert sound.samples is not None and sound.rate_hz is not None
    channels, count = sound.samples.shape
    cut = Fraction(count, sound.rate_hz) > clip_seconds + Fraction(1, FPS)
    track = _aac_track(output, sound.rate_hz, channels)
    frames = _sample_frames(sound.samples, sound.rate_hz)
    return _encoded(frames, track, clip_seconds if cut else None)


def _exceeds(source: InputContainer, clip_seconds: Fraction, *, whole_packets: bool) -> bool:
    """Whether the sound is more than one frame longer than the clip, without decoding it.

    Headers only estimate the length of some formats, so packets are read until the answer is known.
    The last packet of a coded sound is padded; it counts as longer only from its beginning.
    """
    stream = sound_stream(source)
    limit = clip_seconds + Fraction(1, FPS)
    for packet in source.demux(stream):
        if packet.pts is None:
            continue
        start = (packet.pts - (stream.start_time or 0)) * packet.time_base
        end = start + (packet.duration or 0) * packet.time_base
        if end > limit and (not whole_packets or start >= clip_seconds):
            return True
    return False


def _copied(path: Path, track: AudioStream) -> Iterator[av.Packet]:
    """The packets as they are, with priming before time 0, where the mp4's edit list drops it."""
    with open_source(path) as source:
        stream = sound_stream(source)
        start = stream.start_time or 0
        for packet in source.demux(stream):
            if packet.dts is None or packet.pts is None:
                continue  # the demuxer's end mark
            packet.dts -= start
            packet.pts -= start
            packet.stream = track
            yield packet


def _aac_track(output: OutputContainer, rate_hz: int, channels: int) -> AudioStream:
    rate = min(AAC_RATES_HZ, key=lambda supported: abs(supported - rate_hz))
    track = output.add_stream("aac", rate=rate, layout=_layout(channels))
    track.codec_context.bit_rate = AAC_BITS_PER_CHANNEL * track.codec_context.channels
    return track


def _layout(channels: int) -> str:
    return LAYOUTS[channels - 1] if channels <= len(LAYOUTS) else "mono"


def _encoded(
    frames: Iterator[av.AudioFrame], track: AudioStream, cut_seconds: Fraction | None
) -> Iterator[av.Packet]:
    """AAC packets of ``frames`` laid end to end from time 0, up to ``cut_seconds``.

    The encoder converts rate and channels, and puts its own priming before time 0.
    """
    samples = 0
    for frame in frames:
        left = frame.samples
        if cut_seconds is not None:
            left = round(cut_seconds * frame.sample_rate) - samples
        if left <= 0:
            break
        block = frame if frame.samples <= left else _head(frame, left)
        block.pts, block.time_base = samples, Fraction(1, block.sample_rate)
        samples += block.samples
        yield from track.encode(block)
    yield from track.encode(None)


def _head(frame: av.AudioFrame, samples: int) -> av.AudioFrame:
    import av

    frame.pts = None
    queue = av.AudioFifo()
    queue.write(frame)
    head = queue.read(samples)
    assert head is not None
    return head


def _file_frames(path: Path, channels: int) -> Iterator[av.AudioFrame]:
    """Decoded frames of the sound in ``path``, holes filled; a broken packet is left out."""
    from av.error import InvalidDataError

    mixed = None if channels <= len(LAYOUTS) else _MixDown(channels)
    holes = _Holes()
    with open_source(path) as source:
        for packet in source.demux(sound_stream(source)):
            try:
                frames = packet.decode()
            except InvalidDataError:
                logger.warning("%s: a broken packet of its sound was left out", path.name)
                continue
            for frame in frames:
                for whole in holes.filled(frame):
                    yield from [whole] if mixed is None else mixed(whole)


class _Holes:
    """Puts silence where time stamps leave a hole, so that what follows keeps its time.

    The same holes as the voice's decoder fills: call pauses, damaged stretches.
    """

    def __init__(self) -> None:
        self._start: float | None = None
        self._samples = 0

    def filled(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        """Silence up to ``frame`` where it is missing, then ``frame``."""
        if self._start is None:
            self._start = frame.time or 0.0
        if frame.time is not None:
            hole = frame.time - self._start - self._samples / frame.sample_rate
            if hole > SMALLEST_HOLE_SECONDS:
                silence = _silent_like(frame, round(hole * frame.sample_rate))
                self._samples += silence.samples
                yield silence
        self._samples += frame.samples
        yield frame


def _silent_like(frame: av.AudioFrame, samples: int) -> av.AudioFrame:
    import av

    silence = av.AudioFrame(frame.format.name, frame.layout.name, samples)
    silence.sample_rate = frame.sample_rate
    nothing = b"\x80" if frame.format.name.startswith("u8") else b"\0"
    for plane in silence.planes:
        plane.update(nothing * plane.buffer_size)
    return silence


class _MixDown:
    """The mean of more channels than have an agreed meaning; FFmpeg alone would drop most."""

    def __init__(self, channels: int) -> None:
        self._sum = "mono|c0<" + "+".join(f"c{channel}" for channel in range(channels))
        self._graph: Graph | None = None

    def __call__(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        from av.error import BlockingIOError

        if self._graph is None:
            self._graph = self._connected(frame)
        frame.pts = None
        self._graph.push(frame)
        while True:
            try:
                mixed = self._graph.pull()
            except (BlockingIOError, EOFError):
                return
            yield cast("av.AudioFrame", mixed)

    def _connected(self, frame: av.AudioFrame) -> Graph:
        from av.filter import Graph

        graph = Graph()
        source = graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=Fraction(1, frame.sample_rate),
        )
        graph.link_nodes(source, graph.add("pan", self._sum), graph.add("abuffersink"))
        graph.configure()
        return graph


def _sample_frames(samples: Tensor, rate_hz: int) -> Iterator[av.AudioFrame]:
    import av

    layout = _layout(samples.shape[0])
    for block in samples.detach().split(BLOCK_SAMPLES, dim=1):
        heard = block.float().mean(0, keepdim=True) if layout == "mono" else block.float()
        packed = heard.t().reshape(1, -1).cpu().numpy()
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = rate_hz
        yield frame


def _check_file(path: Path) -> None:
    from av.error import InvalidDataError

    if not path.is_file():
        raise FileNotFoundError(f"There is no {path.name} in {path.parent}.")
    try:
        with open_source(path) as source:
            tracks = len(source.streams.audio)
    except InvalidDataError as error:
        raise InputError(
            f"{path.name} is not a media file that can be read; convert it to wav or mp3."
        ) from error
    if not tracks:
        raise InputError(f"{path.name} has no sound; choose a file with an audio track.")


def _check_samples(samples: Tensor, rate_hz: int | None) -> None:
    if rate_hz is None or rate_hz <= 0:
        raise InputError(f"rate_hz is {rate_hz}; give the samples per second, such as 48000.")
    if samples.ndim != 2 or not samples.numel() or not samples.is_floating_point():
        raise InputError(
            f"Samples are {samples.dtype} of shape {list(samples.shape)}; "
            "expected floats of shape [channels, samples], at least one of each."
        )
    # The extremes carry NaN and infinity, and need no copy of the track.
    low, high = samples.aminmax()
    if not math.isfinite(float(high - low)):
        raise InputError("The samples hold values that are not finite; load the sound again.")
