"""Source videos on the clock of 25 frames per second, whatever their own clock is.

Knows containers, time stamps, rotation and colours, and keeps one decoder and one picture. What the
pictures are for is decided elsewhere. A picture is shown from its time stamp until that of the
next one, as a player shows it: slow videos repeat pictures, fast ones lose some, and none drifts.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..crop import size_text
from ..errors import InputError
from ..frames import FPS, clip_frames
from .pictures import SMALLEST_PICTURE

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_log = logging.getLogger(__name__)

ROUNDING_SECONDS = 0.001
"""Time stamps of some containers are rounded to milliseconds."""

PATIENCE_SECONDS = 10.0
"""So far ahead it decodes on; further it jumps. Key frames are up to 10 s apart (x264: 250 frames),
so a jump over less may cost more than it saves."""

HD_HEIGHT, HD_WIDTH = 576, 1280
"""A video without colour tags is BT.709 if higher than the one or as wide as the other, as players
assume."""

UNTAGGED = 2
"""FFmpeg's colour space of a frame that does not say."""


class SourceVideo(Protocol):
    """Pictures on the clip's clock."""

    size: tuple[int, int]
    """``(height, width)``, upright."""

    frames: int
    """How many, at 25 per second, at least 1."""

    rate: float
    """Pictures per second in the file, on average; for messages only."""

    content: str
    """A hash of what it shows: another file of the same pictures has the same."""

    def picture(self, index: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """The picture shown at frame ``index``, uint8 RGB ``[H, W, 3]``; nobody writes to it.

        Args:
            index: 0 to ``frames - 1``; cheapest in ascending order.
            size: ``(height, width)`` to shrink it to, roughly, or None.
        """
        ...

    def close(self) -> None:
        """Give back the file; it is opened again when a picture is asked for."""
        ...


@dataclass(frozen=True)
class _Extent:
    """Where the pictures of a file lie: seconds on its clock, pictures per second, their hash."""

    stop: float
    rate: float
    content: str


class FileVideo:
    """A video file, or a part of it.

    Args:
        source: The file, or its bytes.
        start_seconds: Where the part begins, on the file's clock; before the first picture there is
            nothing.
        duration_seconds: How long the part is; 0 is to the end.
        name: How messages call it.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: Not a video that can be read, or no picture in the part asked for.
    """

    def __init__(
        self,
        source: str | Path | BytesIO,
        *,
        start_seconds: float = 0.0,
        duration_seconds: float = 0.0,
        name: str = "",
    ) -> None:
        if isinstance(source, BytesIO):
            source = BytesIO(source.getvalue())  # shares the bytes, but not the position
        elif not Path(source).is_file():
            raise FileNotFoundError(f"There is no {Path(source).name} in {Path(source).parent}.")
        self._source = source
        self.name = name or ("the video" if isinstance(source, BytesIO) else Path(source).name)
        self._reader: _Reader | None = None
        reader = self._opened()
        extent = _measure(source, self.name)
        self._zero = max(start_seconds, reader.first_seconds)
        stop = extent.stop
        if duration_seconds:
            stop = min(stop, start_seconds + duration_seconds)
        if stop - self._zero < ROUNDING_SECONDS:
            raise InputError(
                f"{self.name} has no picture from {start_seconds:g} s on, it ends at "
                f"{extent.stop:.2f} s; choose another part of it."
            )
        self.frames = clip_frames(stop - self._zero)
        self.rate = extent.rate
        self.content = hashlib.sha256(
            f"{extent.content} {self._zero:.4f} {self.frames}".encode()
        ).hexdigest()
        self.size = reader.size
        if min(self.size) < SMALLEST_PICTURE:
            raise InputError(
                f"{self.name} is {size_text(self.size)} pixels; expected at least "
                f"{SMALLEST_PICTURE}x{SMALLEST_PICTURE}, and some hundred per side for a face."
            )

    def picture(self, index: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """The picture shown at frame ``index``; see ``SourceVideo``."""
        if not 0 <= index < self.frames:
            raise IndexError(f"frame {index} of {self.name}, which has {self.frames}")
        return self._opened().pixels(self._zero + index / FPS, size)

    def close(self) -> None:
        """Give back the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _opened(self) -> _Reader:
        if self._reader is None:
            self._reader = _Reader(self._source, self.name)
        return self._reader


class PicturesVideo:
    """Pictures in memory as a video.

    Args:
        images: ``[F, H, W, 3]`` in 0..1, or with alpha, which is left out.
        rate: Pictures per second.

    Raises:
        InputError: No picture, too small ones, or a rate that is not positive.
    """

    def __init__(self, images: Tensor, rate: float) -> None:
        if not len(images) or not rate > 0:
            raise InputError(
                f"The video has {len(images)} pictures at {rate:g} per second; expected at least "
                "one, and a rate above 0."
            )
        self._images = images
        self.rate = rate
        self.size = (images.shape[1], images.shape[2])
        if min(self.size) < SMALLEST_PICTURE:
            raise InputError(
                f"The video is {size_text(self.size)} pixels; expected at least "
                f"{SMALLEST_PICTURE}x{SMALLEST_PICTURE}, and some hundred per side for a face."
            )
        self.frames = clip_frames(len(images) / rate)
        digest = hashlib.sha256(f"{rate} {tuple(images.shape)}".encode())
        for image in images:
            digest.update(image.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        self.content = digest.hexdigest()

    def picture(self, index: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """The picture shown at frame ``index``; see ``SourceVideo``."""
        if not 0 <= index < self.frames:
            raise IndexError(f"frame {index} of a video of {self.frames}")
        shown = int((index / FPS + ROUNDING_SECONDS) * self.rate)
        image = self._images[min(shown, len(self._images) - 1), ..., :3].float().cpu()
        if size is not None:
            image = F.interpolate(image.permute(2, 0, 1)[None], size=size, mode="area")
            image = image[0].permute(1, 2, 0)
        return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()

    def close(self) -> None:
        """There is nothing to give back."""


class _Reader:
    """An open file with a decoder at one place of it: the picture shown there, and the next one."""

    def __init__(self, source: str | Path | BytesIO, name: str) -> None:
        self._source, self._name = source, name
        self._container: InputContainer | None = None
        self._rewind()
        assert self._held is not None
        self._first, self._shape = self._held, (self._held.height, self._held.width)
        self.first_seconds = _seconds(self._held, name)
        turned = _quarter_turns(self._held) % 2
        self.size = (self._shape[1], self._shape[0]) if turned else self._shape

    def pixels(self, seconds: float, size: tuple[int, int] | None) -> np.ndarray:
        """What is shown at a time, uint8 RGB ``[H, W, 3]`` upright."""
        self._go_to(seconds)
        assert self._held is not None
        if self._pixels is None or self._pixels[0] != size:
            self._pixels = size, _upright_pixels(self._held, self._shape, size)
        return self._pixels[1]

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _go_to(self, seconds: float) -> None:
        """Make the picture shown at a time the held one."""
        assert self._held is not None
        limit = seconds + ROUNDING_SECONDS
        ahead = limit - _seconds(self._held, self._name)
        if ahead < 0 or ahead > PATIENCE_SECONDS:
            self._jump(seconds)
        while self._coming is not None and _seconds(self._coming, self._name) <= limit:
            self._advance()

    def _jump(self, seconds: float) -> None:
        """Go to the key frame before a time, or to the start where the file cannot do that."""
        from av.error import FFmpegError

        limit = seconds + ROUNDING_SECONDS
        assert self._container is not None
        try:
            base = self._stream.time_base
            assert base is not None
            self._container.seek(int(seconds / base), stream=self._stream)
            self._begin()
        except FFmpegError:
            self._rewind()
        if self._held is None or _seconds(self._held, self._name) > limit:
            self._rewind()

    def _rewind(self) -> None:
        self.close()
        self._container = _open(self._source, self._name)
        self._stream = _video_stream(self._container, self._name)
        self._stream.thread_type = "AUTO"
        self._begin()
        if self._held is None:
            raise InputError(f"{self._name} has no picture that can be read; choose another video.")

    def _begin(self) -> None:
        self._frames = _decoded(self._container, self._stream, self._name)
        self._held: VideoFrame | None = None
        self._coming = next(self._frames, None)
        self._advance()

    def _advance(self) -> None:
        self._held, self._coming = self._coming, next(self._frames, None)
        self._pixels: tuple[tuple[int, int] | None, np.ndarray] | None = None


def _open(source: str | Path | BytesIO, name: str) -> InputContainer:
    import av
    from av.error import FFmpegError

    if isinstance(source, BytesIO):
        source.seek(0)
    # An absolute path, because FFmpeg takes "a:b.mp4" for protocol "a".
    opened = source if isinstance(source, BytesIO) else str(Path(source).resolve())
    try:
        return av.open(opened, "r", metadata_errors="ignore")
    except FFmpegError as error:
        raise InputError(
            f"{name} cannot be read as a video ({error.strerror}); check that it plays, or convert "
            "it to mp4."
        ) from error


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    from av.video.stream import VideoStream

    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise InputError(f"{name} has no pictures, only sound; choose a video.")
    return stream


def _decoded(
    container: InputContainer | None, stream: VideoStream, name: str
) -> Iterator[VideoFrame]:
    """Pictures from where the file stands; damaged packets are left out, as players do."""
    from av.error import FFmpegError

    assert container is not None
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except FFmpegError as error:
            _log.warning("a damaged packet of %s is left out (%s)", name, error)


def _measure(source: str | Path | BytesIO, name: str) -> _Extent:
    """Read the packets of a file without decoding them.

    What a container says of its own duration is often wrong or missing, and includes the sound.
    """
    stop, first, pictures, digest = 0.0, None, 0, hashlib.blake2b(digest_size=32)
    with _open(source, name) as container:
        stream = _video_stream(container, name)
        usual = 1 / float(stream.average_rate) if stream.average_rate else 1 / FPS
        base = stream.time_base
        for packet in container.demux(stream):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None or base is None or not packet.size or packet.is_discard:
                continue
            digest.update(f"{float(stamp * base):.4f}".encode())
            digest.update(memoryview(packet))
            seconds = float(stamp * base)
            first = seconds if first is None else min(first, seconds)
            lasts = float(packet.duration * base) if packet.duration else usual
            stop = max(stop, seconds + lasts)
            pictures += 1
    if first is None:
        raise _without_stamps(name)
    return _Extent(stop, pictures / max(stop - first, usual), digest.hexdigest())


def _seconds(frame: VideoFrame, name: str) -> float:
    stamp = frame.pts if frame.pts is not None else frame.dts
    if stamp is None or frame.time_base is None:
        raise _without_stamps(name)
    return float(stamp * frame.time_base)


def _without_stamps(name: str) -> InputError:
    return InputError(
        f"the pictures of {name} have no time stamps, so nobody knows when they are shown; convert "
        "it to mp4 (ffmpeg -i in out.mp4)."
    )


def _quarter_turns(frame: VideoFrame) -> int:
    """Quarter turns counterclockwise that bring a picture upright, by its display matrix."""
    return round(frame.rotation / 90)


def _upright_pixels(
    frame: VideoFrame, shape: tuple[int, int], size: tuple[int, int] | None
) -> np.ndarray:
    """A frame as uint8 RGB; ``shape`` is how pictures are stored, should one differ."""
    from av.video.reformatter import Colorspace, Interpolation

    turns = _quarter_turns(frame)
    if size is not None:
        height, width = size if turns % 2 == 0 else size[::-1]
        how = Interpolation.AREA
    else:
        height, width = shape
        # FFmpeg's quick way is up to two levels too dark.
        how = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BICUBIC
    large = shape[0] > HD_HEIGHT or shape[1] >= HD_WIDTH
    matrix = Colorspace.ITU709 if frame.colorspace == UNTAGGED and large else None
    pixels = frame.to_ndarray(
        format="rgb24", width=width, height=height, interpolation=how, src_colorspace=matrix
    )
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
