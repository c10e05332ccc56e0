"""A video to dub as reference: which of its frames every chunk sees, and what is kept of it.

The streaming loop asks by the pixel frame its chunk starts at. Here that becomes a frame of the
source: at the chunk's start, near it, or one the user named, always of the same shot. Knows no
files; the pictures come from a ``SourceVideo``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..crop import CropBox, crop_box, size_text
from ..errors import InputError
from ..frames import FPS, SPATIAL_STRIDE
from .content import content_hash, seen_content
from .cuts import parse_seconds
from .numbered import NumberedFrames
from .pictures import frame_of, resize_crop
from .sources import ImageEncoder, check_tokens, tokens_of
from .video import SourceVideo

LENGTHS = ("video", "audio")
"""What decides how long the clip is."""

WHEN_SHORT = ("hold", "loop", "bounce")
"""What follows the last frame of a video that is shorter than the clip: that frame, the video once
more, or the video backwards and forwards."""

CHUNK_START, NEAREST_SHARP = "chunk start", "nearest sharp"

SHARP_REACH = 12
"""``nearest sharp`` looks so many frames to either side of the chunk's start: half a second, as far
as training moved the reference frame (one second in all)."""

RECENT_FRAMES = 32
"""Fitted frames that are remembered: the next chunk begins with some that were just read."""


@dataclass(frozen=True)
class DubSettings:
    """What the user chose.

    Attributes:
        length: ``video`` or ``audio``: whose length the clip has.
        when_short: What follows the video's end, one of ``WHEN_SHORT``.
        cuts: First frames of the video's shots but the first, ascending.
        source_strength: How much of the source a chunk begins with: 0 is noise alone, 0.3 begins at
            noise level 0.7.
        keyframes: ``chunk start``, ``nearest sharp``, or seconds of the video, such as "0, 4.5".
    """

    length: str = LENGTHS[0]
    when_short: str = WHEN_SHORT[0]
    cuts: tuple[int, ...] = ()
    source_strength: float = 0.0
    keyframes: str = CHUNK_START

    def __post_init__(self):
        for name, value, known in (
            ("length", self.length, LENGTHS),
            ("when_short", self.when_short, WHEN_SHORT),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}; choose one of {', '.join(known)}.")
        if not 0 <= self.source_strength < 1:
            raise InputError(
                f"source_strength is {self.source_strength:g}; expected 0 (noise alone) or more, "
                "and less than 1 (nothing would be left to make). 0.1 to 0.4 keep the camera."
            )


class DubSource(NumberedFrames):
    """The frames of a source video where the clip wants them, at the size of the clip.

    Args:
        video: The source.
        size: ``(height, width)`` of the clip.
        settings: What the user chose.

    Raises:
        InputError: The keyframes are none of this video.

    Source: InfiniteTalk 3.3: a chunk's reference is the source frame under its first *context*
    frame.
    Differs: seconds of the source, not frame numbers, so that no frame rate drifts; never across a
    cut.
    """

    def __init__(self, video: SourceVideo, size: tuple[int, int], settings: DubSettings):
        super().__init__()
        self.video, self.settings = video, settings
        self.box = crop_box(video.size, size)
        self._named: list[int] | None = None
        if settings.keyframes not in (CHUNK_START, NEAREST_SHARP):
            expected = f"{CHUNK_START}, {NEAREST_SHARP}, or seconds such as 0, 4.5, 12"
            self._named = parse_seconds(settings.keyframes, video.frames, "keyframe", expected)
        self._recent: OrderedDict[int, np.ndarray] = OrderedDict()

    def number(self, start_frame: int) -> int:
        """Frame of the source that is the reference of the chunk that starts at a clip frame."""
        return self.keyframe(start_frame)

    def make(self, number: int) -> Tensor:
        """A frame of the source, ``[3, h, w]`` in [-1, 1]."""
        return frame_of(self._fitted(number))

    def frames(self, start_frame: int, count: int) -> Tensor:
        """The source under a stretch of the clip, ``[3, count, h, w]`` in [-1, 1].

        Past the end of a shot its last frame is held, so that nothing of the next one shows.
        """
        wanted = self.source_frames(start_frame, count)
        # In ascending order, whatever way the video runs.
        pictures = {index: self._fitted(index) for index in sorted(set(wanted))}
        return torch.stack([frame_of(pictures[index]) for index in wanted], dim=1)

    def source_frames(self, start_frame: int, count: int) -> list[int]:
        """Numbers of the frames that ``frames`` gives."""
        after = self._same_shot(start_frame, count - 1)
        shown = [start_frame, *after] + [after[-1] if after else start_frame] * count
        return [self.source_frame(frame) for frame in shown[:count]]

    def keyframe(self, start_frame: int) -> int:
        """Frame of the source that a chunk sees which starts at a clip frame."""
        shown = self.source_frame(start_frame)
        if self._named is not None:
            begin = max((cut for cut in self.settings.cuts if cut <= shown), default=0)
            return max((index for index in self._named if begin <= index <= shown), default=begin)
        if self.settings.keyframes == CHUNK_START:
            return shown
        distance = self._near(start_frame)
        return max(
            sorted(distance), key=lambda index: (sharpness(self._fitted(index)), -distance[index])
        )

    def seen(self, start_frame: int) -> Any:
        """What the frame is made from: its number in the source, or those it is chosen among."""
        choice = self.settings.keyframes == NEAREST_SHARP
        number = sorted(self._near(start_frame).items()) if choice else self.keyframe(start_frame)
        return [self.video.content, number]

    def source_frame(self, frame: int) -> int:
        """Frame of the source under a frame of the clip."""
        count = self.video.frames
        if frame < count or count == 1:
            return min(frame, count - 1)
        if self.settings.when_short == "hold":
            return count - 1
        if self.settings.when_short == "loop":
            return frame % count
        turn = frame % (2 * count - 2)  # neither end is shown twice
        return min(turn, 2 * count - 2 - turn)

    def is_cut(self, frame: int) -> bool:
        """Whether a shot begins with a frame of the clip."""
        if frame <= 0:
            return True
        before, here = self.source_frame(frame - 1), self.source_frame(frame)
        if abs(here - before) > 1:
            return True
        low, high = sorted((before, here))
        return bisect_right(self.settings.cuts, high) > bisect_right(self.settings.cuts, low)

    def close(self) -> None:
        """Give back the file of the source; it is opened again when a frame is asked for."""
        self._recent.clear()
        self.video.close()

    def _near(self, start_frame: int) -> dict[int, int]:
        """Frames of the source around a frame of the clip, with their distance from it."""
        near = [
            *self._same_shot(start_frame, -SHARP_REACH),
            start_frame,
            *self._same_shot(start_frame, SHARP_REACH),
        ]
        return {self.source_frame(frame): abs(frame - start_frame) for frame in near}

    def _same_shot(self, frame: int, reach: int) -> list[int]:
        """Up to ``reach`` frames of the clip after a frame, or before it, of the same shot."""
        step, reached = (1, frame) if reach > 0 else (-1, frame)
        found = []
        for _ in range(abs(reach)):
            if self.is_cut(reached + (step > 0)):
                break
            reached += step
            found.append(reached)
        return found

    def _fitted(self, index: int) -> np.ndarray:
        """A frame of the source at the size of the clip, uint8 ``[h, w, 3]``."""
        known = self._recent.get(index)
        if known is None:
            known = self._recent[index] = resize_crop(self.video.picture(index), self.box)
        self._recent.move_to_end(index)
        while len(self._recent) > RECENT_FRAMES:
            self._recent.popitem(last=False)
        return known


@dataclass(frozen=True, eq=False)
class VideoReference:
    """A video to dub as reference, with all a sampler asks of it.

    Attributes:
        source: The reference frame of every chunk, and the frames under it.
        size: ``(height, width)`` of the clip.
        image_tokens: CLIP vision tokens of the first reference frame ``[1, 257, 1280]``, or None.
        encode: Makes the tokens of another reference frame; None without CLIP vision.
        keep: Mask ``[1, h / 8, w / 8]`` of 0 and 1, 1 where the source stays, or None.
    """

    source: DubSource
    size: tuple[int, int]
    image_tokens: Tensor | None = None
    encode: ImageEncoder | None = None
    keep: Tensor | None = None

    def __post_init__(self):
        check_tokens(self.image_tokens)
        if self.keep is None:
            return
        height, width = (side // SPATIAL_STRIDE for side in self.size)
        if tuple(self.keep.shape) != (1, height, width):
            raise ValueError(f"keep is {list(self.keep.shape)}; expected {[1, height, width]}")
        if bool((self.keep == 1).all()):
            raise InputError(
                "keep is white everywhere, so nothing would be made; leave the mouth, better the "
                "whole head, black."
            )

    @property
    def box(self) -> CropBox:
        """How the source's frames are resized and cut; regions drawn on them go the same way."""
        return self.source.box

    @property
    def source_strength(self) -> float:
        """How much of the source a chunk begins with, 0 to 1."""
        return self.source.settings.source_strength

    def tokens(self, frame: Tensor) -> Tensor | None:
        """Image tokens of a reference frame, or None."""
        return tokens_of(self, frame)

    def clip_frames(self, speech_frames: int) -> int:
        """Frames of a clip in which is spoken for ``speech_frames``."""
        return self.source.video.frames if self.source.settings.length == "video" else speech_frames

    def cuts(self, frames: int) -> list[int]:
        """First frames of the shots of a clip of ``frames``, but of the first shot."""
        own = self.source.video.frames
        known = [cut for cut in self.source.settings.cuts if 0 < cut < min(own, frames)]
        return known + [frame for frame in range(own, frames) if self.source.is_cut(frame)]

    def chunk_content(self, start_frame: int, frames: int, *, own: bool = True) -> dict[str, Any]:
        """What a chunk takes from the video, as part of its key; the clip's size is another part.

        Args:
            start_frame: Clip frame of the chunk's first frame.
            frames: Frames sampled.
            own: Whether it sees a frame of the video; a timeline may show it another picture.
        """
        content = seen_content(
            self.source,
            start_frame,
            own=own,
            tokens=self.token_hash,
            encoded=self.encode is not None,
        )
        if not self.source_strength and self.keep is None:
            return content
        return {
            **content,
            "strength": self.source_strength,
            "keep": self.keep_hash,
            "video": self.source.video.content,
            "under": self.source.source_frames(start_frame, frames),
        }

    @cached_property
    def keep_hash(self) -> str | None:
        """A hash of the mask of what stays, or None."""
        return None if self.keep is None else content_hash(self.keep)

    @cached_property
    def token_hash(self) -> str | None:
        """A hash of the image tokens of the first reference frame, or None."""
        return None if self.image_tokens is None else content_hash(self.image_tokens)

    def close(self) -> None:
        """Give back the file; it is opened again when a frame is asked for."""
        self.source.close()

    @property
    def summary(self) -> str:
        """One line for the user: sizes, frame rate, length and shots."""
        video = self.source.video
        shots = len(self.source.settings.cuts) + 1
        return (
            f"{size_text(video.size)} to {size_text(self.size)}, {video.rate:.4g} fps to {FPS}, "
            f"{video.frames / FPS:.2f} s, {shots} {'shot' if shots == 1 else 'shots'}"
        )


def sharpness(picture: np.ndarray) -> float:
    """How much detail a picture ``[h, w, 3]`` has: the variance of its Laplacian."""
    grey = picture.astype(np.float32).mean(axis=-1)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * inner).var())
