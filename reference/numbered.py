"""Reference frames by number: of a picture under a camera, of pictures in memory, of a video.

Knows which frames are remembered, and that equal ones are one object. Where a frame comes from is
its class's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class NumberedFrames(ABC):
    """The reference frame of every chunk, made when it is asked for.

    The clip's first stays, as image tokens and colours are told by it; of the others the latest
    does. As long as the number is the same, so is the object: callers see that nothing changed.
    """

    def __init__(self) -> None:
        self._first: tuple[int, Tensor] | None = None
        self._latest: tuple[int, Tensor] | None = None

    @abstractmethod
    def number(self, start_frame: int) -> int:
        """Number of the frame that the chunk sees which starts at a frame of the clip."""

    @abstractmethod
    def make(self, number: int) -> Tensor:
        """The frame of a number, ``[3, h, w]`` in [-1, 1]."""

    @property
    def first(self) -> Tensor:
        """The reference frame of the clip's beginning, ``[3, h, w]`` in [-1, 1]."""
        if self._first is None:
            number = self.number(0)
            self._first = number, self.make(number)
        return self._first[1]

    def frame(self, start_frame: int) -> Tensor:
        """The reference frame of the chunk that starts there, ``[3, h, w]`` in [-1, 1].

        Raises:
            IndexError: Before the clip's first frame.
        """
        if start_frame < 0:
            raise IndexError(f"start_frame is {start_frame}; a chunk starts at frame 0 or later")
        if start_frame == 0:
            return self.first
        number = self.number(start_frame)
        if self._first is not None and self._first[0] == number:
            return self._first[1]
        if self._latest is None or self._latest[0] != number:
            self._latest = number, self.make(number)
        return self._latest[1]
