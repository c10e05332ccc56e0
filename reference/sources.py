"""Where the reference frame of each chunk comes from: a still picture, or frames in memory.

The streaming loop asks by the pixel frame its chunk starts at and never learns what is behind the
answer. Long source videos are read elsewhere.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .pictures import fit_picture


class StillReference:
    """One picture for the whole clip.

    Args:
        picture: uint8 RGB ``[H, W, 3]``.
        size: ``(height, width)`` of the clip.
    """

    def __init__(self, picture: np.ndarray, size: tuple[int, int]):
        self._frame = fit_picture(picture, size)

    def to(self, device: torch.device) -> StillReference:
        """Move the picture to where the networks run."""
        self._frame = self._frame.to(device)
        return self

    @property
    def first(self) -> Tensor:
        """The picture, fitted, ``[3, h, w]`` in [-1, 1]."""
        return self._frame

    def frame(self, start_frame: int) -> Tensor:
        """The same tensor for every chunk."""
        return self._frame


class FramesReference:
    """The frame of a short source that lies where the chunk starts; past its end the last one.

    Args:
        frames: uint8 RGB ``[F, H, W, 3]`` at 25 fps, at least one.
        size: ``(height, width)`` of the clip.

    Raises:
        InputError: There is no frame.

    Source: InfiniteTalk, ``generate_infinitetalk``: the source frame under the chunk's first
    *context* frame.
    """

    def __init__(self, frames: np.ndarray, size: tuple[int, int]):
        if len(frames) == 0:
            raise InputError("the source has no frames; expected at least 1.")
        self._frames = frames
        self._size = size
        self._first = fit_picture(frames[0], size)
        self._latest = (0, self._first)

    @property
    def first(self) -> Tensor:
        """Frame 0, fitted, ``[3, h, w]`` in [-1, 1]."""
        return self._first

    def frame(self, start_frame: int) -> Tensor:
        """Frame ``start_frame`` of the source or its last, fitted, ``[3, h, w]`` in [-1, 1].

        Raises:
            IndexError: The frame lies before the source's first.
        """
        if start_frame < 0:
            raise IndexError(f"start_frame is {start_frame}; a chunk starts at frame 0 or later")
        index = min(start_frame, len(self._frames) - 1)
        if index == 0:
            return self._first
        if index != self._latest[0]:
            self._latest = (index, fit_picture(self._frames[index], self._size))
        return self._latest[1]
