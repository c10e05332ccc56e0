"""Joining: video files of equal settings end to end, with sound, into one mp4, by copying packets.

It knows packets and their times. It neither encodes pictures nor decides how sound gets into the
file.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ..frames import FPS
from .sound import Sound, sound_packets

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream


def write_clip(
    path: Path,
    segments: Sequence[Path],
    sound: Sound | None,
    metadata: Mapping[str, str] | None = None,
    *,
    frames: int | None = None,
) -> None:
    """Write ``segments`` one after the other, with ``sound`` from time 0, as an mp4.

    Nothing is decoded but the sound, if it has to be; no part of the clip stays in memory. The
    index is at the head of the file, so that browsers play it while it loads.

    Args:
        path: File to write; overwritten. Its suffix does not matter.
        segments: Files of :class:`~endless_talk.video.h264.FrameEncoder` with equal settings.
        sound: What is heard; cut to the length of the clip if more than a frame longer.
        metadata: Tags to store; any names.
        frames: End the clip after so many; None is all of them. Packets can be left out at the end
            because there are no B-frames: nothing that stays looks at what comes later.
    """
    import av

    flags = {"movflags": "use_metadata_tags+faststart"}
    there = sum(count_frames(segment) for segment in segments)
    total = there if frames is None else min(frames, there)
    with av.open(str(path), "w", format="mp4", container_options=flags) as output:
        output.metadata.update(metadata or {})
        with av.open(str(segments[0])) as first:
            video = output.add_stream_from_template(first.streams.video[0])
        tracks = [_video_packets(segments, video, total)]
        if sound is not None:
            tracks.append(sound_packets(sound, output, Fraction(total, FPS)))
        for packet in heapq.merge(*tracks, key=_seconds):
            output.mux(packet)


def count_frames(segment: Path) -> int:
    """Frames that the index of an mp4 lists."""
    import av

    with av.open(str(segment)) as source:
        return source.streams.video[0].frames


def _seconds(packet: av.Packet) -> Fraction:
    return (packet.dts or 0) * packet.time_base


def _video_packets(
    segments: Sequence[Path], output: VideoStream, frames: int
) -> Iterator[av.Packet]:
    import av

    written_frames = 0
    for segment in segments:
        with av.open(str(segment)) as source:
            stream = source.streams.video[0]
            offset = int(Fraction(written_frames, FPS) / stream.time_base)
            left = int(Fraction(frames - written_frames, FPS) / stream.time_base)
            written_frames += stream.frames
            for packet in source.demux(stream):
                if packet.dts is None or packet.pts is None:
                    continue  # the demuxer's end mark
                if packet.pts >= left:
                    break
                packet.dts += offset
                packet.pts += offset
                packet.stream = output
                yield packet
