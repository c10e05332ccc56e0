"""A still picture under a slow camera: every chunk sees another view of it.

A clip whose chunks all see the same picture slowly freezes and drifts; one whose reference moves
does not. Knows the picture and the clock, and nothing of what is made from them.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import numpy as np
from torch import Tensor

from ..crop import crop_box
from ..frames import FPS
from .content import content_hash
from .numbered import NumberedFrames
from .pictures import frame_of

CLOSEST = 1.12
"""How much larger the picture gets. Regions of speakers stay where they were drawn, so a face may
move by a sixteenth of the side, which is within what is drawn around it."""

PERIOD_SECONDS = 48.0
"""There and back again; at most a percent of the side between two chunks of 81 frames."""


class Motion(str, Enum):
    """What the camera does."""

    STILL = "still"
    ZOOM = "slow zoom"
    PAN = "slow pan"


class MovingReference(NumberedFrames):
    """One picture, seen by a camera that moves forth and back without a jerk.

    A zoom begins with the whole picture. A pan begins in its middle, as close as it needs to have
    room, and goes right first.

    Args:
        picture: uint8 RGB ``[H, W, 3]``.
        size: ``(height, width)`` of the clip.
        motion: ``ZOOM`` or ``PAN``.

    Source: InfiniteTalk, ``tools/convert_img_to_video.py``, the authors' cure for drift over
    minutes: a video made of one picture, translated and scaled.
    Differs: a smooth path; theirs jumps between views. No video is written.
    """

    def __init__(self, picture: np.ndarray, size: tuple[int, int], motion: Motion):
        super().__init__()
        self._picture, self.motion = picture, motion.value
        self._box = crop_box((picture.shape[0], picture.shape[1]), size)
        self._content = content_hash(picture)

    def number(self, start_frame: int) -> int:
        """The camera is elsewhere at every frame of the clip."""
        return start_frame

    def seen(self, start_frame: int) -> Any:
        """What the frame is made from: the whole picture, and what the camera sees of it."""
        return [self._content, self.view(start_frame)]

    def view(self, start_frame: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what the camera sees, in pixels of the picture."""
        turn = 2 * math.pi * start_frame / (FPS * PERIOD_SECONDS)
        height, width = self._box.size
        if self.motion == Motion.ZOOM.value:
            zoom, across = 1 + (CLOSEST - 1) * (1 - math.cos(turn)) / 2, 0.0
        else:
            zoom, across = CLOSEST, math.sin(turn) * (1 - 1 / CLOSEST) / 2
        middle_y = self._box.top + height / 2
        middle_x = self._box.left + width / 2 + across * width
        half_y, half_x = height / zoom / 2, width / zoom / 2
        scale_y = self._box.source_size[0] / self._box.resized_size[0]
        scale_x = self._box.source_size[1] / self._box.resized_size[1]
        return (
            (middle_x - half_x) * scale_x,
            (middle_y - half_y) * scale_y,
            (middle_x + half_x) * scale_x,
            (middle_y + half_y) * scale_y,
        )

    def make(self, number: int) -> Tensor:
        """What the camera sees at a frame of the clip, ``[3, h, w]`` in [-1, 1]."""
        from PIL import Image

        height, width = self._box.size
        left, top, right, bottom = self.view(number)
        # A view up to the border may lie past it by the last bit of a float.
        low, most = (max(left, 0.0), max(top, 0.0)), self._picture.shape[1::-1]
        view = (*low, min(right, most[0]), min(bottom, most[1]))
        resized = Image.fromarray(self._picture).resize(
            (width, height), Image.Resampling.BILINEAR, box=view
        )
        return frame_of(np.array(resized))
