"""A finished video as frames, read again as often as somebody asks and never held.

Knows containers, time stamps and colours. It does not know what the frames are for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..frames import FPS

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

BLOCK_FRAMES = 8
"""Frames per block: enough to spread the cost of a call, few enough to forget."""


class VideoFrames:
    """The pictures of a video on the clock of 25 frames per second, block by block.

    At each tick the frame is shown that a player shows; a video of 25 fps gives every frame once.

    Args:
        source: The file, or its bytes.
        start_seconds: Where to begin, on the clock of the first picture.
        duration_seconds: How much of it; 0 is to the end.
        name: How messages call it.

    Raises:
        FileNotFoundError: There is no such file.
    """

    def __init__(
        self,
        source: str | Path | BytesIO,
        *,
        start_seconds: float = 0.0,
        duration_seconds: float = 0.0,
        name: str = "",
    ) -> None:
        if not isinstance(source, BytesIO):
            source = Path(source)
            if not source.is_file():
                raise FileNotFoundError(f"There is no {source.name} in {source.parent}.")
        self._source = source
        self._start, self._duration = start_seconds, duration_seconds
        self.name = name or ("the video" if isinstance(source, BytesIO) else source.name)

    def __iter__(self) -> Iterator[Tensor]:
        """Blocks ``[3, f, H, W]`` float32 in [-1, 1], decoded as they are drawn.

        Raises:
            InputError: Not a video that can be read, or no picture in the part asked for.
        """
        import av
        from av.error import FFmpegError

        if isinstance(self._source, BytesIO):
            self._source.seek(0)
        # An absolute path, because FFmpeg takes "a:b.mp4" for protocol "a".
        opened = self._source if isinstance(self._source, BytesIO) else str(self._source.resolve())
        try:
            with av.open(opened, metadata_errors="ignore") as container:
                yield from self._blocks(container)
        except FFmpegError as error:
            raise InputError(
                f"{self.name} cannot be read as a video ({error.strerror}); check that it plays, "
                "or convert it to mp4."
            ) from error

    def _blocks(self, container: InputContainer) -> Iterator[Tensor]:
        group: list[np.ndarray] = []
        shown = 0
        for pixels in self._ticks(container):
            group.append(pixels)
            shown += 1
            if len(group) == BLOCK_FRAMES:
                yield _block(group)
                group = []
        if group:
            yield _block(group)
        if not shown:
            raise InputError(
                f"{self.name} has no picture from {self._start:g} s on; choose a video, or another "
                "part of it."
            )

    def _ticks(self, container: InputContainer) -> Iterator[np.ndarray]:
        """Pixels ``[H, W, 3]`` of the frame shown at every tick of the clock."""
        ticks = round(self._duration * FPS) if self._duration else math.inf
        first: float | None = None
        held: VideoFrame | None = None
        position = tick = 0
        for frame in _decoded(container):
            seconds = frame.time or 0.0
            first = seconds if first is None else first
            position = round((seconds - first - self._start) * FPS)
            # Until this frame came, the one before it was shown.
            while held is not None and tick < min(position, ticks):
                yield frame_pixels(held)
                tick += 1
            if tick >= ticks:
                return
            held = frame
        if held is not None and position >= tick < ticks:
            yield frame_pixels(held)


class PictureFrames:
    """Pictures in memory on the clock of 25 frames per second, block by block.

    Args:
        images: ``[F, H, W, 3]`` in 0..1, or with alpha, which is left out.
        rate: Pictures per second.

    Raises:
        InputError: No picture, or a rate that is not positive.
    """

    def __init__(self, images: Tensor, rate: float) -> None:
        if not len(images) or not rate > 0:
            raise InputError(
                f"The video has {len(images)} pictures at {rate:g} per second; expected at least "
                "one, and a rate above 0."
            )
        self._images = images
        ticks = torch.arange(max(1, round(len(images) * FPS / rate)), dtype=torch.float64)
        # The picture that a player shows at a tick; rounding must not fall below a whole number.
        shown = (ticks * rate / FPS + 1e-6).long().clamp(max=len(images) - 1)
        self._ticks = shown.split(BLOCK_FRAMES)

    def __iter__(self) -> Iterator[Tensor]:
        """Blocks ``[3, f, H, W]`` float32 in [-1, 1]."""
        for ticks in self._ticks:
            pictures = self._images[ticks, ..., :3].float()
            yield pictures.permute(3, 0, 1, 2).mul(2).sub_(1)


def _decoded(container: InputContainer) -> Iterator[VideoFrame]:
    from av.video.stream import VideoStream

    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise InputError("The file has no pictures, only sound; choose a video.")
    yield from container.decode(stream)


def frame_pixels(frame: VideoFrame) -> np.ndarray:
    """A frame as uint8 RGB ``[H, W, 3]``; FFmpeg's quick way is up to two levels too dark."""
    from av.video.reformatter import Interpolation

    exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BICUBIC
    return frame.to_ndarray(format="rgb24", interpolation=exact)


def _block(group: list[np.ndarray]) -> Tensor:
    """uint8 pictures ``[H, W, 3]`` as one block ``[3, f, H, W]`` in [-1, 1]."""
    frames = torch.from_numpy(np.stack(group)).permute(3, 0, 1, 2)
    return frames.float().div_(127.5).sub_(1)
