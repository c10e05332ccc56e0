"""Frames to H.264: colour conversion and the encoder with its fixed settings.

It knows pixel values, BT.709 and x264, and writes one mp4 without sound. It does not know where
the frames come from, under which name the clip ends up, or what is heard.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..frames import FPS

if TYPE_CHECKING:
    import av

PRESET = "ultrafast"
"""The fastest: beside colour matching on one core, there is time for no more in the 1.5 s that a
chunk may cost. ``veryfast`` would give a third to half the size, ``benchmarks/video_sink.py``."""

BT709 = 1
"""Colour primaries and transfer characteristics in ITU-T H.273's tables."""

KEYFRAME_INTERVAL_FRAMES = 2 * FPS
"""Players seek to keyframes; two seconds apart costs little at this quality."""

GROUP_FRAMES = 2
"""Frames turned to bytes at once; more cost more, because their temporaries leave the cache."""


def pixel_levels(frames: Tensor) -> Tensor:
    """Nearest 8-bit levels of pixel values, on the frames' device.

    Args:
        frames: ``[3, F, H, W]`` in [-1, 1]; values outside are clamped.

    Returns:
        ``[3, F, H, W]`` uint8.

    Raises:
        InputError: A value is NaN or infinite, which no clamp makes a colour.
    """
    levels = frames.float().mul(127.5).add_(127.5)
    if not torch.isfinite(levels.sum()):
        raise InputError(
            "The frames hold values that are not finite; the VAE or the model overflowed. "
            "Run it in bfloat16 or float32 instead of float16."
        )
    return levels.round_().clamp_(0, 255).to(torch.uint8)


def bt709_frame(levels: np.ndarray) -> av.VideoFrame:
    """One picture as limited-range BT.709 4:2:0.

    Args:
        levels: ``[3, H, W]`` uint8 RGB.

    Returns:
        A ``yuv420p`` frame that also carries the tags of what it is.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    _, height, width = levels.shape
    picture = av.VideoFrame(width, height, "gbrp")
    for plane, channel in zip(picture.planes, (1, 2, 0), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows[:, :width] = levels[channel]
    frame = picture.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        # Chroma is the mean of its four pixels; the default filter lets colours bleed twice as far.
        interpolation=Interpolation.AREA,
    )
    frame.colorspace = Colorspace.ITU709
    frame.color_range = ColorRange.MPEG
    return frame


class FrameEncoder:
    """Encodes frames into an mp4 without sound, at once and in order; keeps none of them.

    One encoder thread and no B-frames: the bytes depend on the frames alone, not on the machine's
    core count, the first frame is at time 0, and files of equal settings join by copying packets.

    Args:
        path: File to write; overwritten.
        size: Height and width in pixels, both even.
        crf: x264's constant rate factor, 0..51. 12 is visually lossless, 0 lossless.

    Raises:
        InputError: An odd size or a ``crf`` out of range.
    """

    def __init__(self, path: Path, size: tuple[int, int], *, crf: int = 12) -> None:
        check_settings(size, crf)
        import av
        from av.video.reformatter import ColorRange, Colorspace

        self.size = size
        self.frames = 0
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream(
            "libx264", rate=FPS, options={"preset": PRESET, "crf": str(crf)}
        )
        context = self._stream.codec_context
        context.height, context.width = size
        context.pix_fmt = "yuv420p"
        context.thread_count = 1
        context.max_b_frames = 0
        context.gop_size = KEYFRAME_INTERVAL_FRAMES
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        context.color_primaries = BT709
        context.color_trc = BT709
        self._open = True

    def append(self, frames: Tensor) -> None:
        """Encode ``frames``, ``[3, F, H, W]`` in [-1, 1], any device and float dtype.

        Raises:
            InputError: Another size, a non-float dtype, or values that are not finite.
            RuntimeError: The encoder is closed.
        """
        if not self._open:
            raise RuntimeError("This video is finished; open another one to append frames.")
        _check_frames(frames, self.size)
        for group in frames.detach().split(GROUP_FRAMES, dim=1):
            levels = pixel_levels(group).cpu().numpy()
            for index in range(levels.shape[1]):
                frame = bt709_frame(levels[:, index])
                frame.pts = self.frames
                self._container.mux(self._stream.encode(frame))
                self.frames += 1

    def close(self) -> None:
        """Write what the encoder still holds and end the file; does nothing the second time."""
        if self._open:
            self._open = False
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in."""
        if self._open:
            from av.error import FFmpegError

            self._open = False
            with contextlib.suppress(FFmpegError, OSError):
                self._container.close()


def check_settings(size: tuple[int, int], crf: int) -> None:
    """Refuse what H.264 cannot encode.

    Raises:
        InputError: An odd size or a ``crf`` out of range.
    """
    height, width = size
    if height < 2 or width < 2 or height % 2 or width % 2:
        even = f"{max(2, width - width % 2)}x{max(2, height - height % 2)}"
        raise InputError(
            f"The clip is {width}x{height} pixels (width x height), but H.264 needs even numbers; "
            f"use {even}."
        )
    if not 0 <= crf <= 51:
        raise InputError(f"crf is {crf}, expected 0 (lossless) to 51; 12 is a good choice.")


def _check_frames(frames: Tensor, size: tuple[int, int]) -> None:
    height, width = size
    if frames.ndim != 4 or frames.shape[0] != 3 or tuple(frames.shape[2:]) != (height, width):
        raise InputError(
            f"Frames have the shape {list(frames.shape)}, expected [3, frames, {height}, {width}] "
            "(channels, frames, height, width); resize them or change the clip's size."
        )
    if not frames.is_floating_point():
        raise InputError(
            f"Frames are {frames.dtype}, expected floats in [-1, 1]; convert 8-bit levels with "
            "frames / 127.5 - 1."
        )
